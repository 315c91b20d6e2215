package wire

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
)

// FormatOptions modify [Dialect.Format] and [Dialect.Fields].
type FormatOptions struct {
	ShowKeys bool // show key bytes
}

// Format writes a message as annotated hexadecimal: one field a line with its offset in bytes, its bytes, its name and
// its value, and the value's own name where it has one. What is malformed is printed as far as it goes and explained on
// a line that begins with an exclamation mark. What [Dialect.Fields] hides is left out.
//
// Everything goes to w in one Write, whose error is ignored.
func (d *Dialect) Format(w io.Writer, msg []byte, opt FormatOptions) {
	var out []byte
	for v := range d.Fields(msg, opt) {
		out = v.AppendText(out)
	}
	w.Write(out)
}

const bytesPerLine = 8

// AppendText appends the lines that [Dialect.Format] has for a field to b, each with its newline.
func (v Field) AppendText(b []byte) []byte {
	switch v.Kind {
	case FieldExtension:
		return fmt.Appendf(b, "%s, %d bytes\n", v.Name, v.Len)
	case FieldPart:
		return fmt.Appendf(b, "  -- %s\n", v.Name)
	case FieldProblem:
		return fmt.Appendf(b, "  ! %s\n", v.Value)
	}
	text := v.Text()
	if v.Bytes == nil {
		return fmt.Appendf(b, "  %5d  %-*s  %s\n", v.Offset, bytesPerLine*3-1, fmt.Sprintf("(%d bytes)", v.Len), text)
	}
	for off := 0; off == 0 || off < v.Len; off += bytesPerLine {
		row := v.Bytes[off:min(off+bytesPerLine, v.Len)]
		b = fmt.Appendf(b, "  %5d  %-*s  %s", v.Offset+off, bytesPerLine*3-1, fmt.Sprintf("% x", row), text)
		b = append(bytes.TrimRight(b, " "), '\n')
		text = ""
	}
	return b
}

// ParseFormatLine reads back a line of [Dialect.Format] that has bytes of the message: where they stand in it, and
// what they are, or how many are hidden; false for any other line.
func ParseFormatLine(line string) (offset int, b []byte, hidden int, ok bool) {
	rest, ok := strings.CutPrefix(line, "  ")
	at, rest, found := strings.Cut(strings.TrimLeft(rest, " "), "  ")
	offset, err := strconv.Atoi(at)
	if !ok || !found || err != nil || offset < 0 {
		return 0, nil, 0, false
	}
	digits, _, _ := strings.Cut(rest, "  ")
	if n, ok := strings.CutPrefix(digits, "("); ok {
		n, ok = strings.CutSuffix(n, " bytes)")
		hidden, err = strconv.Atoi(n)
		return offset, nil, hidden, ok && err == nil && hidden >= 0
	}
	b, err = hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
	return offset, b, 0, err == nil && len(b) > 0
}

// Text is the name of a field, and its value if there is one.
func (v Field) Text() string {
	if v.Value == "" {
		return v.Name
	}
	return v.Name + " = " + v.Value
}

// mayHoldKey looks for a key where the framing says there is none, inside an extension whose length field may lie. It
// leaves out what is certainly something else: in a valid message the fixed part, and the sockaddr of an address; of a
// key, its own bytes.
func (d *Dialect) mayHoldKey(msg []byte, x Ext, valid bool) bool {
	from := extHeaderLen
	switch r := d.ext(x.Type); {
	case r == nil:
	case r.secret():
		if k, err := d.ParseKey(x.Raw); err == nil {
			from = keyLen + len(k.Data)
		} else {
			from = len(x.Raw)
		}
	case valid:
		from = r.min
		if sa, err := d.ParseAddress(x.Raw); r.shape.role == RoleAddress && err == nil {
			from += d.sockaddrLen(sa.sockaddr())
		}
	}
	return d.keyInside(msg, x.Offset+from, x.Offset+len(x.Raw), valid) >= 0
}

// keyInside looks for the header of a key extension at the words of msg[from:to], where the framing says there is none.
// It cannot know which byte order was meant, so it takes either; being wrong hides too much. A valid message is whole,
// and so is a key in it. It returns the offset, or -1.
func (d *Dialect) keyInside(msg []byte, from, to int, valid bool) int {
	for o := pad8(from); o < to && o+extHeaderLen <= len(msg); o += 8 {
		b := msg[o:]
		if d.keyHeader(binary.LittleEndian, b, valid) || d.keyHeader(binary.BigEndian, b, valid) {
			return o
		}
	}
	return -1
}

func (d *Dialect) keyHeader(order binary.ByteOrder, b []byte, whole bool) bool {
	r := d.ext(d.ExtType(order.Uint16(b[2:])))
	n := int(order.Uint16(b))
	return r.secret() && n >= 2 && n <= 1+(0xffff+63)/64 && (!whole || n*8 <= len(b))
}

// How values are written.

func (d *Dialect) number(b []byte) uint64 {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(d.u16(b))
	case 4:
		return uint64(d.u32(b))
	}
	return d.u64(b)
}

