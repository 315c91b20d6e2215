package ipseckey

import (
	"bytes"

	"github.com/pfkeyd/pfkeyd/internal/terminal"
)

// The values of --color; the empty one is auto.
const (
	colourAuto   = "auto"
	colourAlways = "always"
	colourNever  = "never"
)

// wantsColour tells whether a stream that is a terminal, or not, gets colours. Unless --color says so, only a terminal
// whose user has nothing against them (https://no-color.org) and that knows them; never with --compat.
func (s *session) wantsColour(isTerminal bool) terminal.Painter {
	switch {
	case s.compat || s.colour == colourNever:
		return false
	case s.colour == colourAlways:
		return true
	case !isTerminal:
		return false
	}
	if s.Env != nil {
		if v, ok := s.Env("NO_COLOR"); ok && v != "" {
			return false
		}
		if v, ok := s.Env("TERM"); ok && v == "dumb" {
			return false
		}
	}
	return true
}

// paint colours text for standard output.
func (s *session) paint(colour, text string) string {
	return s.wantsColour(s.Terminal.Stdout).Paint(colour, text)
}

// paintError colours text for standard error.
func (s *session) paintError(colour, text string) string {
	return s.wantsColour(s.Terminal.Stderr).Paint(colour, text)
}

// coloured is a listing with its tags in colour, and what went wrong. Without the colours it is the same text.
func (s *session) coloured(listing []byte) []byte {
	paint := s.wantsColour(s.Terminal.Stdout)
	if !paint {
		return listing
	}
	var b bytes.Buffer
	for line := range bytes.Lines(listing) {
		text, end := bytes.CutSuffix(line, []byte("\n"))
		tag := bytes.Index(text, []byte(": "))
		switch {
		case bytes.HasPrefix(text, []byte("Base message")), bytes.HasPrefix(text, []byte("Timestamp")):
			b.WriteString(paint.Paint(terminal.Bold, string(text)))
		case bytes.HasPrefix(text, []byte("Error ")), bytes.HasPrefix(text, []byte("  Diagnostic")):
			b.WriteString(paint.Paint(terminal.Red, string(text)))
		case tag >= 2 && tag <= 3:
			b.WriteString(paint.Paint(terminal.Cyan, string(text[:tag+1])))
			b.Write(text[tag+1:])
		default:
			b.Write(text)
		}
		if end {
			b.WriteByte('\n')
		}
	}
	return b.Bytes()
}
