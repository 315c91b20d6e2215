package illumos

import (
	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Describe implements [engine.Kernel].
func (k *Kernel) Describe(st *engine.Status, limit int) {
	st.Fault = k.fault.String()
	st.Counters = k.Counters()
	for i, s := range k.e.Sockets() {
		if i < len(st.Sockets) {
			k.describeSocket(&st.Sockets[i], clientOf(s))
		}
	}
	for _, p := range k.consumers() {
		for _, f := range p.families() {
			for _, t := range []*table{&f.out, &f.in} {
				st.SACount += t.n
				for s := range t.all {
					if limit > 0 && len(st.SAs) >= limit {
						break
					}
					st.SAs = append(st.SAs, k.describeSA(s))
				}
			}
			records := k.records(f)
			st.AcquireCount += len(records)
			for _, a := range records {
				if limit > 0 && len(st.Acquires) >= limit {
					break
				}
				st.Acquires = append(st.Acquires, k.describeAcquire(a))
			}
		}
	}
}

func (k *Kernel) describeSocket(st *engine.SocketStatus, c *client) {
	for _, p := range k.consumers() {
		if c.isRegistered(p.satype) {
			st.Registered = append(st.Registered, k.d.SATypeName(p.satype))
		}
	}
	for _, f := range []struct {
		on   bool
		name string
	}{{c.promisc, "promisc"}, {c.extended, "extended"}, {c.noLoop, "no-loopback"}} {
		if f.on {
			st.Flags = append(st.Flags, f.name)
		}
	}
}

func (k *Kernel) describeSA(s *sa) engine.SAStatus {
	st := engine.SAStatus{
		Type:      k.d.SATypeName(s.p.satype),
		SPI:       s.spi.String(),
		Src:       s.src.String(),
		Dst:       s.dst.String(),
		State:     k.d.StateName(wire.State(s.State())),
		Direction: "inbound",
		Added:     s.addTime,
	}
	if s.in.isOutbound() {
		st.Direction = "outbound"
	}
	if s.State() != sadb.Larval {
		st.Auth, st.Encrypt = k.d.AuthName(s.auth), k.d.EncryptName(s.encrypt)
	}
	s.Lock()
	st.Bytes, st.Packets, st.Used, st.Expires = s.Bytes, s.Packets, s.lastUse, s.hardExpire
	s.heldLocked(func(id uint64, n int) { st.Held = append(st.Held, engine.PacketStatus{ID: id, Bytes: n}) })
	s.Unlock()
	return st
}

// heldLocked lists all packets that wait on the SA, for whatever. The SA's lock is held.
func (s *sa) heldLocked(f func(id uint64, length int)) {
	s.HeldLocked(f)
	if s.kept == nil {
		return
	}
	for _, q := range []*ipsec.Queue{&s.kept.idle, &s.kept.doomed} {
		for p := range q.All {
			f(p.ID, len(p.Data))
		}
	}
}

func (k *Kernel) describeAcquire(a *acquire) engine.AcquireStatus {
	st := engine.AcquireStatus{Type: k.d.SATypeName(a.p.satype), Seq: a.seq, Src: a.need.src.String(), Dst: a.need.dst.String(), Expires: a.expire}
	k.acquires.mu.Lock()
	defer k.acquires.mu.Unlock()
	for p := range a.queue.All {
		st.Held = append(st.Held, engine.PacketStatus{ID: p.ID, Bytes: len(p.Data)})
	}
	return st
}
