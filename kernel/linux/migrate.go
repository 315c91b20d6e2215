package linux

import (
	"net/netip"
	"slices"

	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/spd"
	"github.com/pfkeyd/pfkeyd/wire"
)

// move is one pair of requests of a MIGRATE: the ends that templates and SAs have, and those they get.
type move struct {
	proto          uint8
	mode           mode
	reqID          uint32
	oldSrc, oldDst netip.Addr
	newSrc, newDst netip.Addr
}

// migrate moves a policy's templates and their SAs to other addresses.
func (k *Kernel) migrate(r *request) wire.Errno {
	sel, v, errno := k.policyRule(r)
	if errno != wire.OK {
		return errno
	}
	if v.Direction > wire.LinuxDirForward {
		return wire.EINVAL
	}
	var km *wire.KMAddress
	if raw := r.ext[wire.LinuxExtXKMAddress]; raw != nil {
		local, remote, ok := k.sockaddrs(raw[8:])
		if !ok {
			return wire.EINVAL
		}
		km = &wire.KMAddress{Reserved: k.d.Order.Uint32(raw[4:]), Local: wire.Sockaddr{Addr: local},
			Remote: wire.Sockaddr{Addr: remote}}
	}
	moves, errno := k.moves(r.ext[wire.KAMEExtXPolicy][16:])
	if errno != wire.OK {
		return errno
	}
	if !movable(moves) || v.Direction == wire.KAMEDirAny {
		return wire.EINVAL
	}
	p := k.policies.bySel[v.Direction-1][sel]
	if p == nil {
		return wire.ENOENT
	}
	if errno := k.moveAll(p, moves); errno != wire.OK {
		return errno
	}
	m := k.migrateMessage(sel, v.Direction, moves, km)
	k.broadcast(m, toAll, nil)
	return wire.OK
}

// moves reads pairs of requests, which have addresses in every mode.
func (k *Kernel) moves(b []byte) (ms []move, errno wire.Errno) {
	for len(b) > 0 && len(ms) < maxTemplates {
		from, ok := k.ipsecRequest(b)
		if !ok {
			return nil, wire.EINVAL
		}
		var m move
		if m.oldSrc, m.oldDst, ok = k.sockaddrs(b[requestLen:from.len]); !ok {
			return nil, wire.EINVAL
		}
		if b = b[from.len:]; len(b) <= requestLen {
			return nil, wire.EINVAL
		}
		to, ok := k.ipsecRequest(b)
		if !ok {
			return nil, wire.EINVAL
		}
		if m.newSrc, m.newDst, ok = k.sockaddrs(b[requestLen:to.len]); !ok {
			return nil, wire.EINVAL
		}
		if from.proto != to.proto || from.mode != to.mode || from.reqID != to.reqID {
			return nil, wire.EINVAL
		}
		if m.mode, ok = modeOf(from.mode); !ok {
			return nil, wire.EINVAL
		}
		m.proto, m.reqID = uint8(from.proto), from.reqID
		ms, b = append(ms, m), b[to.len:]
	}
	if len(ms) == 0 || len(b) > 0 {
		return nil, wire.EINVAL
	}
	return ms, wire.OK
}

// movable refuses moves to nowhere, and two of the same thing. The original compares more bytes than an IPv4 address
// has, and what stands behind it is left over from something else: so it finds only IPv6 ones.
func movable(ms []move) bool {
	type what struct {
		proto    uint8
		mode     mode
		reqID    uint32
		src, dst netip.Addr
	}
	seen := map[what]bool{}
	for _, m := range ms {
		w := what{m.proto, m.mode, m.reqID, m.oldSrc, m.oldDst}
		if m.newSrc.IsUnspecified() || m.newDst.IsUnspecified() || seen[w] {
			return false
		}
		seen[w] = m.oldDst.Is6()
	}
	return true
}

// moveAll moves SAs, then templates. If that fails, the SAs stay where they were.
func (k *Kernel) moveAll(p *policy, ms []move) wire.Errno {
	var old, moved []*sa
	undo := func() wire.Errno {
		for _, s := range moved {
			k.remove(s)
		}
		return wire.ENODATA
	}
	for _, m := range ms {
		s := k.states.toMove(m)
		if s == nil {
			continue
		}
		c := k.movedSA(s, m)
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
		k.remove(s)
	}
	return wire.OK
}

