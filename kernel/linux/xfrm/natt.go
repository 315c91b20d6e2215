package xfrm

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
)

// newMapping tells that a packet of an SA with NAT-T came from another address or port than the SA's.
func (x *Transforms) newMapping(s *sa, sport uint16, from netip.AddrPort) {
	x.manager.NewMapping(&transform.Mapping{
		Proto: s.Proto, SPI: s.SPI, Seq: s.MsgSeq, Src: s.Src, Sport: sport, From: from})
}
