package ipseckey

import (
	"fmt"
	"io"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/spelling"
	"github.com/pfkeyd/pfkeyd/internal/terminal"
)

// report prints one piece of what a command caused, errors or a warning. In a file the command stands in front of it.
// Under the service manager nothing is printed, since the world can read the service's log.
func (s *session) report(text string) {
	if s.smf {
		return
	}
	w := s.errors()
	s.note(text)
	if s.mode == modeFile {
		fmt.Fprintf(w, "Config file entry near line %d caused error(s) or warnings:\n\n%s\n\n", s.reader.number,
			s.shownCommand())
	}
	io.WriteString(w, text)
}

// messageSize is the size of the original's buffer for one message.
const messageSize = 1024

// text is one message with its newline. The original cuts it to what its buffer holds.
func (s *session) text(format string, args []any) string {
	text := fmt.Sprintf(format+"\n", args...)
	if s.keeps(quirkCutTexts) && len(text) >= messageSize {
		text = text[:messageSize-1]
	}
	return text
}

// reportBare prints a piece that never has the command in front of it.
func (s *session) reportBare(text string) {
	if !s.smf {
		s.note(text)
		io.WriteString(s.errors(), text)
	}
}

// complain prints an error that goes to standard error in the original too.
func (s *session) complain(text string) {
	s.note(text)
	io.WriteString(s.Stderr, text)
}

// shownCommand is the command as it may be shown.
func (s *session) shownCommand() string {
	if s.keeps(quirkEchoKeys) {
		return s.command
	}
	return maskCommand(s.command, s.words)
}

// maskCommand replaces keys in a command by X; positions stay.
func maskCommand(command string, words []word) string {
	b := []byte(command)
	hide := secrets(words)
	for i, w := range words {
		if w.at < 0 || !hide[i] {
			continue
		}
		masked := maskKey(w.text)
		for j := w.at; j < w.end; j++ {
			if k := j - w.at; k < len(masked) {
				b[j] = masked[k]
			} else if b[j] != '"' {
				b[j] = 'X'
			}
		}
	}
	return string(b)
}

// keyDigits is how many hexadecimal digits in a row look like a key: the shortest one, of DES, has so many.
const keyDigits = 16

// secrets tells which words are keys, or pieces of one: they follow a key keyword, or something typed for one, they
// look like one, or they go on with digits where the word in front of them is one.
func secrets(words []word) []bool {
	all := make([]bool, len(words))
	for i, w := range words {
		if i > 0 {
			prev := words[i-1].text
			if k, ok := findKeyword(prev); ok {
				all[i] = k.kind == kindAuthKey || k.kind == kindEncrKey
			} else {
				all[i] = spelling.Distance(prev, "encrkey") <= 2 || spelling.Distance(prev, "authkey") <= 2
			}
		}
		run := 0
		for j := 0; j < len(w.text) && !all[i]; j++ {
			if _, ok := digit(w.text[j]); !ok {
				run = 0
				continue
			}
			run++
			all[i] = run >= keyDigits
		}
		if i > 1 && !all[i] && all[i-1] {
			digits, _, _ := strings.Cut(w.text, "/")
			digits = strings.TrimPrefix(strings.ToLower(digits), "0x")
			all[i] = digits != "" && strings.Trim(digits, "0123456789abcdef") == ""
		}
	}
	return all
}

// secret tells whether word i of the command is a key.
func (s *session) secret(i int) bool {
	if len(s.secrets) != len(s.words) {
		s.secrets = secrets(s.words)
	}
	return s.secrets[i]
}

// show is word i of the command as it may be shown.
func (s *session) show(i int) string {
	if i < 0 || i >= len(s.words) {
		return ""
	}
	text := s.words[i].text
	if !s.keeps(quirkEchoKeys) && s.secret(i) {
		return maskKey(text)
	}
	return text
}

// problem is what a hint can be given for: a word of the command, and what could stand there instead.
type problem struct {
	at      int // index of the word; len(words) is the end of the command
	instead []string
	note    string // what else there is to say of it
}

