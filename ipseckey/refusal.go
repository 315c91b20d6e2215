package ipseckey

import (
	"fmt"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// refusalLines say in words what an errno and a diagnostic in a message mean: what is wrong, with which extension, and
// where the RFC says how it ought to be.
func refusalLines(d *wire.Dialect, h wire.Header) (lines []string) {
	e, _ := d.Errno(h.Errno)
	line := d.ErrnoName(h.Errno)
	if words, ok := errnoWords[e]; ok {
		line += ": " + words
	} else {
		line += ": " + strerror(illumosErrno(d, h.Errno))
	}
	_, section := d.MsgMeaning(h.Type)
	lines = append(lines, line+" ("+reference(d, section)+")")
	if !hasDiagnostics(d) || h.Reserved == 0 {
		return lines
	}
	lines = append(lines, fmt.Sprintf("diagnostic %s: %s", d.DiagnosticName(h.Reserved),
		strings.TrimSpace(diagnosticText(h.Reserved))))
	if int(h.Reserved) < len(aboutDiagnostic) {
		for _, ext := range aboutDiagnostic[h.Reserved] {
			text, section := meaningOf(d, ext)
			lines = append(lines, fmt.Sprintf("  about %s: %s (%s)", ext, text, reference(d, section)))
		}
	}
	return lines
}

// listedDiagnostic is how a listing has a diagnostic.
const listedDiagnostic = "  Diagnostic code %d:  %s.\n"

func (s *session) hasDiagnostics() bool { return hasDiagnostics(s.dial) }

// diagnosis is what an answer with an errno has to say: its diagnostic in the form of the original, or where the kernel
// has none the errno in words.
func (s *session) diagnosis(h wire.Header, format string) string {
	if s.hasDiagnostics() {
		return fmt.Sprintf(format, h.Reserved, diagnosticText(h.Reserved))
	}
	return "Refused with " + refusalLines(s.dial, h)[0] + ".\n"
}

// hasDiagnostics tells whether the dialect says more than an errno.
func hasDiagnostics(d *wire.Dialect) bool { return isIllumos(d) }

// refused is what hints can show of an answer with an errno: the words that the diagnostic is about, and the
// explanation.
func (s *session) refused(h wire.Header, msg []byte) []problem {
	lines := refusalLines(s.dial, h)
	if !hasDiagnostics(s.dial) {
		lines = append(lines, s.suspicions(h, msg)...)
	}
	at := []int{}
	if hasDiagnostics(s.dial) && int(h.Reserved) < len(aboutDiagnostic) {
		at = s.typed(h.Reserved)
	}
	if len(at) == 0 {
		at = append(at, 0)
	}
	problems := []problem{{at: at[0], note: strings.Join(lines, "\n")}}
	for _, i := range at[1:] {
		problems = append(problems, problem{at: i})
	}
	return problems
}

// typed finds the words of the command that a diagnostic is about.
func (s *session) typed(diagnostic uint16) (at []int) {
	for _, ext := range aboutDiagnostic[diagnostic] {
		kinds := whereTyped[ext]
		if narrow, ok := diagnosticKinds[diagnostic]; ok {
			kinds = narrow
		}
		for i := 2; i < len(s.words); i++ {
			k, ok := findKeyword(s.words[i].text)
			if !ok {
				continue
			}
			for _, kind := range kinds {
				if k.kind != kind || kind == kindLifetime && !limitOf(k, ext) || kind == kindLabel &&
					(k.arg == argLabel) != (ext == "SENSITIVITY") {
					continue
				}
				at = append(at, i)
				if k.kind != kindDirection && i+1 < len(s.words) {
					at = append(at, i+1)
				}
				break
			}
		}
	}
	return at
}

// limitOf tells whether a lifetime keyword travels in the extension.
func limitOf(k keyword, ext string) bool {
	switch k.arg &^ fieldMask {
	case limitHard:
		return ext == "LIFETIME_HARD"
	case limitSoft:
		return ext == "LIFETIME_SOFT"
	}
	return ext == "X_LIFETIME_IDLE"
}

// suspicions are what an EINVAL without a diagnostic is about more often than not, as far as the request shows it.
func (s *session) suspicions(h wire.Header, msg []byte) (lines []string) {
	d := s.dial
	if e, _ := d.Errno(h.Errno); e != wire.EINVAL || len(msg) < wire.HeaderLen {
		return nil
	}
	has := func(t wire.ExtType) bool { _, ok := d.Find(msg, t); return ok }
	if h.Type == wire.MsgAdd || h.Type == wire.MsgUpdate {
		switch {
		case h.SAType == wire.SATypeAH && !has(wire.ExtKeyAuth):
			lines = append(lines, "Perhaps because there is no authkey: AH wants one")
		default:
			lines = append(lines,
				"Perhaps because of a key that its algorithm does not take, or addresses of two families")
		}
	}
	return lines
}

// explainRefusal shows, on a terminal and behind the text of the original, what an answer with an errno means.
func (s *session) explainRefusal(h wire.Header, msg []byte) { s.hints(s.refused(h, msg)) }
