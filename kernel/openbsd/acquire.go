package openbsd

import (
	"net/netip"
	"sync"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/wire"
)

// maxAcquires is how many records there may be, which the original leaves to memory.
const maxAcquires = 1 << 16

// acquire is the record of an ACQUIRE that a packet has led to, struct ipsec_acquire. As long as it is there, its flow
// does not ask for the same peer again. It does not change but for the timer.
type acquire struct {
	seq  uint32
	flow *Flow
	peer netip.Addr

	key, mask selector // what X_ASKPOLICY tells of the flow

	timer engine.Timer // the control lock guards it
}

// acquires are the records. Their lock is a leaf: packets make records under it.
type acquires struct {
	mu    sync.Mutex
	bySeq map[uint32]*acquire
}

// ask asks key management for the SA that a flow wants for a packet (ipsp_acquire_sa), unless it has been asked
// already; false if nobody is there to hear it. The record is made in any case. It takes no control lock.
func (k *Kernel) ask(flow *Flow, r *rule, peer netip.Addr, f spd.Flow) (heard bool) {
	a := &acquire{flow: flow, peer: peer, key: flow.Key, mask: flow.Mask}
	if !r.dst.IsValid() || r.dst.IsUnspecified() {
		a.narrow(f)
	}
	if !k.acquires.insert(k, a) {
		return true
	}
	heard = k.registered.Load() > 0
	at := k.e.Now().Add(seconds(k.Knob(expireAcquire)))
	k.e.Post(func() {
		if !k.acquires.has(a) { // the flow has gone meanwhile
			return
		}
		a.timer.Fire = func(time.Time) { k.acquires.remove(a) }
		k.timers.Set(&a.timer, at)
		if heard {
			k.tellAcquire(a, r)
		}
	})
	return heard
}

// narrow has the record tell of the packet's addresses alone.
func (a *acquire) narrow(f spd.Flow) {
	whole := selectorOf(f)
	n := 2 * len(f.Dst.AsSlice())
	copy(a.key[:n], whole[:n])
	for i := range n {
		a.mask[i] = 0xff
	}
}

// insert adds a record with the next number; false if its flow has one for the peer.
func (t *acquires) insert(k *Kernel, a *acquire) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	pending := a.flow.acquires[a.peer] != nil || !a.peer.IsValid() && len(a.flow.acquires) > 0
	if pending || a.flow.gone || len(t.bySeq) >= maxAcquires {
		return false
	}
	if t.bySeq == nil {
		t.bySeq = map[uint32]*acquire{}
	}
	for a.seq = k.nextSeq(); t.bySeq[a.seq] != nil; a.seq = k.nextSeq() {
	}
	if a.flow.acquires == nil {
		a.flow.acquires = map[netip.Addr]*acquire{}
	}
	t.bySeq[a.seq], a.flow.acquires[a.peer] = a, a
	return true
}

func (t *acquires) has(a *acquire) bool { return t.find(a.seq) == a }

// find is the record with a number; nil: there is none.
func (t *acquires) find(seq uint32) *acquire {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.bySeq[seq]
}

func (t *acquires) remove(a *acquire) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.bySeq, a.seq)
	delete(a.flow.acquires, a.peer)
}

// forget takes out the records of a flow that goes, and sees to it that no packet that has just found it makes another.
// The control lock is held.
func (t *acquires) forget(k *Kernel, f *Flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range f.acquires {
		k.timers.Stop(&a.timer)
		delete(t.bySeq, a.seq)
	}
	f.acquires, f.gone = nil, true
}

// all are the records. The control lock is held.
func (t *acquires) all() (all []*acquire) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range t.bySeq {
		all = append(all, a)
	}
	return all
}

// Knobs that shape an ACQUIRE. Of the first three the number is that of the original.
const (
	defaultEncrypt  = "net.inet.ip.ipsec-enc-alg"
	defaultAuth     = "net.inet.ip.ipsec-auth-alg"
	defaultCompress = "net.inet.ip.ipsec-comp-alg"
	requirePFS      = "net.inet.ip.ipsec-pfs"
	expireAcquire   = "net.inet.ip.ipsec-expire-acquire"
	softAllocs      = "net.inet.ip.ipsec-soft-allocs"
	hardAllocs      = "net.inet.ip.ipsec-allocs"
	softBytes       = "net.inet.ip.ipsec-soft-bytes"
	hardBytes       = "net.inet.ip.ipsec-bytes"
	softTimeout     = "net.inet.ip.ipsec-soft-timeout"
	hardTimeout     = "net.inet.ip.ipsec-timeout"
	softFirstUse    = "net.inet.ip.ipsec-soft-firstuse"
	hardFirstUse    = "net.inet.ip.ipsec-firstuse"
)

