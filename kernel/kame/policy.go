package kame

import (
	"cmp"
	"slices"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Sizes in bytes.
const (
	policyLen  = 16 // of X_POLICY without requests
	requestLen = 8  // of a request without addresses
)

// PolicyPage is what an heir has of its own about policies.
type PolicyPage struct {
	// Refuses says which types of policies a message may not name, at once; all others but discard, none and ipsec are
	// refused once a policy that is to be replaced is gone.
	Refuses func(m wire.MsgType, t wire.PolicyType) bool
	// Bare are the messages that may add a policy of type ipsec without requests.
	Bare []wire.MsgType
	// MaxRequests is how many requests a policy may have; 0: as many as fit into a message.
	MaxRequests int
	// Ends reads the addresses of a request. rest is the message from them on, of which the request's own length counts
	// counted bytes, and the extension has left.
	Ends func(q *PolicyRequest, rest []byte, counted, left int) bool
	// Chosen is told of a request id that the kernel has chosen, and of the request as the reply shows it; nil: the
	// reply shows the caller's.
	Chosen func(d *wire.Dialect, request []byte, id uint32)
	// Priority is that of a policy, by the last word of X_POLICY in a request.
	Priority func(word uint32) uint32
	// Mark is the byte behind the direction in messages that describe a policy.
	Mark func(p *Policy) uint8
	// Shape is what such messages hold beside the header, in this order. Lifetimes are left out where a policy has no
	// limit on its age.
	Shape []wire.ExtType
	// IDTries is how many ids are tried for a new policy before it is refused.
	IDTries func(k *Kernel) int64
	// Dumps says whether SPDDUMP shows any policies, by what stands in the place of the SA type; nil: always.
	Dumps func(scope uint8) bool
	// Expiring puts the policies that a pass finds expired, in their order, into that in which it tells of them; nil:
	// the same.
	Expiring func([]*Policy)
}

// policyHandlers are those of the messages about policies.
var policyHandlers = map[wire.MsgType]Handler{
	wire.KAMEMsgXSPDAdd:     (*Kernel).policyAdd,
	wire.KAMEMsgXSPDUpdate:  (*Kernel).policyAdd,
	wire.KAMEMsgXSPDSetIdx:  (*Kernel).policyAdd,
	wire.KAMEMsgXSPDDelete:  (*Kernel).policyDelete,
	wire.KAMEMsgXSPDDelete2: (*Kernel).policyDelete2,
	wire.KAMEMsgXSPDGet:     (*Kernel).policyGet,
	wire.KAMEMsgXSPDDump:    (*Kernel).policyDump,
	wire.KAMEMsgXSPDFlush:   (*Kernel).policyFlush,
}

// policyAdd handles SPDADD, SPDSETIDX, which is nearly the same, and SPDUPDATE (key_spdadd).
func (k *Kernel) policyAdd(r *Request) wire.Errno { return k.addPolicy(r, false) }

// KernelPolicy adds a policy that the kernel makes for itself, as for an interface that is a tunnel: msg is an SPDADD
// or SPDUPDATE, which it keeps. Every error is EINVAL. It takes the control lock.
func (k *Kernel) KernelPolicy(msg []byte) (errno wire.Errno) {
	k.e.Do(func() {
		r := &Request{Msg: msg}
		var err error
		if r.Header, err = k.d.Header(msg); err != nil || int(r.Header.Len)*8 != len(msg) {
			errno = wire.EINVAL
			return
		}
		if _, errno = k.check(r); errno == wire.OK {
			errno = k.addPolicy(r, true)
		}
		if errno != wire.OK || r.sent != wire.OK {
			errno = wire.EINVAL
		}
	})
	return errno
}

func (k *Kernel) addPolicy(r *Request, kernel bool) wire.Errno {
	p, errno := k.policyIn(r, kernel)
	if errno != wire.OK {
		return errno
	}
	sel := p.selector()
	if r.Header.Type == wire.KAMEMsgXSPDUpdate {
		if old := k.spd.find(sel, kernel); old != nil { // it is gone even if the new one is refused
			k.removePolicy(old)
		}
	} else if len(k.spd.bySel[sel]) > 0 {
		return wire.EEXIST
	}
	if errno := k.readRequests(r, p); errno != wire.OK {
		return errno
	}
	if errno := k.insertPolicy(p); errno != wire.OK {
		return errno
	}
	k.announce(r, p)
	return wire.OK
}

// announce tells everybody of a policy that a request has added.
func (k *Kernel) announce(r *Request, p *Policy) {
	k.putPolicyID(r, p)
	k.Answer(r, ToAll, k.Echo(r, []wire.ExtType{
		wire.KAMEExtXPolicy, wire.ExtLifetimeHard, wire.ExtAddressSrc, wire.ExtAddressDst}))
}

// putPolicyID puts the id of a policy into the request, which is the reply.
func (k *Kernel) putPolicyID(r *Request, p *Policy) {
	k.d.Order.PutUint32(r.Ext(wire.KAMEExtXPolicy)[8:], p.ID)
}

// policyIn reads the policy that a request describes, without its requests.
func (k *Kernel) policyIn(r *Request, kernel bool) (*Policy, wire.Errno) {
	if !r.Has(wire.ExtAddressSrc, wire.ExtAddressDst, wire.KAMEExtXPolicy) {
		return nil, wire.EINVAL
	}
	x := r.Ext(wire.KAMEExtXPolicy)
	page := &k.page.Policies
	src, dst := r.Ext(wire.ExtAddressSrc), r.Ext(wire.ExtAddressDst)
	p := &Policy{Type: k.d.Order.Uint16(x[4:]), Dir: x[6], Priority: page.Priority(k.d.Order.Uint32(x[12:])),
		Kernel: kernel, Src: SockaddrOf(src), Dst: SockaddrOf(dst), SrcBits: src[5], DstBits: dst[5], Proto: src[4]}
	m := r.Header.Type
	bare := m != wire.KAMEMsgXSPDDelete && p.Type == wire.KAMEPolicyIPsec && len(x) == policyLen
	if p.Dir != wire.KAMEDirIn && p.Dir != wire.KAMEDirOut || page.Refuses(m, p.Type) ||
		bare && !slices.Contains(page.Bare, m) {
		return nil, wire.EINVAL
	}
	if l := r.Ext(wire.ExtLifetimeHard); l != nil {
		p.AddTime, p.UseTime = int64(k.d.Order.Uint64(l[16:])), int64(k.d.Order.Uint64(l[24:]))
	}
	return p, wire.OK
}

// readRequests reads the requests of a policy (key_msg2sp). Those of a policy that is not of type ipsec are ignored.
func (k *Kernel) readRequests(r *Request, p *Policy) wire.Errno {
	if p.Type != wire.KAMEPolicyIPsec {
		if p.Type > wire.KAMEPolicyIPsec {
			return wire.EINVAL
		}
		return wire.OK
	}
	page := &k.page.Policies
	b, left := r.from(wire.KAMEExtXPolicy)[policyLen:], len(r.Ext(wire.KAMEExtXPolicy))-policyLen
	for left > 0 {
		if page.MaxRequests != 0 && len(p.Requests) == page.MaxRequests || len(b) < requestLen {
			return wire.EINVAL
		}
		n := int(k.d.Order.Uint16(b))
		q := PolicyRequest{Mode: k.d.Mode(b[4]), Level: b[5]}
		proto, reqID := k.d.Order.Uint16(b[2:]), k.d.Order.Uint16(b[6:])
		if n < requestLen {
			return wire.EINVAL
		}
		switch proto {
		case ip.ProtoESP, ip.ProtoAH, ip.ProtoComp:
			q.Proto = uint8(proto)
		default:
			return wire.EPROTONOSUPPORT
		}
		if q.Mode != wire.ModeTransport && q.Mode != wire.ModeTunnel || q.Level > wire.KAMELevelUnique {
			return wire.EINVAL
		}
		if q.Level == wire.KAMELevelUnique {
			if q.ReqID = uint32(reqID); q.ReqID == 0 || q.ReqID > manualReqIDMax && !p.Kernel {
				q.ReqID = k.spd.newReqID()
				if page.Chosen != nil {
					page.Chosen(k.d, b[:requestLen], q.ReqID)
				}
			}
		}
		if !page.Ends(&q, b[requestLen:], n-requestLen, left-requestLen) || n > left {
			return wire.EINVAL
		}
		p.Requests = append(p.Requests, q)
		b = b[min(n, len(b)):]
		left -= n
	}
	return wire.OK
}

// policyDelete handles SPDDELETE, which names a policy by its selector.
func (k *Kernel) policyDelete(r *Request) wire.Errno {
	named, errno := k.policyIn(r, false)
	if errno != wire.OK {
		return errno
	}
	p := k.spd.find(named.selector(), false)
	if p == nil {
		return wire.EINVAL
	}
	k.removePolicy(p)
	k.putPolicyID(r, p)
	k.Answer(r, ToAll, k.Echo(r, []wire.ExtType{wire.KAMEExtXPolicy, wire.ExtAddressSrc, wire.ExtAddressDst}))
	return wire.OK
}

// policyByID finds the policy that a request names by its id; nil: there is none.
func (k *Kernel) policyByID(r *Request) (p *Policy, errno wire.Errno) {
	x := r.Ext(wire.KAMEExtXPolicy)
	if x == nil {
		return nil, wire.EINVAL
	}
	return k.spd.byID[k.d.Order.Uint32(x[8:])], wire.OK
}

// policyDelete2 handles SPDDELETE2, which names a policy by its id.
func (k *Kernel) policyDelete2(r *Request) wire.Errno {
	p, _ := k.policyByID(r)
	if p == nil || p.Kernel {
		return wire.EINVAL
	}
	k.removePolicy(p)
	k.Answer(r, ToAll, k.Echo(r, []wire.ExtType{wire.KAMEExtXPolicy}))
	return wire.OK
}

// policyGet handles SPDGET.
func (k *Kernel) policyGet(r *Request) wire.Errno {
	p, errno := k.policyByID(r)
	switch {
	case errno != wire.OK:
		return errno
	case p == nil:
		return wire.ENOENT
	}
	page := &k.page.Policies
	k.Answer(r, ToOne, k.policyMessage(wire.Header{Type: wire.KAMEMsgXSPDGet, Seq: r.Header.Seq,
		PID: r.Header.PID}, p, page.Shape))
	return wire.OK
}

// DumpPolicies describes all policies, in the order in which the kernel has them. The control lock is held.
func (k *Kernel) DumpPolicies(pid uint32) (msgs [][]byte) {
	page := &k.page.Policies
	all := k.spd.all()
	for i, p := range all {
		msgs = append(msgs, k.policyMessage(wire.Header{Type: wire.KAMEMsgXSPDDump,
			Seq: wire.Seq(len(all) - 1 - i), PID: pid}, p, page.Shape))
	}
	return msgs
}

// policyDump handles SPDDUMP.
func (k *Kernel) policyDump(r *Request) wire.Errno {
	if dumps := k.page.Policies.Dumps; dumps != nil && !dumps(r.Msg[3]) {
		return wire.ENOENT
	}
	msgs := k.DumpPolicies(r.Header.PID)
	if len(msgs) == 0 {
		return wire.ENOENT
	}
	k.answerDump(r, msgs)
	return wire.OK
}

// policyFlush handles SPDFLUSH. What the kernel has made stays.
func (k *Kernel) policyFlush(r *Request) wire.Errno {
	if len(r.Msg) > wire.HeaderLen {
		return wire.EINVAL
	}
	k.removePolicies(slices.DeleteFunc(k.spd.all(), func(p *Policy) bool { return p.Kernel }))
	k.Answer(r, ToAll, k.Echo(r, nil))
	return wire.OK
}

// policyMessage describes a policy (key_setdumpsp). The header is h but for the length.
func (k *Kernel) policyMessage(h wire.Header, p *Policy, shape []wire.ExtType) []byte {
	h.Version, h.Reserved = wire.Version, k.page.References[h.Type]
	b := k.d.AppendHeader(make([]byte, 0, 256), h)
	for _, t := range shape {
		switch t {
		case wire.ExtAddressSrc:
			b = k.AppendAddress(b, t, p.Src, p.SrcBits, p.Proto)
		case wire.ExtAddressDst:
			b = k.AppendAddress(b, t, p.Dst, p.DstBits, p.Proto)
		case wire.KAMEExtXPolicy:
			b = k.appendPolicy(b, p, k.page.Policies.Mark(p), p.Requests)
		case wire.ExtLifetimeCurrent:
			if p.AddTime != 0 || h.Type == wire.KAMEMsgXSPDExpire {
				b = k.d.AppendLifetime(b, t, wire.Lifetime{AddTime: k.Wall(p.added), UseTime: k.Wall(p.used.Load())})
			}
		case wire.ExtLifetimeHard:
			if p.AddTime != 0 || h.Type == wire.KAMEMsgXSPDExpire {
				b = k.d.AppendLifetime(b, t, wire.Lifetime{AddTime: uint64(p.AddTime), UseTime: uint64(p.UseTime)})
			}
		}
	}
	return k.d.Finish(b)
}

// appendPolicy appends X_POLICY (key_sp2msg). The addresses of a request may differ in length; where the next one
// begins, only the source counts, but how much room there is, both do.
func (k *Kernel) appendPolicy(b []byte, p *Policy, mark uint8, requests []PolicyRequest) []byte {
	size := policyLen
	for i := range requests {
		size += requestSize(&requests[i])
	}
	start := len(b)
	b = k.d.AppendPolicy(b, wire.Policy{Type: p.Type, Direction: p.Dir, Reserved: mark, ID: p.ID, Priority: p.Priority})
	b = append(b, make([]byte, size-policyLen)...)
	k.d.Order.PutUint16(b[start:], uint16(size/8))
	rest := b[start+policyLen:]
	for i := range requests {
		q := &requests[i]
		var fixed [requestLen]byte
		k.d.Order.PutUint16(fixed[0:], uint16(requestSize(q)))
		k.d.Order.PutUint16(fixed[2:], uint16(q.Proto))
		fixed[4], _ = k.d.ModeNumber(q.Mode)
		fixed[5] = q.Level
		k.d.Order.PutUint16(fixed[6:], uint16(q.ReqID))
		rest = rest[copy(rest, fixed[:]):]
		rest = rest[copy(rest, q.Src[:q.Src.Len()]):]
		copy(rest, q.Dst[:q.Dst.Len()])
		rest = rest[min(q.Src.Len(), len(rest)):]
	}
	return b
}

func requestSize(q *PolicyRequest) int { return requestLen + (q.Src.Len()+q.Dst.Len()+7)&^7 }

// policyExpiry is what a message about the end of a policy holds.
var policyExpiry = []wire.ExtType{wire.ExtLifetimeCurrent, wire.ExtLifetimeHard, wire.ExtAddressSrc, wire.ExtAddressDst,
	wire.KAMEExtXPolicy}

// policyAgeing is the part of a pass about policies (key_flush_spd).
type policyAgeing struct{ *Kernel }

func (k policyAgeing) next() (int64, bool) {
	at, ok := k.spd.timers.Next()
	return at.Unix() - k.boot, ok
}

func (k policyAgeing) age(uptime int64) {
	t := &k.spd
	t.timers.Run(time.Unix(k.boot+uptime, 0))
	slices.SortFunc(t.due, func(a, b *Policy) int {
		if a.Dir != b.Dir {
			return cmp.Compare(uint64(a.Dir), uint64(b.Dir))
		}
		return compareRank(a, b)
	})
	t.due = slices.DeleteFunc(t.due, func(p *Policy) bool {
		used := !p.expired(uptime)
		if used {
			k.setPolicyTimer(p)
		}
		return used
	})
	if sorted := k.page.Policies.Expiring; sorted != nil {
		sorted(t.due)
	}
	k.removePolicies(t.due)
	for _, p := range t.due {
		k.Tell(ToRegistered, k.policyMessage(wire.Header{Type: wire.KAMEMsgXSPDExpire}, p,
			policyExpiry))
	}
	t.due = nil
}

// expired tells whether a limit of the policy has passed. One of 2^63 and above is negative, and has passed at once.
func (p *Policy) expired(uptime int64) bool {
	return p.AddTime != 0 && uptime-p.added > p.AddTime || p.UseTime != 0 && uptime-p.used.Load() > p.UseTime
}

// setPolicyTimer sets when a pass has to look at a policy.
func (k *Kernel) setPolicyTimer(p *Policy) {
	const never = 200 * 365 * 24 * 3600
	at := int64(never)
	if p.AddTime != 0 && p.AddTime < never {
		at = min(at, p.added+p.AddTime)
	}
	if p.UseTime != 0 && p.UseTime < never {
		at = min(at, p.used.Load()+p.UseTime)
	}
	if at == never {
		return
	}
	if p.timer.Fire == nil {
		p.timer.Fire = func(time.Time) { k.spd.due = append(k.spd.due, p) }
	}
	k.spd.timers.Set(&p.timer, time.Unix(k.boot+max(at, k.Uptime())+1, 0))
}
