package cli

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A pipe in the place of the history is left alone, and nobody waits for its writer.
func TestHistoryPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if h := openHistory(path); h.Len() != 0 || h.path != "" {
		t.Errorf("history %q in %q", h.lines, h.path)
	}
}
