package wire

const sensitivityLen = 16

// Sensitivity is a sensitivity extension (RFC 2367 section 2.3.6).
type Sensitivity struct {
	DPD       uint32           // protection domain
	Level     uint8            // sensitivity level
	Bitmap    []byte           // sensitivity compartments, whole words of 8 bytes as they lie on the wire
	Integrity uint8            // integrity level
	Integ     []byte           // integrity compartments, likewise
	Flags     SensitivityFlags // illumos; reserved elsewhere
}

// AppendSensitivity appends a sensitivity extension of type t to b. Bitmaps are padded with zeros to words, and cut
// beyond 255 words, which is what their length fields can say.
func (d *Dialect) AppendSensitivity(b []byte, t ExtType, v Sensitivity) []byte {
	m, n := bitmapLen(v.Bitmap), bitmapLen(v.Integ)
	b, p := d.newExt(b, t, sensitivityLen+m+n)
	d.put32(p[4:], v.DPD)
	p[8], p[9] = v.Level, uint8(m/8)
	p[10], p[11] = v.Integrity, uint8(n/8)
	d.put32(p[12:], v.Flags)
	copy(p[sensitivityLen:sensitivityLen+m], v.Bitmap)
	copy(p[sensitivityLen+m:], v.Integ)
	return b
}

func bitmapLen(b []byte) int { return min(pad8(len(b)), 255*8) }

// ParseSensitivity reads a sensitivity extension of any type. ErrShort: it ends before its bitmaps do, the other fields
// are right then. The bitmaps are views into raw.
func (d *Dialect) ParseSensitivity(raw []byte) (Sensitivity, error) {
	if err := d.need(raw, sensitivityLen); err != nil {
		return Sensitivity{}, err
	}
	v := Sensitivity{DPD: d.u32(raw[4:]), Level: raw[8], Integrity: raw[10], Flags: d.u32(raw[12:])}
	m := sensitivityLen + int(raw[9])*8
	n := m + int(raw[11])*8
	if n > len(raw) {
		return v, d.fail(raw, len(raw), ErrShort)
	}
	v.Bitmap = raw[sensitivityLen:m:m]
	v.Integ = raw[m:n:n]
	return v, nil
}

// shapeSensitivity is that of SENSITIVITY. In illumos' X_OUTER_SENS the flags mean something else.
var (
	shapeSensitivity = &shape{role: RoleSensitivity, kind: "sensitivity",
		fields: sensitivityFields("zero outside of illumos"),
		rule:   func(d *Dialect, raw []byte) error { _, err := d.ParseSensitivity(raw); return err },
		tail: func(p *teller) {
			m, n := int(p.msg[p.off-7])*8, int(p.msg[p.off-5])*8
			if b := p.take(m); len(b) > 0 {
				p.value(b, "bitmap", "", "sensitivity compartments")
			}
			if b := p.take(n); len(b) > 0 {
				p.value(b, "integrity bitmap", "", "integrity compartments")
			}
		},
		brief: func(d *Dialect, r *extRow, raw []byte) string {
			v, _ := d.ParseSensitivity(raw)
			return list(r.short, pair("dpd", v.DPD), pair("level", v.Level), pair("integrity", v.Integrity))
		}}
	outerSensFields = sensitivityFields("bit 0: implicit")
)

func sensitivityFields(flags string) []field {
	return []field{
		f("dpd", 4, nil, "protection domain that gives the levels their meaning").in("3.8", only(0)),
		f("level", 1, nil, "of sensitivity; of a policy's request, whether it is demanded"),
		f("bitmap words", 1, nil, "64-bit words of the sensitivity bitmap"),
		f("integrity", 1, nil, "integrity level"),
		f("integrity bitmap words", 1, nil, "64-bit words of the integrity bitmap"),
		f("flags", 4, asHex, flags),
	}
}
