package illumos

import (
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/wire"
)

// inverseAcquire answers what the policy would want between addresses that key management names: a peer has proposed
// something, and this is the other side of an ACQUIRE. No record is made. The answer has the type ACQUIRE and the SA
// type 0, so EXTENDED sockets hear it too.
func (k *Kernel) inverseAcquire(r *request) {
	n, res := k.inverseNeed(r)
	if res.failed() {
		k.fail(r, res)
		return
	}
	h := r.hdr
	h.Type, h.SAType, h.Errno, h.Reserved = wire.MsgAcquire, wire.SATypeUnspec, 0, 0
	b := k.appendNeedExtended(k.d.AppendHeader(nil, h), n)
	if raw := r.ext[wire.ExtSensitivity]; raw != nil {
		b = append(b, raw[:min(int(k.d.Order.Uint16(raw))*8, len(raw))]...)
	}
	k.passUp(k.d.Finish(k.appendExtendedProposal(b, n.rule.Actions)), r.sender, fromKeysock)
}

// inverseNeed finds the rule: among the inbound ones of a tunnel if inner addresses and the protocol of a tunnel are
// given, else among the outbound ones of the system.
func (k *Kernel) inverseNeed(r *request) (*need, result) {
	innerSrc, innerDst := r.has(wire.IllumosExtXAddressInnerSrc), r.has(wire.IllumosExtXAddressInnerDst)
	switch {
	case !r.has(wire.ExtAddressSrc):
		return nil, missing(wire.ExtAddressSrc)
	case !r.has(wire.ExtAddressDst):
		return nil, missing(wire.ExtAddressDst)
	case innerDst && !innerSrc:
		return nil, missing(wire.IllumosExtXAddressInnerSrc)
	case innerSrc && !innerDst:
		return nil, missing(wire.IllumosExtXAddressInnerDst)
	}
	for _, each := range []struct {
		t    wire.ExtType
		diag wire.IllumosDiagnostic
	}{{wire.ExtAddressSrc, wire.IllumosDiagBadSrc}, {wire.ExtAddressDst, wire.IllumosDiagBadDst}} {
		if _, res := k.addrCheck(r, each.t); res.failed() {
			return nil, einval(each.diag)
		}
	}
	src, dst := r.address(k, wire.ExtAddressSrc), r.address(k, wire.ExtAddressDst)
	if src.family() != dst.family() {
		return nil, einval(wire.IllumosDiagAFMismatch)
	}
	n := &need{src: src.addr(), dst: dst.addr(), proto: src.proto(), inverse: true}
	n.flow = spd.Flow{Src: n.src, Dst: n.dst, Proto: src.proto(), SrcPort: src.port(), DstPort: dst.port()}
	notFound := result{errno: wire.ENOENT}
	if !innerSrc {
		if n.rule = k.policy.find(n.flow, true); n.rule == nil {
			return nil, notFound
		}
		return n, result{}
	}
	for _, each := range []struct {
		t    wire.ExtType
		diag wire.IllumosDiagnostic
	}{{wire.IllumosExtXAddressInnerSrc, wire.IllumosDiagMalformedInnerSrc}, {wire.IllumosExtXAddressInnerDst,
		wire.IllumosDiagMalformedInnerDst}} {
		if _, res := k.addrCheck(r, each.t); res.failed() {
			return nil, einval(each.diag)
		}
	}
	isrc, idst := r.address(k, wire.IllumosExtXAddressInnerSrc), r.address(k, wire.IllumosExtXAddressInnerDst)
	if isrc.family() != idst.family() {
		return nil, einval(wire.IllumosDiagInnerAFMismatch)
	}
	n.flow = spd.Flow{Src: isrc.addr(), Dst: idst.addr(), Proto: idst.proto(), SrcPort: isrc.port(),
		DstPort: idst.port()}
	if n.proto != 0 && n.proto != ipProto(n.flow) {
		return nil, result{errno: wire.EPROTOTYPE}
	}
	t := k.policy.between(n.src, n.dst)
	if t == nil || n.proto == 0 {
		return nil, notFound
	}
	n.tunnel = t
	if _, n.rule, _ = k.policy.findTunnel(t.Name, n.flow, false); n.rule == nil {
		return nil, notFound
	}
	return n, result{}
}
