package ipseckey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

const prompt = "ipseckey> "

// fileLoop runs the commands of a file to its end and says how it went.
func (s *session) fileLoop(ctx context.Context, r io.Reader) error {
	s.reader = newLineReader(r, false, s.quirks)
	bar := s.startProgress()
	defer bar.clear()
	for {
		words, err := s.nextCommand()
		switch {
		case err == io.EOF:
			return s.verdict()
		case errors.Is(err, errLineTooLong):
			fmt.Fprintf(s.Stderr, "ipseckey: Line %d too big.\n", s.reader.number)
			return s.exitWith(s.Stderr, exitFatal)
		case err != nil:
			return err
		case words == nil:
			continue
		}
		s.parsed++
		before := s.added
		err = s.execute(ctx, words)
		if s.added == before {
			s.failedLines = append(s.failedLines, s.reader.number)
		}
		if err := s.failure(err); err != nil {
			return err
		}
		bar.step()
	}
}

// stdinLoop runs the commands of standard input to its end.
func (s *session) stdinLoop(ctx context.Context) error {
	s.interrupts.ignore()
	s.reader = newLineReader(s.Stdin, !s.Terminal.Stdin, s.quirks)
	switch {
	case !s.Terminal.Stdin:
	case s.Editor != nil:
		s.reader.edit = s.edit
	default:
		plain := newLineReader(s.Stdin, false, s.quirks)
		s.reader.edit = func(string) (string, error) {
			io.WriteString(s.Stdout, prompt)
			line, err := plain.physical("")
			return strings.TrimSuffix(line, "\n"), err
		}
	}
	// The original draws its prompt behind a command too, which shows when there is no terminal.
	behind := func() {
		if s.keeps(quirkPromptOnPipe) && !s.Terminal.Stdin {
			io.WriteString(s.Stdout, prompt)
		}
	}
	for {
		words, err := s.nextCommand()
		switch {
		case err == io.EOF:
			return s.quit()
		case errors.Is(err, errLineDropped), errors.Is(err, errLineAbandoned):
			continue
		case errors.Is(err, errLineTooLong):
			fmt.Fprintf(s.Stderr, "ipseckey: Line too long (max=%d chars)\n", lineSize)
			s.failed = true
			continue
		case err != nil:
			return err
		case words == nil && !isComment(s.command):
			behind()
			continue
		case words == nil:
			continue
		}
		s.remember()
		err = s.execute(ctx, words)
		if err == nil || errors.Is(err, errUnknown) {
			behind()
		}
		if err := s.failure(err); err != nil {
			return err
		}
	}
}

// Prompts. The second one asks for the rest of a command.
const morePrompt = "        > "

// edit reads a line with the editor. The original keeps no history and completes nothing.
func (s *session) edit(before string) (string, error) {
	p := prompt
	if before != "" && !s.compat {
		p = morePrompt
	}
	if s.compat {
		return s.Editor.ReadLine(p, nil)
	}
	return s.Editor.ReadLine(p, func(line string, at int) (int, []string) { return s.complete(before, line, at) })
}

// remember puts a command into the history of the editor.
func (s *session) remember() {
	if s.Editor == nil || !s.Terminal.Stdin || len(s.words) == 0 {
		return
	}
	line := strings.Join(strings.Fields(s.command), " ")
	safe := ""
	if !s.compat {
		safe = strings.Join(strings.Fields(maskCommand(s.command, s.words)), " ")
	}
	s.Editor.Remember(line, safe)
}

// failure remembers that a command failed and returns the error that ends the run, if it is one.
func (s *session) failure(err error) error {
	switch {
	case err == nil, errors.Is(err, errSent):
		return nil
	case errors.Is(err, errAbandon), errors.Is(err, errUnknown):
		s.failed = true
		return nil
	}
	return err
}

// nextCommand reads a command and its words; none for a comment and for a line without words.
func (s *session) nextCommand() ([]word, error) {
	s.sync()
	command, err := s.reader.read()
	if errors.Is(err, errJoinedTooLong) {
		fmt.Fprint(s.Stderr, "ipseckey: Command buffer overrun.\n")
		return nil, s.exitWith(s.Stderr, exitFatal)
	}
	s.command, s.words, s.secrets = command, nil, nil
	if err != nil || isComment(command) || strings.TrimLeft(command, spaces) == "" {
		return nil, err
	}
	s.words, s.secrets = splitWords(command), nil
	return s.words, nil
}

// verdict ends a file.
func (s *session) verdict() error {
	switch failed := s.parsed - s.added; {
	case s.parsed > 0 && s.added == 0:
		fmt.Fprint(s.Stderr, "ipseckey: Configuration file did not contain any valid SAs\n")
	case failed > 0 && s.smf:
		fmt.Fprintf(s.Stderr, "ipseckey: The configuration file contained %d errors.\n"+
			"Manually check the configuration with:\nipseckey -c %s\n"+
			"Use svcadm(1M) to clear maintenance condition when errors are resolved.\n\n", failed, s.file)
	case failed > 0:
	default:
		if s.smf {
			fmt.Fprintf(s.Stderr, "ipseckey: %d actions successfully processed.\n", s.added)
		}
		if s.json {
			s.tally()
		}
		return &exit{ExitDone}
	}
	err := s.exitWith(s.Stderr, exitBadConfig)
	s.tally()
	return err
}

// maxFailedLines bounds how many lines are named.
const maxFailedLines = 20

// tally says what was done of a file and what was not, and where that stands. Of one in which nothing was good the
// original has said so.
func (s *session) tally() {
	if s.json {
		done, failed := s.added, s.parsed-s.added
		s.emitJSON(Result{Command: "file", OK: failed == 0, File: s.file, Done: &done, Failed: &failed,
			FailedLines: s.failedLines})
	}
	if s.keeps(quirkSilentVerdict) || s.smf || len(s.failedLines) == 0 || s.added == 0 {
		return
	}
	what, where := "carried out", "line"
	if s.check {
		what = "good"
	}
	if len(s.failedLines) > 1 {
		where = "lines"
	}
	var lines []string
	for _, n := range s.failedLines[:min(len(s.failedLines), maxFailedLines)] {
		lines = append(lines, strconv.Itoa(n))
	}
	rest := ""
	if n := len(s.failedLines) - maxFailedLines; n > 0 {
		rest = fmt.Sprintf(" and %d more", n)
	}
	fmt.Fprintf(s.Stderr, "ipseckey: %s: %d of %d commands %s, %d not: %s %s%s\n", s.file, s.added, s.parsed, what,
		s.parsed-s.added, where, strings.Join(lines, ", "), rest)
}
