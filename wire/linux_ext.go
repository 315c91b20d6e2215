package wire

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
)

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

var shapeSecCtx = &shape{role: RoleOther, kind: "secctx", fields: []field{
	f("alg", 1, nil, "who reads the context: 1 is SELinux"), f("doi", 1, nil, "domain of interpretation"),
	f("length", 2, nil, "bytes of the context"),
}, rule: func(d *Dialect, raw []byte) error {
	// No more words than the context has, no more context than the kernel takes.
	v, err := d.ParseSecCtx(raw)
	if err != nil {
		return err
	}
	if len(v.Context) > secCtxMax {
		return d.fail(raw, 6, ErrLength)
	}
	return d.exact(raw, pad8(secCtxLen+len(v.Context)))
}, tail: func(p *teller) {
	n := int(p.d.u16(p.msg[p.off-2:]))
	if b := p.take(min(n, p.end-p.off)); len(b) > 0 {
		p.value(b, "context", text(string(bytes.TrimSuffix(b, []byte{0}))), "the text")
	}
}, brief: func(d *Dialect, r *extRow, raw []byte) string {
	v, _ := d.ParseSecCtx(raw)
	s := strings.TrimSuffix(string(v.Context), "\x00")
	return fmt.Sprintf("%s=doi:%d,alg:%d,%s", r.short, v.DOI, v.Alg, text(s))
}}

var shapeKMAddress = &shape{role: RoleOther, kind: "kmaddress", fields: []field{reserved(4)},
	rule: func(d *Dialect, raw []byte) error { _, err := d.ParseKMAddress(raw); return err },
	tail: func(p *teller) {
		if p.sockaddr("local ") {
			p.sockaddr("remote ")
		}
	},
	brief: func(d *Dialect, r *extRow, raw []byte) string {
		v, _ := d.ParseKMAddress(raw)
		return r.short + "=" + addrPort(v.Local) + "-" + addrPort(v.Remote)
	},
	sockaddrs: func(d *Dialect, raw []byte, visit func([]byte)) { d.eachSockaddr(raw[kmAddressLen:], 2, visit) }}

var shapeFilter = &shape{role: RoleOther, fields: []field{
	f("source", 16, asBytes, "prefix that sources must have"),
	f("destination", 16, asBytes, "prefix that destinations must have"), f("family", 2, asFamily, familyMeaning),
	f("source prefix", 1, nil, "source: leading bits that must agree"),
	f("destination prefix", 1, nil, "destination: leading bits that must agree"),
}, brief: func(d *Dialect, r *extRow, raw []byte) string {
	v, _ := d.ParseFilter(raw)
	side := func(a [16]byte, prefix uint8) string {
		if prefix == 0 {
			return "any"
		}
		if v.Family == d.AFInet {
			return fmt.Sprintf("%v/%d", netip.AddrFrom4([4]byte(a[:4])), prefix)
		}
		return fmt.Sprintf("%v/%d", netip.AddrFrom16(a), prefix)
	}
	return fmt.Sprintf("%s=%s,%s-%s", r.short, d.familyName(v.Family),
		side(v.Src, v.SrcPrefix), side(v.Dst, v.DstPrefix))
}}

// linuxExts are the rows of Linux' own extensions.
var linuxExts = []extRow{
	{typ: LinuxExtXSecCtx, name: "X_SEC_CTX", short: "secctx", meaning: "security context of the SA or policy",
		shape: shapeSecCtx},
	{typ: LinuxExtXKMAddress, name: "X_KMADDRESS", short: "kmaddress",
		meaning: "addresses that key management talks from and to", shape: shapeKMAddress},
	{typ: LinuxExtXFilter, name: "X_FILTER", short: "filter", meaning: "limits a DUMP to SAs of these addresses",
		shape: shapeFilter},
}
