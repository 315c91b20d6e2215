package main

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/pfkey"
)

// The whole command, on the machine's clock, which runs faster here.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	for _, args := range [][]string{nil, {"--engine", "netbsd", "--peer-engine", "freebsd"}} {
		var out strings.Builder
		if err := run(t.Context(), args, &out); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, &out)
		}
		for _, want := range []string{"192.0.2.1 has established 192.0.2.1/1", "the other end opens it",
			"192.0.2.2 has deleted 192.0.2.1/1", "\nsuccess: "} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%q: it does not say %q:\n%s", args, want, &out)
			}
		}
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--local", "nowhere"}, {"--peer", "2001:db8::1"}, {"--lifetime", "3s"}, {"--speed", "-1"}, {"--colour"},
		{"argument"},
	} {
		var out strings.Builder
		if err := run(t.Context(), args, &out); !errors.As(err, new(usageError)) {
			t.Errorf("%q: %v", args, err)
		}
	}
	var out strings.Builder
	if err := run(t.Context(), []string{"--peer-engine", "linux:" + filepath.Join(t.TempDir(), "s")},
		&out); !errors.Is(err, pfkey.ErrNoEngine) {
		t.Errorf("no engine: %v", err)
	}
}
