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

// shapeLifetime is that of limits. In LIFETIME_CURRENT and in illumos' X_LIFETIME_IDLE fields mean something else.
var (
	shapeLifetime = &shape{role: RoleLifetime, kind: "lifetime",
		fields: lifetimeFields("connections that may use it; 0 is no limit",
			"bytes that it may protect; 0 is no limit", "seconds after it was added; 0 is no limit",
			"seconds after its first use; 0 is no limit"),
		rule: func(d *Dialect, raw []byte) error {
			if d.t.exactLifetime {
				return d.exact(raw, lifetimeLen)
			}
			return nil
		},
		brief: func(d *Dialect, r *extRow, raw []byte) string {
			v, _ := d.ParseLifetime(raw)
			return list(r.short, pair("allocations", v.Allocations), pair("bytes", v.Bytes), pair("add", v.AddTime),
				pair("use", v.UseTime))
		}}
	currentFields = lifetimeFields("connections that use it", "bytes protected so far",
		"when it was added, seconds since 1970", "when it was first used, seconds since 1970; 0 is never")
	idleFields = lifetimeFields("connections that may use it; 0 is no limit",
		"bytes that it may protect; 0 is no limit", "seconds without use after it was added; 0 is no limit",
		"seconds since its last use; 0 is no limit")
)

func lifetimeFields(allocations, bytes, addtime, usetime string) []field {
	return []field{f("allocations", 4, nil, allocations), f("bytes", 8, nil, bytes), f("addtime", 8, nil, addtime),
		f("usetime", 8, nil, usetime)}
}
