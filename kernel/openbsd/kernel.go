package openbsd

import (
	"fmt"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Kernel is one running system.
type Kernel struct {
	e   *engine.Engine
	d   *wire.Dialect
	tun *engine.Tunables

	tdb      tdb
	spd      spdb
	acquires acquires
	timers   engine.Timers
	tally    tally

	seq        atomic.Uint32 // the number of the last ACQUIRE or EXPIRE
	registered atomic.Int64  // sockets that have registered anything

	rdomains int           // the last routing domain that there is
	homes    map[int32]int // routing domains of processes, by their ids, but for those in the first one
}

var _ interface {
	engine.Kernel
	engine.Packets
	engine.Timed
} = (*Kernel)(nil)

// New makes the kernel of an engine.
func New(e *engine.Engine, o engine.Options) (*Kernel, error) {
	k := &Kernel{e: e, d: wire.OpenBSD(), tally: newTally(), homes: map[int32]int{}}
	k.tdb.init(e.Random)
	if fault, err := sadb.FaultByName(o.Fault); err != nil {
		return nil, err
	} else if fault != sadb.NoFault {
		return nil, fmt.Errorf("openbsd: fault %v is one of the larval queue, which this kernel has not", fault)
	}
	var err error
	if k.tun, err = engine.NewTunables(o.Tunables, engine.Module{Base: 10, Rows: tunables}); err != nil {
		return nil, fmt.Errorf("openbsd: %w", err)
	}
	return k, nil
}

// Dialect implements [engine.Kernel].
func (k *Kernel) Dialect() *wire.Dialect { return k.d }

// Stop implements [engine.Kernel]: no packet waits here.
func (k *Kernel) Stop() {}

// nextSeq is the number of the next ACQUIRE or EXPIRE, from 1.
func (k *Kernel) nextSeq() uint32 { return k.seq.Add(1) }

// AddRDomains has the routing domains from 1 to last come into being. It takes the control lock.
func (k *Kernel) AddRDomains(last int) { k.e.Do(func() { k.rdomains = max(k.rdomains, last) }) }

// EnterRDomain moves a process to a routing domain (setrtable(2)): sockets that it opens from now on live there.
// EINVAL: there is no such domain. It takes the control lock.
func (k *Kernel) EnterRDomain(pid int32, rdomain int) (errno wire.Errno) {
	k.e.Do(func() {
		if errno = wire.EINVAL; k.hasRDomain(rdomain) {
			k.homes[pid], errno = rdomain, wire.OK
		}
		if rdomain == 0 {
			delete(k.homes, pid)
		}
	})
	return errno
}

func (k *Kernel) hasRDomain(n int) bool { return n >= 0 && n <= k.rdomains }
