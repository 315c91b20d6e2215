package pfkey

import (
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// SAID is what names a security association in a request.
type SAID struct {
	Type  wire.SAType
	SPI   wire.SPI
	Src   wire.Address // left out of the message if it has no address; Linux wants it all the same
	Dst   wire.Address
	Flags wire.SAFlags // illumos: direction, where both have an SA with this SPI
}

// SA is a security association, in a request (Add, Update) or in an answer (Get, Dump, [ParseSA]). However it is
// printed, logged or turned into JSON, it does not show its keys.
type SA struct {
	SAID
	// In requests zero means that nothing is said of the state, and is sent as MATURE. It cannot mean LARVAL there,
	// which has the same number: only GetSPI makes LARVAL SAs. In answers it does.
	State   wire.State
	Replay  uint8      // window in packets
	Auth    wire.AlgID // 0 for none
	Encrypt wire.AlgID // 0 for none

	// Keys are sent if Data is not nil; Linux wants an empty one for the null ciphers. A salt is the end of the key and
	// counts among its bits, in answers, too.
	AuthKey, EncryptKey wire.Key

	Hard, Soft *wire.Lifetime // nil: no limits; requests have both or none
	Current    *wire.Lifetime // answers only
	SA2        *wire.SA2      // Linux: mode and request id

	// Extra are further extensions: in requests they are sent as they are, behind the others; in answers they are the
	// ones that have no field here, in the order they came.
	Extra Extensions
}

// Extensions are whole PF_KEY extensions one behind the other, in the bytes of a dialect. They may contain keys, so
// that printing shows their size only.
type Extensions []byte

func (x Extensions) String() string { return fmt.Sprintf("extensions(%d bytes)", len(x)) }

// Format writes the same as String whatever the verb.
func (x Extensions) Format(f fmt.State, verb rune) { fmt.Fprint(f, x.String()) }

// LogValue keeps the bytes out of structured logs.
func (x Extensions) LogValue() slog.Value { return slog.StringValue(x.String()) }

// MarshalText keeps the bytes out of JSON and the like.
func (x Extensions) MarshalText() ([]byte, error) { return []byte(x.String()), nil }

// Host is the address extension of a whole host, with the prefix length of its family and no protocol or port.
func Host(a netip.Addr) wire.Address { return wire.Address{Addr: a, PrefixLen: uint8(a.BitLen())} }

// Prefix is the address extension of a whole network, for the selector of a [Policy]; with no protocol or port.
func Prefix(p netip.Prefix) wire.Address {
	return wire.Address{Addr: p.Masked().Addr(), PrefixLen: uint8(max(p.Bits(), 0))}
}

// NewKey makes a key of whole bytes. The bytes are not copied.
func NewKey(b []byte) wire.Key { return wire.Key{Bits: uint16(len(b) * 8), Data: b} }

func (id SAID) String() string {
	return fmt.Sprintf("%s %s from %s to %s", id.Type, id.SPI, id.Src.Addr, id.Dst.Addr)
}

func (sa SA) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s auth %d %s encrypt %d %s", sa.SAID, sa.State, sa.Auth, sa.AuthKey, sa.Encrypt, sa.EncryptKey)
	if len(sa.Extra) > 0 {
		fmt.Fprintf(&b, " %s", sa.Extra)
	}
	return b.String()
}

// Format writes the same as String whatever the verb.
func (sa SA) Format(f fmt.State, verb rune) { fmt.Fprint(f, sa.String()) }

// LogValue keeps the key bytes out of structured logs.
func (sa SA) LogValue() slog.Value { return slog.StringValue(sa.String()) }

// AppendExtensions appends what sa says to b, as the extensions of an ADD or UPDATE in the order of RFC 2367. SA2 is
// left out in a dialect that does not have it.
func (sa SA) AppendExtensions(d *wire.Dialect, b []byte) []byte {
	state := sa.State
	if state == wire.StateLarval {
		state = wire.StateMature
	}
	b = d.AppendSA(b, wire.SA{
		SPI: sa.SPI, Replay: sa.Replay, State: state, Auth: sa.Auth, Encrypt: sa.Encrypt, Flags: sa.Flags,
	})
	if sa.Hard != nil || sa.Soft != nil {
		b = appendLifetime(d, b, wire.ExtLifetimeHard, sa.Hard)
		b = appendLifetime(d, b, wire.ExtLifetimeSoft, sa.Soft)
	}
	b = appendAddresses(d, b, sa.Src, sa.Dst)
	if sa.AuthKey.Data != nil {
		b = d.AppendKey(b, wire.ExtKeyAuth, sa.AuthKey)
	}
	if sa.EncryptKey.Data != nil {
		b = d.AppendKey(b, wire.ExtKeyEncrypt, sa.EncryptKey)
	}
	if sa.SA2 != nil && hasExt(d, wire.KAMEExtXSA2) {
		b = d.AppendSA2(b, *sa.SA2)
	}
	return append(b, sa.Extra...)
}

