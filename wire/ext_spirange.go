package wire

import "fmt"

const spiRangeLen = 16

// SPIRange is the SPIRANGE extension (RFC 2367 section 2.3.9), both ends included. On the wire it is in the byte order
// that the dialect's kernel uses: network order on illumos, host order on Linux.
type SPIRange struct{ Min, Max SPI }

// AppendSPIRange appends the extension to b, 16 bytes.
func (d *Dialect) AppendSPIRange(b []byte, v SPIRange) []byte {
	b, p := d.newExt(b, ExtSPIRange, spiRangeLen)
	if d.t.spiRangeNetwork {
		putSPI(p[4:], v.Min)
		putSPI(p[8:], v.Max)
	} else {
		d.put32(p[4:], uint32(v.Min))
		d.put32(p[8:], uint32(v.Max))
	}
	return b
}

// ParseSPIRange reads a SPIRANGE extension. Whether Min is above Max is not looked at.
func (d *Dialect) ParseSPIRange(raw []byte) (SPIRange, error) {
	if err := d.need(raw, spiRangeLen); err != nil {
		return SPIRange{}, err
	}
	return SPIRange{d.rangeSPI(raw[4:]), d.rangeSPI(raw[8:])}, nil
}

func (d *Dialect) rangeSPI(b []byte) SPI {
	if d.t.spiRangeNetwork {
		return getSPI(b)
	}
	return SPI(d.u32(b))
}

var shapeSPIRange = &shape{role: RoleSPIRange, fields: []field{
	f("min", 4, asRangeSPI, "lowest that will do"), f("max", 4, asRangeSPI, "highest that will do"), reserved(4),
}, brief: func(d *Dialect, r *extRow, raw []byte) string {
	v, _ := d.ParseSPIRange(raw)
	return fmt.Sprintf("%s=%v-%v", r.short, v.Min, v.Max)
}}
