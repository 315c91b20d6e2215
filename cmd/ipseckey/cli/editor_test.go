package cli

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/ipseckey"
)

// typed is an editor with what its user types, a piece a read.
func typed(h *history, pieces ...string) (*editor, *bytes.Buffer) {
	var out bytes.Buffer
	return &editor{in: &pieceReader{pieces}, out: &out, history: h, size: func() (int, int, error) {
		return 60, 24,
			nil
	}}, &out
}

type pieceReader struct{ pieces []string }

func (r *pieceReader) Read(b []byte) (int, error) {
	if len(r.pieces) == 0 {
		return 0, io.EOF
	}
	n := copy(b, r.pieces[0])
	if r.pieces[0] = r.pieces[0][n:]; r.pieces[0] == "" {
		r.pieces = r.pieces[1:]
	}
	return n, nil
}

// offers completes the last word from a list.
func offers(words ...string) ipseckey.Completer {
	return func(line string, at int) (int, []string) {
		from := strings.LastIndexByte(line[:at], ' ') + 1
		var all []string
		for _, w := range words {
			if strings.HasPrefix(w, line[from:at]) {
				all = append(all, w)
			}
		}
		return from, all
	}
}

// TestEditorKeys types keys and looks at the lines they make.
func TestEditorKeys(t *testing.T) {
	h := &history{lines: []string{"older", "old"}}
	words := offers("delete", "delete-pair", "dump", "esp")
	for keys, want := range map[string]string{
		"flush\r":                  "flush",
		"flsh\x1b[D\x1b[Du\r":      "flush",
		"lush\x01f\r":              "flush",
		"flushx\x7f\r":             "flush",
		"\x1b[A\r":                 "old",
		"\x1b[A\x1b[A\r":           "older",
		"\x1b[A\x1b[A\x1b[B\r":     "old",
		"du\t esp\r":               "dump  esp",
		"du\tes\t\r":               "dump esp ",
		"de\tx\r":                  "deletex",
		"dump x\x1b[D\x1b[D\t\r":   "dump x",
		"nothing\t\r":              "nothing",
		"\x1b[200~a\tb\x1b[201~\r": "a b",
		"dump\x15flush\r":          "flush",
	} {
		e, _ := typed(h, keys)
		line, err := e.ReadLine("> ", words)
		if line != want || err != nil {
			t.Errorf("%q: %q, %v, want %q", keys, line, err, want)
		}
	}
	e, out := typed(h, "de\t\t", "\t\r")
	if _, err := e.ReadLine("> ", words); err != nil || strings.Count(out.String(), "delete-pair") != 1 {
		t.Errorf("%v, %q", err, out.String())
	}
	e, _ = typed(h, "du\t\r")
	if line, err := e.ReadLine("> ", nil); line != "du" || err != nil {
		t.Errorf("nothing to complete with: %q, %v", line, err)
	}
}

// TestEditorEnds tells an abandoned line from the end.
func TestEditorEnds(t *testing.T) {
	e, out := typed(&history{}, "add esp\x03", "flush\r", "\x04")
	if _, err := e.ReadLine("> ", nil); !errors.Is(err, ipseckey.ErrAbandoned) {
		t.Errorf("interrupt: %v", err)
	}
	if !strings.Contains(out.String(), "^C\r\n") {
		t.Errorf("%q", out.String())
	}
	if line, err := e.ReadLine("> ", nil); line != "flush" || err != nil {
		t.Errorf("%q, %v", line, err)
	}
	if _, err := e.ReadLine("> ", nil); !errors.Is(err, io.EOF) {
		t.Errorf("end: %v", err)
	}
	e, _ = typed(&history{}, "one\rtwo\rthree")
	for _, want := range []string{"one", "two"} {
		if line, err := e.ReadLine("> ", nil); line != want || err != nil {
			t.Errorf("%q, %v", line, err)
		}
	}
}

// TestHistory keeps the safe form of commands, for the owner only.
func TestHistory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state", "ipseckey", "history")
	h := openHistory(path)
	h.add("add encrkey 0011", "add encrkey XXXX")
	h.add("flush", "flush")
	h.add("flush", "flush")
	h.add("not kept", "")
	if h.At(0) != "not kept" || h.At(2) != "add encrkey 0011" || h.Len() != 3 {
		t.Errorf("%q", h.lines)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	again := openHistory(path)
	if got := strings.Join(again.lines, "|"); got != "add encrkey XXXX|flush" {
		t.Errorf("%q", got)
	}
	for range 2 * maxHistory {
		again.add("a", "a")
		again.add("b", "b")
	}
	if n := openHistory(path).Len(); n != maxHistory {
		t.Errorf("%d commands are left", n)
	}
	if b, err := os.ReadFile(path); err != nil || bytes.Count(b, []byte("\n")) != maxHistory {
		t.Errorf("%d lines in the file, %v", bytes.Count(b, []byte("\n")), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if h := openHistory(path); h.Len() != 0 || h.path != "" {
		t.Errorf("a file that others may read: %d, %q", h.Len(), h.path)
	}
	t.Setenv("IPSECKEY_HISTORY", "")
	if p := historyPath(); p != "" {
		t.Errorf("%q", p)
	}
	os.Unsetenv("IPSECKEY_HISTORY")
	t.Setenv("XDG_STATE_HOME", "/x")
	if p := historyPath(); p != filepath.Join("/x", "ipseckey", "history") {
		t.Errorf("%q", p)
	}
}

// TestColumns fills the terminal from the top to the bottom.
func TestColumns(t *testing.T) {
	got := columns([]string{"a", "bb", "ccc", "d", "e"}, 16)
	if want := "a    ccc  e\nbb   d\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := columns([]string{"a long one", "b"}, 3); got != "a long one\nb\n" {
		t.Errorf("%q", got)
	}
}
