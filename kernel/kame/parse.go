package kame

import (
	"maps"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A Request is one message on its way through the kernel. Nobody keeps it once it has been handled.
type Request struct {
	Header wire.Header
	Msg    []byte // the kernel's own copy, to edit and to deliver

	sender *client
	exts   []wire.Ext
	sent   wire.Errno // what send() returns
	proto  uint8      // IP protocol of the SA type; 0 for none
}

// Ext is a whole extension with its header: a view into Msg, nil if there is none.
func (r *Request) Ext(t wire.ExtType) []byte {
	for i := range r.exts {
		if r.exts[i].Type == t {
			return r.exts[i].Raw
		}
	}
	return nil
}

// Has tells whether all of these extensions are there.
func (r *Request) Has(all ...wire.ExtType) bool {
	for _, t := range all {
		if r.Ext(t) == nil {
			return false
		}
	}
	return true
}

// HasAny tells whether one of these extensions is there.
func (r *Request) HasAny(some ...wire.ExtType) bool {
	return slices.ContainsFunc(some, func(t wire.ExtType) bool { return r.Ext(t) != nil })
}

// from is the message from an extension on, which it has.
func (r *Request) from(t wire.ExtType) []byte {
	at := wire.HeaderLen
	for i := range r.exts {
		if r.exts[i].Type == t {
			break
		}
		at += len(r.exts[i].Raw)
	}
	return r.Msg[at:]
}

// Extensions are those of the message, in its order.
func (r *Request) Extensions() []wire.Ext { return r.exts }

// Proto is the IP protocol number of the request's SA type.
func (r *Request) Proto() uint8 { return r.proto }

// A Handler handles one type of message. What it returns is told in a message with an error, see [Kernel.fail]. What
// it delivers goes through [Kernel.Answer], which notes what send() returns.
type Handler func(*Kernel, *Request) wire.Errno

// largest is how many bytes a message may have that is not refused for its length: one cluster of the kernel's memory.
const largest = 2048

// Request implements [engine.Endpoint]. It follows key_parse: some errors are those of send(), and others come in a
// message.
func (c *client) Request(msg []byte, _ pfkey.Cred) pfkey.Errno {
	k := c.k
	if errno := c.maySend(len(msg)); errno != wire.OK {
		return errno
	}
	r := &Request{Msg: msg, sender: c}
	var err error
	if r.Header, err = k.d.Header(msg); err != nil || int(r.Header.Len)*8 != len(msg) {
		return wire.EINVAL
	}
	h, errno := k.check(r)
	if errno == wire.OK && r.sent == wire.OK {
		errno = h(k, r)
	}
	if errno != wire.OK {
		k.fail(r, errno)
	}
	return r.sent
}

// check makes all checks before those of a type of message, and finds its handler. r.sent is an error of send().
func (k *Kernel) check(r *Request) (Handler, wire.Errno) {
	if r.Header.Version != wire.Version || r.Msg[1] > k.page.MsgMax {
		return nil, wire.EINVAL
	}
	if len(r.Msg) > largest {
		r.sent = wire.ENOBUFS
		return nil, wire.OK
	}
	if r.sent = k.walk(r); r.sent != wire.OK {
		return nil, wire.OK
	}
	if errno := k.checkSAType(r); errno != wire.OK {
		return nil, errno
	}
	if errno := k.checkEnds(r); errno != wire.OK {
		return nil, errno
	}
	if h := k.handlers[r.Header.Type]; h != nil {
		return h, wire.OK
	}
	return nil, wire.EINVAL
}

// walk finds the extensions (key_align). Each type may come once.
func (k *Kernel) walk(r *Request) wire.Errno {
	r.exts = make([]wire.Ext, 0, 16)
	for x, err := range k.d.Walk(r.Msg) {
		if len(x.Raw) < 8 {
			return wire.EINVAL
		}
		rule, known := k.page.Extensions[x.Type]
		if !known || r.Ext(x.Type) != nil {
			return wire.EINVAL
		}
		size := 8 * int(k.d.Order.Uint16(x.Raw))
		if !rule(k.d, x.Raw, size) {
			return wire.EINVAL
		}
		if err != nil {
			return wire.ENOBUFS
		}
		r.exts = append(r.exts, x)
	}
	return wire.OK
}

// A SizeRule says whether an extension may have so many bytes by its length field. raw may have fewer of them, if the
// message ends before; 8 are there.
type SizeRule func(d *wire.Dialect, raw []byte, size int) bool

// Exactly is the rule of an extension of a fixed size.
func Exactly(n int) SizeRule {
	return func(_ *wire.Dialect, _ []byte, size int) bool { return size == n }
}

// AtLeast is the rule of an extension with something behind its fixed part.
func AtLeast(n int) SizeRule {
	return func(_ *wire.Dialect, _ []byte, size int) bool { return size >= n }
}

// WithSockaddr is the rule of an extension with a socket address behind its fixed part of n bytes: it fills the rest,
// up to a word.
func WithSockaddr(n int) SizeRule {
	return func(_ *wire.Dialect, raw []byte, size int) bool {
		return len(raw) > n && raw[n] != 0 && size == n+(int(raw[n])+7)&^7
	}
}

// Protos are the SA types with SAs, and their IP protocols.
var Protos = map[wire.SAType]uint8{wire.SATypeAH: ip.ProtoAH, wire.SATypeESP: ip.ProtoESP,
	wire.SATypeIPComp: ip.ProtoComp, wire.SATypeTCPSig: ip.ProtoTCP}

// WithExtensions are the extensions of every heir, and more of one heir.
func WithExtensions(own map[wire.ExtType]SizeRule) map[wire.ExtType]SizeRule {
	all := map[wire.ExtType]SizeRule{
		wire.ExtSA: Exactly(16), wire.ExtSPIRange: Exactly(16), wire.KAMEExtXSA2: Exactly(16),
		wire.ExtLifetimeCurrent: Exactly(32), wire.ExtLifetimeHard: Exactly(32), wire.ExtLifetimeSoft: Exactly(32),
		wire.ExtAddressSrc: WithSockaddr(8), wire.ExtAddressDst: WithSockaddr(8), wire.ExtAddressProxy: WithSockaddr(8),
		wire.ExtKeyAuth: AtLeast(8), wire.ExtKeyEncrypt: AtLeast(8), wire.ExtProposal: AtLeast(8),
		wire.ExtSupportedAuth: AtLeast(8), wire.ExtSupportedEncrypt: AtLeast(8),
		wire.ExtIdentitySrc: Identity, wire.ExtIdentityDst: Identity,
		wire.ExtSensitivity: AtLeast(16), wire.KAMEExtXPolicy: AtLeast(16),
		wire.KAMEExtXNATTType: Exactly(8), wire.KAMEExtXNATTSPort: Exactly(8), wire.KAMEExtXNATTDPort: Exactly(8),
	}
	maps.Copy(all, own)
	return all
}

// identXAddr is the type of an identity that is a socket address.
const identXAddr = 4

// Identity is the rule of an identity.
func Identity(d *wire.Dialect, raw []byte, size int) bool {
	const fixed = 16
	if size < fixed {
		return false
	}
	return d.Order.Uint16(raw[4:]) != identXAddr || WithSockaddr(fixed)(d, raw, size)
}

// promiscOn is the number that X_PROMISC has in the place of an SA type to say "on".
const promiscOn wire.SAType = 1

// needSAType are the messages that name an SA.
var needSAType = []wire.MsgType{wire.MsgGetSPI, wire.MsgUpdate, wire.MsgAdd, wire.MsgDelete, wire.MsgGet,
	wire.MsgAcquire, wire.MsgExpire}

// aboutPolicies are the messages that name none.
var aboutPolicies = []wire.MsgType{wire.KAMEMsgXSPDUpdate, wire.KAMEMsgXSPDAdd, wire.KAMEMsgXSPDDelete,
	wire.KAMEMsgXSPDGet, wire.KAMEMsgXSPDAcquire, wire.KAMEMsgXSPDDump, wire.KAMEMsgXSPDFlush,
	wire.KAMEMsgXSPDSetIdx, wire.KAMEMsgXSPDExpire, wire.KAMEMsgXSPDDelete2}

// checkSAType looks at the SA type.
func (k *Kernel) checkSAType(r *Request) wire.Errno {
	if scopes, ok := k.page.Scoped[r.Header.Type]; ok {
		if !slices.Contains(scopes, r.Msg[3]) {
			return wire.EINVAL
		}
		return wire.OK
	}
	switch t := r.Header.SAType; t {
	case wire.SATypeUnspec:
		if slices.Contains(needSAType, r.Header.Type) {
			return wire.EINVAL
		}
	case promiscOn:
		if r.Header.Type != wire.MsgXPromisc {
			return wire.EINVAL
		}
	case wire.SATypeRSVP, wire.SATypeOSPFv2, wire.SATypeRIPv2, wire.SATypeMIP:
		return wire.EOPNOTSUPP
	default:
		proto, ok := k.page.Protos[t]
		if !ok || slices.Contains(aboutPolicies, r.Header.Type) {
			return wire.EINVAL
		}
		r.proto = proto
	}
	return wire.OK
}

// checkEnds compares source and destination, if both are there.
func (k *Kernel) checkEnds(r *Request) wire.Errno {
	src, dst := r.Ext(wire.ExtAddressSrc), r.Ext(wire.ExtAddressDst)
	if src == nil || dst == nil {
		return wire.OK
	}
	a, b := SockaddrOf(src), SockaddrOf(dst)
	if src[4] != dst[4] || a.Family() != b.Family() || a.Len() != b.Len() {
		return wire.EINVAL
	}
	bits := uint8(32)
	switch uint16(a.Family()) {
	case k.d.AFInet:
		if a.Len() != sockaddrIn {
			return wire.EINVAL
		}
	case k.d.AFInet6:
		if bits = 128; a.Len() != sockaddrIn6 {
			return wire.EINVAL
		}
	default:
		return wire.EAFNOSUPPORT
	}
	if src[5] > bits || dst[5] > bits {
		return wire.EINVAL
	}
	return wire.OK
}
