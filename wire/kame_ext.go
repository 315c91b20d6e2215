package wire

import "encoding/binary"

const (
	sa2Len          = 16
	nattTypeLen     = 8
	nattPortLen     = 8
	policyLen       = 16
	ipsecRequestLen = 16
)

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

// Policy is KAME's X_POLICY.
type Policy struct {
	Type      uint16 // KAMEPolicyIPsec, ...
	Direction uint8  // KAMEDirIn, ...
	Reserved  uint8
	ID        uint32
	Priority  uint32 // smaller wins
	Requests  []IPsecRequest
}

// IPsecRequest is one transform that a policy asks for.
type IPsecRequest struct {
	Proto uint16 // IP protocol: 50, 51, 108, ...
	Mode  Mode
	Level uint8 // KAMELevelRequire, ...
	ReqID uint32
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
	start := len(b)
	b, p := grow(b, ipsecRequestLen)
	d.put16(p[2:], r.Proto)
	p[4], p[5] = d.t.modes.write(r.Mode), r.Level
	d.put32(p[8:], r.ReqID)
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
		d.putSockaddr(p, a)
	}
	return b
}

// ParsePolicy reads an X_POLICY extension. Fewer than 16 bytes behind the last request are ignored, as the kernel does.
// With an error (ErrLength: a request is shorter than its fixed part or runs past the end) come the requests before it.
func (d *Dialect) ParsePolicy(raw []byte) (Policy, error) {
	if err := d.need(raw, policyLen); err != nil {
		return Policy{}, err
	}
	v := Policy{Type: d.u16(raw[4:]), Direction: raw[6], Reserved: raw[7], ID: d.u32(raw[8:]),
		Priority: d.u32(raw[12:])}
	for off := policyLen; len(raw)-off >= ipsecRequestLen; {
		n := int(d.u16(raw[off:]))
		if n < ipsecRequestLen || n > len(raw)-off {
			return v, d.fail(raw, off, ErrLength)
		}
		p := raw[off : off+n : off+n]
		r := IPsecRequest{Proto: d.u16(p[2:]), Mode: d.t.modes.of(p[4]), Level: p[5], ReqID: d.u32(p[8:])}
		tail := p[ipsecRequestLen:]
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
type NATTType struct{ Type uint8 } // KAMENATTESP, ...

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
