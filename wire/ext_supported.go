package wire

import "fmt"

const (
	supportedLen = 8
	algLen       = 8
)

// Alg is one entry of a SUPPORTED extension (RFC 2367 section 2.3.8).
type Alg struct {
	ID        AlgID  // of authentication or of encryption, as the extension is
	IVLen     uint8  // of the header file bits, of every kernel but OpenBSD bytes
	MinBits   uint16 // shortest key
	MaxBits   uint16 // longest key
	Increment uint8  // illumos: step between key sizes in bits; reserved elsewhere
	SaltBits  uint8  // illumos: salt behind the key; reserved elsewhere
}

// Supported is one of the SUPPORTED extensions (RFC 2367 section 2.3.8).
type Supported struct{ Algs []Alg }

// AppendSupported appends a SUPPORTED extension of type t to b: 8 bytes and 8 for each algorithm.
func (d *Dialect) AppendSupported(b []byte, t ExtType, v Supported) []byte {
	start := len(b)
	b, _ = d.newExt(b, t, supportedLen)
	ids := d.algsOf(t)
	for _, a := range v.Algs {
		var p []byte
		b, p = grow(b, algLen)
		p[0], p[1] = ids.write(a.ID), a.IVLen
		d.put16(p[2:], a.MinBits)
		d.put16(p[4:], a.MaxBits)
		p[6], p[7] = a.Increment, a.SaltBits
	}
	return d.endExt(b, start)
}

// ParseSupported reads a SUPPORTED extension of either type.
func (d *Dialect) ParseSupported(raw []byte) (Supported, error) {
	if err := d.need(raw, supportedLen); err != nil {
		return Supported{}, err
	}
	var v Supported
	ids := d.algsOf(d.ExtType(d.u16(raw[2:])))
	for p := raw[supportedLen:]; len(p) >= algLen; p = p[algLen:] {
		v.Algs = append(v.Algs, Alg{
			ID: ids.of(p[0]), IVLen: p[1], MinBits: d.u16(p[2:]), MaxBits: d.u16(p[4:]),
			Increment: p[6], SaltBits: p[7],
		})
	}
	return v, nil
}

var shapeSupported = &shape{role: RoleSupported, kind: "supported", fields: []field{
	reserved(4),
}, tail: func(p *teller) {
	ids := p.d.algsOf(p.row.typ)
	for p.end-p.off >= algLen {
		b := p.take(algLen)
		s := fmt.Sprintf("%d (%s), ivlen = %d, minbits = %d, maxbits = %d",
			b[0], p.d.algName(p.row.typ, ids.of(b[0])), b[1], p.d.u16(b[2:]), p.d.u16(b[4:]))
		if b[6] != 0 || b[7] != 0 {
			s += fmt.Sprintf(", increment = %d, saltbits = %d", b[6], b[7])
		}
		p.value(b, "alg", s, "one algorithm: id, size of the IV in bytes, sizes of the key in bits")
	}
}, brief: func(d *Dialect, r *extRow, raw []byte) string {
	v, _ := d.ParseSupported(raw)
	var s []string
	for _, a := range v.Algs {
		s = append(s, d.algName(r.typ, a.ID))
	}
	return list(r.short, s...)
}, part: func(*Dialect) []field { return algFields }}

var algFields = []field{
	f("id", 1, nil, "of the algorithm"), f("ivlen", 1, nil, "size of the IV in bytes"),
	f("minbits", 2, nil, "smallest key"), f("maxbits", 2, nil, "largest key"),
	f("increment", 1, nil, "illumos: from one size of keys to the next"),
	f("saltbits", 1, nil, "illumos: behind the key"),
}

// algsOf is how the algorithms in a SUPPORTED extension are numbered.
func (d *Dialect) algsOf(t ExtType) *numbers[AlgID] {
	if t == ExtSupportedAuth {
		return d.t.auths
	}
	return d.t.encrypts
}

// algName is the name of an algorithm in a SUPPORTED extension.
func (d *Dialect) algName(t ExtType, id AlgID) string {
	if t == ExtSupportedAuth {
		return d.AuthName(id)
	}
	return d.EncryptName(id)
}
