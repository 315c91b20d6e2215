package wire

import "fmt"

const (
	eregLen        = 8
	epropLen       = 8
	ecombLen       = 64
	algDescLen     = 8
	kmCookieLen    = 16
	pairLen        = 8
	replayValueLen = 16
	edumpLen       = 16
)

// EReg is illumos' X_EREG: the SA types of an extended REGISTER.
type EReg struct{ Types []SAType }

// AppendEReg appends the extension to b. The list ends at its first zero for every reader.
func (d *Dialect) AppendEReg(b []byte, v EReg) []byte {
	start := len(b)
	b = d.AppendExtHeader(b, IllumosExtXEReg, eregLen)
	for _, t := range v.Types {
		b = append(b, d.t.satypes.write(t))
	}
	if len(v.Types) == 0 {
		b = append(b, 0)
	}
	return d.endExt(b, start)
}

// ParseEReg reads an X_EREG extension: the types before the first zero or the end. Types is a copy.
func (d *Dialect) ParseEReg(raw []byte) (EReg, error) {
	if err := d.need(raw, eregLen); err != nil {
		return EReg{}, err
	}
	var v EReg
	for _, t := range raw[extHeaderLen:] {
		if t == 0 {
			break
		}
		v.Types = append(v.Types, d.t.satypes.of(t))
	}
	return v, nil
}

// EProp is illumos' X_EPROP, the extended proposal: one EComb for each alternative, preferred first.
type EProp struct {
	Replay uint8 // window in packets
	Combs  []EComb
	Cookie *KMCookie // hidden behind the last comb as in [Proposal]; nil if there is none
}

// EComb is one alternative of an extended proposal. Times are in seconds; zero means no limit.
type EComb struct {
	Flags                            uint16
	SoftAllocations, HardAllocations uint32
	SoftBytes, HardBytes             uint64
	SoftAddTime, HardAddTime         uint64
	SoftUseTime, HardUseTime         uint64
	Algs                             []AlgDesc // at most 255
}

// AlgDesc is one algorithm of an EComb.
type AlgDesc struct {
	SAType           SAType
	AlgType          AlgType
	Alg              AlgID
	SaltBits         uint8
	MinBits, MaxBits uint16 // key sizes
}

// AppendEProp appends the extension to b: 8 bytes, for each comb 64 and 8 for each of its algorithms, 16 for a cookie.
func (d *Dialect) AppendEProp(b []byte, v EProp) []byte {
	start := len(b)
	b, p := d.newExt(b, IllumosExtXEProp, epropLen)
	p[4] = v.Replay
	d.put16(p[6:], uint16(len(v.Combs)))
	for _, c := range v.Combs {
		algs := c.Algs[:min(len(c.Algs), 255)]
		b, p = grow(b, ecombLen)
		p[0] = uint8(len(algs))
		d.put16(p[2:], c.Flags)
		d.put32(p[8:], c.SoftAllocations)
		d.put32(p[12:], c.HardAllocations)
		d.put64(p[16:], c.SoftBytes)
		d.put64(p[24:], c.HardBytes)
		d.put64(p[32:], c.SoftAddTime)
		d.put64(p[40:], c.HardAddTime)
		d.put64(p[48:], c.SoftUseTime)
		d.put64(p[56:], c.HardUseTime)
		for _, a := range algs {
			b, p = grow(b, algDescLen)
			p[0], p[1], p[2], p[3] = d.t.satypes.write(a.SAType), a.AlgType, uint8(a.Alg), a.SaltBits
			if ids := d.algsOfDesc(a.AlgType); ids != nil {
				p[2] = ids.write(a.Alg)
			}
			d.put16(p[4:], a.MinBits)
			d.put16(p[6:], a.MaxBits)
		}
	}
	if v.Cookie != nil {
		b = d.AppendKMCookie(b, *v.Cookie)
	}
	return d.endExt(b, start)
}

// ParseEProp reads an X_EPROP extension. ErrShort: it ends before its counts say; what was read until then is returned
// too.
func (d *Dialect) ParseEProp(raw []byte) (EProp, error) {
	if err := d.need(raw, epropLen); err != nil {
		return EProp{}, err
	}
	v := EProp{Replay: raw[4]}
	p := raw[epropLen:]
	for range d.u16(raw[6:]) {
		if len(p) < ecombLen {
			return v, d.fail(raw, len(raw), ErrShort)
		}
		c, n := d.ecomb(p), int(p[0])
		p = p[ecombLen:]
		if len(p) < n*algDescLen {
			return v, d.fail(raw, len(raw), ErrShort)
		}
		for range n {
			c.Algs = append(c.Algs, d.algDesc(p))
			p = p[algDescLen:]
		}
		v.Combs = append(v.Combs, c)
	}
	v.Cookie = d.cookieIn(p)
	return v, nil
}

