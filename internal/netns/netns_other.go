//go:build !linux

package netns

import (
	"errors"
	"net/netip"
)

// A Namespace is a network namespace. There are none on this system.
type Namespace struct{}

var errNone = errors.New("network namespaces are Linux's; this system has none")

// New says that there are none.
func New() (*Namespace, error) { return nil, errNone }

// Close does nothing.
func (*Namespace) Close() error { return nil }

// Do runs nothing.
func (*Namespace) Do(func() error) error { return errNone }

// Enter says that there are none.
func (*Namespace) Enter() error { return errNone }

// AddAddr says that there are none.
func (*Namespace) AddAddr(netip.Addr) error { return errNone }
