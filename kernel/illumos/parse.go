package illumos

import (
	"encoding/binary"
	"slices"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// extMax is SADB_EXT_MAX of 2015.
const extMax = wire.IllumosExtXOuterSens

// edumpLen is the size of an X_EDUMP extension.
const edumpLen = 16

// slack is how far a handler may look past the end of a message whose extensions are too short: the original reads what
// lies behind its buffer, here it reads zero.
const slack = 64

// result is how a check or a whole message went: zero, or the errno and the diagnostic of an error message.
type result struct {
	errno wire.Errno
	diag  wire.IllumosDiagnostic
}

func einval(d wire.IllumosDiagnostic) result { return result{wire.EINVAL, d} }

func (r result) failed() bool { return r.errno != wire.OK }

// request is one message on its way through the kernel, which edits it in place and, for many types, sends it back.
type request struct {
	sender *client
	hdr    wire.Header // as it was received
	msg    []byte      // followed by slack
	// ext are the extensions by type, from their header on; nil where there is none. Each reaches at least as far as
	// its fixed part, even if its length says less.
	ext [extMax + 1][]byte

	src, dst class // what addrFix found
}

func (r *request) has(t wire.ExtType) bool { return r.ext[t] != nil }

// hasAny says whether any extension is there.
func (r *request) hasAny() bool { return len(r.msg) > wire.HeaderLen }

// fixedSize is how far the kernel reads an extension of a type without looking at its length.
func fixedSize(t wire.ExtType) int {
	switch t {
	case wire.ExtLifetimeCurrent, wire.ExtLifetimeHard, wire.ExtLifetimeSoft, wire.IllumosExtXLifetimeIdle:
		return 32
	case wire.ExtAddressSrc, wire.ExtAddressDst, wire.IllumosExtXAddressInnerSrc, wire.IllumosExtXAddressInnerDst,
		wire.IllumosExtXAddressNattLoc, wire.IllumosExtXAddressNattRem:
		return 40
	}
	return 16
}

// Request implements [engine.Endpoint]; keysock_parse. What goes wrong is told in a message, never by send().
func (c *client) Request(msg []byte, from pfkey.Cred) pfkey.Errno {
	k, r := c.k, &request{sender: c}
	defer func() { k.e.Forget(r.msg[:cap(r.msg)]) }()
	if res := k.parse(r, msg); res.failed() {
		k.fail(r, res)
		return wire.OK
	}
	k.dispatch(r)
	return wire.OK
}

// fail answers with an error made by keysock itself.
func (k *Kernel) fail(r *request, res result) {
	msg := k.errorMessage(r, res)
	if k.d.MsgType(msg[1]) == wire.MsgDump {
		k.refuseDump(msg, r.sender)
		return
	}
	k.passUp(msg, r.sender, fromKeysock)
}

// errorMessage is the base header as it was received, with the error.
func (k *Kernel) errorMessage(r *request, res result) []byte {
	h := r.hdr
	if h.Type > wire.IllumosMsgXDelPairState {
		h.Type = wire.MsgReserved
	}
	h.Errno = k.d.ErrnoNumber(res.errno)
	h.Reserved = uint16(res.diag)
	h.Len = wire.HeaderLen / 8
	return k.d.AppendHeader(nil, h)
}

// parse checks the framing and finds the extensions: the message's length, then each extension in wire order by type,
// length, repetition and content. The first failure ends it.
func (k *Kernel) parse(r *request, sent []byte) result {
	n := len(sent)
	padded := make([]byte, max(n, wire.HeaderLen)+slack)
	copy(padded, sent)
	r.hdr, _ = k.d.Header(padded)
	r.msg = padded[:n]
	if n != int(r.hdr.Len)*8 || n < wire.HeaderLen {
		// The original goes on with 8 bytes that say so; there is no header then to answer to.
		return result{errno: wire.EMSGSIZE}
	}
	for e, err := range k.d.Walk(r.msg) {
		if e.Type == wire.ExtReserved || e.Type > extMax {
			return einval(wire.IllumosDiagUnknownExt)
		}
		if err != nil {
			return einval(wire.IllumosDiagBadExtLen)
		}
		if r.has(e.Type) {
			return einval(diagnostics[e.Type].duplicate)
		}
		r.ext[e.Type] = padded[e.Offset:max(e.Offset+len(e.Raw), min(e.Offset+fixedSize(e.Type), len(padded)))]
		if !k.wellFormed(r.msg, padded, e) {
			return einval(diagnostics[e.Type].malformed)
		}
	}
	return result{}
}

// diagnostics are those of the extensions that have their own; the others say 0.
var diagnostics = [extMax + 1]struct{ duplicate, malformed, missing wire.IllumosDiagnostic }{
	wire.ExtSA: {wire.IllumosDiagDuplicateSA, wire.IllumosDiagMalformedSA,
		wire.IllumosDiagMissingSA},
	wire.ExtAddressSrc: {wire.IllumosDiagDuplicateSrc, wire.IllumosDiagMalformedSrc,
		wire.IllumosDiagMissingSrc},
	wire.ExtAddressDst: {wire.IllumosDiagDuplicateDst, wire.IllumosDiagMalformedDst,
		wire.IllumosDiagMissingDst},
	wire.IllumosExtXAddressInnerSrc: {wire.IllumosDiagDuplicateInnerSrc, wire.IllumosDiagMalformedInnerSrc,
		wire.IllumosDiagMissingInnerSrc},
	wire.IllumosExtXAddressInnerDst: {wire.IllumosDiagDuplicateInnerDst, wire.IllumosDiagMalformedInnerDst,
		wire.IllumosDiagMissingInnerDst},
	wire.ExtKeyAuth: {wire.IllumosDiagDuplicateAKey, wire.IllumosDiagMalformedAKey,
		wire.IllumosDiagMissingAKey},
	wire.ExtKeyEncrypt: {wire.IllumosDiagDuplicateEKey, wire.IllumosDiagMalformedEKey,
		wire.IllumosDiagMissingEKey},
	wire.ExtSPIRange: {wire.IllumosDiagDuplicateRange, wire.IllumosDiagMalformedRange,
		wire.IllumosDiagMissingRange},
}

// missing is the failure of a message that lacks an extension.
func missing(t wire.ExtType) result { return einval(diagnostics[t].missing) }

// wellFormed is keysock's test of an extension's content; ext_check. Types it does not know pass at any length.
func (k *Kernel) wellFormed(msg, padded []byte, e wire.Ext) bool {
	switch e.Type {
	case wire.ExtAddressSrc, wire.ExtAddressDst, wire.IllumosExtXAddressInnerSrc, wire.IllumosExtXAddressInnerDst:
		return len(e.Raw) > 8
	case wire.ExtLifetimeCurrent, wire.ExtLifetimeHard, wire.ExtLifetimeSoft:
		return len(e.Raw) == 32
	case wire.ExtSPIRange:
		lo, hi := spiRange(padded[e.Offset:])
		return lo <= hi
	case wire.ExtKeyAuth, wire.ExtKeyEncrypt:
		return k.keyWellFormed(padded, e)
	case wire.ExtIdentitySrc, wire.ExtIdentityDst:
		k.terminate(e.Raw)
	}
	return true
}

// keyWellFormed tests the length of a key, a fraction of a byte dropped, and that it is not all zero. The original
// looks one word too far for a byte that is not zero, so a key of zeros passes when an extension follows it.
func (k *Kernel) keyWellFormed(padded []byte, e wire.Ext) bool {
	bits := int(k.d.Order.Uint16(padded[e.Offset+4:]))
	if bits == 0 || (bits/8+7)/8*8+8 != len(e.Raw) {
		return false
	}
	for _, b := range padded[e.Offset+8 : min(e.Offset+len(e.Raw)+8, len(padded))] {
		if b != 0 {
			return true
		}
	}
	return false
}

// terminate makes sure that an identity's string ends within the extension, by overwriting its last byte if need be.
func (k *Kernel) terminate(raw []byte) {
	if len(raw) <= 16 || !slices.Contains(raw[16:], 0) {
		raw[len(raw)-1] = 0
	}
}

// spiRange reads the bounds of an SPIRANGE; both are in network order.
func spiRange(raw []byte) (lo, hi uint32) {
	return binary.BigEndian.Uint32(raw[4:]), binary.BigEndian.Uint32(raw[8:])
}

// dispatch hands a well-formed message to whoever handles its type; the second half of keysock_parse.
func (k *Kernel) dispatch(r *request) {
	c := r.sender
	switch r.hdr.Type {
	case wire.MsgGetSPI, wire.MsgAdd, wire.MsgUpdate, wire.IllumosMsgXUpdatePair, wire.MsgDelete,
		wire.IllumosMsgXDelPair, wire.MsgGet:
		k.passDown(r)
	case wire.MsgRegister:
		switch {
		case r.hdr.SAType == wire.SATypeUnspec:
			k.registerExtended(r)
		case c.extended:
			k.fail(r, result{errno: wire.EBUSY})
		default:
			k.passDown(r)
		}
	case wire.MsgAcquire:
		k.acquireFromUser(r)
	case wire.MsgExpire:
		k.fail(r, result{errno: wire.EOPNOTSUPP})
	case wire.MsgFlush:
		if r.hasAny() {
			k.fail(r, einval(wire.IllumosDiagNoExt))
			return
		}
		k.fanOut(r)
	case wire.MsgDump:
		if r.hasAny() && !(r.has(wire.IllumosExtXEDump) && len(r.msg) <= wire.HeaderLen+edumpLen) {
			k.fail(r, einval(wire.IllumosDiagNoExt))
			return
		}
		k.fanOut(r)
	case wire.MsgXPromisc:
		k.promisc(r)
	case wire.IllumosMsgXInverseAcquire:
		k.inverseAcquire(r)
	case wire.IllumosMsgXDelPairState:
		if r.hdr.SAType != wire.SATypeUnspec {
			k.passDown(r)
			return
		}
		for _, p := range k.consumers() {
			c := r.copy(k)
			k.consume(p, c)
			k.e.Forget(c.msg[:cap(c.msg)])
		}
	default:
		k.fail(r, einval(wire.IllumosDiagUnknownMsg))
	}
}

// copy is a second, independent message for another consumer.
func (r *request) copy(k *Kernel) *request {
	c := &request{sender: r.sender}
	k.parse(c, r.msg) // it has been parsed once without failure
	return c
}

// passDown hands the message to the consumer of its SA type.
func (k *Kernel) passDown(r *request) {
	if r.hdr.SAType == wire.SATypeUnspec {
		k.fail(r, einval(wire.IllumosDiagSATypeNeeded))
		return
	}
	p := k.consumer(r.hdr.SAType)
	if p == nil {
		k.fail(r, einval(wire.IllumosDiagUnknownSAType))
		return
	}
	k.consume(p, r)
}

// consume is the entry of ESP and AH: their common checks, then the handler of the type. A failure is answered here.
func (k *Kernel) consume(p *protocol, r *request) {
	k.countFor(p, keysockIn, 1)
	if res := k.handle(p, r); res.failed() {
		k.passUp(k.errorMessage(r, res), r.sender, fromConsumer)
	}
}

func (k *Kernel) handle(p *protocol, r *request) result {
	if res := k.addrFix(r); res.failed() {
		return res
	}
	switch {
	case !p.isESP() && r.has(wire.ExtKeyEncrypt):
		return einval(wire.IllumosDiagEKeyPresent)
	case r.has(wire.ExtProposal):
		return einval(wire.IllumosDiagPropPresent)
	case r.has(wire.ExtSupportedAuth) || r.has(wire.ExtSupportedEncrypt):
		return einval(wire.IllumosDiagSuppPresent)
	}
	switch r.hdr.Type {
	case wire.MsgGetSPI:
		return k.getSPI(p, r)
	case wire.MsgAdd:
		return k.add(p, r)
	case wire.MsgUpdate, wire.IllumosMsgXUpdatePair:
		return k.update(p, r)
	case wire.MsgDelete, wire.IllumosMsgXDelPair, wire.IllumosMsgXDelPairState:
		return k.delete(p, r)
	case wire.MsgGet:
		return k.get(p, r)
	case wire.MsgRegister:
		return k.register(p, r)
	case wire.MsgAcquire:
		return k.acquireRefused(p, r)
	}
	return einval(wire.IllumosDiagUnknownMsg)
}

// echo sends the request back as it stands, header included, but for its keys and X_EDUMP, whatever the message;
// sadb_pfkey_echo. The request's ext views are good no longer.
func (k *Kernel) echo(r *request) {
	out := r.msg[:wire.HeaderLen]
	for e, err := range k.d.Walk(r.msg) {
		if err != nil {
			break
		}
		switch e.Type {
		case wire.ExtKeyAuth, wire.ExtKeyEncrypt, wire.IllumosExtXEDump:
		default:
			out = append(out, e.Raw...)
		}
	}
	clear(r.msg[len(out):]) // of the keys nothing may stay behind
	r.msg = k.d.Finish(out)
	k.passUp(r.msg, r.sender, fromConsumer)
}
