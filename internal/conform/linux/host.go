package linux

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	emulated "github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Network is a machine on a host where other programs run than those that speak PF_KEY. Its methods return what the
// system call returned.
type Network interface {
	Sysctl(name string, value int) wire.Errno // by its name below /proc/sys
	Traffic(t Traffic) wire.Errno
	// Encap opens a UDP socket that takes encapsulated packets of the kind that the socket option UDP_ENCAP has.
	Encap(at netip.AddrPort, kind int) wire.Errno
	// Datagram sends a UDP datagram over the loopback interface.
	Datagram(src, dst netip.AddrPort, payload []byte) wire.Errno
	AddPolicy(p OutputPolicy) wire.Errno
}

// networked is an engine whose kernel knows its host's network.
type networked struct {
	*conform.Emulated
	Network
}

func machine(m *conform.Emulated) conform.Machine {
	return networked{m, host{m.Kernel().(*emulated.Kernel)}}
}

// host is the host of an emulated Linux.
type host struct{ *emulated.Kernel }

// Traffic implements [Network].
func (h host) Traffic(t Traffic) wire.Errno {
	return h.Send(emulated.Traffic{Proto: t.Proto, Src: t.Src, Dst: t.Dst, SrcPort: t.SPort, DstPort: t.DPort,
		Payload: make([]byte, t.Len)})
}

// Datagram implements [Network].
func (h host) Datagram(src, dst netip.AddrPort, payload []byte) wire.Errno {
	return h.Send(emulated.Traffic{Proto: udp, Src: src.Addr(), Dst: dst.Addr(), SrcPort: src.Port(),
		DstPort: dst.Port(), Payload: payload})
}

// AddPolicy implements [Network].
func (h host) AddPolicy(p OutputPolicy) wire.Errno {
	return h.AddOutputPolicy(
		emulated.OutputPolicy{Src: p.Src, Dst: p.Dst, Proto: p.Proto, Mode: p.Mode, ReqID: p.ReqID})
}

// Bridge plays on engines of the host's own kernel by netlink (kernel xfrm), each in a network namespace of its own. It
// is a [conform.Live].
type Bridge struct{ Host }
