package pfkey

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/wire"
)

// OpError is the type of every error of a [Client].
//
// What the kernel answered and what went wrong on the way to it can be told apart: an errno from inside a reply (Op is
// OpAnswer) stands in Err as the raw unix.Errno of this host with the same name, whichever dialect the number came from, so
// errors.Is(err, unix.EEXIST) works; the errno of a system call is wrapped in an os.SyscallError.
type OpError struct {
	Op         string // OpDial, OpSend, OpReceive or OpAnswer
	Msg        string // the message it was about, such as "ADD"; empty if none
	Diagnostic string // what illumos says beyond the errno, such as "DUPLICATE_SA"; empty if nothing
	Err        error
}

// What was being done when an error occurred.
const (
	OpDial    = "dial"
	OpSend    = "send"
	OpReceive = "receive"
	OpAnswer  = "answer" // the kernel answered with an errno, or with something that cannot be read
)

func (e *OpError) Error() string {
	s := "pfkey: "
	switch {
	case e.Op == OpAnswer && e.Msg != "":
		s += e.Msg
	case e.Msg != "":
		s += e.Op + " " + e.Msg
	default:
		s += e.Op
	}
	s += ": " + strings.TrimPrefix(e.Err.Error(), "pfkey: ")
	if e.Diagnostic != "" {
		s += " (diagnostic " + e.Diagnostic + ")"
	}
	return s
}

func (e *OpError) Unwrap() error { return e.Err }

// Timeout says whether the deadline of a context or of a descriptor had passed.
func (e *OpError) Timeout() bool {
	return errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, os.ErrDeadlineExceeded)
}

// hostErrnos turns names into numbers of this system.
var hostErrnos = sync.OnceValue(func() map[string]unix.Errno {
	m := map[string]unix.Errno{"EOPNOTSUPP": unix.EOPNOTSUPP, "ENOTSUP": unix.ENOTSUP} // the same number on some
	for n := unix.Errno(1); n < 256; n++ {
		if name := unix.ErrnoName(n); name != "" {
			if _, ok := m[name]; !ok {
				m[name] = n
			}
		}
	}
	return m
})

// HostErrno is the errno of this system with the same name; false if it has none.
func HostErrno(e Errno) (unix.Errno, bool) {
	n, ok := hostErrnos()[e.String()]
	return n, ok
}

// unknownErrno is an errno that this system does not have.
type unknownErrno string

func (e unknownErrno) Error() string {
	return "errno " + string(e) + ", which this system does not have"
}

// hostError is e as an error: a unix.Errno wherever possible. It is nil for OK.
func hostError(e Errno) error {
	if e == wire.OK {
		return nil
	}
	if n, ok := HostErrno(e); ok {
		return n
	}
	return unknownErrno(e.String())
}

// answerError is the error that the header of a reply tells of, nil if none.
func answerError(d *wire.Dialect, h wire.Header) error {
	if h.Errno == 0 {
		return nil
	}
	e := &OpError{Op: OpAnswer, Msg: d.MsgName(h.Type)}
	if h.Reserved != 0 {
		e.Diagnostic = d.DiagnosticName(h.Reserved)
	}
	if sym, ok := d.Errno(h.Errno); ok {
		e.Err = hostError(sym)
	} else {
		e.Err = unknownErrno(d.ErrnoName(h.Errno))
	}
	return e
}
