package conform

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/wire"
)

// linuxHost is the host of an emulated Linux.
type linuxHost struct {
	e *engine.Engine
	*linux.Kernel
}

func linuxNetwork(e *engine.Engine) Network { return linuxHost{e, e.Kernel().(*linux.Kernel)} }

// Traffic implements [Network].
func (h linuxHost) Traffic(t Traffic) wire.Errno {
	return h.Send(linux.Traffic{Proto: t.Proto, Src: t.Src, Dst: t.Dst, SrcPort: t.SPort, DstPort: t.DPort, Len: t.Len})
}

// Datagram implements [Network].
func (h linuxHost) Datagram(src, dst netip.AddrPort, payload []byte) wire.Errno {
	// Done only says that the packet is not one of the kernel's own: what becomes of it, the program that sent it does not hear.
	h.e.Inbound(&ipsec.Packet{Data: linux.UDP(src, dst, payload), Done: func(*ipsec.Packet, ipsec.Verdict) {}})
	return wire.OK
}

// AddPolicy implements [Network].
func (h linuxHost) AddPolicy(p TransformPolicy) wire.Errno {
	return h.AddOutputPolicy(linux.OutputPolicy{Src: p.Src, Dst: p.Dst, Proto: p.Proto, Mode: p.Mode, ReqID: p.ReqID})
}
