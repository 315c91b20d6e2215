package afkey

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// manualReqIDMax is the highest request id that a client may choose; above it the kernel chooses.
const manualReqIDMax = 0x3fff

// newReqID chooses a request id for level "unique".
func (k *Manager) newReqID() uint32 {
	for {
		if k.reqID++; k.reqID == 0 {
			k.reqID = manualReqIDMax + 1
		}
		if !k.transforms.ReqIDUsed(k.reqID) {
			return k.reqID
		}
	}
}

// policyRule reads X_POLICY without its id, which the kernel chooses, and its requests, and the selector.
func (k *Manager) policyRule(r *request) (sel spd.Selector, v wire.Policy, errno wire.Errno) {
	src, dst, ok := k.ends(r)
	raw := r.ext[wire.KAMEExtXPolicy]
	if !ok || raw == nil {
		return sel, v, wire.EINVAL
	}
	v = wire.Policy{Type: k.d.Order.Uint16(raw[4:]), Direction: raw[6], Priority: k.d.Order.Uint32(raw[12:])}
	sel = spd.Selector{
		Src: netip.PrefixFrom(src.Addr, int(src.PrefixLen)), Dst: netip.PrefixFrom(dst.Addr, int(dst.PrefixLen)),
		Proto: selectorProto(dst.Proto), SrcPort: src.Port, DstPort: dst.Port,
	}
	return sel, v, wire.OK
}

func badDirection(d uint8) bool { return d == wire.KAMEDirAny || d > wire.LinuxDirForward }

// policyAdd handles SPDADD, SPDSETIDX, which is the same, and SPDUPDATE.
func (k *Manager) policyAdd(r *request) wire.Errno {
	if errno := k.policyOf(r, &k.policy); errno != wire.OK {
		return errno
	}
	return k.transforms.AddPolicy(&k.policy, r.hdr.Type == wire.KAMEMsgXSPDUpdate, r.by())
}

// policyOf reads the policy that a request describes.
func (k *Manager) policyOf(r *request, p *transform.Policy) wire.Errno {
	sel, v, errno := k.policyRule(r)
	if errno != wire.OK {
		return errno
	}
	if v.Type > wire.KAMEPolicyIPsec || badDirection(v.Direction) {
		return wire.EINVAL
	}
	*p = transform.Policy{Selector: sel, Direction: directionOf(v.Direction), Priority: v.Priority,
		Block: v.Type == wire.KAMEPolicyDiscard, Limits: k.limitsOf(r)}
	if v.Type == wire.KAMEPolicyIPsec {
		p.Templates, errno = k.requests().templates(p, r.ext[wire.KAMEExtXPolicy][policyLen:])
	}
	return errno
}

// directionOf is a direction of PF_KEY as the transforms count.
func directionOf(d uint8) transform.Direction { return transform.Direction(d - 1) }

// Sizes in bytes.
const (
	policyLen  = 16
	requestLen = 16
	pairLen4   = 2 * 16
	pairLen6   = 2 * 28
)

// ipsecRequest is the fixed part of a request of X_POLICY.
type ipsecRequest struct {
	len   int
	proto uint16 // of which templates take the low byte
	mode  wire.Mode
	level uint8
	reqID uint32
}

// requests reads the requests of a policy.
type requests struct {
	d        *wire.Dialect
	newReqID func() uint32 // 0: there is none to be had
}

func (k *Manager) requests() requests { return requests{k.d, k.newReqID} }

// ipsecRequest reads a request at the start of b; false if it does not fit.
func (r requests) ipsecRequest(b []byte) (q ipsecRequest, ok bool) {
	if len(b) < requestLen {
		return q, false
	}
	q = ipsecRequest{len: int(r.d.Order.Uint16(b)), proto: r.d.Order.Uint16(b[2:]), mode: r.d.Mode(b[4]), level: b[5],
		reqID: r.d.Order.Uint32(b[8:])}
	return q, q.len >= requestLen && q.len <= len(b)
}

// sockaddrs reads two sockaddrs of one family that stand back to back. Only the addresses of them count.
func (r requests) sockaddrs(b []byte) (src, dst netip.Addr, ok bool) {
	if len(b) < 2 {
		return src, dst, false
	}
	switch family := r.d.Order.Uint16(b); {
	case family == r.d.AFInet && len(b) >= pairLen4 && r.d.Order.Uint16(b[16:]) == family:
		return netip.AddrFrom4([4]byte(b[4:])), netip.AddrFrom4([4]byte(b[16+4:])), true
	case family == r.d.AFInet6 && len(b) >= pairLen6 && r.d.Order.Uint16(b[28:]) == family:
		return netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[28+8:])), true
	}
	return src, dst, false
}