func (d *Dialect) ecomb(p []byte) EComb {
	return EComb{
		Flags:           d.u16(p[2:]),
		SoftAllocations: d.u32(p[8:]), HardAllocations: d.u32(p[12:]),
		SoftBytes: d.u64(p[16:]), HardBytes: d.u64(p[24:]),
		SoftAddTime: d.u64(p[32:]), HardAddTime: d.u64(p[40:]),
		SoftUseTime: d.u64(p[48:]), HardUseTime: d.u64(p[56:]),
	}
}

func (d *Dialect) algDesc(p []byte) AlgDesc {
	a := AlgDesc{
		SAType: d.t.satypes.of(p[0]), AlgType: p[1], Alg: AlgID(p[2]), SaltBits: p[3],
		MinBits: d.u16(p[4:]), MaxBits: d.u16(p[6:]),
	}
	if ids := d.algsOfDesc(a.AlgType); ids != nil {
		a.Alg = ids.of(p[2])
	}
	return a
}

// algsOfDesc is how the algorithms of a type are numbered; nil if they have no symbols.
func (d *Dialect) algsOfDesc(typ uint8) *numbers[AlgID] {
	switch typ {
	case IllumosAlgTypeAuth:
		return d.t.auths
	case IllumosAlgTypeCrypt:
		return d.t.encrypts
	}
	return nil
}

// KMCookie is illumos' X_KM_COOKIE: which key management daemon made an SA, and what it calls it.
type KMCookie struct {
	Protocol KMProtocol
	// Cookie has 64 bits. With IKE the kernel looks at the first 32 bits on the wire only, here the low half; the other
	// half is reserved there.
	Cookie uint64
}

// AppendKMCookie appends the extension to b, 16 bytes.
func (d *Dialect) AppendKMCookie(b []byte, v KMCookie) []byte {
	b, p := d.newExt(b, IllumosExtXKMCookie, kmCookieLen)
	d.put32(p[4:], v.Protocol)
	if v.Protocol == IllumosKMPIKE {
		d.put32(p[8:], uint32(v.Cookie))
		d.put32(p[12:], uint32(v.Cookie>>32))
	} else {
		d.put64(p[8:], v.Cookie)
	}
	return b
}

// ParseKMCookie reads an X_KM_COOKIE extension.
func (d *Dialect) ParseKMCookie(raw []byte) (KMCookie, error) {
	if err := d.need(raw, kmCookieLen); err != nil {
		return KMCookie{}, err
	}
	v := KMCookie{Protocol: d.u32(raw[4:])}
	if v.Protocol == IllumosKMPIKE {
		v.Cookie = uint64(d.u32(raw[8:])) | uint64(d.u32(raw[12:]))<<32
	} else {
		v.Cookie = d.u64(raw[8:])
	}
	return v, nil
}

// Pair is illumos' X_PAIR: the SPI of the SA for the other direction.
type Pair struct{ SPI SPI }

// AppendPair appends the extension to b, 8 bytes.
func (d *Dialect) AppendPair(b []byte, v Pair) []byte {
	b, p := d.newExt(b, IllumosExtXPair, pairLen)
	putSPI(p[4:], v.SPI)
	return b
}

// ParsePair reads an X_PAIR extension.
func (d *Dialect) ParsePair(raw []byte) (Pair, error) {
	if err := d.need(raw, pairLen); err != nil {
		return Pair{}, err
	}
	return Pair{getSPI(raw[4:])}, nil
}

// ReplayValue is illumos' X_REPLAY_VALUE: the packet counter of an SA, for clusters.
type ReplayValue struct {
	Replay32 uint32
	Replay64 uint64
}

// AppendReplayValue appends the extension to b, 16 bytes.
func (d *Dialect) AppendReplayValue(b []byte, v ReplayValue) []byte {
	b, p := d.newExt(b, IllumosExtXReplayValue, replayValueLen)
	d.put32(p[4:], v.Replay32)
	d.put64(p[8:], v.Replay64)
	return b
}

// ParseReplayValue reads an X_REPLAY_VALUE extension.
func (d *Dialect) ParseReplayValue(raw []byte) (ReplayValue, error) {
	if err := d.need(raw, replayValueLen); err != nil {
		return ReplayValue{}, err
	}
	return ReplayValue{d.u32(raw[4:]), d.u64(raw[8:])}, nil
}

