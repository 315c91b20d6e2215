package ipseckey

import "bytes"

// Colours of ANSI terminals.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	yellow = "33"
	cyan   = "36"
)

// wantsColour tells whether a stream that is a terminal, or not, gets colours: only a terminal whose user has nothing against
// them (https://no-color.org) and that knows them, and never with --compat.
func (s *session) wantsColour(terminal bool) bool {
	if !terminal || s.compat {
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
	return painted(s.wantsColour(s.Terminal.Stdout), colour, text)
}

// paintError colours text for standard error.
func (s *session) paintError(colour, text string) string {
	return painted(s.wantsColour(s.Terminal.Stderr), colour, text)
}

func painted(wanted bool, colour, text string) string {
	if !wanted || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// coloured is a listing with its tags in colour, and what went wrong. Without the colours it is the same text.
func (s *session) coloured(listing []byte) []byte {
	if !s.wantsColour(s.Terminal.Stdout) {
		return listing
	}
	var b bytes.Buffer
	for line := range bytes.Lines(listing) {
		text, end := bytes.CutSuffix(line, []byte("\n"))
		tag := bytes.Index(text, []byte(": "))
		switch {
		case bytes.HasPrefix(text, []byte("Base message")), bytes.HasPrefix(text, []byte("Timestamp")):
			b.WriteString(painted(true, bold, string(text)))
		case bytes.HasPrefix(text, []byte("Error ")), bytes.HasPrefix(text, []byte("  Diagnostic")):
			b.WriteString(painted(true, red, string(text)))
		case tag >= 2 && tag <= 3:
			b.WriteString(painted(true, cyan, string(text[:tag+1])))
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
