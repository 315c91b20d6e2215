package wire

import (
	"encoding/binary"
	"fmt"
)

const saLen = 16

// SA is the SA extension (RFC 2367 section 2.3.1).
type SA struct {
	SPI     SPI
	Replay  uint8 // window in packets
	State   State
	Auth    AlgID // 0 for none
	Encrypt AlgID // 0 for none; of an IPCOMP SA the compression
	Flags   SAFlags
}

// AppendSA appends the extension to b, 16 bytes. An algorithm that the dialect does not have is written as 255, which
// no kernel knows.
func (d *Dialect) AppendSA(b []byte, v SA) []byte {
	b, p := d.newExt(b, ExtSA, saLen)
	putSPI(p[4:], v.SPI)
	p[8], p[9], p[10], p[11] = v.Replay, uint8(v.State), d.t.auths.write(v.Auth), d.t.encrypts.write(v.Encrypt)
	d.put32(p[12:], v.Flags)
	return b
}

// ParseSA reads an SA extension. What follows its 16 bytes is ignored, as the kernels do.
func (d *Dialect) ParseSA(raw []byte) (SA, error) {
	if err := d.need(raw, saLen); err != nil {
		return SA{}, err
	}
	return SA{
		SPI:     getSPI(raw[4:]),
		Replay:  raw[8],
		State:   State(raw[9]),
		Auth:    d.t.auths.of(raw[10]),
		Encrypt: d.t.encrypts.of(raw[11]),
		Flags:   d.u32(raw[12:]),
	}, nil
}

// The two places where an SPI changes between network and host order.

func getSPI(b []byte) SPI    { return SPI(binary.BigEndian.Uint32(b)) }
func putSPI(b []byte, s SPI) { binary.BigEndian.PutUint32(b, uint32(s)) }

var shapeSA = &shape{role: RoleSA, fields: []field{
	f("spi", 4, asSPI, "number that packets carry; network order"),
	f("replay", 1, nil, "size of the replay window in packets; 0 is none"),
	f("state", 1, asState, "larval, mature, dying, dead").in("3.3", only(0, 1, 2, 3)),
	f("auth", 1, asAuth, "authentication algorithm; 0 is none").in("3.5", only(0, 2, 3)),
	f("encrypt", 1, asEncrypt, "encryption algorithm; 0 is none").in("3.5", only(0, 2, 3, 11)),
	f("flags", 4, asFlags, "options of the SA").in("3.2", only(0, 1)),
}, brief: func(d *Dialect, _ *extRow, raw []byte) string { return lineOfSA(d, raw, SATypeUnspec, true) }}

// lineOfSA is an SA of a type. State 0 is left out unless it is that of an SA; see tellsState.
func lineOfSA(d *Dialect, raw []byte, t SAType, tells bool) string {
	v, _ := d.ParseSA(raw)
	s := fmt.Sprintf("spi=%v", v.SPI)
	if v.State != 0 || tells {
		s += " state=" + d.StateName(v.State)
	}
	if v.Replay != 0 {
		s += fmt.Sprintf(" replay=%d", v.Replay)
	}
	if v.Auth != 0 {
		s += " auth=" + d.AuthName(v.Auth)
	}
	if v.Encrypt != 0 {
		s += " encr=" + d.TransformName(t, v.Encrypt)
	}
	if v.Flags != 0 {
		s += " flags=" + d.FlagNames(v.Flags)
	}
	return s
}
