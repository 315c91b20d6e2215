package ipseckey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
)

const prompt = "ipseckey> "

// fileLoop runs the commands of a file to its end and says how it went.
func (s *session) fileLoop(ctx context.Context, r io.Reader) error {
	s.reader = newLineReader(r, false, s.quirks)
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
		if err := s.failure(s.execute(ctx, words)); err != nil {
			return err
		}
	}
}

// stdinLoop runs the commands of standard input to its end.
func (s *session) stdinLoop(ctx context.Context) error {
	s.interrupts.ignore()
	s.reader = newLineReader(s.Stdin, !s.Terminal.Stdin, s.quirks)
	if s.Terminal.Stdin {
		s.reader.prompt = func() { io.WriteString(s.Stdout, prompt) }
	}
	// The original draws its prompt behind a command too, which shows when there is no terminal.
	behind := func() {
		if s.keeps(QuirkPromptOnPipe) && !s.Terminal.Stdin {
			io.WriteString(s.Stdout, prompt)
		}
	}
	for {
		words, err := s.nextCommand()
		switch {
		case err == io.EOF:
			return s.quit()
		case errors.Is(err, errLineDropped):
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
		err = s.execute(ctx, words)
		if err == nil || errors.Is(err, errUnknown) {
			behind()
		}
		if err := s.failure(err); err != nil {
			return err
		}
	}
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
	s.command, s.words = command, nil
	if err != nil || isComment(command) || strings.TrimLeft(command, " \t\n\v\f\r") == "" {
		return nil, err
	}
	s.words = splitWords(command)
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
		return &exit{ExitDone}
	}
	return s.exitWith(s.Stderr, exitBadConfig)
}