// EDump is illumos' X_EDUMP: a DUMP of only what was used or added lately.
type EDump struct {
	Timeout uint64 // seconds
}

// AppendEDump appends the extension to b, 16 bytes.
func (d *Dialect) AppendEDump(b []byte, v EDump) []byte {
	b, p := d.newExt(b, IllumosExtXEDump, edumpLen)
	d.put64(p[8:], v.Timeout)
	return b
}

// ParseEDump reads an X_EDUMP extension.
func (d *Dialect) ParseEDump(raw []byte) (EDump, error) {
	if err := d.need(raw, edumpLen); err != nil {
		return EDump{}, err
	}
	return EDump{d.u64(raw[8:])}, nil
}

var shapeEReg = &shape{role: RoleOther, kind: "ereg", tail: func(p *teller) {
	for p.off < p.end {
		b := p.take(1)
		if b[0] == 0 {
			p.off--
			return
		}
		p.value(b, "satype", asSAType.text(p.d, b), satypeMeaning)
	}
}, brief: func(d *Dialect, r *extRow, raw []byte) string {
	v, _ := d.ParseEReg(raw)
	var s []string
	for _, t := range v.Types {
		s = append(s, d.SATypeName(t))
	}
	return list(r.short, s...)
}}

const satypeMeaning = "one SA type"

var ecombFields = append([]field{
	f("algdescs", 1, nil, "how many algorithms the combination has"), reserved(1), f("flags", 2, asHex, "options"),
	reserved(4),
}, limitFields...)

var shapeEProp = &shape{role: RoleProposal, kind: "eprop", fields: []field{
	f("replay", 1, nil, "window size that is wanted"), reserved(1),
	f("ecombs", 2, nil, "how many combinations follow"),
}, rule: func(d *Dialect, raw []byte) error { _, err := d.ParseEProp(raw); return err }, tail: func(p *teller) {
	d := p.d
	n := int(d.u16(p.msg[p.off-2:]))
	for i := 1; i <= n && p.end-p.off >= ecombLen; i++ {
		p.in("ecomb %d", i)
		algs := int(p.msg[p.off])
		p.fields(ecombFields)
		for ; algs > 0 && p.end-p.off >= algDescLen; algs-- {
			b := p.take(algDescLen)
			a := d.algDesc(b)
			s := fmt.Sprintf("%d (%s), algtype = %d (%s), alg = %d (%s), minbits = %d, maxbits = %d", b[0],
				d.SATypeName(a.SAType), a.AlgType, nameOf(uint64(a.AlgType), illumosAlgTypes), b[2], d.algDescName(a),
				a.MinBits, a.MaxBits)
			if a.SaltBits != 0 {
				s += fmt.Sprintf(", saltbits = %d", a.SaltBits)
			}
			p.value(b, "satype", s, satypeMeaning)
		}
	}
	p.cookie()
}, brief: func(d *Dialect, r *extRow, raw []byte) string {
	v, _ := d.ParseEProp(raw)
	return briefCombs(r.short, len(v.Combs), v.Replay, v.Cookie)
}}

// cookie tells of the X_KM_COOKIE that illumos hides at the end of proposals.
func (p *teller) cookie() {
	if p.d.cookieIn(p.msg[p.off:p.end]) == nil {
		return
	}
	p.in("X_KM_COOKIE, inside the length of the proposal")
	p.fields(extHeaderFields)
	p.fields(kmCookieFields)
	p.kmCookie()
}

var (
	illumosAlgTypes = []name{{0, "none"}, {1, "auth"}, {2, "crypt"}, {3, "compress"}}
	asAlgType       = fromTable(illumosAlgTypes)
	illumosKMPs     = []name{{0, "manual"}, {1, "ike"}, {2, "kink"}, {3, "ikev2"}}
)

func (d *Dialect) algDescName(a AlgDesc) string {
	switch a.AlgType {
	case IllumosAlgTypeAuth:
		return d.AuthName(a.Alg)
	case IllumosAlgTypeCrypt:
		return d.EncryptName(a.Alg)
	}
	return nameOf(uint64(a.Alg))
}

var (
	kmCookieFields = []field{f("protocol", 4, fromTable(illumosKMPs), "of key management")}
	cookie32Fields = []field{f("cookie", 4, asHex, "its name of the SA"), reserved(4)}
	cookie64Fields = []field{f("cookie", 8, asHex, "its name of the SA")}
)

