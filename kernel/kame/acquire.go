package kame

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/wire"
)

// AcquirePage is what an heir has of its own about ACQUIRE.
type AcquirePage struct {
	// Shape is what the message holds beside the header, in this order. X_POLICY is left out where no policy has led to
	// it, X_SA2 where no request id is wanted, PROPOSAL where nothing can be proposed.
	Shape []wire.ExtType
	// Upper are the upper protocol and the ports that the addresses show; p is nil where no policy has led to it.
	Upper func(p *Policy) (proto uint8, sport, dport uint16)
	// Again is told of a record whose ACQUIRE is sent once more; nil: nothing else changes.
	Again func(k *Kernel, a *Acquire)
	// Comb has the limits that every combination proposes.
	Comb wire.Comb
}

// Acquire is the record of an ACQUIRE that has been sent, struct secacq. It holds further ones for the same SA back.
type Acquire struct {
	Index
	Seq     uint32
	Count   int64 // of packets since the last ACQUIRE
	Created int64 // uptime
}

// maxAcquires is a limit that the originals leave to memory.
const maxAcquires = 1 << 16

// acquires are the records. The control lock guards them.
type acquires struct {
	byIndex map[Index]*Acquire
	bySeq   map[uint32]*Acquire
	seq     uint32 // the last one given
	since   int64  // uptime of the first record, when there was none before
}

func (t *acquires) init() { t.byIndex, t.bySeq = map[Index]*Acquire{}, map[uint32]*Acquire{} }

// newAcquire finds out whether an ACQUIRE is to be sent for an SA, and its sequence number (key_getacq, key_newacq).
// The control lock is held.
func (k *Kernel) newAcquire(x Index) (seq uint32, send bool) {
	t := &k.acquires
	a := t.byIndex[x]
	switch {
	case a == nil:
		if len(t.byIndex) >= maxAcquires {
			return 0, false
		}
		for t.seq++; t.seq == 0 || t.bySeq[t.seq] != nil; t.seq++ {
		}
		if len(t.byIndex) == 0 {
			t.since = k.Uptime()
		}
		a = &Acquire{Index: x, Seq: t.seq, Created: k.Uptime()}
		t.byIndex[x], t.bySeq[a.Seq] = a, a
	case a.Count > k.Knob("net.key.blockacq_count"):
		a.Count = 0
		if again := k.page.Acquires.Again; again != nil {
			again(k, a)
		}
	default:
		a.Count++
		return 0, false
	}
	return a.Seq, true
}

// FindAcquire finds the record with a sequence number; nil: there is none. The control lock is held.
func (k *Kernel) FindAcquire(seq uint32) *Acquire { return k.acquires.bySeq[seq] }

// Restart has a record hold back as many packets, and for as long, as if its ACQUIRE had just been sent
// (key_acqreset). The control lock is held.
func (k *Kernel) Restart(a *Acquire) { a.Count, a.Created = 0, k.Uptime() }

// Ask asks key management for the SA that a program has named in an ACQUIRE: EEXIST where there is one already, or a
// head for one.
func (k *Kernel) Ask(r *Request, x Index) wire.Errno {
	if !r.Has(wire.ExtAddressSrc, wire.ExtAddressDst, wire.ExtProposal) {
		return wire.EINVAL
	}
	if k.FindHead(&x) != nil {
		return wire.EEXIST
	}
	if seq, send := k.newAcquire(x); send {
		k.Tell(ToRegistered, k.acquireMessage(seq, x, nil))
	}
	return wire.OK
}

// acquireAgeing is the part of a pass about the records of ACQUIREs (key_flush_acq).
type acquireAgeing struct{ *Kernel }

func (k acquireAgeing) next() (int64, bool) {
	return max(k.passed, k.acquires.since) + 1, len(k.acquires.byIndex) > 0
}

func (k acquireAgeing) age(uptime int64) {
	t, lifetime := &k.acquires, k.Knob("net.key.blockacq_lifetime")
	for x, a := range t.byIndex {
		if uptime > a.Created+lifetime {
			delete(t.byIndex, x)
			delete(t.bySeq, a.Seq)
		}
	}
}

// acquire asks key management for an SA, because a packet has met a policy and found none. It is called on the packet's
// way, without a lock.
func (k *Kernel) acquire(p *Policy, x Index) {
	k.e.TryPost(func() {
		if seq, send := k.newAcquire(x); send {
			msg := k.acquireMessage(seq, x, p)
			k.heir.Acquiring()
			k.Tell(ToRegistered, msg)
		}
	})
}

