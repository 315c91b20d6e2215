package afkey

import (
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// migrate moves a policy's templates and their SAs to other addresses. The direction "any" is none for the transforms.
func (k *Manager) migrate(r *request) wire.Errno {
	sel, v, errno := k.policyRule(r)
	if errno != wire.OK {
		return errno
	}
	if v.Direction > wire.LinuxDirForward {
		return wire.EINVAL
	}
	var km *transform.KMAddress
	if raw := r.ext[wire.LinuxExtXKMAddress]; raw != nil {
		local, remote, ok := k.requests().sockaddrs(raw[8:])
		if !ok {
			return wire.EINVAL
		}
		km = &transform.KMAddress{Reserved: k.d.Order.Uint32(raw[4:]), Local: local, Remote: remote}
	}
	moves, errno := k.moves(r.ext[wire.KAMEExtXPolicy][16:])
	if errno != wire.OK {
		return errno
	}
	return k.transforms.Migrate(&transform.Migration{
		Selector: sel, Direction: directionOf(v.Direction), Moves: moves, KMAddress: km})
}

// moves reads pairs of requests, which have addresses in every mode.
func (k *Manager) moves(b []byte) (ms []transform.Move, errno wire.Errno) {
	for len(b) > 0 && len(ms) < transform.MaxTemplates {
		from, ok := k.requests().ipsecRequest(b)
		if !ok {
			return nil, wire.EINVAL
		}
		var m transform.Move
		if m.OldSrc, m.OldDst, ok = k.requests().sockaddrs(b[requestLen:from.len]); !ok {
			return nil, wire.EINVAL
		}
		if b = b[from.len:]; len(b) <= requestLen {
			return nil, wire.EINVAL
		}
		to, ok := k.requests().ipsecRequest(b)
		if !ok {
			return nil, wire.EINVAL
		}
		if m.NewSrc, m.NewDst, ok = k.requests().sockaddrs(b[requestLen:to.len]); !ok {
			return nil, wire.EINVAL
		}
		if from.proto != to.proto || from.mode != to.mode || from.reqID != to.reqID {
			return nil, wire.EINVAL
		}
		if m.Mode, ok = modeOf(from.mode); !ok {
			return nil, wire.EINVAL
		}
		m.Proto, m.ReqID = uint8(from.proto), from.reqID
		ms, b = append(ms, m), b[to.len:]
	}
	if len(ms) == 0 || len(b) > 0 {
		return nil, wire.EINVAL
	}
	return ms, wire.OK
}

// Migrated implements [transform.Manager]: everybody hears what was moved.
func (k *Manager) Migrated(m *transform.Migration) {
	b := k.d.AppendHeader(make([]byte, 0, 256), wire.Header{Version: wire.Version, Type: wire.LinuxMsgXMigrate,
		SAType: SATypeOf(m.Moves[0].Proto)})
	if km := m.KMAddress; km != nil {
		b = k.d.AppendKMAddress(b, wire.KMAddress{Reserved: km.Reserved, Local: wire.Sockaddr{Addr: km.Local},
			Remote: wire.Sockaddr{Addr: km.Remote}})
	}
	sel := &m.Selector
	b = k.d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Proto: sel.Proto, PrefixLen: uint8(sel.Src.Bits()),
		Addr: sel.Src.Addr()})
	b = k.d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Proto: sel.Proto, PrefixLen: uint8(sel.Dst.Bits()),
		Addr: sel.Dst.Addr()})
	v := wire.Policy{Type: wire.KAMEPolicyIPsec, Direction: uint8(m.Direction) + 1}
	for _, m := range m.Moves {
		q := wire.IPsecRequest{Proto: uint16(m.Proto), Level: wire.KAMELevelRequire, ReqID: m.ReqID}
		if m.ReqID != 0 {
			q.Level = wire.KAMELevelUnique
		}
		q.Mode, _ = wireMode(m.Mode)
		q.Src, q.Dst = wire.Sockaddr{Addr: m.OldSrc}, wire.Sockaddr{Addr: m.OldDst}
		v.Requests = append(v.Requests, q)
		q.Src, q.Dst = wire.Sockaddr{Addr: m.NewSrc}, wire.Sockaddr{Addr: m.NewDst}
		v.Requests = append(v.Requests, q)
	}
	b = k.d.Finish(k.d.AppendPolicy(b, v))
	k.broadcast(message{bytes: b, size: len(b)}, toAll, nil)
}
