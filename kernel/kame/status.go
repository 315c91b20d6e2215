package kame

import (
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Describe implements [engine.Kernel]. SAs are in the order of a DUMP.
func (k *Kernel) Describe(st *status.Engine, limit int) {
	more := func(n int) bool { return limit == 0 || n < limit }
	k.describePolicies(st, limit)
	st.SACount += k.db.sas
	for h := range k.db.all {
		if !more(len(st.SAs)) {
			break
		}
		for _, s := range k.appendSAs(nil, h) {
			if more(len(st.SAs)) {
				st.SAs = append(st.SAs, k.statusOf(s))
			}
		}
	}
}

func (k *Kernel) statusOf(s *SA) status.SA {
	h, u := s.Head, s.Usage()
	st := status.SA{
		Type: k.d.SATypeName(k.saTypeOf(h.Proto)), SPI: wire.SPI(s.SPI).String(), Src: h.Src.Addr().String(),
		Dst: h.Dst.Addr().String(), State: k.d.StateName(wire.State(s.State())), Direction: "outbound",
		Bytes: u.Bytes, Packets: u.Packets, Added: int64(k.Wall(s.Added)),
	}
	if k.Own(h.Dst.Addr()) {
		st.Direction = "inbound"
	}
	if u.Used != 0 {
		st.Used = int64(k.Wall(u.Used))
	}
	if l := s.Hard; l != nil && l.AddTime != 0 {
		st.Expires = int64(k.Wall(s.Added) + l.AddTime)
	}
	if s.State() != sadb.Larval {
		st.Auth, st.Encrypt = k.d.AuthName(s.Shown.Auth), k.d.TransformName(k.saTypeOf(h.Proto), s.Shown.Encrypt)
	}
	return st
}
