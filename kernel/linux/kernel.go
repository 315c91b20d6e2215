package linux

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/linux/afkey"
	"github.com/pfkeyd/pfkeyd/kernel/linux/xfrm"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Kernel is one Linux network namespace with its key engine.
type Kernel struct {
	d          *wire.Dialect
	tun        *engine.Tunables
	sockets    *afkey.Manager
	transforms *xfrm.Transforms
}

var _ interface {
	engine.Kernel
	engine.Packets
	engine.Timed
} = (*Kernel)(nil)

// New makes the kernel of an engine.
func New(e *engine.Engine, o engine.Options) (*Kernel, error) {
	if fault, err := sadb.FaultByName(o.Fault); err != nil {
		return nil, err
	} else if fault != sadb.NoFault {
		return nil, fmt.Errorf("linux: fault %v is one of the larval queue, which this kernel has not", fault)
	}
	k := &Kernel{d: wire.Linux()}
	var err error
	if k.tun, err = engine.NewTunables(o.Tunables, engine.Module{Base: 10, Rows: tunableRows[:]}); err != nil {
		return nil, fmt.Errorf("linux: %w", err)
	}
	k.transforms = xfrm.New(e, k.d.Order, k.tunable(tunAcqExpires))
	k.sockets = afkey.New(e, k.d, k.transforms, afkey.Buffers{
		RecvDefault: k.tunable(tunRecvDefault), RecvMax: k.tunable(tunRecvMax),
		SendDefault: k.tunable(tunSendDefault), SendMax: k.tunable(tunSendMax)})
	k.transforms.Serve(k.sockets)
	return k, nil
}

// Dialect implements [engine.Kernel].
func (k *Kernel) Dialect() *wire.Dialect { return k.d }

// Open implements [engine.Kernel].
func (k *Kernel) Open(s *engine.Socket, c pfkey.Cred, typ, proto int) (engine.Endpoint, pfkey.Errno) {
	return k.sockets.Open(s, c, typ, proto)
}

// AddPolicies implements [engine.PolicyTaker].
func (k *Kernel) AddPolicies(requests []engine.PolicyRequest) error {
	return k.sockets.AddPolicies(requests)
}

// Inbound implements [engine.Packets].
func (k *Kernel) Inbound(p *packet.Packet) { k.transforms.Inbound(p) }

// Outbound implements [engine.Packets].
func (k *Kernel) Outbound(p *packet.Packet, tunnel string) { k.transforms.Outbound(p, tunnel) }

// Next implements [engine.Timed].
func (k *Kernel) Next() (time.Time, bool) { return k.transforms.Next() }

// Age implements [engine.Timed]: it runs the timers that are due.
func (k *Kernel) Age(now time.Time, _ bool) { k.transforms.Age(now) }

// Stop implements [engine.Kernel]: no packet waits here.
func (k *Kernel) Stop() {}

// Traffic is one packet that a program has the host send.
type Traffic = xfrm.Traffic

// Send sends a packet and returns what the program's system call does, see [xfrm.Transforms.Send].
func (k *Kernel) Send(t Traffic) pfkey.Errno { return k.transforms.Send(t) }

// OutputPolicy is a policy made by other means than PF_KEY.
type OutputPolicy = xfrm.OutputPolicy

// AddOutputPolicy adds a policy as a netlink message would, see [xfrm.Transforms.AddOutputPolicy].
func (k *Kernel) AddOutputPolicy(o OutputPolicy) pfkey.Errno { return k.transforms.AddOutputPolicy(o) }

// Encap makes a UDP socket whose option UDP_ENCAP is kind, see [xfrm.Transforms.Encap].
func (k *Kernel) Encap(at netip.AddrPort, kind int) pfkey.Errno { return k.transforms.Encap(at, kind) }

// LimitCPIs has the kernel refuse what it could not make if it were behind netlink, see [xfrm.Transforms.LimitCPIs].
func (k *Kernel) LimitCPIs() { k.transforms.LimitCPIs() }

// Counters reads the counters of packets, see [xfrm.Transforms.Counters].
func (k *Kernel) Counters() map[string]uint64 { return k.transforms.Counters() }

// AHAlign is what the length of an AH header is a multiple of, in bytes.
const AHAlign = xfrm.AHAlign
