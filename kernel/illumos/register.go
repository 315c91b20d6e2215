package illumos

import "github.com/pfkeyd/pfkeyd/wire"

// register answers with the algorithms of a consumer. The socket is registered when the answer comes up, not before;
// see who.go.
func (k *Kernel) register(p *protocol, r *request) result {
	k.passUp(k.registerMessage(p, r.hdr.Seq, r.hdr.PID), r.sender, fromConsumer)
	return result{}
}

// registerMessage is built anew: extensions of the request do not come back.
func (k *Kernel) registerMessage(p *protocol, seq wire.Seq, pid uint32) []byte {
	b := k.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgRegister, SAType: p.satype, Seq: seq,
		PID: pid})
	b = k.d.AppendSupported(b, wire.ExtSupportedAuth, wire.Supported{Algs: supported(authAlgs)})
	if p.isESP() {
		b = k.d.AppendSupported(b, wire.ExtSupportedEncrypt, wire.Supported{Algs: supported(encryptAlgs)})
	}
	return k.d.Finish(b)
}

// registerExtended is REGISTER with SA type 0: the socket becomes EXTENDED, whatever comes after, and is registered for
// each type of X_EREG, each of which gets an answer of its own.
func (k *Kernel) registerExtended(r *request) {
	c := r.sender
	if c.s.RegisteredAny() {
		k.fail(r, result{errno: wire.EBUSY})
		return
	}
	c.extended = true
	k.extended++
	raw := r.ext[wire.IllumosExtXEReg]
	if raw == nil {
		k.fail(r, einval(wire.IllumosDiagSATypeNeeded))
		return
	}
	n := min(int(k.d.Order.Uint16(raw))*8, len(raw))
	each := r.copy(k) // one for all: a consumer changes nothing that matters to the next
	for _, t := range raw[4:n] {
		if t == 0 {
			return
		}
		each.hdr.SAType = k.d.SAType(t)
		each.msg[3] = t
		if p := k.consumer(each.hdr.SAType); p != nil {
			k.consume(p, each)
		} else {
			k.fail(r, einval(wire.IllumosDiagUnknownSAType))
		}
	}
}

// AlgorithmsChanged tells everybody who is registered of the algorithms there are, unasked.
func (k *Kernel) AlgorithmsChanged() {
	k.e.Do(func() {
		for _, p := range k.consumers() {
			k.passUp(k.registerMessage(p, 0, 0), nil, fromConsumer)
		}
	})
}