var shapeKMCookie = &shape{role: RoleOther, kind: "cookie", fields: kmCookieFields,
	rule: func(d *Dialect, raw []byte) error { _, err := d.ParseKMCookie(raw); return err },
	tail: (*teller).kmCookie,
	brief: func(d *Dialect, r *extRow, raw []byte) string {
		v, _ := d.ParseKMCookie(raw)
		return r.short + "=" + v.brief()
	}}

func (p *teller) kmCookie() {
	if p.end-p.off < 8 {
		return
	}
	if p.d.u32(p.msg[p.off-4:]) == IllumosKMPIKE {
		p.fields(cookie32Fields)
	} else {
		p.fields(cookie64Fields)
	}
}

func (v KMCookie) brief() string {
	return fmt.Sprintf("%s/%#x", nameOf(uint64(v.Protocol), illumosKMPs), v.Cookie)
}

var shapePair = &shape{role: RoleOther, fields: []field{f("spi", 4, asSPI, "of the other SA; network order")},
	brief: func(d *Dialect, r *extRow, raw []byte) string {
		v, _ := d.ParsePair(raw)
		return fmt.Sprintf("%s=%v", r.short, v.SPI)
	}}

var shapeReplayValue = &shape{role: RoleOther, fields: []field{
	f("replay32", 4, nil, "counter of 32 bits"), f("replay64", 8, nil, "counter with extended sequence numbers"),
}, brief: func(d *Dialect, r *extRow, raw []byte) string {
	v, _ := d.ParseReplayValue(raw)
	return list(r.short, pair("32", v.Replay32), pair("64", v.Replay64))
}}

var shapeEDump = &shape{role: RoleOther, fields: []field{
	reserved(4), f("timeout", 8, nil, "seconds since the last use; 0 lists all"),
}, brief: func(d *Dialect, r *extRow, raw []byte) string {
	v, _ := d.ParseEDump(raw)
	return fmt.Sprintf("%s=%d", r.short, v.Timeout)
}}

// illumosExts are the rows of illumos' own extensions.
var illumosExts = []extRow{
	{typ: IllumosExtXAddressInnerSrc, number: 7, name: "X_ADDRESS_INNER_SRC", short: "innersrc",
		meaning: "source inside the tunnel", shape: shapeAddress},
	{typ: IllumosExtXEReg, number: 17, name: "X_EREG", short: "ereg",
		meaning: "SA types whose ACQUIREs may come in one message", shape: shapeEReg},
	{typ: IllumosExtXEProp, number: 18, name: "X_EPROP", short: "eproposal",
		meaning: "combinations of algorithms of several SA types at once", shape: shapeEProp},
	{typ: IllumosExtXKMCookie, number: 19, name: "X_KM_COOKIE", short: "cookie",
		meaning: "what key management calls this SA", shape: shapeKMCookie},
	{typ: IllumosExtXAddressNattLoc, number: 20, name: "X_ADDRESS_NATT_LOC", short: "nattloc",
		meaning: "our side of the UDP encapsulation", shape: shapeAddress},
	{typ: IllumosExtXAddressNattRem, number: 21, name: "X_ADDRESS_NATT_REM", short: "nattrem",
		meaning: "the peer's side of the UDP encapsulation", shape: shapeAddress},
	{typ: IllumosExtXAddressInnerDst, number: 22, name: "X_ADDRESS_INNER_DST", short: "innerdst",
		meaning: "destination inside the tunnel", shape: shapeAddress},
	{typ: IllumosExtXPair, number: 23, name: "X_PAIR", short: "pair", meaning: "the SA of the other direction",
		shape: shapePair},
	{typ: IllumosExtXReplayValue, number: 24, name: "X_REPLAY_VALUE", short: "replayvalue",
		meaning: "replay counter to go on with", shape: shapeReplayValue},
	{typ: IllumosExtXEDump, number: 25, name: "X_EDUMP", short: "edump", meaning: "limits a DUMP to SAs used of late",
		shape: shapeEDump},
	{typ: IllumosExtXLifetimeIdle, number: 26, name: "X_LIFETIME_IDLE", short: "idle",
		meaning: "limits on how long the SA may stay unused", shape: shapeLifetime, fields: idleFields},
	{typ: IllumosExtXOuterSens, number: 27, name: "X_OUTER_SENS", short: "outersens",
		meaning: "security label of the protected packets", shape: shapeSensitivity, fields: outerSensFields},
	{typ: IllumosExtXStrAuth, number: 28, name: "X_STR_AUTH", short: "strauth",
		meaning: "string that authenticates TCP segments", shape: shapeKey, fields: stringKeyFields},
}
