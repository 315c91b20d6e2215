// Package words tells of errors to people who type commands.
package words

import (
	"context"
	"errors"
	"net"
	"os"
	"regexp"
	"syscall"
)

var (
	// origin is where a library says which of its packages, or which system call, an error is from. That helps who
	// writes a program, and nobody else.
	origin = regexp.MustCompile(`(^|: )(?:pfkey: dial|pfkey|kernel|control|packetport|launch|hostile|trace|conform|` +
		`racelab|ipseckey|engine|ipsec|sadb|wire|time|strconv|json|connect): `)
	// dialed is how the net package names what it could not connect to, or listen at.
	dialed = regexp.MustCompile(`(?:dial|listen) unix(?:packet|gram)? (\S+): (?:(?:connect|bind): )?`)
)

// Text is an error in words for people: what went wrong with what, without the names of packages.
func Text(err error) string {
	text := dialed.ReplaceAllString(err.Error(), "$1: ")
	for {
		shorter := origin.ReplaceAllString(text, "$1")
		if shorter == text {
			return text
		}
		text = shorter
	}
}

// Reason is why a system call or a wait failed, without what it was about: of "dial unix /x: connect: connection
// refused" it leaves "connection refused". Of an error of another kind it is the [Text].
func Reason(err error) string {
	var errno syscall.Errno
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.As(err, &errno):
		return errno.Error()
	case errors.As(err, &op):
		return op.Err.Error()
	}
	return Text(err)
}

// An Error is another one in words for people. It stays findable in the chain.
type Error struct{ Err error }

func (e *Error) Error() string { return Text(e.Err) }

// Unwrap returns the error as it was.
func (e *Error) Unwrap() error { return e.Err }