// hints shows, on a terminal and behind the text of the original, where in the command the problems are.
func (s *session) hints(problems []problem) {
	if !s.Terminal.Stderr || s.smf || s.compat || len(problems) == 0 {
		return
	}
	var out strings.Builder
	defer func() {
		if s.mode == modeOneShot { // the last line of the original comes first
			s.later.WriteString(out.String())
		} else {
			io.WriteString(s.Stderr, out.String())
		}
	}()
	if len(s.words) == 0 { // an option asked for it
		for _, p := range problems {
			for note := range strings.Lines(p.note) {
				fmt.Fprintf(&out, "    %s\n", strings.TrimRight(note, "\n"))
			}
		}
		return
	}
	text, spans := s.marked()
	lines := strings.SplitAfter(text, "\n")
	for n, start := 0, 0; n < len(lines); n++ {
		line := strings.TrimRight(lines[n], "\n")
		marks := []byte(strings.Repeat(" ", len(line)+1))
		first := -1
		var notes []string
		seen := map[int]bool{}
		for _, p := range problems {
			at, end := spans[p.at][0]-start, spans[p.at][1]-start
			if at < 0 || at > len(line) || at == len(line) && n+1 < len(lines) && lines[n+1] != "" {
				continue
			}
			for k := at; k < max(at+1, min(end, len(line))); k++ {
				marks[k] = '^'
			}
			if first < 0 || at < first {
				first = at
			}
			if p.at < len(s.words) && misread(s.words[p.at].text) != "" && !seen[p.at] {
				notes = append(notes, misread(s.words[p.at].text))
			}
			if p.note != "" && p.at >= len(s.words) {
				notes = append(notes, p.note)
				continue
			}
			if seen[p.at] || p.at >= len(s.words) {
				continue
			}
			seen[p.at] = true
			if near := spelling.Nearest(s.words[p.at].text, p.instead); near != "" {
				notes = append(notes, fmt.Sprintf("%s: did you mean %q?", s.show(p.at), near))
			}
			if p.note != "" {
				notes = append(notes, p.note)
			}
		}
		start += len(lines[n])
		if first < 0 {
			continue
		}
		if s.mode == modeFile {
			behind := strings.Count(strings.TrimSuffix(strings.Join(lines[n:], ""), "\n"), "\n")
			fmt.Fprintf(&out, "%s:%d:%d:\n", s.file, s.reader.number-behind, first+1)
		}
		bare := strings.TrimRight(string(marks), " ")
		blanks := len(bare) - len(strings.TrimLeft(bare, " "))
		fmt.Fprintf(&out, "    %s\n    %s%s\n",
			printable(line), bare[:blanks], s.paintError(terminal.Red, bare[blanks:]))
		for _, text := range notes {
			for note := range strings.Lines(text) {
				fmt.Fprintf(&out, "    %s\n", s.paintError(terminal.Yellow, strings.TrimRight(note, "\n")))
			}
		}
	}
}

// misread says what people mean with a word that only looks as if it meant something.
func misread(text string) string {
	switch {
	case strings.HasPrefix(text, "#"):
		return "A comment has a line of its own."
	case text == "\\":
		return "The line does not go on: something stands behind the backslash."
	}
	return ""
}

// marked is the command as it may be shown, and where its words begin and end in it; the last span is its end.
func (s *session) marked() (text string, spans [][2]int) {
	if len(s.words) > 0 && s.words[0].at < 0 { // from the command line
		var b strings.Builder
		for i := range s.words {
			if i > 0 {
				b.WriteByte(' ')
			}
			from := b.Len()
			if s.secret(i) {
				b.WriteString(maskKey(s.words[i].text))
			} else {
				b.WriteString(s.words[i].text)
			}
			spans = append(spans, [2]int{from, b.Len()})
		}
		return b.String(), append(spans, [2]int{b.Len(), b.Len()})
	}
	text = strings.TrimRight(maskCommand(s.command, s.words), spaces)
	for _, w := range s.words {
		spans = append(spans, [2]int{w.at, w.end})
	}
	return text, append(spans, [2]int{len(text), len(text)})
}

