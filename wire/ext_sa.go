package wire

import "encoding/binary"

const saLen = 16

// SA is the SA extension (RFC 2367 section 2.3.1).
type SA struct {
	SPI     SPI
	Replay  uint8 // window in packets
	State   State
	Auth    AlgID // 0 for none
	Encrypt AlgID // 0 for none; of an IPCOMP SA the compression
	Flags   uint32
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
