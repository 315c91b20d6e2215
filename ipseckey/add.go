package ipseckey

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// addition is what the keywords of add, update and update-pair say.
type addition struct {
	parse
	typ    wire.MsgType
	satype int32

	sa        *wire.SA // nil until a keyword of it was seen
	state     uint8
	stateSeen bool
	encap     bool
	pair      wire.SPI // 0: none

	limits [3]*wire.Lifetime // by arg>>4

	src, dst           *host
	sport, dport       uint16
	proto              uint8
	inner              bool // an inner address, port or protocol was given
	isrc, idst         *netip.Addr
	isrcLen, idstLen   uint8
	isport, idport     uint16
	iproto             uint8
	natLoc, natRem     *netip.Addr
	natLport, natRport uint16
	ekey, akey         *keyValue
	reserved           uint16
	srcID, dstID       *wire.Identity
	replay             *wire.ReplayValue
	label, outer       *wire.Sensitivity
	labels             int // how many labels of either kind were given
	kame               kameAddition
}

// SA flags and extensions of illumos that requests use.
const (
	flagInbound  = wire.IllumosFlagXInbound
	flagOutbound = wire.IllumosFlagXOutbound
)

// add runs add, update and update-pair.
func (s *session) add(ctx context.Context, verb string, typ wire.MsgType, satype int32) error {
	if satype == 0 {
		s.report("Must specify a specific SA type.\n")
		return errAbandon
	}
	a := &addition{parse: parse{s: s, verb: verb, next: 2}, typ: typ, satype: satype}
	s.seq++
	if err := a.each(func(i int) error { return a.keyword(ctx, i) }); err != nil {
		return err
	}
	if err := a.flush(true); err != nil {
		return err
	}
	if err := a.check(); err != nil {
		return err
	}
	return s.send(ctx, sending{
		parse: &a.parse, typ: typ, satype: satype, spi: a.sa.SPI, block: true, add: true,
		src: a.src, dst: a.dst, build: a.build, hint: a.hint,
	})
}

// needSA makes the SA extension.
func (a *addition) needSA() *wire.SA {
	if a.sa == nil {
		a.sa = &wire.SA{}
	}
	return a.sa
}

func (a *addition) keyword(ctx context.Context, i int) error {
	name := a.s.words[i].text
	k, ok := findKeyword(name)
	if !ok && !a.s.keeps(quirkNoExtras) {
		if k, ok := findKAMEKeyword(name); ok {
			return a.kameKeyword(k, i)
		}
	}
	if !ok {
		a.add(i, `Unknown extension field "%s" `, a.s.show(i))
		a.suggest(a.s.keywordNames())
		return nil
	}
	switch k.kind {
	case kindSPI, kindPairSPI, kindReplay, kindState, kindAuthAlg, kindEncrAlg, kindEncap:
		return a.association(k, i)
	case kindDirection:
		if a.sa == nil && a.s.keeps(quirkCrash) {
			return a.s.crash()
		}
		a.needSA().Flags |= k.direction()
	case kindRejected:
		a.add(i, "Don't use extension %s for add/update.", name)
	case kindLifetime:
		return a.lifetime(k, i)
	case kindSrc, kindDst:
		return a.outerAddress(ctx, k, i)
	case kindInnerSrc, kindInnerDst:
		return a.innerAddress(ctx, k, i)
	case kindSrcPort:
		return once(&a.parse, &a.sport, i, "source port")
	case kindDstPort:
		return once(&a.parse, &a.dport, i, "destination port")
	case kindInnerSrcPort:
		a.inner = true
		return once(&a.parse, &a.isport, i, "inner-source port")
	case kindInnerDstPort:
		a.inner = true
		return once(&a.parse, &a.idport, i, "inner-destination port")
	case kindProto:
		return once(&a.parse, &a.proto, i, "protocol")
	case kindInnerProto:
		a.inner = true
		return once(&a.parse, &a.iproto, i, "inner protocol")
	case kindNATLoc:
		return a.natAddress(ctx, &a.natLoc, i, "local")
	case kindNATRem:
		return a.natAddress(ctx, &a.natRem, i, "remote")
	case kindNATLocPort:
		return once(&a.parse, &a.natLport, i, "NAT-T local port")
	case kindNATRemPort:
		return once(&a.parse, &a.natRport, i, "NAT-T remote port")
	case kindEncrKey, kindAuthKey:
		return a.key(k, i)
	case kindReservedBits:
		if a.ekey != nil {
			a.add(i, "Reserved bits need to be specified before key.")
		}
		v, err := a.number(16)
		a.reserved = uint16(v)
		return err
	case kindSrcID, kindDstID:
		return a.ident(k, i)
	case kindReplayValue:
		if a.twice(a.replay != nil, i, "replay value") {
			a.runTogether()
			return nil
		}
		v, err := a.number(32)
		a.replay = &wire.ReplayValue{Replay32: uint32(v)}
		return err
	case kindLabel:
		return a.securityLabel(k, i)
	}
	return nil
}