// templates reads the requests of a policy. What is too short for one more is ignored.
func (r requests) templates(p *transform.Policy, b []byte) (ts []transform.Template, errno wire.Errno) {
	for len(b) >= requestLen {
		q, ok := r.ipsecRequest(b)
		if !ok {
			return nil, wire.EINVAL
		}
		if len(ts) == transform.MaxTemplates {
			return nil, wire.ELOOP
		}
		t, errno := r.template(p, q, b[requestLen:q.len])
		if errno != wire.OK {
			return nil, errno
		}
		ts = append(ts, t)
		b = b[q.len:]
	}
	return ts, wire.OK
}

func (r requests) template(p *transform.Policy, q ipsecRequest, ends []byte) (t transform.Template, errno wire.Errno) {
	m, ok := modeOf(q.mode)
	proto := uint8(q.proto)
	switch {
	case q.mode == wire.ModeAny, !ok:
		return t, wire.EINVAL
	case !saProto(proto) && proto != ip.ProtoRouting && proto != ip.ProtoDestOptions:
		return t, wire.EINVAL
	}
	t = transform.Template{Proto: proto, Mode: m, V6: policyV6(p)}
	switch q.level {
	case wire.KAMELevelUse:
		if m.Encapsulates() && p.Direction == transform.Out {
			return t, wire.EINVAL
		}
		t.Optional = true
	case wire.KAMELevelUnique:
		if t.ReqID = q.reqID; t.ReqID == 0 || t.ReqID > manualReqIDMax {
			if t.ReqID = r.newReqID(); t.ReqID == 0 {
				return t, wire.ENOBUFS
			}
		}
	}
	switch m {
	case transform.Tunnel:
		if t.Src, t.Dst, ok = r.sockaddrs(ends); !ok {
			return t, wire.EINVAL
		}
		t.V6 = t.Dst.Is6()
	case transform.BEET: // which has ends as well, but PF_KEY does not bring them
		t.Src, t.Dst = transform.Unspecified(t.V6), transform.Unspecified(t.V6)
	}
	return t, wire.OK
}

// policyDelete handles SPDDELETE, which names a policy by its selector.
func (k *Manager) policyDelete(r *request) wire.Errno {
	sel, v, errno := k.policyRule(r)
	if errno != wire.OK {
		return errno
	}
	if badDirection(v.Direction) {
		return wire.EINVAL
	}
	return k.transforms.DeletePolicy(directionOf(v.Direction), sel, r.by())
}

// policyGet handles SPDGET and SPDDELETE2, which name a policy by its id.
func (k *Manager) policyGet(r *request) wire.Errno {
	raw := r.ext[wire.KAMEExtXPolicy]
	if raw == nil {
		return wire.EINVAL
	}
	id := k.d.Order.Uint32(raw[8:])
	if r.hdr.Type == wire.KAMEMsgXSPDDelete2 {
		return k.transforms.DeletePolicyID(id, r.by())
	}
	if errno := k.transforms.GetPolicy(id, &k.policy); errno != wire.OK {
		return errno
	}
	m, ok := k.policyMessage(resultHeader(r), &k.policy, 1)
	if !ok {
		return wire.EINVAL
	}
	k.broadcast(m, toOne, r.sender)
	return wire.OK
}

// policyDump handles SPDDUMP.
func (k *Manager) policyDump(r *request) wire.Errno {
	if r.sender.dump != nil {
		return wire.EBUSY
	}
	h := resultHeader(r)
	return k.startDump(r.sender, dumpOf(k.transforms.WalkPolicies(),
		func(p *transform.Policy, seq uint32) (message, wire.Errno) {
			h.Seq = wire.Seq(seq)
			if m, ok := k.policyMessage(h, p, 0); ok {
				return m, wire.OK
			}
			return message{}, wire.EINVAL
		}))
}

// policyFlush handles SPDFLUSH. Unlike FLUSH it keeps it to itself when the sender has no room for the answer.
func (k *Manager) policyFlush(r *request) wire.Errno {
	k.echo(r, func() { k.transforms.FlushPolicies(r.by()) })
	return wire.OK
}

