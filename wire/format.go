package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"strings"
	"unicode"
)

// FormatOptions modify [Dialect.Format].
type FormatOptions struct {
	ShowKeys bool // print key bytes
}

// Format writes a message as annotated hexadecimal: one field a line with its offset in bytes, its bytes, its name and
// its value, and the value's own name where it has one. What is malformed is printed as far as it goes and explained on
// a line that begins with an exclamation mark.
//
// Unless opt says otherwise the content of key extensions is left out, and so is the rest of the message where the
// framing may have gone wrong and what follows may be a key: behind a malformed key extension, and from the header of a
// key extension inside another one.
//
// Everything goes to w in one Write, whose error is ignored.
func (d *Dialect) Format(w io.Writer, msg []byte, opt FormatOptions) {
	p := &printer{d: d, msg: msg, keys: opt.ShowKeys, valid: d.Validate(msg) == nil}
	p.message()
	w.Write(p.out.Bytes())
}

// A printer prints one message. msg[off:end] is what the current extension still has.
type printer struct {
	d        *Dialect
	out      bytes.Buffer
	msg      []byte
	off, end int
	keys     bool
	valid    bool // the framing makes sense
}

func (p *printer) message() {
	p.head("base header", min(len(p.msg), HeaderLen))
	p.end = min(len(p.msg), HeaderLen)
	reserved := field{"reserved", 2, nil}
	if len(p.d.t.diags) != 0 {
		reserved = field{"diagnostic", 2, asDiagnostic}
	}
	p.fields([]field{
		{"version", 1, nil}, {"type", 1, asMsg}, {"errno", 1, asErrno}, {"satype", 1, asSAType}, {"len", 2, asWords},
		reserved, {"seq", 4, nil}, {"pid", 4, nil},
	})
	h, err := p.d.Header(p.msg)
	if err != nil {
		p.rest("cut")
		p.problem(err)
		return
	}
	if err := p.d.checkHeader(p.msg, h); err != nil {
		p.problem(err)
		if n := int(bits.ReverseBytes16(h.Len)) * 8; n == len(p.msg) {
			p.out.WriteString("  ! the length would be right in the other byte order\n")
		}
	}
	for x, err := range p.d.Walk(p.msg) {
		if !p.extension(x, err) {
			return
		}
	}
}

// extension prints one; false if the rest must stay hidden.
func (p *printer) extension(x Ext, broken error) bool {
	p.off, p.end = x.Offset, x.Offset+len(x.Raw)
	if x.Raw == nil { // fewer than 4 bytes
		p.end = len(p.msg)
		p.head("trailing bytes", p.end-p.off)
		p.rest("data")
		p.problem(broken)
		return true
	}
	p.head(p.d.ExtName(x.Type), p.end-p.off)
	p.fields([]field{{"len", 2, asWords}, {"exttype", 2, asExt}})
	r := p.d.ext(x.Type)
	if broken != nil {
		if r != nil && r.secret && !p.keys {
			p.problem(broken)
			p.hideRest("a key")
			return false
		}
		trusted := p.rest("data")
		p.problem(broken)
		return trusted
	}
	if r == nil {
		trusted := p.rest("data")
		if x.Type == ExtReserved {
			p.problem(p.d.failAt(x, ErrType))
		}
		return trusted
	}
	err := p.d.checkExt(x)
	if r.secret && err != nil && !p.keys {
		p.fields(r.fields)
		p.problem(err)
		p.hideRest("a key")
		return false
	}
	if !p.keys && p.d.mayHoldKey(p.msg, x, p.valid) {
		if r.secret {
			p.fields(r.fields)
			p.hideRest("a key")
		} else {
			p.rest("data")
		}
		return false
	}
	if p.fields(r.fields) && r.tail != nil {
		r.tail(p)
	}
	trusted := p.rest("extra")
	if err != nil {
		p.problem(err)
	}
	return trusted
}

func (p *printer) head(name string, n int) { fmt.Fprintf(&p.out, "%s, %d bytes\n", name, n) }

func (p *printer) problem(err error) {
	if e, ok := err.(*DecodeError); ok {
		err = e.Err
	}
	fmt.Fprintf(&p.out, "  ! %v\n", err)
}

// fields prints fields in a row; false if the extension ends before the last.
func (p *printer) fields(fs []field) bool {
	for _, f := range fs {
		b := p.take(f.size)
		if b == nil {
			return false
		}
		show := f.show
		if show == nil {
			show = asDecimal
		}
		text := show(p.d, b)
		if f.name == "state" && b[0] == 0 && !p.d.tellsState(p.msg) {
			text = "0 (not said)"
		}
		p.line(b, f.name+" = "+text)
	}
	return true
}

// take moves over n bytes of the extension, nil if it does not have so many.
func (p *printer) take(n int) []byte {
	if p.end-p.off < n {
		return nil
	}
	b := p.msg[p.off : p.off+n]
	p.off += n
	return b
}

const bytesPerLine = 8

