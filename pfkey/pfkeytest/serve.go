package pfkeytest

import (
	"context"
	"os"
	"path/filepath"
	"sync"

	"github.com/pfkeyd/pfkeyd/internal/station"
)

// Serve makes the host reachable for other programs, as "pfkeyd serve" does with an engine, and returns the address
// (their PFKEY_ENGINE): PF_KEY sockets, and beside them the packet port, the control port ("pfkeyd status" and "pfkeyd
// clock" of a host under test) and the one for "pfkeyd run --engine". A second call returns the same.
//
// What comes through any of them is heard by [Host.WaitRequest].
func (h *Host) Serve() string {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		h.t.Fatalf("the host is closed")
		return ""
	}
	if h.address != "" {
		return h.address
	}
	address, err := h.serveLocked()
	if err != nil {
		h.t.Fatalf("%v", err)
		return ""
	}
	h.address = address
	return address
}

// serveLocked needs h.mu held.
func (h *Host) serveLocked() (string, error) {
	// A test's own temporary directory may have a name that is too long for the address of a socket.
	dir, err := os.MkdirTemp("", "pfkey")
	if err != nil {
		return "", err
	}
	h.closers = append(h.closers, func() { os.RemoveAll(dir) })
	s, err := station.Listen(h.engine, filepath.Join(dir, "s"))
	if err != nil {
		return "", err
	}
	o := station.Options{Front: h.sockets, Log: h.options.Log}
	if h.liar != nil {
		o.Counters = map[string]func() any{"hostile": func() any { return h.liar.Counters() }}
	}
	ctx, stop := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.Run(ctx, o); err != nil {
			h.t.Errorf("serve: %v", err)
		}
	})
	h.closers = append(h.closers, func() {
		stop()
		serving.Wait()
	})
	return s.Address().String(), nil
}
