package wire

import (
	"encoding/binary"
	"fmt"
	"slices"
)

const (
	sa2Len      = 16
	nattTypeLen = 8
	nattPortLen = 8
	nattFragLen = 8
	policyLen   = 16
)

// requestLayout is how the fixed part of an IPsec request lies. The endpoints are behind it.
type requestLayout struct {
	len    int     // bytes
	reqID  int     // where the request id stands
	wide   bool    // it has 32 bits, not 16
	fields []field // of the fixed part
}

// SA2 is KAME's X_SA2: what the SA extension has no room for.
type SA2 struct {
	Mode     Mode
	Sequence uint32
	ReqID    uint32
}

// AppendSA2 appends the extension to b, 16 bytes.
func (d *Dialect) AppendSA2(b []byte, v SA2) []byte {
	b, p := d.newExt(b, KAMEExtXSA2, sa2Len)
	p[4] = d.t.modes.write(v.Mode)
	d.put32(p[8:], v.Sequence)
	d.put32(p[12:], v.ReqID)
	return b
}

// ParseSA2 reads an X_SA2 extension.
func (d *Dialect) ParseSA2(raw []byte) (SA2, error) {
	if err := d.need(raw, sa2Len); err != nil {
		return SA2{}, err
	}
	return SA2{Mode: d.t.modes.of(raw[4]), Sequence: d.u32(raw[8:]), ReqID: d.u32(raw[12:])}, nil
}

// PolicyBits are what the BSDs have in the reserved byte of a [Policy]: flags on NetBSD, a scope on FreeBSD.
type PolicyBits = uint8

// Policy is KAME's X_POLICY.
type Policy struct {
	Type      PolicyType
	Direction Direction
	Reserved  PolicyBits
	ID        uint32
	Priority  uint32 // smaller wins; not on NetBSD
	Requests  []IPsecRequest
}

// IPsecRequest is one transform that a policy asks for.
type IPsecRequest struct {
	Proto uint16 // IP protocol: 50, 51, 108, ...
	Mode  Mode
	Level Level
	ReqID uint32 // of which NetBSD and FreeBSD write 16 bits
	// Src and Dst are the endpoints, both or neither. From ParsePolicy they are set whenever two sockaddrs of known
	// families stand behind the fixed part, whatever Mode says.
	Src, Dst Sockaddr
	Tail     []byte // what else the request holds behind them, usually nothing; from ParsePolicy a view
}

// AppendPolicy appends the extension to b: 16 bytes, the requests back to back, zeros up to a word.
func (d *Dialect) AppendPolicy(b []byte, v Policy) []byte {
	start := len(b)
	b, p := d.newExt(b, KAMEExtXPolicy, policyLen)
	d.put16(p[4:], v.Type)
	p[6], p[7] = v.Direction, v.Reserved
	d.put32(p[8:], v.ID)
	d.put32(p[12:], v.Priority)
	for i := range v.Requests {
		b = d.appendRequest(b, &v.Requests[i])
	}
	return d.endExt(b, start)
}

func (d *Dialect) appendRequest(b []byte, r *IPsecRequest) []byte {
	start, l := len(b), &d.t.request
	b, p := grow(b, l.len)
	d.put16(p[2:], r.Proto)
	p[4], p[5] = d.t.modes.write(r.Mode), r.Level
	if l.wide {
		d.put32(p[l.reqID:], r.ReqID)
	} else {
		d.put16(p[l.reqID:], uint16(r.ReqID))
	}
	if r.Src.Addr.IsValid() || r.Dst.Addr.IsValid() {
		b = d.appendPair(b, r.Src, r.Dst)
	}
	b = append(b, r.Tail...)
	d.put16(b[start:], uint16(min(len(b)-start, 0xffff)))
	return b
}

// appendPair appends two sockaddrs back to back.
func (d *Dialect) appendPair(b []byte, src, dst Sockaddr) []byte {
	for _, a := range [2]Sockaddr{src, dst} {
		var p []byte
		b, p = grow(b, d.sockaddrLen(a))
		d.putSockaddr(p, &a)
	}
	return b
}

