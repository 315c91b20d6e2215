package command_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
)

func root(err error) *cobra.Command {
	r := &cobra.Command{Use: "tool", Args: command.NoArgs, RunE: func(*cobra.Command, []string) error { return err }}
	r.AddCommand(command.Man())
	return r
}

// How a run ended shows in the exit code, and the user is told once.
func TestRun(t *testing.T) {
	broken := errors.New("broken")
	const start = "Start an engine with 'pfkeyd serve', or name a running one with --engine.\n"
	for _, tt := range []struct {
		name string
		err  error
		args []string
		code int
		told string
	}{
		{"done", nil, nil, command.ExitDone, ""},
		{"failed", command.Failed(broken), nil, command.ExitFailed, "tool: broken\n"},
		{"usage", command.Usagef("%q: %w", "x", broken), nil, command.ExitUsage, "tool: \"x\": broken\n"},
		{"no engine", command.NoEngine(broken), nil, command.ExitNoEngine, "tool: broken\n" + start},
		{"wrapped", fmt.Errorf("still %w", command.NoEngine(broken)), nil, command.ExitNoEngine,
			"tool: still broken\n" + start},
		{"another code", &command.Failure{Code: 127, Err: broken}, nil, 127, "tool: broken\n"},
		{"told already", command.Told(5), nil, 5, ""},
		{"unknown subcommand", nil, []string{"dance"}, command.ExitUsage,
			"tool: tool has no command \"dance\"\nTry 'tool --help'.\n"},
		{"subcommand", nil, []string{"man"}, command.ExitUsage,
			"tool: tool man takes 1 argument, there are 0\nTry 'tool man --help'.\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := command.Run(context.Background(), root(tt.err), tt.args, strings.NewReader(""), &stdout, &stderr)
			if code != tt.code || stderr.String() != tt.told || stdout.Len() != 0 {
				t.Errorf("exit %d, %q, %q; want %d, %q", code, &stdout, &stderr, tt.code, tt.told)
			}
			if tt.err != nil && errors.Is(tt.err, broken) != strings.Contains(tt.told, "broken") {
				t.Errorf("%v does not lead to its cause", tt.err)
			}
		})
	}
}

func TestMan(t *testing.T) {
	for _, tt := range []struct {
		dir  string
		code int
	}{{t.TempDir(), command.ExitDone}, {filepath.Join(t.TempDir(), "missing"), command.ExitFailed}} {
		var out bytes.Buffer
		if code := command.Run(context.Background(), root(nil), []string{"man", tt.dir}, nil, &out,
			&out); code != tt.code {
			t.Errorf("exit %d, want %d: %s", code, tt.code, &out)
		}
		page, err := os.ReadFile(filepath.Join(tt.dir, "tool.1"))
		if (err == nil) != (tt.code == command.ExitDone) || err == nil &&
			!bytes.Contains(page, []byte(".TH \"TOOL\" \"1\"")) {
			t.Errorf("%s: %v\n%s", tt.dir, err, page)
		}
	}
}

// A command that is interrupted and waits for somebody who does not read is left behind; one that has taken the signals
// for itself is not.
func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, keeps := range []bool{false, true} {
			ctx, cancel := context.WithCancel(t.Context())
			release := make(chan struct{})
			r := &cobra.Command{Use: "tool", RunE: func(cmd *cobra.Command, _ []string) error {
				if keeps {
					command.KeepSignals(cmd.Context())
				}
				cancel()
				<-release
				return nil
			}}
			if keeps {
				time.AfterFunc(time.Hour, func() { close(release) })
			}
			var out bytes.Buffer
			want, told := command.ExitFailed, "tool: interrupted, "
			if keeps {
				want, told = command.ExitDone, ""
			}
			if code := command.Run(ctx, r, nil, nil, &out, &out); code != want || !strings.HasPrefix(out.String(),
				told) {
				t.Errorf("keeps %v: exit %d, %q", keeps, code, &out)
			}
			if !keeps {
				close(release)
			}
		}
	})
}
