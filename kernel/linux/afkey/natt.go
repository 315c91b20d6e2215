package afkey

import (
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// NewMapping implements [transform.Manager]: registered sockets are told where the peer of an SA with NAT-T is now.
func (k *Manager) NewMapping(m *transform.Mapping) {
	b := k.d.AppendHeader(make([]byte, 0, 128), wire.Header{Version: wire.Version,
		Type: wire.KAMEMsgXNATTNewMapping, SAType: SATypeOf(m.Proto), Seq: wire.Seq(m.Seq)})
	b = k.d.AppendSA(b, wire.SA{SPI: wire.SPI(m.SPI)})
	b = k.appendEnd(b, wire.ExtAddressSrc, m.Src)
	b = k.d.AppendNATTPort(b, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: m.Sport})
	b = k.appendEnd(b, wire.ExtAddressDst, m.From.Addr())
	b = k.d.AppendNATTPort(b, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: m.From.Port()})
	b = k.d.Finish(b)
	k.broadcast(message{bytes: b, size: len(b)}, toRegistered, nil)
}
