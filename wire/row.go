package wire

import "slices"

// What is known of an extension stands in one row: its name, its number, what it is for, where that is written, and its
// shape, which says what fields it has, what must agree in it and how it is shown. Everything that reads, checks, shows
// or explains extensions reads the row.
type extRow struct {
	typ     ExtType
	number  uint16 // on the wire; 0: that of its symbol in RFC 2367, KAME or Linux
	name    string // without SADB_EXT_
	short   string // in a [Dialect.Line]
	section string // of RFC 2367; "" if it is not in there
	meaning string
	shape   *shape
	fields  []field // instead of those of the shape

	min int // smallest size in bytes: the fixed part, at least one word
}

// shape is what extensions with the same fields have in common.
type shape struct {
	role   Role
	kind   string                                 // what the rule and the tail read; "" if there is neither
	fields []field                                // the fixed part behind the extension header, in order, without gaps
	rule   func(*Dialect, []byte) error           // what else size or content must agree with; raw has the fixed part
	tail   func(*teller)                          // tells what follows the fixed part, within the extension
	brief  func(*Dialect, *extRow, []byte) string // for a Line, after the rule has agreed
	part   func(*Dialect) []field                 // of one of the parts behind the fixed part; nil: they have none
	// visits what each sockaddr in it begins with, two bytes or more; nil: it has none
	sockaddrs func(d *Dialect, raw []byte, visit func([]byte))
}

// Role is what an extension is to a program that does not care which one it is.
type Role uint8

// The roles. Extensions of one role have the same fields, and are read and written by the same methods.
const (
	RoleUnknown     Role = iota // the dialect does not know it
	RoleOther                   // of its own kind
	RoleSA                      // [SA]
	RoleLifetime                // [Lifetime]
	RoleAddress                 // [Address]
	RoleKey                     // [Key]: its content is secret
	RoleIdentity                // [Identity]
	RoleSensitivity             // [Sensitivity]
	RoleProposal                // [Proposal] or [EProp]
	RoleSupported               // [Supported]
	RoleSPIRange                // [SPIRange]
	RolePolicy                  // [Policy]
)

// field is one field of a fixed part.
type field struct {
	name    string
	size    int
	show    *display // nil: as a decimal number
	meaning string
	listed  *listed
}

// listed is a section of RFC 2367 that lists the values of a field. A number that is not in the list is a dialect's
// own.
type listed struct {
	section string
	has     func(*Dialect, uint64) bool
}

func f(name string, size int, show *display, meaning string) field {
	return field{name: name, size: size, show: show, meaning: meaning}
}

// in is the field with the section that lists its values.
func (f field) in(section string, has func(*Dialect, uint64) bool) field {
	f.listed = &listed{section, has}
	return f
}

func only(values ...uint64) func(*Dialect, uint64) bool {
	return func(_ *Dialect, v uint64) bool { return slices.Contains(values, v) }
}

// reserved is a field of zeros.
func reserved(size int) field { return f("reserved", size, nil, "zero") }

// bit stands for the extension in a set; none for an unknown one. The numbers of all dialects are below 64.
func (r *extRow) bit() uint64 {
	if r == nil {
		return 0
	}
	return 1 << (r.number & 63)
}

// secret says whether what follows the fixed part is key material.
func (r *extRow) secret() bool { return r != nil && r.shape.role == RoleKey }

// finish computes what follows from the rest.
func (r *extRow) finish() {
	if r.number == 0 {
		r.number = uint16(r.typ)
	}
	if r.fields == nil {
		r.fields = r.shape.fields
	}
	r.min = extHeaderLen
	for _, f := range r.fields {
		r.min += f.size
	}
	r.min = max(r.min, 8)
}

// Role is what an extension is to a program that does not care which one it is.
func (d *Dialect) Role(t ExtType) Role {
	if r := d.ext(t); r != nil {
		return r.shape.role
	}
	return RoleUnknown
}

// ExtMeaning says in words what an extension is for, and in which section of RFC 2367 that is written, "" if it is not
// in there. Both are empty for one that the dialect does not know.
func (d *Dialect) ExtMeaning(t ExtType) (text, section string) {
	if r := d.ext(t); r != nil {
		return r.meaning, r.section
	}
	return "", ""
}

// MsgMeaning says in words what a message asks or tells, and in which section of RFC 2367 that is written, "" if it is
// not in there.
func (d *Dialect) MsgMeaning(t MsgType) (text, section string) {
	for _, rows := range allMsgs {
		for _, r := range rows {
			if r.symbol == t {
				return r.meaning, r.section
			}
		}
	}
	return "", ""
}

// exact wants an extension to have n bytes and no more.
func (d *Dialect) exact(raw []byte, n int) error {
	if len(raw) != n {
		return d.fail(raw, min(n, len(raw)), ErrLength)
	}
	return nil
}
