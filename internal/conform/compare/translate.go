package compare

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// A translation is a message in the words of another dialect, and what of it that dialect does not have.
type translation struct {
	msg  []byte
	lost []string
}

// translate writes a message of one dialect in another. Faults in its framing, and bytes that are no values, stay as
// they are. What the other dialect does not have is left out, if the message still asks for the same without it; the
// error says why there is no such message.
func translate(from, to *wire.Dialect, msg []byte) (t translation, err error) {
	h, err := from.Header(msg)
	if err != nil || from.Name == to.Name && sameOrder(from, to) {
		return translation{msg: slices.Clone(msg)}, nil // nothing differs
	}
	if _, ok := to.MsgNumber(h.Type); !ok {
		return t, fmt.Errorf("%s has no %s", to.Name, from.MsgName(h.Type))
	}
	if _, ok := to.SATypeNumber(h.SAType); !ok {
		return t, fmt.Errorf("%s has no SA type %s", to.Name, from.SATypeName(h.SAType))
	}
	if err := elsewhere(to, "message", msg[1], from.MsgName(h.Type), to.MsgName(to.MsgType(msg[1]))); err != nil {
		return t, err
	}
	err = elsewhere(to, "SA type", msg[3], from.SATypeName(h.SAType), to.SATypeName(to.SAType(msg[3])))
	if err != nil {
		return t, err
	}
	if e, ok := from.Errno(h.Errno); ok {
		h.Errno = to.ErrnoNumber(e)
	}
	out := to.AppendHeader(nil, h)
	end := wire.HeaderLen
	for x, broken := range from.Walk(msg) {
		end = x.Offset + len(x.Raw)
		if broken != nil {
			out = append(out, msg[x.Offset:]...)
			if len(x.Raw) >= 4 {
				at := out[len(out)-len(x.Raw):]
				if n, ok := to.ExtNumber(x.Type); ok {
					to.Order.PutUint16(at[2:], n)
				}
				to.Order.PutUint16(at, from.Order.Uint16(x.Raw))
			}
			end = len(msg)
			break
		}
		b, lost, err := extension(from, to, msg, x)
		if err != nil {
			return t, err
		}
		if lost != "" && !slices.Contains(t.lost, lost) {
			t.lost = append(t.lost, lost)
		}
		out = append(out, b...)
	}
	out = append(out, msg[min(end, len(msg)):]...)
	// A length that was wrong is as wrong as it was.
	h.Len = uint16(len(out)/8 + int(h.Len) - len(msg)/8)
	to.PutHeader(out, h)
	return translation{out, t.lost}, nil
}

// elsewhere says that a number without a name has one in another dialect, where it would not ask for the same.
func elsewhere(to *wire.Dialect, kind string, n uint8, here, there string) error {
	if nameless(here) && !nameless(there) {
		return fmt.Errorf("%s %d has no meaning, and is %s of %s", kind, n, there, to.Name)
	}
	return nil
}

func nameless(name string) bool { return strings.HasPrefix(name, "unknown(") }

// extension writes one extension in another dialect; nothing, and what is lost, if that does not have it.
func extension(from, to *wire.Dialect, msg []byte, x wire.Ext) (b []byte, lost string, err error) {
	name := from.ExtName(x.Type)
	_, known := from.ExtNumber(x.Type)
	named := from.Role(x.Type) != wire.RoleUnknown
	switch {
	case known && !named: // nobody's number, which may be somebody's there
		if n := from.Order.Uint16(x.Raw[2:]); to.Role(to.ExtType(n)) != wire.RoleUnknown {
			return nil, fmt.Sprintf("extension %d, which means something to %s, is left out", n, to.Name), nil
		}
		return asItIs(from, to, x), "", nil
	case to.Role(x.Type) == wire.RoleUnknown:
		return nil, fmt.Sprintf("%s has no %s: left out", to.Name, name), nil
	case from.Name != to.Name && noAddress(from, x):
		return nil, fmt.Sprintf("%s without an address is left out", name), nil
	}
	b, lost, err = value(from, to, msg, x)
	if _, ok := errors.AsType[*lacking](err); ok {
		return nil, "", err
	}
	if err != nil || b == nil {
		return asItIs(from, to, x), fmt.Sprintf("%s is carried byte for byte", name), nil
	}
	switch own, _, _ := value(from, from, msg, x); {
	case len(own) > len(x.Raw): // it was too short for what it says
		return asItIs(from, to, x), fmt.Sprintf("%s is carried byte for byte", name), nil
	case len(own) < len(x.Raw): // more room than it needs stays
		b = append(b, x.Raw[len(own):]...)
		to.PutExtHeader(b, x.Type, len(b))
	}
	return b, lost, nil
}

// asItIs is an extension with its bytes as they are, and the number that it has there.
func asItIs(from, to *wire.Dialect, x wire.Ext) []byte {
	b := slices.Clone(x.Raw)
	n, ok := to.ExtNumber(x.Type)
	if !ok {
		n = from.Order.Uint16(x.Raw[2:])
	}
	to.Order.PutUint16(b[2:], n)
	to.Order.PutUint16(b, uint16(len(b)/8))
	return b
}