// keywordNames are those that the engine can be told with.
func (s *session) keywordNames() (names []string) {
	all := keywords
	if s.kame() && !s.keeps(quirkNoExtras) {
		all = slices.Concat(keywords, kameKeywords)
	}
	for _, k := range all {
		names = append(names, k.name)
	}
	return names
}

// association parses the keywords of the SA extension. One that is refused loses its value.
func (a *addition) association(k keyword, i int) error {
	sa := a.needSA()
	switch k.kind {
	case kindSPI:
		return a.spi(&sa.SPI, i, "SPI value")
	case kindPairSPI:
		if a.typ == wire.IllumosMsgXUpdatePair {
			a.add(i, `pair-spi can not be used with the "%s" command.`, a.verb)
		}
		return a.spi(&a.pair, i, "pair SPI value")
	case kindReplay:
		if a.twiceSkipping(sa.Replay != 0, i, "replay window size") {
			return nil
		}
		v, err := a.number(8)
		if v != 0 {
			a.warnAll(true, "WARNING:  Replay with manual keying considered harmful.")
		}
		sa.Replay = uint8(v)
		return err
	case kindState:
		if a.twiceSkipping(a.state != 0, i, "SA state") {
			return nil
		}
		v, err := a.parse.state()
		a.state, a.stateSeen = v, true
		return err
	case kindAuthAlg:
		if a.twiceSkipping(sa.Auth != 0, i, "auth algorithm") {
			return nil
		}
		v, err := a.algorithm(a.s.algorithms().Auth, "authentication")
		sa.Auth = v.ID
		return err
	case kindEncrAlg:
		if a.satype == int32(wire.SATypeAH) {
			a.add(i, "Cannot specify encryption with SA type ah.")
			a.skip()
			return nil
		}
		if a.twiceSkipping(sa.Encrypt != 0, i, "encryption algorithm") {
			return nil
		}
		v, err := a.algorithm(a.s.algorithms().Encrypt, "encryption")
		sa.Encrypt = v.ID
		return err
	case kindEncap:
		if a.twiceSkipping(a.encap, i, "encapsulation") {
			return nil
		}
		text, j, ok := a.take()
		switch {
		case !ok && a.s.keeps(quirkCrash):
			return a.s.crash()
		case !ok:
			return a.stop(j, "Unexpected end of command line, was expecting an encapsulation.")
		case !strings.HasPrefix(text, "udp"):
			a.add(j, "Can only specify udp encapsulation.")
		default:
			a.encap = true
		}
	}
	return nil
}

// spi reads an SPI, of which what names the kind.
func (a *addition) spi(to *wire.SPI, i int, what string) error {
	if a.twiceSkipping(*to != 0, i, what) {
		return nil
	}
	v, err := a.number(32)
	if err == nil && v == 0 {
		a.add(i+1, `Invalid SPI value "%d" .`, v)
	}
	*to = wire.SPI(v)
	return err
}

var limitNames = [...][4]string{
	limitHard >> 4: {"hard allocation limit", "hard byte limit", "past-add lifetime", "past-use lifetime"},
	limitSoft >> 4: {"soft allocation limit", "soft byte limit", "past-add lifetime", "past-use lifetime"},
	limitIdle >> 4: {},
}

