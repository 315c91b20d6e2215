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

// MsgName is the name of a message type without SADB_, such as GETSPI or X_INVERSE_ACQUIRE, or unknown(0x2a).
func (d *Dialect) MsgName(t MsgType) string { return t.String() }

// MsgByName is the inverse of [Dialect.MsgName], ignoring case; false if the dialect does not have it.
func (d *Dialect) MsgByName(s string) (MsgType, bool) { return d.t.msgs.byName(s) }

// MsgType is the symbol of the number of a message type. One without a meaning survives all the same.
func (d *Dialect) MsgType(n uint8) MsgType { return d.t.msgs.of(n) }

// MsgNumber is the number of a message type; 255 and false if the dialect does not have it.
func (d *Dialect) MsgNumber(t MsgType) (uint8, bool) { return d.t.msgs.numberOf(t) }

// ExtName is the name of an extension type without SADB_EXT_, such as ADDRESS_SRC or X_SA2, or unknown(0x2a).
func (d *Dialect) ExtName(t ExtType) string {
	if r := d.ext(t); r != nil {
		return r.name
	}
	return t.String()
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

// ExtType is the symbol of the number of an extension type. One without a meaning survives all the same.
func (d *Dialect) ExtType(n uint16) ExtType {
	if int(n) < len(d.t.extAt) {
		return d.t.extAt[n]
	}
	return nobodysExt(n)
}

// nobodysExt is the symbol of a number that the dialect gives to no extension.
func nobodysExt(n uint16) ExtType {
	if n == 0 || ExtType(n) >= extTypes {
		return ExtType(n)
	}
	return unnamedExt + ExtType(n)
}

// ExtNumber is the number of an extension type; 65535 and false if the dialect does not have it.
func (d *Dialect) ExtNumber(t ExtType) (uint16, bool) {
	if t >= extTypes {
		return uint16(t), true
	}
	n := d.t.extNumber[t]
	return n, n != noExtNumber
}

// SATypeName is the name of an SA type in lower case, such as esp, or unknown(0x2a).
func (d *Dialect) SATypeName(t SAType) string { return t.String() }

// SATypeByName is the inverse of [Dialect.SATypeName], ignoring case; false if the dialect does not have it.
func (d *Dialect) SATypeByName(s string) (SAType, bool) { return d.t.satypes.byName(s) }

// SAType is the symbol of the number of an SA type. One without a meaning survives all the same.
func (d *Dialect) SAType(n uint8) SAType { return d.t.satypes.of(n) }

// SATypeNumber is the number of an SA type; 255 and false if the dialect does not have it.
func (d *Dialect) SATypeNumber(t SAType) (uint8, bool) { return d.t.satypes.numberOf(t) }

// StateName is the name of an SA state in lower case, such as mature, or unknown(0x2a).
func (d *Dialect) StateName(s State) string { return nameOf(uint64(s), d.t.states, rfcStates) }

// AuthName is the name of an authentication algorithm, such as hmac-sha1, or unknown(0x2a).
func (d *Dialect) AuthName(id AlgID) string { return symbolName(id, d.t.auths.rows, authAlgs) }

// AuthByName is the inverse of [Dialect.AuthName], ignoring case; false if the dialect does not have it.
func (d *Dialect) AuthByName(s string) (AlgID, bool) { return d.t.auths.byName(s) }

// Auth is the symbol of the number of an authentication algorithm. One without a meaning survives all the same.
func (d *Dialect) Auth(n uint8) AlgID { return d.t.auths.of(n) }

// AuthNumber is the number of an authentication algorithm; 255 and false if the dialect does not have it.
func (d *Dialect) AuthNumber(id AlgID) (uint8, bool) { return d.t.auths.numberOf(id) }

// EncryptName is the name of an encryption algorithm, such as aes-cbc, or unknown(0x2a).
func (d *Dialect) EncryptName(id AlgID) string { return symbolName(id, d.t.encrypts.rows, encryptAlgs) }

// TransformName is the name of what stands in the encryption field of an SA of type t: of an encryption algorithm, or,
// in an IPCOMP SA, of a compression algorithm, such as deflate.
func (d *Dialect) TransformName(t SAType, id AlgID) string {
	if t == SATypeIPComp && id != EncNone {
		return symbolName(id, compressAlgs)
	}
	return d.EncryptName(id)
}

// EncryptByName is the inverse of [Dialect.EncryptName], ignoring case; false if the dialect does not have it.
func (d *Dialect) EncryptByName(s string) (AlgID, bool) { return d.t.encrypts.byName(s) }

// Encrypt is the symbol of the number of an encryption algorithm. One without a meaning survives all the same.
func (d *Dialect) Encrypt(n uint8) AlgID { return d.t.encrypts.of(n) }

// EncryptNumber is the number of an encryption algorithm; 255 and false if the dialect does not have it.
func (d *Dialect) EncryptNumber(id AlgID) (uint8, bool) { return d.t.encrypts.numberOf(id) }

// Mode is the symbol of the number of a mode. One without a meaning survives all the same.
func (d *Dialect) Mode(n uint8) Mode { return d.t.modes.of(n) }

// ModeNumber is the number of a mode; 255 and false if the dialect does not have it.
func (d *Dialect) ModeNumber(m Mode) (uint8, bool) { return d.t.modes.numberOf(m) }

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