// lacking is what a dialect does not have, without which a message would ask for something else.
type lacking struct{ dialect, what string }

func (e *lacking) Error() string { return fmt.Sprintf("%s has no %s", e.dialect, e.what) }

// value writes what an extension says, and tells what of it is left out. Without an error and without bytes there is
// nobody who knows how.
func value(from, to *wire.Dialect, msg []byte, x wire.Ext) (b []byte, lost string, err error) {
	switch from.Role(x.Type) {
	case wire.RoleProposal:
		return proposal(from, to, x)
	case wire.RoleAddress:
		return address(from, to, x)
	}
	b, err = whole(from, to, msg, x)
	return b, "", err
}

// proposal writes a proposal without the combinations that the other dialect has no numbers for.
func proposal(from, to *wire.Dialect, x wire.Ext) (b []byte, lost string, err error) {
	v, err := from.ParseProposal(x.Raw)
	if err != nil || x.Type != wire.ExtProposal {
		return nil, "", err
	}
	all := len(v.Combs)
	v.Combs = slices.DeleteFunc(v.Combs, func(c wire.Comb) bool { return hasAlgs(from, to, c.Auth, c.Encrypt) != nil })
	if n := all - len(v.Combs); n != 0 {
		lost = fmt.Sprintf("%s has no algorithms for %d of %d combinations", to.Name, n, all)
	}
	v.Cookie = nil
	return to.AppendProposal(nil, v), lost, nil
}

// address writes an address, without protocol and prefix if the other dialect has none, and with the longest prefix if
// only that has one.
func address(from, to *wire.Dialect, x wire.Ext) (b []byte, lost string, err error) {
	v, err := from.ParseAddress(x.Raw)
	if err != nil {
		return nil, "", err
	}
	full := uint8(v.Addr.BitLen())
	switch {
	case plain(from) && !plain(to):
		v.PrefixLen = full
	case plain(to) && !plain(from) && (v.Proto != 0 || v.PrefixLen != full):
		lost = fmt.Sprintf("%s has no protocols and prefixes in addresses: left out", to.Name)
	}
	return to.AppendAddress(nil, x.Type, v), lost, nil
}

// plain tells whether addresses have neither protocol nor prefix.
func plain(d *wire.Dialect) bool {
	return !slices.ContainsFunc(d.ExtLayout(wire.ExtAddressSrc), func(s wire.Slot) bool { return s.Size == 1 })
}

// whole writes what an extension says, all of it.
func whole(from, to *wire.Dialect, msg []byte, x wire.Ext) ([]byte, error) {
	t, raw := x.Type, x.Raw
	switch from.Role(t) {
	case wire.RoleSA:
		return convert(raw, from.ParseSA, func(v wire.SA) ([]byte, error) {
			if err := hasAlgs(from, to, v.Auth, v.Encrypt); err != nil {
				return nil, err
			}
			v.Flags = flags(from, to, v.Flags)
			return to.AppendSA(nil, v), nil
		})
	case wire.RoleLifetime:
		return convert(raw, from.ParseLifetime, func(v wire.Lifetime) ([]byte, error) {
			return to.AppendLifetime(nil, t, v), nil
		})
	case wire.RoleKey:
		v, err := from.ParseKey(raw)
		if err != nil {
			return nil, err
		}
		if from.SaltApart() {
			v.Data = wire.KeyArea(raw)[:min(len(raw)-8, int(v.Bits+v.Reserved+7)/8)]
		}
		switch salt := saltOf(from, msg); {
		case t != wire.ExtKeyEncrypt || salt == 0 || from.SaltApart() == to.SaltApart():
		case from.SaltApart():
			v.Bits, v.Reserved = v.Bits+v.Reserved, 0
		default:
			v.Bits, v.Reserved = v.Bits-min(salt, v.Bits), salt
		}
		return to.AppendKey(nil, t, v), nil
	case wire.RoleIdentity:
		return convert(raw, from.ParseIdentity, func(v wire.Identity) ([]byte, error) {
			return to.AppendIdentity(nil, t, v), nil
		})
	case wire.RoleSensitivity:
		return convert(raw, from.ParseSensitivity, func(v wire.Sensitivity) ([]byte, error) {
			return to.AppendSensitivity(nil, t, v), nil
		})
	case wire.RoleSPIRange:
		return convert(raw, from.ParseSPIRange, func(v wire.SPIRange) ([]byte, error) {
			return to.AppendSPIRange(nil, v), nil
		})
	case wire.RolePolicy:
		return convert(raw, from.ParsePolicy, func(v wire.Policy) ([]byte, error) {
			for _, r := range v.Requests {
				if _, ok := to.ModeNumber(r.Mode); !ok {
					return nil, &lacking{to.Name, "mode " + r.Mode.String()}
				}
			}
			if from.Name != to.Name {
				v.Reserved = 0 // means something else in each
			}
			return to.AppendPolicy(nil, v), nil
		})
	}
	switch t {
	case wire.KAMEExtXSA2:
		return convert(raw, from.ParseSA2, func(v wire.SA2) ([]byte, error) {
			if _, ok := to.ModeNumber(v.Mode); !ok {
				return nil, &lacking{to.Name, "mode " + v.Mode.String()}
			}
			return to.AppendSA2(nil, v), nil
		})
	case wire.KAMEExtXNATTType:
		return convert(raw, from.ParseNATTType, func(v wire.NATTType) ([]byte, error) {
			return to.AppendNATTType(nil, v), nil
		})
	case wire.KAMEExtXNATTSPort, wire.KAMEExtXNATTDPort:
		return convert(raw, from.ParseNATTPort, func(v wire.NATTPort) ([]byte, error) {
			return to.AppendNATTPort(nil, t, v), nil
		})
	case wire.KAMEExtXNATTFrag:
		return convert(raw, from.ParseNATTFrag, func(v wire.NATTFrag) ([]byte, error) {
			return to.AppendNATTFrag(nil, v), nil
		})
	}
	return nil, nil
}

