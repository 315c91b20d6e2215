package wire

import "strings"

// A Slot is a field at a fixed place in a structure, such as a base header or an extension.
type Slot struct {
	Name    string // as that of a [Field]
	Offset  int    // in the structure, bytes
	Size    int    // bytes
	Meaning string // in words; "" if there is nothing to say
	Style   Style  // of the value of a [Field]
	// Names has the names of values, where a Field has them behind the number: "3 (esp)". Other values are
	// "unknown(0x2a)". It belongs to the caller.
	Names map[uint64]string
}

// Style says how a [Field] writes a value.
type Style uint8

// The styles. Numbers have the byte order of the dialect unless they say otherwise.
const (
	StyleDecimal    Style = iota // 42
	StyleHex                     // 0x2a
	StyleBytes                   // 002a, as the bytes lie
	StyleWords                   // 2 (16 bytes)
	StyleByteCount               // 42 bytes
	StyleNetDecimal              // 42, in network order
	StyleNetHex                  // 0x2a, in network order
	StyleIPv4                    // 192.0.2.1
	StyleIPv6                    // 2001:db8::1
	StyleFlags                   // 0x3 (PFS|NOREPLAY), the bits of [Grammar.Flags]
	StyleNamed                   // 3 (esp)

	styleRangeSPI // StyleHex or StyleNetHex, as the dialect has SPIs in a range
)

// HeaderLayout lists the fields of the base header. The slice belongs to the caller, here and in what follows.
func (d *Dialect) HeaderLayout() []Slot { return d.slots(d.headerFields()) }

// ExtHeaderLayout lists the fields that every extension begins with.
func (d *Dialect) ExtHeaderLayout() []Slot { return d.slots(extHeaderFields) }

// ExtLayout lists the fields of the fixed part of an extension, its header among them; nil if the dialect does not have
// it.
func (d *Dialect) ExtLayout(t ExtType) []Slot {
	r := d.ext(t)
	if r == nil {
		return nil
	}
	return d.slots(extHeaderFields, r.fields)
}

// PartLayout lists the fields of one of the parts that follow the fixed part of an extension: a combination of a
// PROPOSAL, an algorithm of a SUPPORTED_AUTH or SUPPORTED_ENCRYPT, a request of an X_POLICY. What follows the fields of
// a request is not among them. It is nil for other extensions.
func (d *Dialect) PartLayout(t ExtType) []Slot {
	r := d.ext(t)
	if r == nil || r.shape.part == nil {
		return nil
	}
	return d.slots(r.shape.part(d))
}

func (d *Dialect) slots(lists ...[]field) (all []Slot) {
	off := 0
	for _, fields := range lists {
		for _, f := range fields {
			show := f.display()
			s := Slot{Name: f.name, Offset: off, Size: f.size, Meaning: f.meaning, Style: show.style}
			if s.Style == styleRangeSPI {
				s.Style = StyleHex
				if d.t.spiRangeNetwork {
					s.Style = StyleNetHex
				}
			}
			if show.name != nil {
				s.Names = d.names(show.name)
			}
			all = append(all, s)
			off += f.size
		}
	}
	return all
}

// names are the values that have a name. No table has any above 255.
func (d *Dialect) names(name func(*Dialect, uint64) string) map[uint64]string {
	m := map[uint64]string{}
	for n := range uint64(256) {
		if s := name(d, n); !strings.HasPrefix(s, "unknown(") {
			m[n] = s
		}
	}
	return m
}
