package cli_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/cmd/pfkeyd/cli"
	"github.com/pfkeyd/pfkeyd/kernel/event"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// watched is what watch prints of an engine.
func watched(t *testing.T, address string, options ...string) (stdout string) {
	t.Helper()
	var out, told bytes.Buffer
	args := append([]string{"watch", "--engine", address, "--past"}, options...)
	if code := cli.Run(t.Context(), args, nil, &out, &told); code != command.ExitDone ||
		told.String() != "watching "+address+"\n" {
		t.Errorf("watch %q: exit %d: %s", options, code, &told)
	}
	return out.String()
}

// Watch has a line for everything that has happened, in columns.
func TestWatch(t *testing.T) {
	host := pfkeytest.New(t)
	client := host.Client()
	if err := client.Flush(t.Context(), wire.SATypeESP); err != nil {
		t.Fatal(err)
	}
	host.Advance(1e9)
	host.Inject([]byte{0x45, 0})
	address := host.Serve()
	const want = `2014-01-01
00:00:00.000000  socket 1     opened by process 1001
00:00:00.000000  socket 1 >   FLUSH esp seq=1 pid=1001
00:00:00.000000  socket 1 <   FLUSH esp seq=1 pid=1001
00:00:00.000000  clock        moves by 1s to 2014-01-01 00:00:01
00:00:01.000000  packet 1     dropped `
	got := watched(t, address)
	if diff := cmp.Diff(want, got[:min(len(got), len(want))]); diff != "" {
		t.Errorf("lines (-want +got)\n%s", diff)
	}
	for _, tt := range []struct {
		options string
		lines   int
	}{
		{"--type flush", 3},
		{"--type clock,opened", 3},
		{"--type clock --type FLUSH", 4},
		{"--packets", 2},
		{"--socket 1", 4},
		{"--socket 2", 0},
		{"--spi 0x1000", 0},
		{"--from 4", 3},
		{"--from now", 0},
		{"--count 1", 2},
	} {
		if got := watched(t, address, strings.Fields(tt.options)...); strings.Count(got, "\n") != tt.lines {
			t.Errorf("%s: want %d lines\n%s", tt.options, tt.lines, got)
		}
	}
	var e event.Event
	if err := json.Unmarshal([]byte(watched(t, address, "--json", "--type", "clock")), &e); err != nil ||
		e.Type != event.Clock || e.Clock == nil {
		t.Errorf("%+v, %v", e, err)
	}
	if got := watched(t, address, "--color", "always", "--packets"); !strings.Contains(got, "\x1b[31mpacket 1 ") {
		t.Errorf("%q has no colour", got)
	}
}

// What a program says cannot do anything to the terminal.
func TestWatchControlCharacters(t *testing.T) {
	host := pfkeytest.New(t, pfkeytest.Kernel("linux"))
	cred := pfkey.Cred{PID: 7, Privileged: true}
	sock, errno := host.Open(cred)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	defer sock.Close()
	d := wire.Linux()
	b := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeESP, Seq: 1, PID: 7})
	b = d.AppendIdentity(b, wire.ExtIdentitySrc, wire.Identity{Type: wire.IdentFQDN, Name: "a\x1b]0;b\x07\nc\u202e"})
	sock.Send(d.Finish(b), cred)
	got := watched(t, host.Serve(), "--type", "add")
	if strings.ContainsAny(got, "\x1b\x07\u202e") || strings.Count(got, "\n") < 2 {
		t.Errorf("%q", got)
	}
}

// Wrong options are told, and there may be no engine.
func TestWatchUsage(t *testing.T) {
	address := pfkeytest.New(t).Serve()
	for _, tt := range []struct {
		options, want string
		code          int
	}{
		{"--type dance", `--type "dance"`, command.ExitUsage},
		{"--spi x", `--spi "x" is no SPI`, command.ExitUsage},
		{"--from yesterday", `--from "yesterday"`, command.ExitUsage},
		{"--from 0", `--from "0"`, command.ExitUsage},
		{"--show-keys", "needs --json", command.ExitUsage},
		{"--engine illumos:/none", "no engine at illumos:/none", command.ExitNoEngine},
	} {
		var out, told bytes.Buffer
		args := append([]string{"watch", "--engine", address, "--past"}, strings.Fields(tt.options)...)
		if code := cli.Run(t.Context(), args, nil, &out, &told); code != tt.code ||
			!strings.Contains(told.String(), tt.want) {
			t.Errorf("%s: exit %d, %s", tt.options, code, &told)
		}
	}
}
