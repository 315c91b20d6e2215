package linux

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Limits that the original leaves to memory. What would go beyond gets ENOBUFS, as when there is no memory; a socket
// ENFILE, as when the system has no file for it.
const (
	maxSAs      = 1 << 22
	maxPolicies = 1 << 20
	maxSockets  = 1024
)

// Kernel is one Linux network namespace with its key engine.
type Kernel struct {
	e   *engine.Engine
	d   *wire.Dialect
	tun *engine.Tunables

	states   stateTable
	policies policyTable
	timers   engine.Timers
	encaps   encapTable
	drops    *engine.Causes

	request     request      // the one being handled
	registered  atomic.Int32 // sockets that have registered any SA type; written under the control lock
	promiscuous int          // sockets that are
	acqSeq      uint32       // the last ACQUIRE's
	reqID       uint32       // the last one chosen for level "unique"
	ipID        atomic.Uint32
}

// New makes the kernel of an engine.
func New(e *engine.Engine, o engine.Options) (*Kernel, error) {
	if fault, err := sadb.FaultByName(o.Fault); err != nil {
		return nil, err
	} else if fault != sadb.NoFault {
		return nil, fmt.Errorf("linux: fault %v is one of the larval queue, which this kernel has not", fault)
	}
	k := &Kernel{e: e, d: wire.Linux(), drops: engine.NewCauses(dropRows[:]), reqID: manualReqIDMax}
	var err error
	if k.tun, err = engine.NewTunables(o.Tunables, engine.Module{Rows: tunableRows[:]}); err != nil {
		return nil, fmt.Errorf("linux: %w", err)
	}
	k.states.init(k.d.Order)
	k.policies.init()
	return k, nil
}

// Dialect implements [engine.Kernel].
func (k *Kernel) Dialect() *wire.Dialect { return k.d }

// now is the wall clock in seconds.
func (k *Kernel) now() int64 { return k.e.Now().Unix() }

// Open implements [engine.Kernel].
func (k *Kernel) Open(s *engine.Socket, c pfkey.Cred, typ, proto int) pfkey.Errno {
	switch {
	case !c.Privileged:
		return wire.EPERM
	case typ != sockRaw:
		return wire.ESOCKTNOSUPPORT
	case proto != wire.Version:
		return wire.EPROTONOSUPPORT
	case len(k.e.Sockets()) >= maxSockets:
		return wire.ENFILE
	}
	s.Data = k.newClient(s)
	return wire.OK
}

// Closed implements [engine.Kernel].
func (k *Kernel) Closed(s *engine.Socket) {
	c := clientOf(s)
	c.endDump()
	if c.registered != 0 {
		k.registered.Add(-1)
	}
	if c.promisc {
		k.promiscuous--
	}
}

// Call implements [engine.Kernel]. A send() with an address is a send() without.
func (k *Kernel) Call(_ *engine.Socket, c pfkey.Call) pfkey.Errno {
	if c == pfkey.CallSendTo {
		return wire.OK
	}
	return wire.EOPNOTSUPP
}

// Stop implements [engine.Kernel]: no packet waits here.
func (k *Kernel) Stop() {}

// Next implements [engine.Kernel].
func (k *Kernel) Next() (time.Time, bool) { return k.timers.Next() }

// Age implements [engine.Kernel]: it runs the timers that are due.
func (k *Kernel) Age(now time.Time, _ bool) { k.timers.Run(now) }
