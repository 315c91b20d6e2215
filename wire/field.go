package wire

import (
	"fmt"
	"iter"
	"math/bits"
	"slices"
	"strings"
)

// Field is one thing that [Dialect.Fields] tells of a message.
type Field struct {
	Kind      FieldKind
	Extension string // the name of the extension that it is of; "base header" and "trailing bytes" are none
	Part      string // of the extension, such as "request 1"; "" outside of one
	Name      string // of the field, such as "spi" or "source port"
	Value     string // "3 (esp)"; "" if there is nothing to say beyond the bytes
	Offset    int    // in the message, bytes
	Len       int    // bytes
	Bytes     []byte // a view into the message; nil if they are hidden
	Meaning   string // in words; "" if there is nothing to say
	Section   string // of RFC 2367 where that is written; "" if it is not in there
}

// FieldKind says what a [Field] is.
type FieldKind uint8

// The kinds.
const (
	FieldValue     FieldKind = iota // a field
	FieldExtension                  // an extension begins, or the base header; Len is its size
	FieldPart                       // a part of it begins
	FieldProblem                    // Value says what is wrong with what came before
)

// The names of what is no extension.
const (
	baseHeader    = "base header"
	trailingBytes = "trailing bytes"
)

// Fields tells a message field by field, in the order of its bytes. What is malformed is told as far as it goes.
//
// Unless opt says otherwise the content of key extensions is hidden, and so is the rest of the message where the
// framing may have gone wrong and what follows may be a key: behind a malformed key extension, and from the header of
// a key extension inside another one.
func (d *Dialect) Fields(msg []byte, opt FormatOptions) iter.Seq[Field] {
	return func(yield func(Field) bool) {
		p := &teller{d: d, msg: msg, keys: opt.ShowKeys, valid: d.Validate(msg) == nil, yield: yield}
		p.message()
	}
}

// A teller tells of one message. msg[off:end] is what the current extension still has.
type teller struct {
	d        *Dialect
	msg      []byte
	off, end int
	keys     bool
	valid    bool // the framing makes sense

	row     *extRow // of the current extension; nil if it is unknown or none
	name    string  // of it
	section string
	part    string

	yield   func(Field) bool
	stopped bool // nobody listens any more
}

var headerFields = []field{
	f("version", 1, nil, "of PF_KEY: 2"),
	f("type", 1, asMsg, "").in("3.1", func(d *Dialect, v uint64) bool {
		_, section := d.MsgMeaning(d.MsgType(uint8(v)))
		return section != ""
	}),
	f("errno", 1, asErrno, "0, or why it was refused"),
	f("satype", 1, asSAType, "which database; 0 is all").in("3.4", only(0, 2, 3, 5, 6, 7, 8)),
	f("len", 2, asWords, "of the message, in words of 8 bytes"),
	f("reserved", 2, nil, "zero, or the kernel's own use"),
	f("seq", 4, nil, "chosen by whoever asks, the same in the answer"),
	f("pid", 4, nil, "process that asks, the same in the answer; 0 is the kernel"),
}

// headerFields are those of the base header.
func (d *Dialect) headerFields() []field {
	fs := headerFields
	if len(d.t.diags) != 0 {
		fs = slices.Clone(fs)
		fs[5] = diagnosticField
	}
	return fs
}

var diagnosticField = f("diagnostic", 2, asDiagnostic, "with an errno: what exactly is wrong")

var extHeaderFields = []field{
	f("len", 2, asWords, "of the extension, in words of 8 bytes"),
	f("exttype", 2, asExt, "kind of the extension").in("3.6", func(d *Dialect, v uint64) bool {
		_, section := d.ExtMeaning(d.ExtType(uint16(v)))
		return section != ""
	}),
}

func (p *teller) message() {
	p.begin(baseHeader, min(len(p.msg), HeaderLen), "begins every message", "2.1")
	p.end = min(len(p.msg), HeaderLen)
	p.fields(p.d.headerFields())
	h, err := p.d.Header(p.msg)
	if err != nil {
		p.rest("cut", "")
		p.problem(err)
		return
	}
	if err := p.d.checkHeader(p.msg, h); err != nil {
		p.problem(err)
		if n := int(bits.ReverseBytes16(h.Len)) * 8; n == len(p.msg) {
			p.problemf("the length would be right in the other byte order")
		}
	}
	for x, err := range p.d.Walk(p.msg) {
		if !p.extension(x, err) || p.stopped {
			return
		}
	}
}

