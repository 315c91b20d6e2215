package kame

import (
	"fmt"
	"maps"
	"net/netip"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Kernel is one running system of KAME's family.
type Kernel struct {
	e    *engine.Engine
	d    *wire.Dialect
	page *Page
	heir Heir
	tun  *engine.Tunables

	handlers map[wire.MsgType]Handler
	knobs    map[string]int // places of the tunables, by their names

	db      heads
	inbound sadb.Index[*SA] // what packets find by their SPI

	spd      policies
	acquires acquires

	tally  tally
	encaps encapsulated

	boot    int64 // Unix time
	wallSet int64 // seconds by which somebody has set the wall clock
	passed  int64 // uptime of the last pass
	ageings []ageing
	timers  engine.Timers    // of SAs
	flagged map[*SA]struct{} // that packets want to be looked at
	due     []*SA            // in the pass that is running
	empty   []*Head          // that the next pass looks at, and maybe takes out
}

var _ interface {
	engine.Kernel
	engine.Packets
	engine.Timed
} = (*Kernel)(nil)

// FirstSecond is how long a machine has been up when its engine begins: an uptime of 0 stands for never.
const FirstSecond = time.Second

// New makes the kernel of an engine from an heir's page. heir makes what the heir does in its own way; it may keep the
// kernel, which is not ready yet, but has its tunables.
func New(e *engine.Engine, o engine.Options, page *Page, heir func(*Kernel) Heir) (*Kernel, error) {
	k := &Kernel{e: e, d: page.Dialect, page: page, boot: e.Now().Add(-FirstSecond).Unix(), handlers: handlers(page)}
	k.tally, k.encaps = newTally(&page.Packets.Counters), encapsulated{ipsec.NATTPort, ipsec.NATTPort}
	k.flagged = map[*SA]struct{}{}
	k.spd.init()
	k.acquires.init()
	k.ageings = []ageing{policyAgeing{k}, saAgeing{k}, acquireAgeing{k}}
	k.db.init(max(page.Buckets, 1))
	name := page.Dialect.Name
	if fault, err := sadb.FaultByName(o.Fault); err != nil {
		return nil, err
	} else if fault != sadb.NoFault {
		return nil, fmt.Errorf("%s: fault %v is one of the larval queue, which this kernel has not", name, fault)
	}
	var err error
	if k.tun, err = engine.NewTunables(o.Tunables, engine.Module{Base: 10, Rows: page.Tunables}); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	k.knobs = make(map[string]int, len(page.Tunables))
	for i, t := range page.Tunables {
		k.knobs[t.Name] = i
	}
	k.heir = heir(k)
	return k, nil
}

// Dialect implements [engine.Kernel].
func (k *Kernel) Dialect() *wire.Dialect { return k.d }

// Stop implements [engine.Kernel]: no packet waits here.
func (k *Kernel) Stop() {}

// handlers are those of the messages that every heir has, and the heir's own.
func handlers(page *Page) map[wire.MsgType]Handler {
	all := map[wire.MsgType]Handler{
		wire.MsgGetSPI:   (*Kernel).getSPI,
		wire.MsgUpdate:   (*Kernel).update,
		wire.MsgAdd:      (*Kernel).add,
		wire.MsgDelete:   (*Kernel).delete,
		wire.MsgGet:      (*Kernel).get,
		wire.MsgRegister: (*Kernel).register,
		wire.MsgFlush:    (*Kernel).flush,
		wire.MsgDump:     (*Kernel).dump,
		wire.MsgXPromisc: (*Kernel).promisc,
	}
	maps.Copy(all, policyHandlers)
	maps.Copy(all, page.Handlers)
	return all
}

// Own tells whether an address is the host's, which has the usual ones of the loopback interface.
func (k *Kernel) Own(a netip.Addr) bool { return a == loopback4 || a == loopback6 || k.e.Host().Own(a) }

var loopback4, loopback6 = netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