// proposed is an algorithm as an ACQUIRE proposes it, with the lengths of its keys in bits.
type proposed struct {
	id       wire.AlgID
	min, max uint16
}

// The algorithms that the knobs name, by their numbers.
var (
	proposedEncrypts = map[int64]proposed{
		0: {wire.EncAESCBC, 128, 256}, 1: {wire.EncAESCTR, 128 + 32, 256 + 32}, 2: {wire.Enc3DESCBC, 192, 192},
		3: {wire.EncBlowfishCBC, 40, 448}, 4: {wire.EncCAST128CBC, 40, 128},
	}
	proposedAuths = map[int64]proposed{
		0: {wire.AuthSHA1HMAC, 160, 160}, 1: {wire.AuthRIPEMD160HMAC, 160, 160}, 2: {wire.AuthMD5HMAC, 128, 128},
		3: {wire.AuthSHA256HMAC, 256, 256}, 4: {wire.AuthSHA384HMAC, 384, 384}, 5: {wire.AuthSHA512HMAC, 512, 512},
	}
	proposedCompressions = map[int64]proposed{0: {wire.CompDeflate, 0, 0}}
)

// comb is the one combination that an ACQUIRE for an IP protocol proposes.
func (k *Kernel) comb(proto uint8) (c wire.Comb) {
	if k.Knob(requirePFS) != 0 {
		c.Flags = uint16(wire.FlagPFS)
	}
	var e proposed
	switch proto {
	case ip.ProtoESP:
		e = proposedEncrypts[k.Knob(defaultEncrypt)]
	case ip.ProtoComp:
		e = proposedCompressions[k.Knob(defaultCompress)]
	}
	c.Encrypt, c.EncryptMinBits, c.EncryptMaxBits = e.id, e.min, e.max
	a := proposedAuths[k.Knob(defaultAuth)]
	c.Auth, c.AuthMinBits, c.AuthMaxBits = a.id, a.min, a.max
	c.SoftAllocations, c.HardAllocations = uint32(k.Knob(softAllocs)), uint32(k.Knob(hardAllocs))
	c.SoftBytes, c.HardBytes = uint64(k.Knob(softBytes)), uint64(k.Knob(hardBytes))
	c.SoftAddTime, c.HardAddTime = uint64(k.Knob(softTimeout)), uint64(k.Knob(hardTimeout))
	c.SoftUseTime, c.HardUseTime = uint64(k.Knob(softFirstUse)), uint64(k.Knob(hardFirstUse))
	return c
}

// tellAcquire tells those who have registered of an SA that is wanted (pfkeyv2_acquire). An end that the flow does not
// name has an extension without address.
func (k *Kernel) tellAcquire(a *acquire, r *rule) {
	t := acquireType(r.proto)
	b := k.d.AppendHeader(make([]byte, 0, 256), wire.Header{Version: wire.Version, Type: wire.MsgAcquire, SAType: t,
		Seq: wire.Seq(a.seq)})
	if !r.src.IsValid() || !r.src.IsUnspecified() {
		b = k.appendAddress(b, wire.ExtAddressSrc, r.src)
	}
	b = k.appendAddress(b, wire.ExtAddressDst, a.peer)
	if r.ids != nil {
		b = k.appendIdentity(b, wire.ExtIdentitySrc, r.ids.local)
		b = k.appendIdentity(b, wire.ExtIdentityDst, r.ids.remote)
	}
	b = k.d.AppendProposal(b, wire.Proposal{Number: 1, Combs: []wire.Comb{k.comb(r.proto)}})
	k.tellRegistered(a.flow.id.rdomain, t, k.d.Finish(b))
}

// acquireType is the SA type of an ACQUIRE. Flows for other protocols are told to everybody who has registered.
func acquireType(proto uint8) wire.SAType {
	switch proto {
	case ip.ProtoESP:
		return wire.SATypeESP
	case ip.ProtoAH:
		return wire.SATypeAH
	case ip.ProtoComp:
		return wire.SATypeIPComp
	}
	return wire.SATypeUnspec
}