// ParsePolicy reads an X_POLICY extension. Fewer bytes behind the last request than one has are ignored, as Linux does.
// With an error (ErrLength: a request is shorter than its fixed part or runs past the end) come the requests before it.
func (d *Dialect) ParsePolicy(raw []byte) (Policy, error) {
	if err := d.need(raw, policyLen); err != nil {
		return Policy{}, err
	}
	v := Policy{Type: d.u16(raw[4:]), Direction: raw[6], Reserved: raw[7], ID: d.u32(raw[8:]),
		Priority: d.u32(raw[12:])}
	for l, off := &d.t.request, policyLen; len(raw)-off >= l.len; {
		n := int(d.u16(raw[off:]))
		if n < l.len || n > len(raw)-off {
			return v, d.fail(raw, off, ErrLength)
		}
		p := raw[off : off+n : off+n]
		r := IPsecRequest{Proto: d.u16(p[2:]), Mode: d.t.modes.of(p[4]), Level: p[5]}
		if r.ReqID = uint32(d.u16(p[l.reqID:])); l.wide {
			r.ReqID = d.u32(p[l.reqID:])
		}
		tail := p[l.len:]
		if src, dst, size, err := d.parsePair(tail); err == nil {
			r.Src, r.Dst = src, dst
			tail = tail[size:]
		}
		if len(tail) > 0 {
			r.Tail = tail
		}
		v.Requests = append(v.Requests, r)
		off += n
	}
	return v, nil
}

// NATTType is KAME's X_NAT_T_TYPE.
type NATTType struct{ Type NATTKind }

// AppendNATTType appends the extension to b, 8 bytes.
func (d *Dialect) AppendNATTType(b []byte, v NATTType) []byte {
	b, p := d.newExt(b, KAMEExtXNATTType, nattTypeLen)
	p[4] = v.Type
	return b
}

// ParseNATTType reads an X_NAT_T_TYPE extension.
func (d *Dialect) ParseNATTType(raw []byte) (NATTType, error) {
	if err := d.need(raw, nattTypeLen); err != nil {
		return NATTType{}, err
	}
	return NATTType{raw[4]}, nil
}

// NATTPort is KAME's X_NAT_T_SPORT or X_NAT_T_DPORT.
type NATTPort struct{ Port uint16 } // host order

// AppendNATTPort appends an extension of type t to b, 8 bytes.
func (d *Dialect) AppendNATTPort(b []byte, t ExtType, v NATTPort) []byte {
	b, p := d.newExt(b, t, nattPortLen)
	binary.BigEndian.PutUint16(p[4:], v.Port)
	return b
}

// ParseNATTPort reads an X_NAT_T_SPORT or X_NAT_T_DPORT extension.
func (d *Dialect) ParseNATTPort(raw []byte) (NATTPort, error) {
	if err := d.need(raw, nattPortLen); err != nil {
		return NATTPort{}, err
	}
	return NATTPort{binary.BigEndian.Uint16(raw[4:])}, nil
}

// NATTFrag is the X_NAT_T_FRAG of NetBSD and FreeBSD.
type NATTFrag struct{ Bytes uint16 } // largest packet that is not cut; 0: none is

// AppendNATTFrag appends the extension to b, 8 bytes.
func (d *Dialect) AppendNATTFrag(b []byte, v NATTFrag) []byte {
	b, p := d.newExt(b, KAMEExtXNATTFrag, nattFragLen)
	d.put16(p[4:], v.Bytes)
	return b
}

// ParseNATTFrag reads an X_NAT_T_FRAG extension.
func (d *Dialect) ParseNATTFrag(raw []byte) (NATTFrag, error) {
	if err := d.need(raw, nattFragLen); err != nil {
		return NATTFrag{}, err
	}
	return NATTFrag{d.u16(raw[4:])}, nil
}