// printable has a question mark for every byte that is none of a text in ASCII, so that marks stand below what they
// mark.
func printable(line string) string {
	b := []byte(line)
	for i, c := range b {
		switch {
		case c == '\t':
			b[i] = ' '
		case c < ' ' || c >= 0x7f:
			b[i] = '?'
		}
	}
	return string(b)
}

// parse is the reading of one command's words, and the errors that it collects.
type parse struct {
	s        *session
	verb     string // the command word
	next     int    // index of the word to come
	errs     strings.Builder
	problems []problem
}

// take is the next word; ok is false at the end of the command.
func (p *parse) take() (text string, i int, ok bool) {
	i = p.next
	if i >= len(p.s.words) {
		return "", i, false
	}
	p.next++
	return p.s.words[i].text, i, true
}

// each takes the words that stand where keywords do, one by one.
func (p *parse) each(keyword func(i int) error) error {
	for {
		_, i, ok := p.take()
		if !ok {
			return nil
		}
		if err := keyword(i); err != nil {
			return err
		}
	}
}

// skip passes over the value of something refused.
func (p *parse) skip() { p.take() }

// note remembers where a problem is.
func (p *parse) note(i int) {
	p.problems = append(p.problems, problem{at: min(i, len(p.s.words))})
}

// suggest tells what could stand where the last problem is.
func (p *parse) suggest(instead []string) { p.problems[len(p.problems)-1].instead = instead }

// twice collects an error if what keyword i says was given before. Its value is left, and will be taken for a keyword.
func (p *parse) twice(given bool, i int, what string) bool {
	if given {
		p.add(i, "Can only specify single %s.", what)
	}
	return given
}

// twiceSkipping is twice for a keyword that loses its value.
func (p *parse) twiceSkipping(given bool, i int, what string) bool {
	if p.twice(given, i, what) {
		p.skip()
	}
	return given
}

// add collects an error about word i, and goes on.
func (p *parse) add(i int, format string, args ...any) {
	p.errs.WriteString(p.s.text(format, args))
	p.note(i)
}

// runTogether takes the newline off the last error, as the original does with some.
func (p *parse) runTogether() {
	if p.s.keeps(quirkRunTogether) {
		text := strings.TrimSuffix(p.errs.String(), "\n")
		p.errs.Reset()
		p.errs.WriteString(text)
	}
}

// warn prints text at once, with an empty line behind it.
func (p *parse) warn(format string, args ...any) { p.s.report(p.s.text(format, args) + "\n") }

// warnAll prints text at once, with an empty line behind it. In the original what was collected goes out with it, and
// is forgotten.
func (p *parse) warnAll(block bool, format string, args ...any) {
	p.warnPiece(block, p.s.text(format, args))
}

// warnPiece is warnAll for a text that is complete.
func (p *parse) warnPiece(block bool, text string) {
	if p.s.keeps(quirkWarningForgets) {
		text = p.errs.String() + text
		p.errs.Reset()
	}
	p.print(block, text+"\n")
}

// print prints a piece, with the command in front of it or not.
func (p *parse) print(block bool, text string) {
	if block {
		p.s.report(text)
	} else {
		p.s.reportBare(text)
	}
}

// warnLine prints text at once.
func (p *parse) warnLine(format string, args ...any) { p.s.report(p.s.text(format, args)) }

// stop ends the command because of word i with only this text; what was collected is lost.
func (p *parse) stop(i int, format string, args ...any) error {
	p.note(i)
	p.s.report(p.s.text(format, args) + "\n")
	p.s.hints(p.problems)
	return errAbandon
}

// stopAll ends the command with this and all that was collected.
func (p *parse) stopAll(i int, format string, args ...any) error {
	p.add(i, format, args...)
	return p.flush(true)
}

// flush ends the command if errors were collected.
func (p *parse) flush(block bool) error {
	if p.errs.Len() == 0 {
		return nil
	}
	text := p.errs.String() + "\n"
	p.errs.Reset()
	p.print(block, text)
	p.s.hints(p.problems)
	return errAbandon
}