// acquireMessage is an ACQUIRE (key_acquire). p is the policy that has led to it, or nil.
func (k *Kernel) acquireMessage(seq uint32, x Index, p *Policy) []byte {
	page := &k.page.Acquires
	proto, sport, dport := page.Upper(p)
	b := k.d.AppendHeader(make([]byte, 0, 512), wire.Header{Version: wire.Version, Type: wire.MsgAcquire,
		SAType: k.saTypeOf(x.Proto), Seq: wire.Seq(seq)})
	for _, t := range page.Shape {
		switch t {
		case wire.ExtAddressSrc:
			b = k.appendEnd(b, t, x.Src, proto, sport)
		case wire.ExtAddressDst:
			b = k.appendEnd(b, t, x.Dst, proto, dport)
		case wire.KAMEExtXPolicy:
			if p != nil {
				b = k.appendPolicy(b, p, 0, nil)
			}
		case wire.KAMEExtXSA2:
			if x.ReqID != 0 {
				b = k.d.AppendSA2(b, wire.SA2{Mode: x.Mode, ReqID: x.ReqID})
			}
		case wire.ExtProposal:
			if combs := k.combs(x.Proto); len(combs) > 0 {
				b = k.d.AppendProposal(b, wire.Proposal{Replay: proposedReplay, Combs: combs})
			}
		}
	}
	return k.d.Finish(b)
}

// appendEnd appends one end of the SA that is wanted. That of a request for a policy may be no IP address.
func (k *Kernel) appendEnd(b []byte, t wire.ExtType, s Sockaddr, proto uint8, port uint16) []byte {
	const wholeMask = 255
	bits := uint8(wholeMask)
	switch uint16(s.Family()) {
	case k.d.AFInet:
		bits = 32
	case k.d.AFInet6:
		bits = 128
	}
	if port != 0 {
		s = s.WithPort(port)
	}
	return k.AppendAddress(b, t, s, bits, proto)
}

// proposedReplay is the replay window that is proposed, in packets.
const proposedReplay = 32

// proposedAuths are the authentication algorithms that are proposed (key_getcomb_ah), if the kernel has them.
var proposedAuths = []wire.AlgID{wire.AuthMD5HMAC, wire.AuthSHA1HMAC, wire.AuthSHA256HMAC, wire.AuthSHA384HMAC,
	wire.AuthSHA512HMAC}

// combs is what is proposed for a protocol (key_getprop).
func (k *Kernel) combs(proto uint8) (combs []wire.Comb) {
	one := k.page.Acquires.Comb
	switch proto {
	case ip.ProtoESP:
		// With authentication there is one for each of AH's, but nothing of that stays.
		n := 1
		if k.Knob("net.key.esp_auth") != 0 {
			n = len(k.authCombs())
		}
		least := uint16(max(0, min(k.Knob("net.key.esp_keymin"), 0xffff)))
		for _, a := range k.page.Encrypts {
			if a.MaxBits >= least {
				one.Encrypt, one.EncryptMinBits, one.EncryptMaxBits = a.ID, max(a.MinBits, least), a.MaxBits
				combs = append(combs, slices.Repeat([]wire.Comb{one}, n)...)
			}
		}
	case ip.ProtoAH:
		return k.authCombs()
	case ip.ProtoComp:
		one.Encrypt = wire.CompDeflate
		combs = []wire.Comb{one}
	}
	return combs
}

// authCombs are those of AH, the last algorithm first.
func (k *Kernel) authCombs() (combs []wire.Comb) {
	one := k.page.Acquires.Comb
	for _, a := range slices.Backward(k.page.Auths) {
		if slices.Contains(proposedAuths, a.ID) && int64(a.MinBits) >= k.Knob("net.key.ah_keymin") {
			one.Auth, one.AuthMinBits, one.AuthMaxBits = a.ID, a.MinBits, a.MaxBits
			combs = append(combs, one)
		}
	}
	return combs
}

// saTypeOf is the SA type of an IP protocol.
func (k *Kernel) saTypeOf(proto uint8) wire.SAType {
	for t, p := range k.page.Protos {
		if p == proto {
			return t
		}
	}
	return wire.SATypeUnspec
}