func (a *addition) lifetime(k keyword, i int) error {
	which, field := k.arg>>4, k.arg&fieldMask
	l := a.limits[which]
	if l == nil {
		l = &wire.Lifetime{}
		a.limits[which] = l
	}
	set := [...]bool{l.Allocations != 0, l.Bytes != 0, l.AddTime != 0, l.UseTime != 0}[field]
	if a.twiceSkipping(set && which != limitIdle>>4, i, limitNames[which][field]) {
		return nil
	}
	bits := 64
	if field == fieldAlloc || which == limitIdle>>4 {
		bits = 32
	}
	v, err := a.number(bits)
	if err != nil {
		return err
	}
	switch field {
	case fieldAlloc:
		l.Allocations = uint32(v)
	case fieldBytes:
		l.Bytes = v
	case fieldAddTime:
		l.AddTime = v
	case fieldUseTime:
		l.UseTime = v
	}
	return nil
}

func (a *addition) outerAddress(ctx context.Context, k keyword, i int) error {
	to, what, unknown := &a.src, "source address", `Unknown src address "%s"`
	if k.kind == kindDst {
		to, what, unknown = &a.dst, "destination address", `Unknown dst address "%s"`
	}
	if a.twice(*to != nil, i, what) {
		return nil
	}
	h, ok, err := a.address(ctx, k.v6, unknown)
	if ok {
		*to = &h
	}
	return err
}

func (a *addition) innerAddress(ctx context.Context, k keyword, i int) error {
	to, length, name, what := &a.isrc, &a.isrcLen, innerSrcName, "proxy/inner-source address"
	if k.kind == kindInnerDst {
		to, length, name, what = &a.idst, &a.idstLen, innerDstName, "inner-destination address"
	}
	if a.twice(*to != nil, i, what) {
		return nil
	}
	h, prefix, ok, err := a.parse.inner(ctx, k.v6, name)
	if ok {
		*to, *length = &h.addrs[0], prefix
		a.inner = true
	}
	return err
}

func (a *addition) natAddress(ctx context.Context, to **netip.Addr, i int, which string) error {
	if a.twice(*to != nil, i, "NAT-T "+which+" address") {
		return nil
	}
	h, ok, err := a.address(ctx, false, "Unknown NAT-T "+which+` address "%s"`)
	switch {
	case !ok:
	case len(h.addrs) > 1:
		a.warnAll(true, "NAT-T %s address %s is vague, not using.", which, h.name)
	default:
		*to = &h.addrs[0]
	}
	return err
}

func (a *addition) key(k keyword, i int) error {
	to, what, invalid := &a.ekey, "encryption key", "Invalid encryption key."
	if k.kind == kindAuthKey {
		to, what, invalid = &a.akey, "authentication key", "Invalid authentication key."
	}
	if a.twice(*to != nil, i, what) {
		return nil
	}
	if k.kind == kindEncrKey && a.sa != nil && a.sa.Encrypt == wire.EncNull {
		return a.stopAll(i, "Cannot specify a key with NULL encryption algorithm.")
	}
	v, ok, err := a.parse.key(invalid)
	if ok {
		*to = &v
	}
	return err
}

func (a *addition) ident(k keyword, i int) error {
	to, what := &a.srcID, "source certificate identity"
	if k.kind == kindDstID {
		to, what = &a.dstID, "destination certificate identity"
	}
	end := len(a.s.words)
	switch {
	case end-a.next >= 2:
		if !a.twice(*to != nil, i, what) {
			typ, name := a.identity()
			*to = &wire.Identity{Type: typ, Name: name}
		}
	case k.kind == kindSrcID:
		return a.stopAll(end, "Unexpected end of command line - Expecting Src Type.")
	default:
		a.add(end, "Unexpected end of command line - expecting dst type.")
	}
	return nil
}

func (a *addition) securityLabel(k keyword, i int) error {
	text, j, ok := a.take()
	if !ok {
		if a.s.keeps(quirkCrash) {
			return a.s.crash()
		}
		return a.stop(j, "Unexpected end of command line, was expecting a label.")
	}
	v, ok := parseLabel(text)
	inner := k.arg == argLabel
	if !inner && a.label == nil && a.s.keeps(quirkLabelOrder) {
		a.add(j, "Malformed security label")
		return nil
	}
	if !ok {
		if !inner && a.s.keeps(quirkCrash) {
			return a.s.crash()
		}
		a.add(j, "Malformed security label")
		return nil
	}
	a.labels++
	if inner {
		a.label = &v
		return nil
	}
	if k.arg == argImplicitLabel {
		v.Flags |= wire.IllumosSensImplicit
	}
	a.outer = &v
	return nil
}

