package bsd

import (
	"bufio"
	"errors"
	"iter"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// The recordings of NetBSD 7.99, made with a rump kernel, are in a format of their own: a scenario is a file, a line of
// it is a step, or one message that came after a step. Summaries and notes are for people.

type rumpLine struct {
	Scenario string `json:"scenario"`
	Step     int    `json:"step"`
	Op       string `json:"op"`
	Note     string `json:"note"`
}

type rumpSocket struct {
	Sock string `json:"sock"`
}

type rumpMessage struct {
	Hex  conform.Hex `json:"hex"`
	From conform.Hex `json:"from"` // the address that the reader got
	Msg  string      `json:"msg"`
}

type rumpResult struct {
	Ret   int    `json:"ret"`
	Errno int    `json:"errno"` // the kernel's number
	Name  string `json:"errname"`
}

type rumpAbout struct {
	Text string `json:"text"`
}

// wait lets time pass.
type wait struct {
	Seconds float64 `json:"seconds"`
}

// other is something else that was done, and what came of it, in words.
type other struct {
	Cmd    string `json:"cmd,omitempty"`
	Result string `json:"result,omitempty"`
}

// readRump reads a file of that format, which begins with the name of the scenario.
func readRump(r *bufio.Reader, file string) iter.Seq2[*conform.Scenario, error] {
	const first = `{"scenario":`
	if start, _ := r.Peek(len(first)); string(start) != first {
		return nil
	}
	return func(yield func(*conform.Scenario, error) bool) {
		sc := &conform.Scenario{File: file, Line: 1}
		lines, n := conform.NewScanner(r), 0
		for lines.Scan() {
			n++
			err := addRump(sc, lines.Bytes())
			if err != nil && !yield(nil, &conform.InputError{File: file, Line: n, Err: err}) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, &conform.InputError{File: file, Line: n + 1, Err: err})
			return
		}
		yield(sc, nil)
	}
}

// addRump adds a line to a scenario.
func addRump(sc *conform.Scenario, line []byte) error {
	var l rumpLine
	var on rumpSocket
	var m rumpMessage
	var ret rumpResult
	st := conform.Step{}
	parts := map[string][]any{"about": {new(rumpAbout)}, "open": {&on, &ret}, "close": {&on}, "send": {&on, &m, &ret},
		"recv": {&on, &m}, "wait": {new(wait)}, "other": {new(other)}}
	err := conform.Decode(line, func(op string) []any {
		if parts[op] == nil {
			return nil
		}
		return append(parts[op], &l)
	})
	if err != nil {
		return err
	}
	sc.Name = l.Scenario
	st.Op, st.Socket = l.Op, on.Sock
	switch l.Op {
	case "about":
		return nil
	case "recv":
		if len(sc.Steps) == 0 {
			return errors.New("op recv: a message before any step")
		}
		last := &sc.Steps[len(sc.Steps)-1]
		last.Rx = append(last.Rx, conform.Message{Socket: on.Sock, Hex: m.Hex, EOF: len(m.Hex) == 0})
		return nil
	case "open":
		st.Args = new(conform.Open)
	case "close":
		st.Args = new(conform.Close)
	case "send":
		st.Args = &conform.Send{Sending: conform.Sending{Hex: m.Hex}}
	default:
		st.Args = parts[l.Op][0]
	}
	st.Ret, st.Errno = ret.Ret, ret.Name
	if _, ok := wire.ErrnoByName(ret.Name); (ret.Errno != 0) != ok {
		return errors.New("op " + l.Op + ": errno without its name")
	}
	sc.Steps = append(sc.Steps, st)
	return nil
}
