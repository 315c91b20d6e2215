package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/cmd/ipsecinject/cli"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
)

func runBench(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = cli.Run(context.Background(), append([]string{"bench"}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

type benchLine struct {
	Size, SAs, Cores int
	Packets, Wrong   int64
	PerSec           float64 `json:"packets_per_second"`
	P50              int64   `json:"p50_ns"`
	P999             int64   `json:"p999_ns"`
	Max              int64   `json:"max_ns"`
}

func checkBench(t *testing.T, out string, lines int) (all []benchLine) {
	t.Helper()
	for line := range strings.Lines(out) {
		var l benchLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if l.Packets == 0 || l.Wrong != 0 || l.PerSec <= 0 || l.P50 <= 0 || l.P50 > l.P999 || l.P999 > l.Max {
			t.Errorf("%+v", l)
		}
		all = append(all, l)
	}
	if len(all) != lines {
		t.Fatalf("%d lines, want %d: %s", len(all), lines, out)
	}
	return all
}

// TestBenchInProcess measures every suite that each kernel says it has, and the default.
func TestBenchInProcess(t *testing.T) {
	first := map[string]string{"freebsd": "aes-gcm", "illumos": "aes-gcm", "linux": "aes-cbc-hmac-sha1",
		"netbsd": "aes-gcm", "openbsd": "aes-gcm"}
	for _, kernel := range kernels.Names() {
		code, list, errs := runBench("--in-process", "--kernel", kernel, "--suite", "list")
		suites := strings.Fields(list)
		if code != 0 || len(suites) < 5 || suites[0] != first[kernel] {
			t.Fatalf("%s: exit %d, %q: %s", kernel, code, suites, errs)
		}
		for _, suite := range append(suites, "") {
			args := []string{"--in-process", "--kernel", kernel, "--time", "10ms", "--sizes", "64", "--cores", "2",
				"--json"}
			if suite != "" {
				args = append(args, "--suite", suite)
			}
			code, out, errs := runBench(args...)
			if code != 0 {
				t.Errorf("%s %s: exit %d: %s", kernel, suite, code, errs)
				continue
			}
			checkBench(t, out, 1)
		}
	}
}

// TestBenchSuites: what a kernel does not have is refused with what it has.
func TestBenchSuites(t *testing.T) {
	code, _, errs := runBench("--in-process", "--kernel", "linux", "--suite", "aes-gcm")
	if want := "--suite aes-gcm: this kernel does not have it, but aes-cbc-hmac-sha1, "; code != 2 ||
		!strings.Contains(errs, want) {
		t.Errorf("exit %d, %q; want %q", code, errs, want)
	}
	h := pfkeytest.New(t, pfkeytest.Kernel("linux"), pfkeytest.Addr("192.0.2.1"))
	code, out, errs := runBench("--engine", h.Serve(), "--suite", "list", "--json")
	if code != 0 || !strings.HasPrefix(out, `{"suite":"aes-cbc-hmac-sha1"}`+"\n") {
		t.Errorf("exit %d, %q, %s", code, out, errs)
	}
	code, out, errs = runBench("--engine", h.Serve(), "--time", "20ms")
	if code != 0 || strings.Count(out, "\n") != 3 {
		t.Errorf("exit %d, %q, %s", code, out, errs)
	}
}

// TestBenchEngine goes through sockets, at a rate, and leaves nothing behind.
func TestBenchEngine(t *testing.T) {
	h := pfkeytest.New(t)
	code, out, errs := runBench("--engine", h.Serve(), "--sizes", "100", "--sas", "5", "--cores", "2", "--rate", "2000",
		"--time", "200ms", "--json")
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errs)
	}
	l := checkBench(t, out, 1)[0]
	if most := int64(2000*0.2) + 64; l.Packets > most {
		t.Errorf("%d packets in 0.2 s at 2000 a second", l.Packets)
	}
	if st := h.Engine().Status(-1); len(st.SAs) != 0 {
		t.Errorf("%d SAs stay behind", len(st.SAs))
	}
	code, out, _ = runBench("--engine", h.Serve(), "--time", "30ms")
	if code != 0 || strings.Count(out, "\n") != 3 {
		t.Errorf("exit %d: %s", code, out)
	}
}

func TestBenchUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--suite", "rot13"}, {"--src", "x"}, {"--dst", "2001:db8::1"}, {"--sas", "0"}, {"--cores", "0"},
		{"--rate", "-1"}, {"--sizes", "7"}, {"--time", "0s"},
		{"--in-process", "--kernel", "plan9"},
	} {
		if code, _, errs := runBench(args...); code != 2 || errs == "" {
			t.Errorf("%q: exit %d, %q", args, code, errs)
		}
	}
	if code, _, _ := runBench("--engine", "illumos:"+t.TempDir()+"/none"); code != 3 {
		t.Errorf("no engine: exit %d", code)
	}
}