// check makes the checks that need all keywords, in the order in which the original collects their errors.
func (a *addition) check() error {
	sa := a.sa
	end := len(a.s.words)
	nat := a.natLoc != nil || a.natRem != nil
	ports := a.natLport != 0 || a.natRport != 0
	switch {
	case !a.encap && ports:
		a.add(end, "Must specify 'encap udp' with any NAT-T port.")
	case !a.encap && nat:
		a.add(end, "Must specify 'encap udp' with any NAT-T address.")
	}
	switch {
	case sa == nil:
		a.add(end, "Need to define SPI for %s.", a.verb)
		a.add(end, "Need SA parameters for %s.", a.verb)
	case sa.SPI == 0:
		a.add(end, "The SPI value is missing for the association you wish to %s.", a.verb)
	}
	if sa != nil {
		if a.typ == wire.MsgAdd && sa.Auth == 0 && sa.Encrypt == 0 {
			return a.stopAll(end, "Select at least one algorithm for this add.")
		}
		if a.satype == int32(wire.SATypeESP) && sa.Encrypt == 0 {
			sa.Encrypt = wire.EncNull
		}
		sa.State = wire.StateMature
		if a.stateSeen {
			sa.State = wire.State(a.state)
			if a.state == 0 {
				a.add(end, "%sCannot set LARVAL SA state.", a.blocking())
			}
		}
		if a.inner && a.proto != 0 && a.proto != 4 && a.proto != 41 {
			a.add(end, "%sProtocol type %d not for use with Tunnel-Mode SA.", a.blocking(), a.proto)
		}
	}
	if a.typ == wire.MsgAdd && a.ekey == nil && a.akey == nil {
		a.add(end, "Must have at least one key for an add.")
	}
	if a.dst == nil {
		return a.stopAll(end, "Need destination address for %s.", a.verb)
	}
	if a.encap && !nat && !ports && !a.s.kame() {
		a.add(end, "Must specify NAT-T remote or local address for UDP encapsulation.")
	}
	a.checkKAME()
	a.foreign()
	if sa != nil && a.errs.Len() == 0 {
		a.checkAlgorithms()
	}
	return a.flush(true)
}

// blocking is how the original words two of its errors.
func (a *addition) blocking() string {
	if a.s.keeps(quirkWarningsBlock) {
		return "WARNING: "
	}
	return "ERROR: "
}

// The diagnostics that a wrong key size has.
const (
	badAuthBits    = 44
	badEncryptBits = 45
)

// hint says what a key must look like when the engine refuses its size.
func (a *addition) hint(diagnostic uint16) string {
	rows, id, k := a.s.algorithms().Encrypt, a.sa.Encrypt, a.ekey
	switch diagnostic {
	case badEncryptBits:
	case badAuthBits:
		rows, id, k = a.s.algorithms().Auth, a.sa.Auth, a.akey
	default:
		return ""
	}
	for _, alg := range rows {
		if alg.ID == id && k != nil {
			return fmt.Sprintf("%s; this one has %d bits", alg.sizes(), k.bits)
		}
	}
	return ""
}

