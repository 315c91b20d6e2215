package illumos

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Kernel is one illumos key engine.
type Kernel struct {
	e     *engine.Engine
	d     *wire.Dialect
	fault sadb.Fault
	tun   *engine.Tunables

	ah, esp *protocol
	inbound sadb.Index[*sa] // the inbound tables as packets see them

	acquires acquireTable
	policy   policyTable
	drops    *engine.Causes
	counters *engine.Counters
	qhiwater atomic.Uint64 // most packets seen on one acquire record

	dumps      []*dump       // not made to their end yet, in the order of asking
	dumpNumber uint64        // of the newest
	pending    atomic.Uint64 // the same while there are any, else 0; packets look at it
	placed     uint64        // how many times an SA was given its place in a bucket

	extended int          // how many times sockets have become EXTENDED
	cluster  atomic.Bool  // cluster software is loaded
	refuse   bool         // the task queue takes no entry
	stored   int          // bytes of identities that all SAs keep
	lastPass int64        // time of the last ageing pass
	due      int64        // no SA and no acquire record needs a pass before this; 0: none does
	wanted   atomic.Int64 // the same of what packets have asked for, not yet in due
	boot     int64        // passes happen at boot + n * interval
	acqSeq   atomic.Uint32
}

var _ interface {
	engine.Kernel
	engine.Packets
	engine.Timed
} = (*Kernel)(nil)

// New makes the kernel of an engine.
func New(e *engine.Engine, o engine.Options) (*Kernel, error) {
	fault, err := sadb.FaultByName(o.Fault)
	if err != nil {
		return nil, err
	}
	k := &Kernel{e: e, d: wire.Illumos(), fault: fault, boot: e.Now().Unix(), drops: causes(),
		counters: engine.NewCounters(2 * int(countersEnd))}
	k.lastPass = k.boot
	if k.tun, err = newTunables(o.Tunables); err != nil {
		return nil, fmt.Errorf("illumos: %w", err)
	}
	e.Ledger().LimitHeld(k.limit(limHeld))
	k.acqSeq.Store(0xffffffff)
	k.ah = newProtocol(k, wire.SATypeAH)
	k.esp = newProtocol(k, wire.SATypeESP)
	return k, nil
}

// Dialect implements [engine.Kernel].
func (k *Kernel) Dialect() *wire.Dialect { return k.d }

// now is the wall clock in seconds, as this kernel counts.
func (k *Kernel) now() int64 { return k.e.Now().Unix() }

// consumer is the module that handles an SA type, nil if there is none.
func (k *Kernel) consumer(t wire.SAType) *protocol {
	switch t {
	case wire.SATypeAH:
		return k.ah
	case wire.SATypeESP:
		return k.esp
	}
	return nil
}

// consumers are in ascending order of their SA type, the order in which FLUSH, DUMP and ageing go through them.
func (k *Kernel) consumers() [2]*protocol { return [2]*protocol{k.ah, k.esp} }

// SetCluster says whether cluster software is loaded: only then do IDLE SAs keep packets.
func (k *Kernel) SetCluster(loaded bool) { k.cluster.Store(loaded) }

// RefuseTasks makes the queue that re-drives packets refuse every entry, as when the original has no memory for one.
func (k *Kernel) RefuseTasks(refuse bool) { k.e.Do(func() { k.refuse = refuse }) }

// protocol is ESP or AH as a module: its SA tables by address family.
type protocol struct {
	k      *Kernel
	satype wire.SAType
	proto  uint8 // IP protocol number
	v4, v6 family
}

func newProtocol(k *Kernel, t wire.SAType) *protocol {
	p := &protocol{k: k, satype: t, proto: ip.ProtoESP}
	if t == wire.SATypeAH {
		p.proto = ip.ProtoAH
	}
	p.v4.init(p)
	p.v6.init(p)
	return p
}

func (p *protocol) isESP() bool { return p.satype == wire.SATypeESP }

// families are in the order in which everything walks them.
func (p *protocol) families() [2]*family { return [2]*family{&p.v4, &p.v6} }

// Open implements [engine.Kernel]: PF_KEY needs the privilege to configure IP.
func (k *Kernel) Open(s *engine.Socket, c pfkey.Cred, typ, proto int) (engine.Endpoint, pfkey.Errno) {
	switch {
	case typ != sockRaw:
		return nil, wire.ESOCKTNOSUPPORT
	case proto != wire.Version:
		return nil, wire.EPROTONOSUPPORT
	case !c.Privileged:
		return nil, wire.EPERM
	case int64(len(k.e.Sockets())) >= k.limit(limSockets):
		return nil, wire.ENOMEM
	}
	return k.newClient(s), wire.OK
}

// Stop implements [engine.Kernel].
func (k *Kernel) Stop() {
	k.settle()
	for _, p := range k.consumers() {
		for _, f := range p.families() {
			f.flush(dropShutdown)
		}
	}
}

// Next implements [engine.Timed]: the first pass of the ager at which something is due.
func (k *Kernel) Next() (time.Time, bool) {
	k.dueAt(k.wanted.Swap(0))
	if k.due == 0 {
		return time.Time{}, false
	}
	interval := k.ageInterval()
	k.lastPass = min(k.lastPass, k.now()) // the clock may have been set back: no pass is one of the future
	t := max(k.due, k.lastPass+1)
	passes := (t - k.boot + interval - 1) / interval
	return time.Unix(k.boot+passes*interval, 0).UTC(), true
}

// dueAt notes that something wants the first pass at or after t.
func (k *Kernel) dueAt(t int64) {
	if t != 0 && (k.due == 0 || t < k.due) {
		k.due = t
	}
}

// FindInbound returns what packets with a key find at this moment: the part of an SA that is the same in every kernel.
// It takes no lock. It is for tests that follow one SA, also when it is no longer in the database.
func (k *Kernel) FindInbound(key sadb.Key) (*sadb.SA, bool) {
	s, ok := k.inbound.Find(key, nil)
	if !ok {
		return nil, false
	}
	return &s.SA, true
}
