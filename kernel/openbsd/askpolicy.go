package openbsd

import "github.com/pfkeyd/pfkeyd/wire"

// askPolicy handles X_ASKPOLICY: key management asks for the flow that has led to an ACQUIRE, by its number
// (pfkeyv2_policy). The answer is as the host sees it: of a flow for packets that come in, both ends are swapped.
func (k *Kernel) askPolicy(r *request) wire.Errno {
	w, _ := k.d.ParseWord(r.ext(wire.OpenBSDExtXPolicy))
	a := k.acquires.find(w.Value)
	if a == nil {
		return wire.ESRCH
	}
	id := a.flow.id
	f, m := a.key.parts(id.v6), a.mask.parts(id.v6)
	if id.dir == dirIn {
		f, m = f.Reversed(), m.Reversed()
	}
	if f.Proto == 0 { // without a protocol ports are not told
		f.SrcPort, f.DstPort, m.SrcPort, m.DstPort = 0, 0, 0, 0
	}
	var b []byte
	b = k.d.AppendAddress(b, wire.OpenBSDExtXSrcMask, wire.Address{Addr: m.Src, Port: m.SrcPort})
	b = k.d.AppendAddress(b, wire.OpenBSDExtXDstMask, wire.Address{Addr: m.Dst, Port: m.DstPort})
	b = k.d.AppendFlowProtocol(b, wire.OpenBSDExtXFlowType, wire.FlowProtocol{Value: f.Proto, Direction: id.dir})
	b = k.d.AppendAddress(b, wire.OpenBSDExtXSrcFlow, wire.Address{Addr: f.Src, Port: f.SrcPort})
	b = k.d.AppendAddress(b, wire.OpenBSDExtXDstFlow, wire.Address{Addr: f.Dst, Port: f.DstPort})
	r.answer(b)
	return wire.OK
}
