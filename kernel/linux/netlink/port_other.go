//go:build !linux

package netlink

import "errors"

// port has no kernel to speak to.
type port struct{}

var (
	errOverrun = errors.New("netlink: news has been lost")
	errClosed  = errors.New("netlink: closed")
	errNone    = unsupported{errors.New("netlink: XFRM is Linux's; this system has none")}
)

// errPermission is never seen.
var errPermission error = errNone

func apart(f func()) { f() }

func open() (*port, error)                { return nil, errNone }
func (*port) counters() map[string]uint64 { return nil }

// Sysctl finds nothing.
func Sysctl(string) (int, bool) { return 0, false }

func (*port) close()                  {}
func (*port) abandon()                {}
func (*port) send([]byte) error       { return errNone }
func (*port) answer() ([]byte, error) { return nil, errNone }
func (*port) next() ([]byte, error)   { return nil, errNone }
func (*port) wait() error             { return errNone }
func (*port) acquires(bool) error     { return errNone }
func (*port) dumpRoutes([]byte, func([]byte) (bool, error)) error {
	return errNone
}

func number(error) int { return 0 }