// noAddress says whether an address is none, as OpenBSD has it.
func noAddress(d *wire.Dialect, x wire.Ext) bool {
	if d.Role(x.Type) != wire.RoleAddress {
		return false
	}
	v, err := d.ParseAddress(x.Raw)
	return err == nil && !v.Addr.IsValid()
}

// convert reads a value and writes it again.
func convert[V any](raw []byte, read func([]byte) (V, error), write func(V) ([]byte, error)) ([]byte, error) {
	v, err := read(raw)
	if err != nil {
		return nil, err
	}
	return write(v)
}

// saltOf is how many bits of salt the cipher of a message's SA has.
func saltOf(d *wire.Dialect, msg []byte) uint16 {
	x, _ := d.Find(msg, wire.ExtSA)
	sa, err := d.ParseSA(x.Raw)
	switch {
	case err != nil:
	case slices.Contains([]wire.AlgID{wire.EncAESGCM8, wire.EncAESGCM12, wire.EncAESGCM16, wire.EncAESCTR,
		wire.EncNullAESGMAC}, sa.Encrypt):
		return 32
	case slices.Contains([]wire.AlgID{wire.EncAESCCM8, wire.EncAESCCM12, wire.EncAESCCM16}, sa.Encrypt):
		return 24
	}
	return 0
}

// hasAlgs says which of the algorithms of an SA another dialect does not have: a number that is nobody's may be
// somebody's there.
func hasAlgs(from, to *wire.Dialect, auth, encrypt wire.AlgID) error {
	if n, ok := to.AuthNumber(auth); !ok || to.Auth(n) != auth {
		return &lacking{to.Name, from.AuthName(auth)}
	}
	if n, ok := to.EncryptNumber(encrypt); !ok || to.Encrypt(n) != encrypt {
		return &lacking{to.Name, from.EncryptName(encrypt)}
	}
	return nil
}

// flags are those flags of an SA that have the same name there, and those that have no name at all.
func flags(from, to *wire.Dialect, all wire.SAFlags) (there wire.SAFlags) {
	if from.Name == to.Name {
		return all
	}
	for bit := wire.SAFlags(1); bit != 0; bit <<= 1 {
		if all&bit == 0 {
			continue
		}
		name := from.FlagNames(bit)
		if strings.HasPrefix(name, "0x") {
			there |= bit
			continue
		}
		for other := wire.SAFlags(1); other != 0; other <<= 1 {
			if to.FlagNames(other) == name {
				there |= other
			}
		}
	}
	return there
}

// A place is where bytes stand in a message, whatever else is in it.
type place struct {
	ext wire.ExtType // ExtReserved: the base header
	off int          // from there
}

// find says which extension the bytes at an offset belong to; false if it is none.
func find(d *wire.Dialect, msg []byte, off int) (place, bool) {
	if off < wire.HeaderLen {
		return place{off: off}, true
	}
	for x, err := range d.Walk(msg) {
		if err != nil {
			break
		}
		if off < x.Offset+len(x.Raw) {
			return place{x.Type, off - x.Offset}, true
		}
	}
	return place{}, false
}

// offset is where a place is in a message.
func (p place) offset(d *wire.Dialect, msg []byte) (int, bool) {
	if p.ext == wire.ExtReserved {
		return p.off, true
	}
	x, ok := d.Find(msg, p.ext)
	return x.Offset + p.off, ok && p.off < len(x.Raw)
}

func sameOrder(a, b *wire.Dialect) bool {
	one := []byte{1, 0}
	return a.Order.Uint16(one) == b.Order.Uint16(one)
}

// native is the dialect of a kernel as its engines on this machine speak it.
func native(d *wire.Dialect) *wire.Dialect { return d.WithOrder(binary.NativeEndian) }