// extension tells of one; false if the rest must stay hidden.
func (p *teller) extension(x Ext, broken error) bool {
	p.off, p.end = x.Offset, x.Offset+len(x.Raw)
	p.row = nil
	if x.Raw == nil { // fewer than 4 bytes
		p.end = len(p.msg)
		p.begin(trailingBytes, p.end-p.off, "too few for an extension header", "2.2")
		p.rest("data", notDecoded)
		p.problem(broken)
		return true
	}
	r := p.d.ext(x.Type)
	p.row = r
	text, section := p.d.ExtMeaning(x.Type)
	p.begin(p.d.ExtName(x.Type), p.end-p.off, text, section)
	p.fields(extHeaderFields)
	if broken != nil {
		if r.secret() && !p.keys {
			p.problem(broken)
			p.hideRest("a key")
			return false
		}
		trusted := p.rest("data", notDecoded)
		p.problem(broken)
		return trusted
	}
	if r == nil {
		trusted := p.rest("data", notDecoded)
		if x.Type == ExtReserved {
			p.problem(p.d.failAt(x, ErrType))
		}
		return trusted
	}
	err := p.d.checkExt(x)
	if r.secret() && err != nil && !p.keys {
		p.fields(r.fields)
		p.problem(err)
		p.hideRest("a key")
		return false
	}
	if !p.keys && p.d.mayHoldKey(p.msg, x, p.valid) {
		if r.secret() {
			p.fields(r.fields)
			p.hideRest("a key")
		} else {
			p.rest("data", notDecoded)
		}
		return false
	}
	if p.fields(r.fields) && r.shape.tail != nil {
		r.shape.tail(p)
	}
	trusted := p.rest("extra", notKnown)
	if err != nil {
		p.problem(err)
	}
	return trusted
}

// What is told of bytes without a field.
const (
	notDecoded = "not decoded"
	notKnown   = "behind what is known of it"
	padding    = "to a word of 8 bytes"
)

// begin tells that an extension begins.
func (p *teller) begin(name string, n int, meaning, section string) {
	p.name, p.section, p.part = name, section, ""
	p.tell(Field{Kind: FieldExtension, Name: name, Offset: p.off, Len: n, Meaning: meaning,
		Section: section})
}

// in tells that a part of the extension begins.
func (p *teller) in(format string, a ...any) {
	p.part = fmt.Sprintf(format, a...)
	p.tell(Field{Kind: FieldPart, Name: p.part, Offset: p.off})
}

func (p *teller) problem(err error) {
	if e, ok := err.(*DecodeError); ok {
		err = e.Err
	}
	p.problemf("%v", err)
}

func (p *teller) problemf(format string, a ...any) {
	p.tell(Field{Kind: FieldProblem, Offset: p.off, Value: fmt.Sprintf(format, a...)})
}

// tell gives a field to whoever listens, with what is the same for all of an extension.
func (p *teller) tell(v Field) {
	if p.stopped {
		return
	}
	v.Extension, v.Part = p.name, p.part
	p.stopped = !p.yield(v)
}

// value tells a field whose bytes end at off.
func (p *teller) value(b []byte, name, value, meaning string) {
	p.tell(Field{Name: name, Value: value, Offset: p.off - len(b), Len: len(b), Bytes: b, Meaning: meaning,
		Section: p.section})
}

// fields tells fields in a row; false if the extension ends before the last.
func (p *teller) fields(fs []field) bool { return p.fieldsOf("", fs) }

// fieldsOf tells the fields of one of several things of a kind: "source ", "destination ".
func (p *teller) fieldsOf(whose string, fs []field) bool {
	for i := range fs {
		f := &fs[i]
		b := p.take(f.size)
		if b == nil {
			return false
		}
		show := f.display()
		if p.ofSA("encrypt", f) && p.d.SAType(p.msg[3]) == SATypeIPComp {
			show = asCompress
		}
		v := Field{Name: whose + f.name, Value: show.text(p.d, b), Offset: p.off - len(b), Len: len(b), Bytes: b,
			Meaning: meaningOf(whose, f.meaning), Section: p.section}
		if p.ofSA("state", f) && b[0] == 0 && !p.d.tellsState(p.msg) {
			v.Value = "0 (not said)"
		}
		if l := f.listed; l != nil && (p.section != "" || f.name == "exttype") {
			if v.Section = ""; l.has(p.d, p.d.number(b)) {
				v.Section = l.section
			}
		}
		p.tell(v)
	}
	return true
}

// ofSA says whether f is the field of this name of the SA extension.
func (p *teller) ofSA(name string, f *field) bool {
	return p.row != nil && p.row.typ == ExtSA && f.name == name
}

func meaningOf(whose, meaning string) string {
	if whose == "" {
		return meaning
	}
	return strings.TrimSpace(whose) + ": " + meaning
}

// take moves over n bytes of the extension, nil if it does not have so many.
func (p *teller) take(n int) []byte {
	if p.end-p.off < n {
		return nil
	}
	b := p.msg[p.off : p.off+n : p.off+n]
	p.off += n
	return b
}

// rest tells what the extension has left: zeros up to a word are padding. False if it stopped at what may be a key.
func (p *teller) rest(name, meaning string) bool {
	at := -1
	if !p.keys {
		at = p.d.keyInside(p.msg, p.off, p.end, p.valid)
	}
	n := p.end - p.off
	if at >= 0 {
		n = at - p.off
	}
	if b := p.take(n); len(b) != 0 {
		if name == "extra" && len(b) < 8 && allZero(b) {
			name, meaning = "padding", padding
		}
		p.value(b, name, "", meaning)
	}
	if at >= 0 {
		p.hideRest("what looks like a key")
		return false
	}
	return true
}

func (p *teller) hideRest(what string) {
	p.hidden(len(p.msg)-p.off, "hidden", "", "")
	p.problemf("the rest of the message is hidden, it may hold %s", what)
	p.off = len(p.msg)
}

// hidden tells of n bytes without showing them.
func (p *teller) hidden(n int, name, value, meaning string) {
	p.tell(Field{Name: name, Value: value, Offset: p.off, Len: n, Meaning: meaning, Section: p.section})
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
