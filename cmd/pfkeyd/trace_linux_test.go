package main_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// stalledReader makes a pipe at path whose reader is there and never reads.
func stalledReader(t testing.TB, path string) {
	t.Helper()
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
}

// A trace whose reader stands still stands in nobody's way: not in that of other clients of the same engine, and not in
// that of its end. The run whose trace it is says so.
func TestRunTraceStalled(t *testing.T) {
	client := needRun(t)
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path, fifo := filepath.Join(dir, "s"), filepath.Join(dir, "fifo")
	stalledReader(t, fifo)
	serve := startRun(t, "serve", "--kernel", "linux", "--clock", "virtual", "--socket", path)
	serve.expect(t, "ready")
	run := startRun(t, "run", "--engine", "linux:"+path, "--trace", fifo, "--", client, "flush", "line")
	run.expect(t, "flushed")

	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	other, err := pfkey.Dial(ctx, "linux:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	// The traced program hears each answer: two pipes of 64 KB and its receive queue are full long before the end.
	sa := keyclientSA()
	for i := range 400 {
		sa.SPI = wire.SPI(0x2000 + i)
		if err := other.Add(ctx, sa, 0); err != nil {
			t.Fatalf("request %d of another client: %v", i, err)
		}
	}
	out, err := pfkeyd(t, "status", "--engine", "linux:"+path, "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var st struct {
		Servers struct{ Traces struct{ Open int } }
	}
	if err := json.Unmarshal(out, &st); err != nil || st.Servers.Traces.Open != 1 {
		t.Errorf("%v: traces %+v, want an open one", err, st)
	}

	begin := time.Now()
	_ = serve.cmd.Process.Signal(unix.SIGTERM)
	if err := serve.cmd.Wait(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("the engine took %v to end", took)
	}
	run.expect(t, "the engine is gone")
	if _, err := io.WriteString(run.in, "\n"); err != nil {
		t.Fatal(err)
	}
	run.expect(t, "--trace .*fifo: whoever reads it stands still: bytes missing in it: at least [1-9]")
	if err := run.cmd.Wait(); exitCode(err) != 1 {
		t.Errorf("run with a trace that is not complete: %v", err)
	}
}

// A trace says where it ends, goes to standard output if that is wanted, and has both times where they differ; one that
// is not complete is told once, and changes the exit code of a program that has none of its own.
func TestRunTraceEnds(t *testing.T) {
	client := needRun(t)
	if st, err := os.Stat("/dev/full"); err != nil || st.Mode().IsRegular() {
		t.Skip("there is no /dev/full")
	}
	for _, tt := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string // patterns
	}{
		{"standard output", []string{"--trace", "-", "--", client, "add"}, 0,
			`(?s)^(added\n)?# PF_KEY.*\n20\S+Z socket 1 process \d+ > ADD esp.*\n` +
				`# the end; records: 4, missing: 0\n(added\n)?$`, `^$`},
		{"a hosted socket", []string{"--kernel", "freebsd", "--hosted", "--trace", "-", "--", client, "add"}, 0,
			`(?s)> ADD esp.*ADDRESS_DST.* 10 02 +length = 16, family = 2 .*< ADD esp.* 10 02 +length = 16, family = 2 `,
			`^$`},
		{"two times", []string{"--clock", "virtual", "--trace", "-", "--", client, "add"}, 0,
			`\n20\S+Z 20\S+Z socket 1 process \d+ > ADD esp`, `^$`},
		{"full", []string{"--trace", "/dev/full", "--", client, "add"}, 1, `^added\n$`,
			`^pfkeyd: --trace: write /dev/full: no space left on device; nothing more is written there\n` +
				`pfkeyd: --trace: write /dev/full: no space left on device; bytes missing in it: [1-9]\d+\n$`},
		{"full, and a program with a code", []string{"--trace", "/dev/full", "--", client, "exit42"}, 42, `^$`,
			`bytes missing in it`},
		{"no program", []string{"--trace", "-", "--", "/nonexistent/program"}, 127, `^$`, `no such file`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cmd := pfkeyd(t, append([]string{"run"}, tt.args...)...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if code := exitCode(cmd.Run()); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			if !regexp.MustCompile(tt.stdout).Match(stdout.Bytes()) ||
				!regexp.MustCompile(tt.stderr).Match(stderr.Bytes()) {
				t.Errorf("stdout %q, stderr %q; want %q, %q", &stdout, &stderr, tt.stdout, tt.stderr)
			}
		})
	}

	// A reader that has gone ends the trace and not the run.
	cmd := pfkeyd(t, "run", "--trace", "-", "--", client, "add")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = w, &stderr
	err = cmd.Run()
	w.Close()
	if exitCode(err) == -1 || !strings.Contains(stderr.String(), "broken pipe") {
		t.Errorf("%v: %s", err, &stderr)
	}
}