func movedTemplates(old []template, ms []move) (ts []template, any bool) {
	ts = append(ts, old...)
	for i := range ts {
		t := &ts[i]
		for _, m := range ms {
			if t.mode != m.mode || t.proto != m.proto || m.reqID != 0 && t.reqID != m.reqID {
				continue
			}
			switch m.mode {
			case modeTransport: // it has no addresses
				any = true
			case modeTunnel, modeBEET:
				if t.src == m.oldSrc && t.dst == m.oldDst {
					any = true
					t.src, t.dst, t.v6 = m.newSrc, m.newDst, m.newDst.Is6()
				}
			}
		}
	}
	return ts, any
}

// toMove is the SA of a move, the one that the original comes to first if there are several: with its request id, or
// whichever if the move has none.
func (t *stateTable) toMove(m move) (found *sa) {
	if m.reqID != 0 {
		for s := t.flows[flowKey{m.oldDst, m.oldSrc, m.reqID, m.proto, m.mode}]; s != nil; s = flowOf(s).next {
			found = t.first(found, s)
		}
		return found
	}
	t.all.each(nil, func(n *node) bool {
		if s := n.s; s.mode == m.mode && s.proto == m.proto && s.src == m.oldSrc && s.dst == m.oldDst {
			found = t.first(found, s)
		}
		return true
	})
	return found
}

// movedSA puts a copy of an SA with other ends into the database; nil if that cannot be. Its counters start anew, its
// lifetimes do not.
func (k *Kernel) movedSA(s *sa, m move) *sa {
	s.Lock()
	c := &sa{proto: s.proto, mode: s.mode, replay: s.replay, src: m.newSrc, dst: m.newDst, spi: s.spi, reqID: s.reqID,
		seq: s.seq, sel: s.sel,
		auth: s.auth, encrypt: s.encrypt, compress: s.compress, authBits: s.authBits, encryptBits: s.encryptBits,
		keys:  slices.Clone(s.keys),
		flags: s.flags, addTime: s.addTime, limits: s.limits}
	c.encap.Store(s.encap.Load())
	c.window, c.Seq = s.window, s.Seq
	st := s.State()
	s.Unlock()
	if s.sel == nil && s.v6() != c.v6() {
		c.sel = &selector{v6: s.v6()} // its family was that of the old addresses
	}
	if st == sadb.Larval || c.check() != wire.OK {
		return nil
	}
	c.Become(sadb.Mature)
	if s.dst == c.dst {
		// The two have SPI, destination and protocol in common, so the old one is found no more.
		k.insert(c, firstLook)
		return c
	}
	if k.addSA(c) != wire.OK {
		return nil
	}
	return c
}

// migrateMessage says what was moved.
func (k *Kernel) migrateMessage(sel spd.Selector, dir uint8, ms []move, km *wire.KMAddress) message {
	b := k.d.AppendHeader(make([]byte, 0, 256), wire.Header{Version: wire.Version, Type: wire.LinuxMsgXMigrate,
		SAType: satypeOf(ms[0].proto)})
	if km != nil {
		b = k.d.AppendKMAddress(b, *km)
	}
	b = k.d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Proto: sel.Proto, PrefixLen: uint8(sel.Src.Bits()),
		Addr: sel.Src.Addr()})
	b = k.d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Proto: sel.Proto, PrefixLen: uint8(sel.Dst.Bits()),
		Addr: sel.Dst.Addr()})
	v := wire.Policy{Type: wire.KAMEPolicyIPsec, Direction: dir}
	for _, m := range ms {
		q := wire.IPsecRequest{Proto: uint16(m.proto), Level: wire.KAMELevelRequire, ReqID: m.reqID}
		if m.reqID != 0 {
			q.Level = wire.KAMELevelUnique
		}
		q.Mode, _ = m.mode.wire()
		q.Src, q.Dst = wire.Sockaddr{Addr: m.oldSrc}, wire.Sockaddr{Addr: m.oldDst}
		v.Requests = append(v.Requests, q)
		q.Src, q.Dst = wire.Sockaddr{Addr: m.newSrc}, wire.Sockaddr{Addr: m.newDst}
		v.Requests = append(v.Requests, q)
	}
	b = k.d.Finish(k.d.AppendPolicy(b, v))
	return message{bytes: b, size: len(b)}
}
