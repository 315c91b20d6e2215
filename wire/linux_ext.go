package wire

const (
	secCtxLen    = 8
	secCtxMax    = 4096 // bytes of context that the kernel takes
	kmAddressLen = 8
	filterLen    = 40
)

// SecCtx is Linux' X_SEC_CTX, a security context.
type SecCtx struct {
	Alg, DOI uint8
	Context  []byte // with the NUL that usually ends it; from ParseSecCtx a view into the message
}

// AppendSecCtx appends the extension to b: 8 bytes, Context, zeros up to a word. Context is cut at 65535 bytes.
func (d *Dialect) AppendSecCtx(b []byte, v SecCtx) []byte {
	start := len(b)
	b, p := d.newExt(b, LinuxExtXSecCtx, secCtxLen)
	ctx := v.Context[:min(len(v.Context), 0xffff)]
	p[4], p[5] = v.Alg, v.DOI
	d.put16(p[6:], uint16(len(ctx)))
	return d.endExt(append(b, ctx...), start)
}

// ParseSecCtx reads an X_SEC_CTX extension. ErrShort: the context is cut; the other fields are right then.
func (d *Dialect) ParseSecCtx(raw []byte) (SecCtx, error) {
	if err := d.need(raw, secCtxLen); err != nil {
		return SecCtx{}, err
	}
	v := SecCtx{Alg: raw[4], DOI: raw[5]}
	end := secCtxLen + int(d.u16(raw[6:]))
	if end > len(raw) {
		return v, d.fail(raw, len(raw), ErrShort)
	}
	v.Context = raw[secCtxLen:end:end]
	return v, nil
}

// KMAddress is Linux' X_KMADDRESS: where the key management daemons of an X_MIGRATE are.
type KMAddress struct {
	Reserved      uint32
	Local, Remote Sockaddr
}

// AppendKMAddress appends the extension to b: 8 bytes, both sockaddrs back to back, zeros up to a word.
func (d *Dialect) AppendKMAddress(b []byte, v KMAddress) []byte {
	start := len(b)
	b, p := d.newExt(b, LinuxExtXKMAddress, kmAddressLen)
	d.put32(p[4:], v.Reserved)
	return d.endExt(d.appendPair(b, v.Local, v.Remote), start)
}

// ParseKMAddress reads an X_KMADDRESS extension. ErrFamily or ErrShort: one of the sockaddrs is not there.
func (d *Dialect) ParseKMAddress(raw []byte) (KMAddress, error) {
	if err := d.need(raw, kmAddressLen); err != nil {
		return KMAddress{}, err
	}
	v := KMAddress{Reserved: d.u32(raw[4:])}
	var err error
	if v.Local, v.Remote, _, err = d.parsePair(raw[kmAddressLen:]); err != nil {
		return v, d.fail(raw, kmAddressLen, err)
	}
	return v, nil
}

// Filter is Linux' X_FILTER: which SAs a DUMP is about. Src and Dst are compared as raw bits from their start, IPv4
// addresses too.
type Filter struct {
	Src, Dst             [16]byte
	Family               uint16 // AFInet or AFInet6 of the dialect; others restrict nothing
	SrcPrefix, DstPrefix uint8  // bits, 0 for any
}

// AppendFilter appends the extension to b, 40 bytes.
func (d *Dialect) AppendFilter(b []byte, v Filter) []byte {
	b, p := d.newExt(b, LinuxExtXFilter, filterLen)
	copy(p[4:], v.Src[:])
	copy(p[20:], v.Dst[:])
	d.put16(p[36:], v.Family)
	p[38], p[39] = v.SrcPrefix, v.DstPrefix
	return b
}

// ParseFilter reads an X_FILTER extension.
func (d *Dialect) ParseFilter(raw []byte) (Filter, error) {
	if err := d.need(raw, filterLen); err != nil {
		return Filter{}, err
	}
	return Filter{
		Src: [16]byte(raw[4:20]), Dst: [16]byte(raw[20:36]), Family: d.u16(raw[36:]), SrcPrefix: raw[38],
		DstPrefix: raw[39],
	}, nil
}