var modeField = f("mode", 1, asMode, "transport, tunnel, beet or tcp-md5; 0 is any")

const reqIDMeaning = "ties SAs to a policy's request; 0 is any"

var shapeSA2 = &shape{role: RoleOther, fields: []field{
	modeField, f("reserved", 3, asBytes, "zero"), f("sequence", 4, nil, "highest sequence number so far"),
	f("reqid", 4, nil, reqIDMeaning),
}, brief: func(d *Dialect, r *extRow, raw []byte) string {
	v, _ := d.ParseSA2(raw)
	return list(r.short, v.Mode.String(), pair("seq", v.Sequence), pair("reqid", v.ReqID))
}}

// policyFields are the fields of a policy, with what differs: the byte behind the direction, and the end.
func policyFields(third, last field) []field {
	return []field{
		f("policytype", 2, fromTable(kamePolicyTypes), "discard, none (let pass) or ipsec (protect)"),
		f("direction", 1, fromTable(kameDirs), "in, out or forwarded"), third,
		f("id", 4, nil, "that the kernel gave it"),
		last,
	}
}

// endpoints wants them in every request for a tunnel.
func endpoints(d *Dialect, raw []byte) error {
	v, err := d.ParsePolicy(raw)
	if err != nil || v.Type != KAMEPolicyIPsec {
		return err
	}
	off := policyLen
	for _, r := range v.Requests {
		end, pair := off+int(d.u16(raw[off:])), off+d.t.request.len
		if r.Mode == ModeTunnel && !(d.t.bareTunnel && pair == end) {
			if _, _, _, err := d.parsePair(raw[pair:end]); err != nil {
				return d.fail(raw, pair, err)
			}
		}
		off = end
	}
	return nil
}

var priorityField = f("priority", 4, asHex, "lower ones are asked first")

var shapePolicy = &shape{role: RolePolicy, kind: "policy", fields: policyFields(reserved(1), priorityField),
	rule: endpoints, tail: func(p *teller) {
		end, l := p.end, &p.d.t.request
		for i := 1; end-p.off >= l.len; i++ {
			n := int(p.d.u16(p.msg[p.off:]))
			if n < l.len || n > end-p.off {
				break
			}
			p.in("request %d", i)
			p.end = p.off + n
			p.fields(l.fields)
			if p.off < p.end && p.sockaddr("source ") {
				p.sockaddr("destination ")
			}
			if b := p.take(p.end - p.off); len(b) > 0 {
				p.value(b, "extra", "", notKnown)
			}
		}
		p.end = end
	}, brief: func(d *Dialect, r *extRow, raw []byte) string {
		v, _ := d.ParsePolicy(raw)
		s := []string{nameOf(uint64(v.Type), kamePolicyTypes), nameOf(uint64(v.Direction), kameDirs), pair("id", v.ID)}
		if flags := r.fields[2]; v.Reserved != 0 && flags.name != "reserved" {
			s = append(s, pair(flags.name, v.Reserved))
		}
		if v.Priority != 0 {
			s = append(s, fmt.Sprintf("prio:%#x", v.Priority))
		}
		for _, r := range v.Requests {
			t := fmt.Sprintf("%s/%s/", protoOrNumber(uint64(r.Proto)), r.Mode)
			if r.Src.Addr.IsValid() {
				t += addrPort(r.Src) + "-" + addrPort(r.Dst)
			}
			t += "/" + nameOf(uint64(r.Level), kameLevels)
			if r.ReqID != 0 {
				t += fmt.Sprintf(":%d", r.ReqID)
			}
			s = append(s, t)
		}
		return list(r.short, s...)
	}, sockaddrs: func(d *Dialect, raw []byte, visit func([]byte)) {
		l := d.t.request.len
		for off := policyLen; len(raw)-off >= l; {
			n := int(d.u16(raw[off:]))
			if n < l || n > len(raw)-off {
				return
			}
			d.eachSockaddr(raw[off+l:off+n], 2, visit)
			off += n
		}
	}, part: func(d *Dialect) []field { return d.t.request.fields }}

