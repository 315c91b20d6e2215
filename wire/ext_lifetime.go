package wire

const lifetimeLen = 32

// Lifetime is one of the lifetime extensions (RFC 2367 section 2.3.2). In HARD, SOFT and IDLE the times are durations
// in seconds and zero means no limit; in CURRENT they are seconds since 1970.
type Lifetime struct {
	Allocations uint32 // connections or flows; some kernels count packets
	Bytes       uint64
	AddTime     uint64 // since the SA was added
	UseTime     uint64 // since it was first used
}

// AppendLifetime appends a lifetime extension of type t to b, 32 bytes.
func (d *Dialect) AppendLifetime(b []byte, t ExtType, v Lifetime) []byte {
	b, p := d.newExt(b, t, lifetimeLen)
	d.put32(p[4:], v.Allocations)
	d.put64(p[8:], v.Bytes)
	d.put64(p[16:], v.AddTime)
	d.put64(p[24:], v.UseTime)
	return b
}

// ParseLifetime reads a lifetime extension of any type.
func (d *Dialect) ParseLifetime(raw []byte) (Lifetime, error) {
	if err := d.need(raw, lifetimeLen); err != nil {
		return Lifetime{}, err
	}
	return Lifetime{
		Allocations: d.u32(raw[4:]),
		Bytes:       d.u64(raw[8:]),
		AddTime:     d.u64(raw[16:]),
		UseTime:     d.u64(raw[24:]),
	}, nil
}