// build makes the message for one destination.
func (a *addition) build(src, dst netip.Addr) []byte {
	d := a.s.dial
	sa := *a.sa
	if a.pair != 0 {
		sa.Flags |= wire.IllumosFlagXPaired
	}
	if a.inner {
		sa.Flags |= wire.IllumosFlagXTunnel
	}
	natRem := a.natRem != nil || a.natRport != 0
	natLoc := a.natLoc != nil || a.natLport != 0
	if natRem {
		sa.Flags |= wire.IllumosFlagXNattRem
	}
	if natLoc {
		sa.Flags |= wire.IllumosFlagXNattLoc
	}
	m := a.s.header(a.typ, a.satype)
	m = d.AppendSA(m, sa)
	m = a.kame.append(d, m)
	if a.pair != 0 {
		m = d.AppendPair(m, wire.Pair{SPI: a.pair})
	}
	if hard, soft := &a.limits[limitHard>>4], &a.limits[limitSoft>>4]; !a.s.illumos() &&
		(*hard == nil) != (*soft == nil) {
		// Linux wants both or none.
		for _, l := range []**wire.Lifetime{hard, soft} {
			if *l == nil {
				*l = &wire.Lifetime{}
			}
		}
	}
	for i, t := range []wire.ExtType{wire.ExtLifetimeHard, wire.ExtLifetimeSoft, wire.IllumosExtXLifetimeIdle} {
		if a.limits[i] != nil {
			m = d.AppendLifetime(m, t, *a.limits[i])
		}
	}
	if a.ekey == nil && a.satype == int32(wire.SATypeESP) && sa.Encrypt == wire.EncNull && !a.s.illumos() {
		// Others want the key of the null algorithm too, which has no bits.
		m = d.AppendKey(m, wire.ExtKeyEncrypt, wire.Key{})
	}
	if k := a.ekey; k != nil {
		m = d.AppendKey(m, wire.ExtKeyEncrypt, wire.Key{Bits: k.bits, Reserved: a.reserved, Data: k.data})
	}
	if k := a.akey; k != nil {
		m = d.AppendKey(m, wire.ExtKeyAuth, wire.Key{Bits: k.bits, Data: k.data})
	}
	if a.srcID != nil {
		m = d.AppendIdentity(m, wire.ExtIdentitySrc, *a.srcID)
	}
	if a.dstID != nil {
		m = d.AppendIdentity(m, wire.ExtIdentityDst, *a.dstID)
	}
	m = d.AppendAddress(m, wire.ExtAddressDst, a.s.address(wire.Address{Proto: a.proto, Addr: dst, Port: a.dport}))
	if natRem {
		m = d.AppendAddress(m, wire.IllumosExtXAddressNattRem,
			a.s.address(wire.Address{Addr: natAddr(a.natRem), Port: a.natRport}))
	}
	if natLoc {
		m = d.AppendAddress(m, wire.IllumosExtXAddressNattLoc,
			a.s.address(wire.Address{Addr: natAddr(a.natLoc), Port: a.natLport}))
	}
	m = d.AppendAddress(m, wire.ExtAddressSrc, a.s.address(wire.Address{Proto: a.proto, Addr: src, Port: a.sport}))
	if a.inner {
		m = d.AppendAddress(m, wire.IllumosExtXAddressInnerSrc, innerAddress(a.isrc, a.isrcLen, a.isport, a.iproto))
		m = d.AppendAddress(m, wire.IllumosExtXAddressInnerDst, innerAddress(a.idst, a.idstLen, a.idport, a.iproto))
	}
	if a.replay != nil {
		m = d.AppendReplayValue(m, *a.replay)
	}
	if a.encap && a.s.kame() {
		m = a.kame.appendEncap(d, m)
	}
	labels := 0
	if a.label != nil {
		m = d.AppendSensitivity(m, wire.ExtSensitivity, *a.label)
		labels++
	}
	if a.outer != nil {
		m = d.AppendSensitivity(m, wire.IllumosExtXOuterSens, *a.outer)
		labels++
	}
	if a.s.keeps(quirkLabelOrder) {
		// Every label adds to the length, the ones that were replaced too.
		m = append(m, make([]byte, (a.labels-labels)*(16+labelBytes))...)
	}
	return d.Finish(slices.Clip(m))
}

// natAddr is the address of a NAT extension that may have a port only.
func natAddr(a *netip.Addr) netip.Addr {
	if a == nil {
		return netip.IPv4Unspecified()
	}
	return *a
}

func innerAddress(a *netip.Addr, length uint8, port uint16, proto uint8) wire.Address {
	v := wire.Address{Proto: proto, Addr: netip.IPv6Unspecified(), Port: port}
	if a != nil {
		v.Addr, v.PrefixLen = *a, length
	}
	return v
}

// algorithms is the algorithm table of the run.
func (s *session) algorithms() *Algorithms {
	if s.Algorithms != nil {
		return s.Algorithms
	}
	if s.stock == nil {
		s.stock = StockAlgorithms()
		if !s.illumos() {
			s.stock = dialectAlgorithms(s.dial)
		}
	}
	return s.stock
}