// PoliciesFlushed implements [transform.Manager].
func (k *Manager) PoliciesFlushed(by transform.By) {
	if !k.unheard {
		k.broadcast(k.bare(resultOf(wire.KAMEMsgXSPDFlush, by)), toAll, nil)
	}
}

// PolicyChanged implements [transform.Manager]: everybody hears of a policy, unless it has a mode that PF_KEY cannot
// express.
func (k *Manager) PolicyChanged(c transform.Change, p *transform.Policy, by transform.By) {
	t := wire.KAMEMsgXSPDAdd
	switch c {
	case transform.Updated:
		t = wire.KAMEMsgXSPDUpdate
	case transform.Deleted:
		t = wire.KAMEMsgXSPDDelete
	case transform.DeletedByID:
		t = wire.KAMEMsgXSPDDelete2
	}
	if m, ok := k.policyMessage(resultOf(t, by), p, 1); ok {
		k.broadcast(m, toAll, nil)
	}
}

// policyMessage describes a policy. The header is h but for the length and the count of references, to which extra is
// added.
func (k *Manager) policyMessage(h wire.Header, p *transform.Policy, extra int) (message, bool) {
	h.Reserved = uint16(p.References + extra)
	b := k.d.AppendHeader(make([]byte, 0, 256), h)
	sel := &p.Selector
	for _, end := range []struct {
		t    wire.ExtType
		p    netip.Prefix
		port uint16
	}{{wire.ExtAddressSrc, sel.Src, sel.SrcPort}, {wire.ExtAddressDst, sel.Dst, sel.DstPort}} {
		b = k.d.AppendAddress(b, end.t, wire.Address{Proto: messageProto(sel.Proto), PrefixLen: uint8(end.p.Bits()),
			Addr: end.p.Addr(), Port: end.port})
	}
	b = k.d.AppendLifetime(b, wire.ExtLifetimeHard, wireLifetime(p.Limits.Hard))
	b = k.d.AppendLifetime(b, wire.ExtLifetimeSoft, wireLifetime(p.Limits.Soft))
	b = k.d.AppendLifetime(b, wire.ExtLifetimeCurrent, wire.Lifetime{AddTime: uint64(p.AddTime),
		UseTime: uint64(p.UseTime)})
	v := wire.Policy{Direction: uint8(p.Direction) + 1, ID: p.ID, Priority: p.Priority}
	switch {
	case p.Block:
		v.Type = wire.KAMEPolicyDiscard
	case len(p.Templates) > 0:
		v.Type = wire.KAMEPolicyIPsec
	default:
		v.Type = wire.KAMEPolicyNone
	}
	// The original computes the length as if every template had addresses, and takes those of the others off again, but
	// in the size of the last ones seen.
	size, said := len(b)+16, 0
	pair := pairLen(policyV6(p))
	for _, t := range p.Templates {
		q, ok := requestOf(t)
		if !ok {
			return message{}, false
		}
		v.Requests = append(v.Requests, q)
		size += requestLen + pairLen(t.V6)
		if t.Mode == transform.Tunnel {
			pair = pairLen(t.V6)
		} else {
			said -= pair
		}
	}
	b = k.d.AppendPolicy(b, v)
	h.Len = uint16((size + said) / 8)
	k.d.PutHeader(b, h)
	return message{bytes: b, size: size}, true
}

func pairLen(v6 bool) int {
	if v6 {
		return pairLen6
	}
	return pairLen4
}

// requestOf describes a template; false if its mode is none of PF_KEY's.
func requestOf(t transform.Template) (q wire.IPsecRequest, ok bool) {
	q = wire.IPsecRequest{Proto: uint16(t.Proto), Level: wire.KAMELevelRequire, ReqID: t.ReqID}
	if t.ReqID != 0 {
		q.Level = wire.KAMELevelUnique
	}
	if t.Optional {
		q.Level = wire.KAMELevelUse
	}
	if q.Mode, ok = wireMode(t.Mode); !ok {
		return q, false
	}
	if t.Mode == transform.Tunnel {
		q.Src, q.Dst = wire.Sockaddr{Addr: t.Src}, wire.Sockaddr{Addr: t.Dst}
	}
	return q, true
}

func policyV6(p *transform.Policy) bool { return p.Selector.Dst.Addr().Is6() }
