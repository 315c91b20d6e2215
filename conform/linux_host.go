package conform

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/wire"
)

// linuxHost is the host of an emulated Linux.
type linuxHost struct{ *linux.Kernel }

func linuxNetwork(e *engine.Engine) Network { return linuxHost{e.Kernel().(*linux.Kernel)} }

// Traffic implements [Network].
func (h linuxHost) Traffic(t Traffic) wire.Errno {
	return h.Send(linux.Traffic{Proto: t.Proto, Src: t.Src, Dst: t.Dst, SrcPort: t.SPort, DstPort: t.DPort,
		Payload: make([]byte, t.Len)})
}

// Datagram implements [Network].
func (h linuxHost) Datagram(src, dst netip.AddrPort, payload []byte) wire.Errno {
	return h.Send(linux.Traffic{Proto: 17, Src: src.Addr(), Dst: dst.Addr(), SrcPort: src.Port(), DstPort: dst.Port(),
		Payload: payload})
}

// AddPolicy implements [Network].
func (h linuxHost) AddPolicy(p TransformPolicy) wire.Errno {
	return h.AddOutputPolicy(linux.OutputPolicy{Src: p.Src, Dst: p.Dst, Proto: p.Proto, Mode: p.Mode, ReqID: p.ReqID})
}
