package linux

import (
	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Describe implements [engine.Kernel].
func (k *Kernel) Describe(st *engine.Status, limit int) {
	st.Counters = k.Counters()
	for i, s := range k.e.Sockets() {
		if i < len(st.Sockets) {
			k.describeSocket(&st.Sockets[i], clientOf(s))
		}
	}
	st.SACount += k.states.n
	k.states.all.each(nil, func(n *node) bool {
		if limit > 0 && len(st.SAs) >= limit {
			return false
		}
		st.SAs = append(st.SAs, k.describeSA(n.s))
		return true
	})
	st.AcquireCount = len(k.states.bySeq)
	for _, s := range k.states.bySeq {
		if limit > 0 && len(st.Acquires) >= limit {
			break
		}
		a := engine.AcquireStatus{Type: k.d.SATypeName(satypeOf(s.proto)), Seq: s.seq, Src: s.src.String(), Dst: s.dst.String()}
		if s.timer.i != 0 {
			a.Expires = s.timer.at / 1e9
		}
		st.Acquires = append(st.Acquires, a)
	}
}

func (k *Kernel) describeSocket(st *engine.SocketStatus, c *client) {
	for t := wire.SAType(0); t <= satypeMax; t++ {
		if c.registered&(1<<t) != 0 {
			st.Registered = append(st.Registered, k.d.SATypeName(t))
		}
	}
	if c.promisc {
		st.Flags = append(st.Flags, "promisc")
	}
	if c.dump != nil {
		st.Flags = append(st.Flags, "dumping")
	}
}

func (k *Kernel) describeSA(s *sa) engine.SAStatus {
	st := engine.SAStatus{
		Type: k.d.SATypeName(satypeOf(s.proto)), SPI: s.spi.String(), Src: s.src.String(), Dst: s.dst.String(),
		State: k.d.StateName(wireState(s.State())), Added: s.addTime, Direction: "outbound",
	}
	if k.own(s.dst) {
		st.Direction = "inbound"
	}
	if s.State() != sadb.Larval {
		st.Auth, st.Encrypt = k.d.AuthName(s.auth), k.d.EncryptName(s.encrypt)
	}
	s.Lock()
	st.Bytes, st.Packets, st.Used = s.Bytes, s.Packets, s.useTime
	if l := s.limits.hard.addTime; l != 0 {
		st.Expires = s.addTime + int64(l)
	}
	s.Unlock()
	return st
}
