package pfkey

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"

	"github.com/pfkeyd/pfkeyd/wire"
)

// OpError is the type of every error of a [Client].
//
// What the kernel answered and what went wrong on the way to it can be told apart: an errno from inside a reply (Op is
// OpAnswer) stands in Err as the raw unix.Errno of this host with the same name, whichever dialect the number came
// from, so errors.Is(err, unix.EEXIST) works; the errno of a system call is wrapped in an os.SyscallError.
type OpError struct {
	Op  string // OpDial, OpSend, OpReceive or OpAnswer
	Msg string // the message it was about, such as "ADD"; empty if none
	// Of an answer: what the request named, such as "esp 0x1000 from 192.0.2.1 to 192.0.2.2"; empty if nothing.
	Subject    string
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
	if e.Subject != "" {
		s += " " + e.Subject
	}
	s += ": " + strings.TrimPrefix(errnoText(e.Err), "pfkey: ")
	if e.Diagnostic != "" {
		s += " (diagnostic " + e.Diagnostic + ")"
	}
	return s
}

// errnoText is the text of an error. An errno has its name too, which people know and can look up.
func errnoText(err error) string {
	n, ok := err.(syscall.Errno)
	name := errnoName(n)
	switch {
	case !ok || name == "":
		return err.Error()
	case n == syscall.EOPNOTSUPP:
		name = "EOPNOTSUPP" // ENOTSUP has the same number on some systems
	}
	return name + ", " + n.Error()
}

func (e *OpError) Unwrap() error { return e.Err }

// Timeout says whether the deadline of a context or of a descriptor had passed.
func (e *OpError) Timeout() bool {
	return errors.Is(e.Err, context.DeadlineExceeded) || errors.Is(e.Err, os.ErrDeadlineExceeded)
}

// hostErrnos turns names into numbers of this system.
var hostErrnos = sync.OnceValue(func() map[string]syscall.Errno {
	// The two have the same number on some systems.
	m := map[string]syscall.Errno{"EOPNOTSUPP": syscall.EOPNOTSUPP, "ENOTSUP": syscall.ENOTSUP}
	for n := syscall.Errno(1); n < 256; n++ {
		if name := errnoName(n); name != "" {
			if _, ok := m[name]; !ok {
				m[name] = n
			}
		}
	}
	return m
})

// HostErrno is the errno of this system with the same name; false if it has none.
func HostErrno(e Errno) (syscall.Errno, bool) {
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

// subjectOf is what a request is about: its SA, and its addresses with their prefixes if they are networks.
func subjectOf(d *wire.Dialect, request []byte) string {
	h, err := d.Header(request)
	if err != nil {
		return ""
	}
	var words []string
	if x, ok := d.Find(request, wire.ExtSA); ok {
		if sa, err := d.ParseSA(x.Raw); err == nil {
			words = append(words, sa.SPI.String())
		}
	}
	for _, end := range []struct {
		preposition string
		ext         wire.ExtType
	}{{"from", wire.ExtAddressSrc}, {"to", wire.ExtAddressDst}} {
		x, ok := d.Find(request, end.ext)
		if !ok {
			continue
		}
		a, err := d.ParseAddress(x.Raw)
		if err != nil || !a.Addr.IsValid() {
			continue
		}
		text := a.Addr.Unmap().String()
		if n := a.Addr.Unmap().BitLen(); int(a.PrefixLen) < n && a.PrefixLen != 0 && a.Addr.Unmap() == a.Addr {
			text += fmt.Sprintf("/%d", a.PrefixLen)
		}
		words = append(words, end.preposition, text)
	}
	if h.SAType != wire.SATypeUnspec {
		words = append([]string{d.SATypeName(h.SAType)}, words...)
	}
	return strings.Join(words, " ")
}

// answerError is the error that the header of a reply tells of, nil if none. request may be nil.
func answerError(d *wire.Dialect, h wire.Header, request []byte) error {
	if h.Errno == 0 {
		return nil
	}
	e := &OpError{Op: OpAnswer, Msg: d.MsgName(h.Type), Subject: subjectOf(d, request)}
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