// display is how the bytes of a field are shown.
type display struct {
	style Style
	text  func(*Dialect, []byte) string
	name  func(*Dialect, uint64) string // of a value, if values have names
}

// display is that of the field.
func (f *field) display() *display {
	if f.show == nil {
		return asDecimal
	}
	return f.show
}

var (
	asDecimal = &display{style: StyleDecimal,
		text: func(d *Dialect, b []byte) string { return fmt.Sprintf("%d", d.number(b)) }}
	asHex = &display{style: StyleHex,
		text: func(d *Dialect, b []byte) string { return fmt.Sprintf("%#x", d.number(b)) }}
	asBytes = &display{style: StyleBytes,
		text: func(_ *Dialect, b []byte) string { return fmt.Sprintf("%x", b) }}
	asWords = &display{style: StyleWords,
		text: func(d *Dialect, b []byte) string { return fmt.Sprintf("%d (%d bytes)", d.u16(b), int(d.u16(b))*8) }}
	asByteCount = &display{style: StyleByteCount,
		text: func(d *Dialect, b []byte) string { return fmt.Sprintf("%d bytes", d.u16(b)) }}
	asPort = &display{style: StyleNetDecimal,
		text: func(_ *Dialect, b []byte) string { return fmt.Sprintf("%d", binary.BigEndian.Uint16(b)) }}
	asNetHex = &display{style: StyleNetHex,
		text: func(_ *Dialect, b []byte) string { return fmt.Sprintf("%#x", binary.BigEndian.Uint32(b)) }}
	asSPI = &display{style: StyleNetHex,
		text: func(_ *Dialect, b []byte) string { return getSPI(b).String() }}
	asRangeSPI = &display{style: styleRangeSPI,
		text: func(d *Dialect, b []byte) string { return d.rangeSPI(b).String() }}
	asAddr4 = &display{style: StyleIPv4,
		text: func(_ *Dialect, b []byte) string { return netip.AddrFrom4([4]byte(b)).String() }}
	asAddr6 = &display{style: StyleIPv6,
		text: func(_ *Dialect, b []byte) string { return netip.AddrFrom16([16]byte(b)).String() }}
	asFlags = &display{style: StyleFlags, text: func(d *Dialect, b []byte) string {
		n := d.u32(b)
		return fmt.Sprintf("%#x (%s)", n, d.FlagNames(n))
	}}
)

// named writes a number with its name behind it.
func named(name func(*Dialect, uint64) string) *display {
	return &display{style: StyleNamed, name: name, text: func(d *Dialect, b []byte) string {
		n := d.number(b)
		return fmt.Sprintf("%d (%s)", n, name(d, n))
	}}
}

// fromTable takes the names from a table that all dialects share.
func fromTable(t []name) *display {
	return named(func(_ *Dialect, n uint64) string { return nameOf(n, t) })
}

var (
	asMsg        = named(func(d *Dialect, n uint64) string { return d.MsgName(d.MsgType(uint8(n))) })
	asErrno      = named(func(d *Dialect, n uint64) string { return d.ErrnoName(uint8(n)) })
	asSAType     = named(func(d *Dialect, n uint64) string { return d.SATypeName(d.SAType(uint8(n))) })
	asDiagnostic = named(func(d *Dialect, n uint64) string { return d.DiagnosticName(uint16(n)) })
	asExt        = named(func(d *Dialect, n uint64) string { return d.ExtName(d.ExtType(uint16(n))) })
	asState      = named(func(d *Dialect, n uint64) string { return d.StateName(State(n)) })
	asAuth       = named(func(d *Dialect, n uint64) string { return d.AuthName(d.Auth(uint8(n))) })
	asEncrypt    = named(func(d *Dialect, n uint64) string { return d.EncryptName(d.Encrypt(uint8(n))) })
	asCompress   = named(func(_ *Dialect, n uint64) string { return symbolName(AlgID(n), compressAlgs) })
	asProto      = named(func(_ *Dialect, n uint64) string { return protoName(n) })
	asIdent      = named(func(d *Dialect, n uint64) string { return d.IdentName(uint16(n)) })
	asFamily     = named(func(d *Dialect, n uint64) string { return d.familyName(uint16(n)) })
)

func (d *Dialect) familyName(n uint16) string {
	return nameOf(uint64(n), []name{{0, "unspec"}, {uint64(d.AFInet), "inet"}, {uint64(d.AFInet6), "inet6"}})
}

// protocols are the IP protocols that extensions mention.
var protocols = []name{
	{0, "any"}, {1, "icmp"}, {4, "ipip"}, {6, "tcp"}, {17, "udp"}, {41, "ipv6"}, {47, "gre"}, {50, "esp"}, {51, "ah"},
	{58, "icmpv6"}, {108, "ipcomp"}, {132, "sctp"}, {255, "any"},
}

func protoName(n uint64) string { return nameOf(n, protocols) }

// text quotes what is not plain printable ASCII in one word.
func text(s string) string {
	for _, c := range s {
		if c <= ' ' || c > unicode.MaxASCII || c == '"' || c == '\\' || !unicode.IsPrint(c) {
			return fmt.Sprintf("%+q", s)
		}
	}
	if s == "" {
		return `""`
	}
	return s
}
