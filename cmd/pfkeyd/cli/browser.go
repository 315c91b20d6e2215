package cli

import (
	"fmt"
	"html"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"

	"golang.org/x/term"
)

// openPage has the browser of a desktop open a page, if somebody is at a terminal of one. Its address has a secret, and
// everybody sees the arguments of programs, so the browser gets a file that leads to it. Done takes that away.
func (e *env) openPage(address string) (done func()) {
	done = func() {}
	opener, ok := e.browser()
	if !ok {
		return done
	}
	dir, err := os.MkdirTemp("", "pfkeyd-live-")
	if err != nil {
		return done
	}
	name := filepath.Join(dir, "page.html")
	a := html.EscapeString(address)
	text := fmt.Sprintf(`<!DOCTYPE html><meta charset="utf-8"><meta name="referrer" content="no-referrer">`+
		`<meta http-equiv="refresh" content="0; url=%s"><a href="%s">pfkeyd live</a>`, a, a)
	if err := os.WriteFile(name, []byte(text), 0o600); err == nil {
		// It is nobody's child, and no key typed here reaches it: it outlives us.
		cmd := exec.Command("/bin/sh", "-c", `"$0" "$1" >/dev/null 2>&1 </dev/null &`, opener, name)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		_ = cmd.Run() // the address has been printed, too
	}
	return func() { os.RemoveAll(dir) }
}

// browser is the program that opens files on the desktop, if there is one.
func (e *env) browser() (path string, ok bool) {
	if f, isFile := e.stdout.(*os.File); !isFile || !term.IsTerminal(int(f.Fd())) {
		return "", false
	}
	name := "xdg-open"
	if runtime.GOOS == "darwin" {
		name = "open"
	} else if os.Getenv("DISPLAY") == "" && os.Getenv("WAYLAND_DISPLAY") == "" {
		return "", false
	}
	path, err := exec.LookPath(name)
	return path, err == nil
}
