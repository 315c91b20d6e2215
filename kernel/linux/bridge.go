package linux

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/linux/afkey"
	"github.com/pfkeyd/pfkeyd/kernel/linux/netlink"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Bridge is PF_KEY in front of the real kernel of this host: its SAs, policies, timers and packets are those of the
// network namespace that it was made in.
type Bridge struct {
	*afkey.Manager
	d          *wire.Dialect
	transforms *netlink.Transforms
	host       netlink.Host
}

var _ engine.Kernel = (*Bridge)(nil)

// What may be asked of a bridge beyond AF_KEY.
const (
	bridgeAEAD = iota
	bridgeSHA256
	bridgeTunablesEnd
)

var bridgeTunables = [bridgeTunablesEnd]engine.Tunable{
	bridgeAEAD:   {Name: "aead", Max: 1},
	bridgeSHA256: {Name: "sha256", Min: 96, Max: 128, Default: 96}, // bits of the ICV
}

// NewBridge makes the kernel of an engine, in the network namespace that the calling thread is in. It begins to listen
// to the host when the first socket is opened. An error that wraps EPERM says that CAP_NET_ADMIN is missing, one
// that is [errors.ErrUnsupported] that there is no XFRM.
func NewBridge(e *engine.Engine, o engine.Options) (*Bridge, error) {
	switch {
	case e.Virtual():
		return nil, errors.New("xfrm: time is that of the host, so there is no virtual clock")
	case o.Fault != "":
		return nil, errors.New("xfrm: the host's own kernel has no deliberate faults")
	}
	tun, err := engine.NewTunables(o.Tunables, engine.Module{Base: 10, Rows: bridgeTunables[:]})
	if err != nil {
		return nil, fmt.Errorf("xfrm: %w", err)
	}
	bits := tun.Get(bridgeSHA256)
	if bits != 96 && bits != 128 {
		return nil, fmt.Errorf("xfrm: sha256=%d is neither 96 nor 128 bits", bits)
	}
	host, err := netlink.Look()
	if err != nil {
		return nil, fmt.Errorf("xfrm: %w", err)
	}
	b := &Bridge{d: wire.Linux(), host: host}
	b.transforms, err = netlink.New(e, b.d, netlink.Options{AEAD: tun.Get(bridgeAEAD) != 0, SHA256Full: bits == 128})
	if err != nil {
		return nil, fmt.Errorf("xfrm: %w", err)
	}
	b.Manager = afkey.New(e, b.d, b.transforms, bridgeBuffers())
	encrypts := host.Encrypt
	if tun.Get(bridgeAEAD) != 0 {
		encrypts = slices.Concat(encrypts, host.AEAD)
	}
	b.Offer(host.Auth, encrypts)
	b.transforms.Serve(b.Manager)
	return b, nil
}

// bridgeBuffers are those of sockets, as the host has them where it shows that.
func bridgeBuffers() afkey.Buffers {
	read := func(i int) func() int {
		row := tunableRows[i]
		n, ok := netlink.Sysctl(row.Name)
		if !ok || int64(n) < row.Min || int64(n) > row.Max {
			n = int(row.Default)
		}
		return func() int { return n }
	}
	return afkey.Buffers{RecvDefault: read(tunRecvDefault), RecvMax: read(tunRecvMax),
		SendDefault: read(tunSendDefault), SendMax: read(tunSendMax)}
}

// Lacks names what AF_KEY offers on Linux 6.1 and this host has not, see [netlink.Host.Lacks].
func (b *Bridge) Lacks() []string { return b.host.Lacks() }

// List implements [engine.Lister].
func (b *Bridge) List(w io.Writer, sockets []status.Socket) error { return list(w, sockets) }

// Dialect implements [engine.Kernel].
func (b *Bridge) Dialect() *wire.Dialect { return b.d }

// Open implements [engine.Kernel].
func (b *Bridge) Open(s *engine.Socket, c pfkey.Cred, typ, proto int) (engine.Endpoint, pfkey.Errno) {
	b.transforms.Listen()
	return b.Manager.Open(s, c, typ, proto)
}

// Hear takes what the host has told until now to the sockets, without waiting for the goroutine that listens. The
// control lock is held.
func (b *Bridge) Hear() { b.transforms.Hear() }

// Describe implements [engine.Kernel].
func (b *Bridge) Describe(st *status.Engine, limit int) {
	st.Counters = b.transforms.Counters()
	r := report{st, limit, b.d, b.own()}
	walk(b.transforms.Walk(transform.AnyProto, transform.Filter{}), func(s *transform.State) bool {
		st.SACount++
		r.state(s)
		if s.Phase == sadb.Larval && s.SPI == 0 {
			st.AcquireCount++
			r.acquire(s)
		}
		return true
	})
	walk(b.transforms.WalkPolicies(), func(p *transform.Policy) bool {
		st.PolicyCount++
		r.policy(p)
		return true
	})
}

// own tells which addresses are the host's now. Netlink does not say whether an SA is for what comes in.
func (b *Bridge) own() func(netip.Addr) bool {
	addrs := b.transforms.Addrs()
	return func(a netip.Addr) bool { return a.IsLoopback() || addrs[a] }
}

// Stop implements [engine.Kernel]: it leaves the host as it is.
func (b *Bridge) Stop() { b.transforms.Close() }
