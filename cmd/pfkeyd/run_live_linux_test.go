package main_test

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// page is what the page at the end of a line answers at a path.
func page(t *testing.T, line, path string) string {
	t.Helper()
	_, address, _ := strings.Cut(line, "http:")
	resp, err := http.Get("http:" + address + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %v", line, path, resp.Status, err)
	}
	return string(text)
}

// The page of a run stays when the program has ended, with its exit code, until Ctrl-C; a SIGTERM before ends both.
func TestRunLive(t *testing.T) {
	client := needRun(t)
	s := startRun(t, "run", "--live", "--", client, "flush", "exit42")
	line := s.expect(t, "the page is at http:")
	s.expect(t, "the page and the engine stay")
	if text := page(t, line, "export"); !strings.Contains(text, `"name":"FLUSH"`) {
		t.Errorf("the page does not have what the program said: %.300s", text)
	}
	if text := page(t, line, "status"); !strings.Contains(text, `{"up":true,`) {
		t.Errorf("no engine: %.300s", text)
	}
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := exitCode(s.cmd.Wait()); code != 42 {
		t.Errorf("exit code %d", code)
	}

	s = startRun(t, "run", "--live", client, "listen", "signal")
	s.expect(t, "ready")
	if err := s.cmd.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Error(err)
	}
}
