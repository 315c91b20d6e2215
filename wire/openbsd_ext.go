package wire

import (
	"bytes"
	"fmt"
)

const (
	flowProtocolLen = 8
	wordLen         = 8
	tagLen          = 8
	counterLen      = 72
	rdomainLen      = 8
	ifaceLen        = 16
)

// FlowProtocol is OpenBSD's X_PROTOCOL, X_FLOW_TYPE or X_SATYPE2.
type FlowProtocol struct {
	Value     uint8 // the IP protocol, the [FlowType], or the number of an SA type
	Direction Direction
	Flags     FlowFlags // of X_FLOW_TYPE
}

// AppendFlowProtocol appends an extension of type t to b, 8 bytes.
func (d *Dialect) AppendFlowProtocol(b []byte, t ExtType, v FlowProtocol) []byte {
	b, p := d.newExt(b, t, flowProtocolLen)
	p[4], p[5], p[6] = v.Value, v.Direction, v.Flags
	return b
}

// ParseFlowProtocol reads an extension of one of these types.
func (d *Dialect) ParseFlowProtocol(raw []byte) (FlowProtocol, error) {
	if err := d.need(raw, flowProtocolLen); err != nil {
		return FlowProtocol{}, err
	}
	return FlowProtocol{raw[4], raw[5], raw[6]}, nil
}

func shapeFlowProtocol(show *display) *shape {
	return &shape{role: RoleOther, fields: []field{f("protocol", 1, show, "what the extension is about"),
		f("direction", 1, fromTable(openbsdDirs), "of the packets"), f("flags", 1, asHex, "of a flow: 1 is static"),
		reserved(1)},
		brief: func(d *Dialect, r *extRow, raw []byte) string {
			v, _ := d.ParseFlowProtocol(raw)
			dir := ""
			if v.Direction != 0 {
				dir = nameOf(uint64(v.Direction), openbsdDirs)
			}
			return list(r.short, show.text(d, raw[4:5]), dir, pair("flags", v.Flags))
		}}
}

// AppendSecondSA appends OpenBSD's X_SA2 to b, 16 bytes; [Dialect.ParseSA] reads it.
func (d *Dialect) AppendSecondSA(b []byte, v SA) []byte {
	start := len(b)
	b = d.AppendSA(b, v)
	d.PutExtHeader(b[start:], OpenBSDExtXSA2, saLen)
	return b
}

var shapeSecondSA = &shape{role: RoleOther, fields: shapeSA.fields,
	brief: func(d *Dialect, r *extRow, raw []byte) string {
		return r.short + "=[" + lineOfSA(d, raw, SATypeUnspec, false) + "]"
	}}

// Word is OpenBSD's X_POLICY, X_TAP or X_MTU: a number.
type Word struct{ Value uint32 }

// AppendWord appends an extension of type t to b, 8 bytes.
func (d *Dialect) AppendWord(b []byte, t ExtType, v Word) []byte {
	b, p := d.newExt(b, t, wordLen)
	d.put32(p[4:], v.Value)
	return b
}

// ParseWord reads an extension of one of these types.
func (d *Dialect) ParseWord(raw []byte) (Word, error) {
	if err := d.need(raw, wordLen); err != nil {
		return Word{}, err
	}
	return Word{d.u32(raw[4:])}, nil
}

func shapeWord(name, meaning string) *shape {
	return &shape{role: RoleOther, fields: []field{f(name, 4, nil, meaning)},
		brief: func(d *Dialect, r *extRow, raw []byte) string {
			v, _ := d.ParseWord(raw)
			return fmt.Sprintf("%s=%d", r.short, v.Value)
		}}
}

// Tag is OpenBSD's X_TAG.
type Tag struct{ Name string } // without the NUL that ends it on the wire

// AppendTag appends the extension to b: 8 bytes, Name, a NUL and zeros up to a word.
func (d *Dialect) AppendTag(b []byte, v Tag) []byte {
	start := len(b)
	name := v.Name[:min(len(v.Name), MaxLen-tagLen-1)]
	b, p := d.newExt(b, OpenBSDExtXTag, tagLen)
	d.put32(p[4:], uint32(len(name)+1))
	return d.endExt(append(append(b, name...), 0), start)
}

// ParseTag reads an X_TAG extension. Name ends at the first NUL, or at the end of the extension; it is a copy.
func (d *Dialect) ParseTag(raw []byte) (Tag, error) {
	if err := d.need(raw, tagLen); err != nil {
		return Tag{}, err
	}
	name, _, _ := bytes.Cut(raw[tagLen:], []byte{0})
	return Tag{string(name)}, nil
}

var shapeTag = &shape{role: RoleOther, kind: "tag",
	fields: []field{f("taglen", 4, nil, "bytes of the name, its NUL included")},
	tail: func(p *teller) {
		n := p.end - p.off
		if i := bytes.IndexByte(p.msg[p.off:p.end], 0); i >= 0 {
			n = i + 1
		}
		if b := p.take(n); len(b) > 0 {
			p.value(b, "name", text(string(bytes.TrimSuffix(b, []byte{0}))), "the name")
		}
	}, brief: func(d *Dialect, r *extRow, raw []byte) string {
		v, _ := d.ParseTag(raw)
		return r.short + "=" + text(v.Name)
	}}

