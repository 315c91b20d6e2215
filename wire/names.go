package wire

import (
	"fmt"
	"strings"
)

// A name belongs to a number of the protocol. Where a number has several names, or a name several numbers, the first
// row wins.
type name struct {
	n    uint64
	name string
}

// nameOf never fails: a number without a row is unknown(0x2a). Later tables extend earlier ones.
func nameOf(n uint64, tables ...[]name) string {
	for _, t := range tables {
		for _, r := range t {
			if r.n == n {
				return r.name
			}
		}
	}
	return fmt.Sprintf("unknown(%#x)", n)
}

// numberOf is the inverse, ignoring case.
func numberOf(s string, tables ...[]name) (uint64, bool) {
	for _, t := range tables {
		for _, r := range t {
			if strings.EqualFold(r.name, s) {
				return r.n, true
			}
		}
	}
	return 0, false
}

// flagsOf joins the names of the bits that are set with |; bits without a name follow as one hexadecimal number. No
// bit: "0".
func flagsOf(flags uint32, t []name) string {
	if flags == 0 {
		return "0"
	}
	var s []string
	for _, r := range t {
		if b := uint32(r.n); flags&b != 0 {
			s = append(s, r.name)
			flags &^= b
		}
	}
	if flags != 0 {
		s = append(s, fmt.Sprintf("%#x", flags))
	}
	return strings.Join(s, "|")
}

var rfcMsgs = []name{
	{0, "RESERVED"}, {1, "GETSPI"}, {2, "UPDATE"}, {3, "ADD"}, {4, "DELETE"}, {5, "GET"}, {6, "ACQUIRE"},
	{7, "REGISTER"},
	{8, "EXPIRE"}, {9, "FLUSH"}, {10, "DUMP"}, {11, "X_PROMISC"},
}

var rfcExts = []name{
	{0, "RESERVED"}, {1, "SA"}, {2, "LIFETIME_CURRENT"}, {3, "LIFETIME_HARD"}, {4, "LIFETIME_SOFT"}, {5, "ADDRESS_SRC"},
	{6, "ADDRESS_DST"}, {7, "ADDRESS_PROXY"}, {8, "KEY_AUTH"}, {9, "KEY_ENCRYPT"}, {10, "IDENTITY_SRC"},
	{11, "IDENTITY_DST"},
	{12, "SENSITIVITY"}, {13, "PROPOSAL"}, {14, "SUPPORTED_AUTH"}, {15, "SUPPORTED_ENCRYPT"}, {16, "SPIRANGE"},
}

var rfcSATypes = []name{{0, "unspec"}, {2, "ah"}, {3, "esp"}, {5, "rsvp"}, {6, "ospfv2"}, {7, "ripv2"}, {8, "mip"}}

var rfcStates = []name{{0, "larval"}, {1, "mature"}, {2, "dying"}, {3, "dead"}}

// MsgName is the name of a message type without SADB_, such as GETSPI or X_INVERSE_ACQUIRE, or unknown(0x2a).
func (d *Dialect) MsgName(t MsgType) string { return nameOf(uint64(t), d.t.msgs, rfcMsgs) }

// MsgByName is the inverse of [Dialect.MsgName], ignoring case.
func (d *Dialect) MsgByName(s string) (MsgType, bool) {
	n, ok := numberOf(s, d.t.msgs, rfcMsgs)
	return MsgType(n), ok
}

// ExtName is the name of an extension type without SADB_EXT_, such as ADDRESS_SRC or X_SA2, or unknown(0x2a).
func (d *Dialect) ExtName(t ExtType) string {
	if r := d.ext(t); r != nil {
		return r.name
	}
	return nameOf(uint64(t))
}

// ExtByName is the inverse of [Dialect.ExtName], ignoring case.
func (d *Dialect) ExtByName(s string) (ExtType, bool) {
	for i := range d.t.exts {
		if r := &d.t.exts[i]; strings.EqualFold(r.name, s) {
			return r.typ, true
		}
	}
	return 0, false
}

// SATypeName is the name of an SA type in lower case, such as esp, or unknown(0x2a).
func (d *Dialect) SATypeName(t SAType) string { return nameOf(uint64(t), d.t.satypes, rfcSATypes) }

// SATypeByName is the inverse of [Dialect.SATypeName], ignoring case.
func (d *Dialect) SATypeByName(s string) (SAType, bool) {
	n, ok := numberOf(s, d.t.satypes, rfcSATypes)
	return SAType(n), ok
}

// StateName is the name of an SA state in lower case, such as mature, or unknown(0x2a).
func (d *Dialect) StateName(s State) string { return nameOf(uint64(s), d.t.states, rfcStates) }

// AuthName is the name of an authentication algorithm, such as hmac-sha1, or unknown(0x2a).
func (d *Dialect) AuthName(id uint8) string { return nameOf(uint64(id), d.t.auths) }

// AuthByName is the inverse of [Dialect.AuthName], ignoring case.
func (d *Dialect) AuthByName(s string) (uint8, bool) {
	n, ok := numberOf(s, d.t.auths)
	return uint8(n), ok
}

// EncryptName is the name of an encryption algorithm, such as aes-cbc, or unknown(0x2a).
func (d *Dialect) EncryptName(id uint8) string { return nameOf(uint64(id), d.t.encrypts) }

// EncryptByName is the inverse of [Dialect.EncryptName], ignoring case.
func (d *Dialect) EncryptByName(s string) (uint8, bool) {
	n, ok := numberOf(s, d.t.encrypts)
	return uint8(n), ok
}

// FlagNames lists the SA flags by name, joined by |, with the bits that have no name in hexadecimal at the end; "0" for
// none.
func (d *Dialect) FlagNames(flags uint32) string { return flagsOf(flags, d.t.flags) }

// DiagnosticName is the name of a diagnostic (the reserved field of the base header on illumos), such as BAD_EXTLEN, or
// unknown(0x2a). Dialects without diagnostics know none but 0, NONE.
func (d *Dialect) DiagnosticName(n uint16) string {
	if len(d.t.diags) == 0 && n == 0 {
		return "NONE"
	}
	return nameOf(uint64(n), d.t.diags)
}

// IdentName is the name of an identity type in lower case, such as fqdn, or unknown(0x2a).
func (d *Dialect) IdentName(t uint16) string { return nameOf(uint64(t), d.t.idents) }

// ErrnoName is the name of an errno as the dialect numbers it on the wire, such as EINVAL; OK for 0, or unknown(0x2a).
func (d *Dialect) ErrnoName(n uint8) string {
	if e, ok := d.Errno(n); ok {
		return e.String()
	}
	return nameOf(uint64(n))
}
