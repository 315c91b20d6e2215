package wire

import (
	"errors"
	"fmt"
)

// Causes inside a [DecodeError].
var (
	ErrShort = errors.New("too short") // data ends before the fixed part does
	// a length field is zero, lies past the end or contradicts the content
	ErrLength    = errors.New("length does not fit")
	ErrFamily    = errors.New("unknown address family") // a sockaddr of neither IPv4 nor IPv6
	ErrVersion   = errors.New("version is not 2")       // of the base header
	ErrDuplicate = errors.New("comes twice")
	ErrType      = errors.New("extension type is unknown") // to the dialect, or zero
)

// Refinements; errors.Is finds the causes above.
var (
	errZeroLength = fmt.Errorf("%w: it is zero", ErrLength)
	errPastEnd    = fmt.Errorf("%w: it lies past the end of the message", ErrLength)
	errMsgLength  = fmt.Errorf("%w: the header says another length than the message has", ErrLength)
	errNotWords   = fmt.Errorf("%w: not a multiple of 8 bytes", ErrLength)
	errTrailing   = fmt.Errorf("%w for the header of an extension", ErrShort)
)

// DecodeError says where a message or an extension is malformed.
type DecodeError struct {
	// bytes, from the start of what was decoded: the message for Walk and Validate, the extension for Parse
	Offset int
	Ext    ExtType // the extension it is in, 0 if unknown or none
	Name   string  // the extension's name, empty if Ext is 0
	Err    error   // ErrShort, ErrLength, ...

	number uint16 // of the extension's type in the message
}

func (e *DecodeError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("wire: at byte %d: %v", e.Offset, e.Err)
	}
	return fmt.Sprintf("wire: %s (extension %d), at byte %d: %v", e.Name, e.number, e.Offset, e.Err)
}

// Unwrap gives the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

// LackError says that a dialect does not have an extension.
type LackError struct {
	Dialect string
	Ext     ExtType
}

func (e *LackError) Error() string {
	return fmt.Sprintf("wire: %s has no %s extension", e.Dialect, e.Ext)
}

// fail makes the error of an extension, at an offset into raw.
func (d *Dialect) fail(raw []byte, off int, err error) error {
	e := &DecodeError{Offset: off, Err: err}
	if len(raw) >= extHeaderLen {
		e.number = d.u16(raw[2:])
		e.Ext = d.ExtType(e.number)
		e.Name = d.ExtName(e.Ext)
	}
	return e
}

// need checks that raw has n bytes.
func (d *Dialect) need(raw []byte, n int) error {
	if len(raw) < n {
		return d.fail(raw, len(raw), ErrShort)
	}
	return nil
}
