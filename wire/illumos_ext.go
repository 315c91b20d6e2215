package wire

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
	AlgType          uint8 // IllumosAlgTypeAuth, ...
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
	Protocol uint32 // IllumosKMPIKE, ...
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