// Counter is OpenBSD's X_COUNTER.
type Counter struct {
	InPackets, OutPackets uint64
	InBytes, OutBytes     uint64
	InDrops, OutDrops     uint64
	InDecompressed        uint64 // bytes, of packets that had been compressed
	OutUncompressed       uint64 // bytes, before they were compressed
}

func (v *Counter) all() [8]*uint64 {
	return [...]*uint64{&v.InPackets, &v.OutPackets, &v.InBytes, &v.OutBytes, &v.InDrops, &v.OutDrops,
		&v.InDecompressed, &v.OutUncompressed}
}

// AppendCounter appends the extension to b, 72 bytes.
func (d *Dialect) AppendCounter(b []byte, v Counter) []byte {
	b, p := d.newExt(b, OpenBSDExtXCounter, counterLen)
	for i, n := range v.all() {
		d.put64(p[8+8*i:], *n)
	}
	return b
}

// ParseCounter reads an X_COUNTER extension.
func (d *Dialect) ParseCounter(raw []byte) (v Counter, err error) {
	if err := d.need(raw, counterLen); err != nil {
		return v, err
	}
	for i, n := range v.all() {
		*n = d.u64(raw[8+8*i:])
	}
	return v, nil
}

var shapeCounter = &shape{role: RoleOther, fields: []field{reserved(4), f("in packets", 8, nil, "that came in"),
	f("out packets", 8, nil, "that went out"), f("in bytes", 8, nil, "of packets that came in"),
	f("out bytes", 8, nil, "of packets that went out"), f("in drops", 8, nil, "packets"),
	f("out drops", 8, nil, "packets"), f("in decompressed", 8, nil, "bytes"), f("out uncompressed", 8, nil, "bytes")},
	brief: func(d *Dialect, r *extRow, raw []byte) string {
		v, _ := d.ParseCounter(raw)
		return list(r.short, pair("in", v.InPackets), pair("out", v.OutPackets), pair("inbytes", v.InBytes),
			pair("outbytes", v.OutBytes), pair("indrops", v.InDrops), pair("outdrops", v.OutDrops),
			pair("decompressed", v.InDecompressed), pair("uncompressed", v.OutUncompressed))
	}}

// RDomain is OpenBSD's X_RDOMAIN.
type RDomain struct {
	Domain uint16 // of the SA's own packets
	After  uint16 // of what comes out of them
}

// AppendRDomain appends the extension to b, 8 bytes.
func (d *Dialect) AppendRDomain(b []byte, v RDomain) []byte {
	b, p := d.newExt(b, OpenBSDExtXRDomain, rdomainLen)
	d.put16(p[4:], v.Domain)
	d.put16(p[6:], v.After)
	return b
}

// ParseRDomain reads an X_RDOMAIN extension.
func (d *Dialect) ParseRDomain(raw []byte) (RDomain, error) {
	if err := d.need(raw, rdomainLen); err != nil {
		return RDomain{}, err
	}
	return RDomain{d.u16(raw[4:]), d.u16(raw[6:])}, nil
}

var shapeRDomain = &shape{role: RoleOther, fields: []field{f("domain", 2, nil, "of the SA's own packets"),
	f("after", 2, nil, "of what comes out of them")}, brief: func(d *Dialect, r *extRow, raw []byte) string {
	v, _ := d.ParseRDomain(raw)
	return fmt.Sprintf("%s=%d,%d", r.short, v.Domain, v.After)
}}

// Iface is OpenBSD's X_IFACE.
type Iface struct {
	Unit      uint32 // of sec(4)
	Direction Direction
}

// AppendIface appends the extension to b, 16 bytes.
func (d *Dialect) AppendIface(b []byte, v Iface) []byte {
	b, p := d.newExt(b, OpenBSDExtXIface, ifaceLen)
	d.put32(p[4:], v.Unit)
	p[8] = v.Direction
	return b
}

// ParseIface reads an X_IFACE extension.
func (d *Dialect) ParseIface(raw []byte) (Iface, error) {
	if err := d.need(raw, ifaceLen); err != nil {
		return Iface{}, err
	}
	return Iface{d.u32(raw[4:]), raw[8]}, nil
}

var shapeIface = &shape{role: RoleOther, fields: []field{f("unit", 4, nil, "of sec(4)"),
	f("direction", 1, fromTable(openbsdDirs), "of the packets"), f("reserved", 7, asBytes, "zero")},
	brief: func(d *Dialect, r *extRow, raw []byte) string {
		v, _ := d.ParseIface(raw)
		return list(r.short, fmt.Sprint(v.Unit), nameOf(uint64(v.Direction), openbsdDirs))
	}}