var requestFields = []field{
	f("len", 2, asByteCount, "of the request, in bytes"),
	f("proto", 2, asProto, "IP protocol that protects: ESP, AH or IPComp"), modeField,
	f("level", 1, fromTable(kameLevels), "of sensitivity; of a policy's request, whether it is demanded"),
}

// KAME's request, and the one that Linux made of it.
var (
	shortRequest = requestLayout{len: 8, reqID: 6,
		fields: append(slices.Clone(requestFields), f("reqid", 2, nil, reqIDMeaning))}
	longRequest = requestLayout{len: 16, reqID: 8, wide: true,
		fields: append(slices.Clone(requestFields), reserved(2), f("reqid", 4, nil, reqIDMeaning), reserved(4))}
)

var shapeNATTType = &shape{role: RoleOther, fields: []field{
	f("natttype", 1, fromTable(kameNATTs), "2 is ESP in UDP of RFC 3948"), f("reserved", 3, asBytes, "zero"),
}, brief: func(d *Dialect, r *extRow, raw []byte) string {
	v, _ := d.ParseNATTType(raw)
	return r.short + "=" + nameOf(uint64(v.Type), kameNATTs)
}}

var shapeNATTPort = &shape{role: RoleOther, fields: []field{portField, reserved(2)},
	brief: func(d *Dialect, r *extRow, raw []byte) string {
		v, _ := d.ParseNATTPort(raw)
		return fmt.Sprintf("%s=%d", r.short, v.Port)
	}}

var shapeNATTFrag = &shape{role: RoleOther, fields: []field{
	f("fraglen", 2, asByteCount, "largest packet that is not cut; 0: none is"), reserved(2),
}, brief: func(d *Dialect, r *extRow, raw []byte) string {
	v, _ := d.ParseNATTFrag(raw)
	return fmt.Sprintf("%s=%d", r.short, v.Bytes)
}}

var (
	kamePolicyTypes = []name{{0, "discard"}, {1, "none"}, {2, "ipsec"}, {3, "entrust"}, {4, "bypass"}}
	kameDirs        = []name{{0, "any"}, {1, "in"}, {2, "out"}, {3, "fwd"}}
	kameLevels      = []name{{0, "default"}, {1, "use"}, {2, "require"}, {3, "unique"}}
	kameNATTs       = []name{{0, "none"}, {1, "esp-in-udp-non-ike"}, {2, "esp-in-udp"}}

	asMode = named(func(d *Dialect, n uint64) string { return d.Mode(uint8(n)).String() })
)

// kameExts are the rows of KAME's extensions.
var kameExts = []extRow{
	{typ: KAMEExtXKMPrivate, name: "X_KMPRIVATE", meaning: "for key management's own use", shape: shapeKMPrivate},
	{typ: KAMEExtXPolicy, name: "X_POLICY", short: "policy", meaning: "what the policy does with matching packets",
		shape: shapePolicy},
	{typ: KAMEExtXSA2, name: "X_SA2", short: "sa2", meaning: "mode and request id of the SA", shape: shapeSA2},
	{typ: KAMEExtXNATTType, name: "X_NAT_T_TYPE", short: "natt", meaning: "kind of the UDP encapsulation",
		shape: shapeNATTType},
	{typ: KAMEExtXNATTSPort, name: "X_NAT_T_SPORT", short: "nattsport", meaning: "source port of the UDP encapsulation",
		shape: shapeNATTPort},
	{typ: KAMEExtXNATTDPort, name: "X_NAT_T_DPORT", short: "nattdport",
		meaning: "destination port of the UDP encapsulation", shape: shapeNATTPort},
	{typ: KAMEExtXNATTOA, name: "X_NAT_T_OA", short: "nattoa", meaning: "address in front of the NAT",
		shape: shapeAddress},
}

var shapeKMPrivate = &shape{role: RoleOther, fields: []field{reserved(4)}}
