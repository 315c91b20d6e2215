package main_test

import (
	"bufio"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// shortDir is a directory whose name leaves room for that of a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// at is the command with a default directory below dir.
func at(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := pfkeyd(t, args...)
	cmd.Env = append(cmd.Env, "XDG_RUNTIME_DIR="+dir)
	return cmd
}

// running runs a command until the test ends or end is called, which returns its exit code.
func running(t *testing.T, cmd *exec.Cmd) (end func() int) {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	code := -1
	ended := false
	end = func() int {
		if !ended {
			ended = true
			_ = cmd.Process.Signal(unix.SIGTERM)
			code = exitCode(cmd.Wait())
		}
		return code
	}
	t.Cleanup(func() { end() })
	return end
}

// Whoever has started an engine learns its address on a descriptor, which then ends; or only that it ends, if the
// engine does not start.
func TestReadyDescriptor(t *testing.T) {
	dir := shortDir(t)
	read := func(args ...string) (string, func() int) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		cmd := at(t, dir, append([]string{"serve", "--ready-fd", "3"}, args...)...)
		cmd.ExtraFiles = []*os.File{w}
		end := running(t, cmd)
		w.Close()
		var all strings.Builder
		for lines := bufio.NewScanner(r); lines.Scan(); {
			all.WriteString(lines.Text() + "\n")
		}
		return all.String(), end
	}
	text, end := read()
	want := "illumos:" + filepath.Join(dir, "pfkeyd", "illumos.sock")
	if text != want+"\n" {
		t.Errorf("got %q, want %q", text, want)
	}
	// It is ready indeed: the next command finds it.
	if out, err := at(t, dir, "status").CombinedOutput(); err != nil || !strings.Contains(string(out), want) {
		t.Errorf("status: %v: %s", err, out)
	}
	if text, end := read(); text != "" || end() == 0 {
		t.Errorf("an engine whose place is taken says %q", text)
	}
	if code := end(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// A service manager is told when the engine is ready, and when it stops.
func TestNotifySocket(t *testing.T) {
	dir := shortDir(t)
	name := filepath.Join(dir, "notify")
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	hear := func() string {
		b := make([]byte, 1000)
		if err := l.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := l.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	cmd := at(t, dir, "serve")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+name)
	end := running(t, cmd)
	if got := hear(); !strings.HasPrefix(got, "READY=1\n") || !strings.Contains(got, "illumos:"+dir) {
		t.Errorf("told %q", got)
	}
	if code := end(); code != 0 {
		t.Errorf("exit %d", code)
	}
	if got := hear(); got != "STOPPING=1" {
		t.Errorf("at the end told %q", got)
	}
}

// A socket that nobody listens at is said, and does not keep the engine from working.
func TestNotifyNobody(t *testing.T) {
	dir := shortDir(t)
	cmd := at(t, dir, "serve")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+filepath.Join(dir, "nobody"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	end := running(t, cmd)
	if out, err := at(t, dir, "status", "--wait", "30s").CombinedOutput(); err != nil {
		t.Errorf("status: %v: %s", err, out)
	}
	if code := end(); code != 0 || !strings.Contains(stderr.String(), "NOTIFY_SOCKET") {
		t.Errorf("exit %d: %s", code, &stderr)
	}
}

// "status --wait" begins before there is an engine, and ends when there is one, or when its time is over.
func TestStatusWait(t *testing.T) {
	dir := shortDir(t)
	out, err := at(t, dir, "status", "--wait", "50ms").CombinedOutput()
	if exitCode(err) != 3 || !strings.Contains(string(out), "after a wait of 50ms") {
		t.Errorf("with nobody to wait for: exit %d: %s", exitCode(err), out)
	}
	for _, engine := range [][]string{nil, {"--engine", "illumos:" + filepath.Join(dir, "e.sock")}} {
		var text strings.Builder
		waiting := at(t, dir, append([]string{"status", "--wait", "30s"}, engine...)...)
		waiting.Stdout, waiting.Stderr = &text, &text
		if err := waiting.Start(); err != nil {
			t.Fatal(err)
		}
		serve := []string{"serve"}
		if engine != nil {
			serve = append(serve, "--socket", filepath.Join(dir, "e.sock"))
		}
		end := running(t, at(t, dir, serve...))
		if err := waiting.Wait(); err != nil || !strings.HasPrefix(text.String(), "engine ") {
			t.Errorf("%v: %v: %s", engine, err, &text)
		}
		end()
	}
}

// The engine of a run is found from outside, under the name of the program. Of several, the message is what to type.
func TestRunIsFound(t *testing.T) {
	client := needRun(t)
	dir := shortDir(t)
	cmd := at(t, dir, "run", "--", client, "listen", "signal")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	end := running(t, cmd)
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q %v", line, err)
	}
	status, err := at(t, dir, "status").CombinedOutput()
	name := regexp.MustCompile(`linux:\S+/linux\.keyclient-\d+\.sock`).FindString(string(status))
	if err != nil || name == "" {
		t.Errorf("%v: %s", err, status)
	}
	stop := running(t, at(t, dir, "serve"))
	address := "illumos:" + filepath.Join(dir, "pfkeyd", "illumos.sock")
	if out, err := at(t, dir, "status", "--wait", "30s", "--engine", address).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	status, err = at(t, dir, "status").CombinedOutput()
	if exitCode(err) != 2 || !strings.Contains(string(status), "\n  --engine "+name+"\n") ||
		!strings.Contains(string(status), "\n  --engine illumos:") {
		t.Errorf("exit %d: %s", exitCode(err), status)
	}
	stop()
	end()
	left, err := os.ReadDir(filepath.Join(dir, "pfkeyd"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// Where the default directory cannot be used, a run does without.
func TestRunWithoutDefaultDirectory(t *testing.T) {
	client := needRun(t)
	dir := shortDir(t)
	if err := os.WriteFile(filepath.Join(dir, "pfkeyd"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := at(t, dir, "run", "--", client, "flush").CombinedOutput(); err != nil || string(out) != "flushed\n" {
		t.Errorf("%v: %s", err, out)
	}
}
