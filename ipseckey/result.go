package ipseckey

import (
	"encoding/json"
	"errors"
	"strings"
)

// Result is how a command went, as --json prints it, one object a line. As in [Record], names are stable. It can be
// told from a Record by its member "command".
//
// dump, get, getspi and monitor print records, and a result only if they fail. The other commands print one result
// each. A file ends with one whose command is "file".
type Result struct {
	Command  string   `json:"command"`            // "add", "flush", ...
	OK       bool     `json:"ok"`                 // it did what it should
	Line     int      `json:"line,omitempty"`     // of the file or of standard input: the last one of the command
	Answers  []Record `json:"answers,omitempty"`  // of the key engine, refusals too; keys are left out
	Messages []string `json:"messages,omitempty"` // errors and warnings, as people see them

	Saved *int `json:"saved,omitempty"` // save: how many SAs

	File        string `json:"file,omitempty"`         // file: its name
	Done        *int   `json:"done,omitempty"`         // file: how many commands did what they should
	Failed      *int   `json:"failed,omitempty"`       // file: how many did not
	FailedLines []int  `json:"failed_lines,omitempty"` // file: where those stand
}

// HelpEntry is a line of help --json.
type HelpEntry struct {
	Help    string `json:"help"`              // the command or keyword
	Text    string `json:"text,omitempty"`    // what it does
	Keyword bool   `json:"keyword,omitempty"` // it is a keyword
}

// emitJSON prints an object on a line of its own.
func (s *session) emitJSON(v any) {
	if b, err := json.Marshal(v); err == nil {
		s.Stdout.Write(append(b, '\n'))
	}
}

// note keeps what was printed for people, for the result of the command.
func (s *session) note(text string) {
	if s.json {
		if text = strings.TrimSpace(text); text != "" {
			s.result.Messages = append(s.result.Messages, text)
		}
	}
}

// answered keeps an answer of the engine for the result of the command.
func (s *session) answered(msg []byte) {
	if s.json {
		s.result.Answers = append(s.result.Answers, *NewRecord(s.dial, msg, false))
	}
}

// finish prints the result of a command, if it has one.
func (s *session) finish(name string, err error) {
	if !s.json {
		return
	}
	var e *exit
	r := s.result
	s.result = Result{}
	r.Command, r.OK = name, err == nil || errors.Is(err, errSent) || errors.As(err, &e) && e.code == ExitDone
	c, _ := s.findCommand(name)
	switch c.verb {
	case verbMonitor, verbPassive: // an interrupt is how they end
		if len(r.Messages) == 0 {
			return
		}
	case verbDump, verbGetSPI, verbHelp, verbQuit, verbExplain, verbCompletion:
		if r.OK {
			return
		}
	case verbFind:
		if r.OK && name == "get" {
			return
		}
	}
	if s.reader != nil {
		r.Line = s.reader.number
	}
	s.emitJSON(r)
}
