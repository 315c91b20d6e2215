package openbsd

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Describe implements [engine.Kernel]. SAs are in the order of a DUMP, those of the first routing domain first.
func (k *Kernel) Describe(st *status.Engine, limit int) {
	st.Counters = k.Counters()
	k.describeFlows(st, limit)
	st.SACount += len(k.tdb.all)
	for rdomain := range k.rdomains + 1 {
		for _, s := range k.inOrder(rdomain) {
			if limit != 0 && len(st.SAs) >= limit {
				return
			}
			st.SAs = append(st.SAs, k.statusOf(s))
		}
	}
}

func (k *Kernel) statusOf(s *SA) status.SA {
	t := k.typeOf(s.Proto)
	st := status.SA{Type: k.d.SATypeName(t), SPI: wire.SPI(s.SPI).String(), Src: addressText(s.Src),
		Dst: addressText(s.Dst), State: k.d.StateName(wire.State(s.State())), Direction: "outbound", Added: s.Added}
	if k.e.Host().Own(s.Dst) {
		st.Direction = "inbound"
	}
	if at, set := s.addTimers.hard.When(); set {
		st.Expires = at.Unix()
	}
	if s.State() != sadb.Larval {
		st.Auth, st.Encrypt = k.d.AuthName(s.Shown.Auth), k.d.TransformName(t, s.Shown.Encrypt)
	}
	s.Lock()
	defer s.Unlock()
	st.Bytes, st.Packets, st.Used = s.bytes, s.counter.InPackets+s.counter.OutPackets, s.firstUse
	return st
}

// typeOf is the SA type of an IP protocol, LARVAL SAs included, whose messages have none.
func (k *Kernel) typeOf(proto uint8) wire.SAType {
	for n := uint8(ahNumber); n <= ipcompNumber; n++ {
		if protoOf(n) == proto {
			return k.d.SAType(n)
		}
	}
	return wire.SATypeUnspec
}

// addressText is empty where there is no address.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
