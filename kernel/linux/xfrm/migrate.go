package xfrm

import (
	"net/netip"
	"slices"

	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Migrate moves a policy's templates and their SAs to other addresses, and tells of it.
func (x *Transforms) Migrate(m *transform.Migration) wire.Errno {
	if !movable(m.Moves) || m.Direction >= transform.Directions {
		return wire.EINVAL
	}
	p := x.policies.bySel[m.Direction][m.Selector]
	if p == nil {
		return wire.ENOENT
	}
	if errno := x.moveAll(p, m.Moves); errno != wire.OK {
		return errno
	}
	x.manager.Migrated(m)
	return wire.OK
}

// movable refuses moves to nowhere, and two of the same thing. The original compares more bytes than an IPv4 address
// has, and what stands behind it is left over from something else: so it finds only IPv6 ones.
func movable(ms []transform.Move) bool {
	type what struct {
		proto    uint8
		mode     transform.Mode
		reqID    uint32
		src, dst netip.Addr
	}
	seen := map[what]bool{}
	for _, m := range ms {
		w := what{m.Proto, m.Mode, m.ReqID, m.OldSrc, m.OldDst}
		if m.NewSrc.IsUnspecified() || m.NewDst.IsUnspecified() || seen[w] {
			return false
		}
		seen[w] = m.OldDst.Is6()
	}
	return true
}

// moveAll moves SAs, then templates. If that fails, the SAs stay where they were.
func (x *Transforms) moveAll(p *policy, ms []transform.Move) wire.Errno {
	var old, moved []*sa
	undo := func() wire.Errno {
		for _, s := range moved {
			x.remove(s)
		}
		return wire.ENODATA
	}
	for _, m := range ms {
		s := x.states.toMove(m)
		if s == nil {
			continue
		}
		c := x.movedSA(s, m)
		if c == nil {
			return undo()
		}
		old, moved = append(old, s), append(moved, c)
	}
	templates, any := movedTemplates(*p.templates.Load(), ms)
	if !any {
		return undo()
	}
	p.templates.Store(&templates)
	for _, s := range old {
		x.remove(s)
	}
	return wire.OK
}

func movedTemplates(old []transform.Template, ms []transform.Move) (ts []transform.Template, any bool) {
	ts = append(ts, old...)
	for i := range ts {
		t := &ts[i]
		for _, m := range ms {
			if t.Mode != m.Mode || t.Proto != m.Proto || m.ReqID != 0 && t.ReqID != m.ReqID {
				continue
			}
			switch m.Mode {
			case transform.Transport: // it has no addresses
				any = true
			case transform.Tunnel, transform.BEET:
				if t.Src == m.OldSrc && t.Dst == m.OldDst {
					any = true
					t.Src, t.Dst, t.V6 = m.NewSrc, m.NewDst, m.NewDst.Is6()
				}
			}
		}
	}
	return ts, any
}

// toMove is the SA of a move, the one that the original comes to first if there are several: with its request id, or
// whichever if the move has none.
func (t *stateTable) toMove(m transform.Move) (found *sa) {
	if m.ReqID != 0 {
		for s := t.flows[flowKey{m.OldDst, m.OldSrc, m.ReqID, m.Proto, m.Mode}]; s != nil; s = flowOf(s).next {
			found = t.first(found, s)
		}
		return found
	}
	t.all.each(nil, func(n *node) bool {
		if s := n.s; s.Mode == m.Mode && s.Proto == m.Proto && s.Src == m.OldSrc && s.Dst == m.OldDst {
			found = t.first(found, s)
		}
		return true
	})
	return found
}

// movedSA puts a copy of an SA with other ends into the database; nil if that cannot be. Its counters start anew, its
// lifetimes do not.
func (x *Transforms) movedSA(s *sa, m transform.Move) *sa {
	s.Lock()
	c := &sa{Config: s.Config, addTime: s.addTime, limits: s.limits}
	c.Src, c.Dst = m.NewSrc, m.NewDst
	c.Keys = slices.Clone(s.Keys)
	c.encap.Store(s.encap.Load())
	c.window, c.Seq = s.window, s.Seq
	st := s.State()
	s.Unlock()
	if s.Sel == nil && s.V6() != c.V6() {
		c.Sel = &transform.Selector{V6: s.V6()} // its family was that of the old addresses
	}
	if st == sadb.Larval || c.check() != wire.OK {
		return nil
	}
	c.Become(sadb.Mature)
	if s.Dst == c.Dst {
		// The two have SPI, destination and protocol in common, so the old one is found no more.
		x.insert(c, firstLook)
		return c
	}
	if x.addSA(c) != wire.OK {
		return nil
	}
	return c
}