// line prints the bytes that end at off, with the text beside the first row of them.
func (p *printer) line(b []byte, text string) {
	off := p.off - len(b)
	for first := true; first || len(b) > 0; first = false {
		row := b[:min(len(b), bytesPerLine)]
		s := fmt.Sprintf("  %5d  %-*s  %s", off, bytesPerLine*3-1, fmt.Sprintf("% x", row), text)
		p.out.WriteString(strings.TrimRight(s, " "))
		p.out.WriteByte('\n')
		text = ""
		off += len(row)
		b = b[len(row):]
	}
}

// part prints a heading inside an extension.
func (p *printer) part(format string, a ...any) { fmt.Fprintf(&p.out, "  -- "+format+"\n", a...) }

// rest prints what the extension has left: zeros up to a word are padding. False if it stopped at what may be a key.
func (p *printer) rest(name string) bool {
	at := -1
	if !p.keys {
		at = p.d.keyInside(p.msg, p.off, p.end)
	}
	n := p.end - p.off
	if at >= 0 {
		n = at - p.off
	}
	if b := p.take(n); len(b) != 0 {
		if name == "extra" && len(b) < 8 && allZero(b) {
			name = "padding"
		}
		p.line(b, name)
	}
	if at >= 0 {
		p.hideRest("what looks like a key")
		return false
	}
	return true
}

func (p *printer) hideRest(what string) {
	p.hidden(len(p.msg)-p.off, "hidden")
	fmt.Fprintf(&p.out, "  ! the rest of the message is hidden, it may hold %s\n", what)
	p.off = len(p.msg)
}

// hidden prints a line for n bytes without their value.
func (p *printer) hidden(n int, text string) {
	fmt.Fprintf(&p.out, "  %5d  %-*s  %s\n", p.off, bytesPerLine*3-1, fmt.Sprintf("(%d bytes)", n), text)
	p.off = min(p.off+n, len(p.msg))
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

// mayHoldKey looks for a key where the framing says there is none, inside an extension whose length field may lie. It
// leaves out what is certainly something else: in a valid message the fixed part, and the sockaddr of an address; of a
// key, its own bytes.
func (d *Dialect) mayHoldKey(msg []byte, x Ext, valid bool) bool {
	from := extHeaderLen
	switch r := d.ext(x.Type); {
	case r == nil:
	case r.secret:
		if k, err := d.ParseKey(x.Raw); err == nil {
			from = keyLen + len(k.Data)
		} else {
			from = len(x.Raw)
		}
	case valid:
		from = r.min
		if sa, err := d.ParseAddress(x.Raw); r.address && err == nil {
			from += d.sockaddrLen(sa.sockaddr())
		}
	}
	return d.keyInside(msg, x.Offset+from, x.Offset+len(x.Raw)) >= 0
}

// keyInside looks for the header of a key extension at the words of msg[from:to], where the framing says there is none.
// It cannot know which byte order was meant, so it takes either; being wrong hides too much. It returns the offset, or
// -1.
func (d *Dialect) keyInside(msg []byte, from, to int) int {
	for o := pad8(from); o < to && o+extHeaderLen <= len(msg); o += 8 {
		b := msg[o:]
		if d.keyHeader(binary.LittleEndian, b) || d.keyHeader(binary.BigEndian, b) {
			return o
		}
	}
	return -1
}

func (d *Dialect) keyHeader(order binary.ByteOrder, b []byte) bool {
	r := d.ext(d.ExtType(order.Uint16(b[2:])))
	n := order.Uint16(b)
	return r != nil && r.secret && n >= 2 && n <= 1+(0xffff+63)/64
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

func asDecimal(d *Dialect, b []byte) string { return fmt.Sprintf("%d", d.number(b)) }
func asHex(d *Dialect, b []byte) string     { return fmt.Sprintf("%#x", d.number(b)) }
func asBytes(d *Dialect, b []byte) string   { return fmt.Sprintf("%x", b) }
func asWords(d *Dialect, b []byte) string {
	return fmt.Sprintf("%d (%d bytes)", d.u16(b), int(d.u16(b))*8)
}
func asPort(_ *Dialect, b []byte) string   { return fmt.Sprintf("%d", binary.BigEndian.Uint16(b)) }
func asNetHex(_ *Dialect, b []byte) string { return fmt.Sprintf("%#x", binary.BigEndian.Uint32(b)) }
func asSPI(_ *Dialect, b []byte) string    { return getSPI(b).String() }

func asRangeSPI(d *Dialect, b []byte) string { return d.rangeSPI(b).String() }

// named writes a number with its name behind it.
func named(name func(*Dialect, uint64) string) func(*Dialect, []byte) string {
	return func(d *Dialect, b []byte) string {
		n := d.number(b)
		return fmt.Sprintf("%d (%s)", n, name(d, n))
	}
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
	asProto      = named(func(_ *Dialect, n uint64) string { return protoName(n) })
	asIdent      = named(func(d *Dialect, n uint64) string { return d.IdentName(uint16(n)) })
	asFamily     = named(func(d *Dialect, n uint64) string { return d.familyName(uint16(n)) })
)

func asFlags(d *Dialect, b []byte) string {
	n := d.u32(b)
	return fmt.Sprintf("%#x (%s)", n, d.FlagNames(n))
}

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
