package linux

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/wire"
)

// newMapping tells registered sockets that a packet of an SA with NAT-T came from another address or port than the
// SA's. The SA stays as it is.
func (k *Kernel) newMapping(s *sa, sport uint16, from netip.AddrPort) {
	b := k.d.AppendHeader(make([]byte, 0, 128), wire.Header{
		Version: wire.Version, Type: wire.KAMEMsgXNATTNewMapping, SAType: satypeOf(s.proto), Seq: wire.Seq(s.seq)})
	b = k.d.AppendSA(b, wire.SA{SPI: s.spi})
	b = k.appendEnd(b, wire.ExtAddressSrc, s.src)
	b = k.d.AppendNATTPort(b, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: sport})
	b = k.appendEnd(b, wire.ExtAddressDst, from.Addr())
	b = k.d.AppendNATTPort(b, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: from.Port()})
	b = k.d.Finish(b)
	k.broadcast(message{bytes: b, size: len(b)}, toRegistered, nil)
}