// hasExt says whether the dialect has an extension.
func hasExt(d *wire.Dialect, t wire.ExtType) bool {
	_, ok := d.ExtNumber(t)
	return ok
}

func appendLifetime(d *wire.Dialect, b []byte, t wire.ExtType, l *wire.Lifetime) []byte {
	if l == nil {
		l = new(wire.Lifetime)
	}
	return d.AppendLifetime(b, t, *l)
}

func appendAddresses(d *wire.Dialect, b []byte, src, dst wire.Address) []byte {
	if src.Addr.IsValid() {
		b = d.AppendAddress(b, wire.ExtAddressSrc, src)
	}
	if dst.Addr.IsValid() {
		b = d.AppendAddress(b, wire.ExtAddressDst, dst)
	}
	return b
}

// ParseSA reads the security association that a message describes: an answer to ADD, UPDATE, GET or GETSPI, one of a
// dump, an EXPIRE. The message must be well formed ([wire.Dialect.Validate]) and have an SA extension; everything else
// may be missing. Keys and Extra are views into msg.
func ParseSA(d *wire.Dialect, msg []byte) (*SA, error) {
	if err := d.Validate(msg); err != nil {
		return nil, fmt.Errorf("pfkey: %w", err)
	}
	h, _ := d.Header(msg) // it is well formed
	sa, err := parseSA(d, h, msg)
	if err != nil {
		return nil, fmt.Errorf("pfkey: %w", err)
	}
	return sa, nil
}

// parseSA reads the security association of a message that is well formed.
func parseSA(d *wire.Dialect, h wire.Header, msg []byte) (*SA, error) {
	if _, ok := d.Find(msg, wire.ExtSA); !ok {
		return nil, fmt.Errorf("%s has no SA extension", d.MsgName(h.Type))
	}
	sa := &SA{SAID: SAID{Type: h.SAType}}
	for x, err := range d.Walk(msg) {
		if err == nil {
			err = sa.parse(d, x)
		}
		if err != nil {
			return nil, err
		}
	}
	return sa, nil
}

// parseEncryptKey reads a key with its salt. An answer of illumos has the salt behind the bits of the key.
func parseEncryptKey(d *wire.Dialect, raw []byte) (wire.Key, error) {
	key, err := d.ParseKey(raw)
	if err != nil || !d.SaltApart() || key.Reserved == 0 {
		return key, err
	}
	n := len(key.Data) + (int(key.Reserved)+7)/8
	area := wire.KeyArea(raw)
	if n > len(area) || int(key.Bits)+int(key.Reserved) > math.MaxUint16 {
		return key, nil // without a salt
	}
	return wire.Key{Bits: key.Bits + key.Reserved, Data: area[:n:n]}, nil
}

// parse reads one extension.
func (sa *SA) parse(d *wire.Dialect, x wire.Ext) (err error) {
	switch {
	case x.Type == wire.ExtSA:
		var v wire.SA
		v, err = d.ParseSA(x.Raw)
		sa.SPI, sa.Replay, sa.State, sa.Auth, sa.Encrypt, sa.Flags = v.SPI, v.Replay, v.State, v.Auth, v.Encrypt,
			v.Flags
	case x.Type == wire.ExtAddressSrc:
		sa.Src, err = d.ParseAddress(x.Raw)
	case x.Type == wire.ExtAddressDst:
		sa.Dst, err = d.ParseAddress(x.Raw)
	case x.Type == wire.ExtKeyAuth:
		sa.AuthKey, err = d.ParseKey(x.Raw)
	case x.Type == wire.ExtKeyEncrypt:
		sa.EncryptKey, err = parseEncryptKey(d, x.Raw)
	case x.Type == wire.ExtLifetimeHard:
		sa.Hard, err = parseLifetime(d, x.Raw)
	case x.Type == wire.ExtLifetimeSoft:
		sa.Soft, err = parseLifetime(d, x.Raw)
	case x.Type == wire.ExtLifetimeCurrent:
		sa.Current, err = parseLifetime(d, x.Raw)
	case x.Type == wire.KAMEExtXSA2:
		var v wire.SA2
		v, err = d.ParseSA2(x.Raw)
		sa.SA2 = &v
	default:
		sa.Extra = append(sa.Extra, x.Raw...)
	}
	return err
}

func parseLifetime(d *wire.Dialect, raw []byte) (*wire.Lifetime, error) {
	v, err := d.ParseLifetime(raw)
	return &v, err
}
