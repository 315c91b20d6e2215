package cli_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/cmd/pfkeyd/cli"
)

// A wait may be over just when status looks for the engine once more. That does not change what has come of it.
func TestStatusWaitIsOver(t *testing.T) {
	engine := "linux:" + filepath.Join(t.TempDir(), "none")
	for range 256 { // the end of the wait and the next look are at the same time, either may be first
		synctest.Test(t, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := cli.Run(t.Context(), []string{"status", "--engine", engine, "--wait", "40ms"}, nil, &stdout,
				&stderr)
			if code != command.ExitNoEngine || !strings.Contains(stderr.String(), "after a wait of 40ms") {
				t.Errorf("exit %d: %s", code, &stderr)
			}
		})
	}
}
