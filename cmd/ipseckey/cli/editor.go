package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/term"

	"github.com/pfkeyd/pfkeyd/ipseckey"
)

// editor is the line editor of the prompt: that of x/term, with a history that outlives the run and completion with
// Tab.
type editor struct {
	in      io.Reader
	out     io.Writer
	raw     func() (restore func()) // switches the terminal to single keys; nil if it is none
	size    func() (width, height int, err error)
	history *history

	keys     *keys
	terminal *term.Terminal
	complete ipseckey.Completer
	shown    string // line whose candidates were shown
}

// newEditor makes the editor of a terminal.
func newEditor(in, out *os.File, h *history) *editor {
	return &editor{
		in: in, out: out, history: h,
		raw: func() func() {
			state, err := term.MakeRaw(int(in.Fd()))
			if err != nil {
				return func() {}
			}
			return func() { term.Restore(int(in.Fd()), state) }
		},
		size: func() (int, int, error) { return term.GetSize(int(out.Fd())) },
	}
}

// ReadLine implements [ipseckey.LineEditor].
func (e *editor) ReadLine(prompt string, complete ipseckey.Completer) (string, error) {
	if e.raw != nil {
		defer e.raw()()
	}
	if e.terminal == nil {
		e.keys = &keys{r: e.in}
		e.terminal = term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{e.keys, e.out}, prompt)
		e.terminal.History = e.history
		e.terminal.AutoCompleteCallback = e.key
	}
	t := e.terminal
	t.SetPrompt(prompt)
	if e.size != nil {
		if w, h, err := e.size(); err == nil && w > 0 {
			t.SetSize(w, h)
		}
	}
	t.SetBracketedPasteMode(true)
	defer t.SetBracketedPasteMode(false)
	e.complete, e.shown = complete, ""
	line, err := t.ReadLine()
	switch {
	case err == term.ErrPasteIndicator:
		err = nil
	case err == ipseckey.ErrAbandoned:
		e.terminal = nil // with what was typed so far
		io.WriteString(e.out, "^C\r\n")
		return "", err
	case err != nil:
		io.WriteString(e.out, "\r\n")
	}
	return line, err
}

// Remember implements [ipseckey.LineEditor].
func (e *editor) Remember(line, safe string) { e.history.add(line, safe) }

// key is called for every key that edits nothing.
func (e *editor) key(line string, at int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	if e.complete == nil {
		return line, at, true
	}
	from, candidates := e.complete(line, at)
	typed := line[from:at]
	switch common := commonPrefix(candidates); {
	case len(candidates) == 0:
		return line, at, true
	case len(candidates) == 1:
		text := candidates[0]
		if at == len(line) {
			text += " "
		}
		return line[:from] + text + line[at:], from + len(text), true
	case len(common) > len(typed):
		return line[:from] + common + line[at:], from + len(common), true
	case e.shown != line: // a second Tab shows them no second time
		e.shown = line
		width := 80
		if e.size != nil {
			if w, _, err := e.size(); err == nil && w > 0 {
				width = w
			}
		}
		io.WriteString(e.terminal, columns(candidates, width))
	}
	return line, at, true
}

func commonPrefix(texts []string) string {
	if len(texts) == 0 {
		return ""
	}
	p := texts[0]
	for _, t := range texts[1:] {
		for !strings.HasPrefix(t, p) {
			p = p[:len(p)-1]
		}
	}
	return p
}

// columns lays texts out in columns, from the top to the bottom and then to the right.
func columns(texts []string, width int) string {
	widest := 0
	for _, t := range texts {
		widest = max(widest, len(t))
	}
	perRow := max(1, (width-1)/(widest+2))
	rows := (len(texts) + perRow - 1) / perRow
	var b strings.Builder
	for r := range rows {
		line := ""
		for i := r; i < len(texts); i += rows {
			line += fmt.Sprintf("%-*s", widest+2, texts[i])
		}
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// keys passes on what is typed. An interrupt is an error, which x/term cannot tell from an end; tabs in what is pasted
// are blanks, so that they complete nothing.
type keys struct {
	r      io.Reader
	pasted bool
	seen   []byte // the last bytes, to find the brackets of a paste in
}

const (
	interruptKey = 3
	pasteBegins  = "\x1b[200~"
	pasteEnds    = "\x1b[201~"
)

func (k *keys) Read(b []byte) (int, error) {
	n, err := k.r.Read(b)
	for i, c := range b[:n] {
		if k.seen = append(k.seen, c); len(k.seen) > len(pasteBegins) {
			k.seen = k.seen[1:]
		}
		switch {
		case string(k.seen) == pasteBegins:
			k.pasted = true
		case string(k.seen) == pasteEnds:
			k.pasted = false
		case c == interruptKey && !k.pasted:
			return i, ipseckey.ErrAbandoned
		case c == '\t' && k.pasted:
			b[i] = ' '
		}
	}
	return n, err
}

// history are the commands of this run as they were typed, behind those of earlier ones without their keys.
type history struct {
	lines []string
	path  string // "" keeps nothing
}

// What is kept: so many commands, and what is read of a file of earlier ones, in bytes.
const (
	maxHistory     = 1000
	maxHistoryFile = 16 << 20
)

// openHistory reads the commands of earlier runs. A file that others may read is not used.
func openHistory(path string) *history {
	h := &history{path: path}
	if path == "" {
		return h
	}
	info, err := os.Stat(path) // before it is opened: a pipe may have no writer
	if errors.Is(err, fs.ErrNotExist) {
		return h
	}
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o077 != 0 {
		h.path = ""
		return h
	}
	f, err := os.Open(path)
	if err != nil {
		return h
	}
	defer f.Close()
	for s := bufio.NewScanner(io.LimitReader(f, maxHistoryFile)); s.Scan(); {
		h.lines = append(h.lines, s.Text())
	}
	if len(h.lines) > 2*maxHistory {
		h.lines = h.lines[len(h.lines)-maxHistory:]
		os.WriteFile(path, []byte(strings.Join(h.lines, "\n")+"\n"), 0o600)
	}
	return h
}

// add takes a command, and keeps the safe form of it.
func (h *history) add(line, safe string) {
	if n := len(h.lines); n > 0 && h.lines[n-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	if h.path == "" || safe == "" {
		return
	}
	if os.MkdirAll(filepath.Dir(h.path), 0o700) != nil {
		return
	}
	f, err := os.OpenFile(h.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	io.WriteString(f, safe+"\n")
}

// Add implements [term.History]; nothing is added before the command says what of it may be kept.
func (h *history) Add(string) {}

// Len implements [term.History].
func (h *history) Len() int { return len(h.lines) }

// At implements [term.History]: 0 is the last command.
func (h *history) At(i int) string { return h.lines[len(h.lines)-1-i] }

// historyPath is where the history is: IPSECKEY_HISTORY, which may be empty for nowhere, else a file of XDG_STATE_HOME.
func historyPath() string {
	if path, ok := os.LookupEnv("IPSECKEY_HISTORY"); ok {
		return path
	}
	state := os.Getenv("XDG_STATE_HOME")
	if state == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "ipseckey", "history")
}
