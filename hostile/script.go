package hostile

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// A Script is a list of faults for kernels of one dialect. It does not change, and may be used for several kernels.
type Script struct {
	dialect *wire.Dialect
	seed    uint64
	faults  []fault
}

// fault is one line.
type fault struct {
	name    string
	kind    string
	number  int // truncate: -1 if none was given
	ext     wire.ExtType
	errno   wire.Errno
	bytes   []byte
	types   map[wire.MsgType]bool // nil: all
	answers bool                  // only
	events  bool                  // only
	after   uint64
	times   uint64 // 0: any number
	chance  int    // percent
}

// A SyntaxError says what is wrong with a script.
type SyntaxError struct {
	Line int // 1 is the first
	Err  string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.Err) }

// Parse reads a script for kernels that speak d. An error of the script is a *SyntaxError.
func Parse(r io.Reader, d *wire.Dialect) (*Script, error) {
	s := &Script{dialect: d}
	names := map[string]int{}
	scan := bufio.NewScanner(r)
	for line := 1; scan.Scan(); line++ {
		text, _, _ := strings.Cut(scan.Text(), "#")
		p := &parser{dialect: d, words: strings.Fields(text)}
		if len(p.words) == 0 {
			continue
		}
		if p.words[0] == "seed" {
			p.words = p.words[1:]
			s.seed = uint64(p.integer("a seed", 0))
			p.end()
		} else {
			f := p.fault()
			if before, ok := names[f.name]; ok {
				p.failf("the name %q is that of line %d already", f.name, before)
			}
			names[f.name] = line
			s.faults = append(s.faults, f)
		}
		if p.err != "" {
			return nil, &SyntaxError{line, p.err}
		}
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("hostile: %w", err)
	}
	return s, nil
}

// parser reads one line. After an error it goes on without effect.
type parser struct {
	dialect *wire.Dialect
	words   []string
	err     string
}

func (p *parser) failf(format string, a ...any) {
	if p.err == "" {
		p.err = fmt.Sprintf(format, a...)
	}
}

func (p *parser) peek() string {
	if len(p.words) == 0 {
		return ""
	}
	return p.words[0]
}

func (p *parser) next(what string) string {
	if len(p.words) == 0 {
		p.failf("%s is missing", what)
		return ""
	}
	w := p.words[0]
	p.words = p.words[1:]
	return w
}

func (p *parser) integer(what string, least int) int {
	w := p.next(what)
	n, err := strconv.ParseUint(w, 0, 32)
	if p.err == "" && (err != nil || int(n) < least) {
		p.failf("%q is not %s", w, what)
	}
	return int(n)
}

func (p *parser) end() {
	if len(p.words) > 0 {
		p.failf("%q is too much", p.words[0])
	}
}

func isNumber(w string) bool {
	_, err := strconv.ParseUint(w, 0, 32)
	return err == nil
}

func (p *parser) extension() wire.ExtType {
	w := p.next("an extension")
	t, ok := p.dialect.ExtByName(w)
	if !ok {
		n, err := strconv.ParseUint(w, 0, 16)
		if err != nil {
			p.failf("%q is not the name of an extension of %s", w, p.dialect.Name)
		}
		t = p.dialect.ExtType(uint16(n))
	}
	return t
}

func (p *parser) errno() wire.Errno {
	w := p.next("an errno")
	for n := range 256 {
		if e, ok := p.dialect.Errno(uint8(n)); ok && n != 0 && e.String() == w {
			return e
		}
	}
	p.failf("%q is not the name of an errno of %s", w, p.dialect.Name)
	return wire.EINVAL
}

// fault reads a line.
func (p *parser) fault() (f fault) {
	f = fault{number: -1, chance: 100}
	if name, ok := strings.CutSuffix(p.peek(), ":"); ok {
		if f.name = name; name == "" {
			p.failf("a name is missing before the colon")
		}
		p.words = p.words[1:]
	}
	f.kind = p.next("a fault")
	label := f.kind
	switch f.kind {
	case "drop", "duplicate", "reorder":
	case "delay", "full":
		f.number = p.integer("a number", 1)
	case "pid", "seq":
		f.number = p.integer("a number", 0)
	case "truncate":
		if isNumber(p.peek()) {
			f.number = p.integer("a number of bytes", 0)
		}
	case "strip":
		label += " " + p.peek()
		f.ext = p.extension()
	case "length":
		label += " " + p.peek()
		f.ext = p.extension()
		f.number = p.integer("a number of words", 0)
		if f.number > 0xffff {
			p.failf("%d words do not fit into the field", f.number)
		}
	case "add":
		label += " " + p.peek()
		f.ext = p.extension()
		f.bytes = make([]byte, 4)
		if len(p.words) > 1 && isMessages(p.dialect, p.words[1]) {
			b, err := hex.DecodeString(p.next("bytes"))
			if err != nil || len(b) > 1024 {
				p.failf("the bytes of the extension are wanted in hexadecimal, 1024 at most")
			}
			f.bytes = b
		}
	case "errno", "refuse":
		label += " " + p.peek()
		f.errno = p.errno()
	default:
		p.failf("unknown fault %q", f.kind)
	}
	messages := p.next("which messages (* for all)")
	if messages != "*" && p.err == "" {
		f.types = map[wire.MsgType]bool{}
		for name := range strings.SplitSeq(messages, ",") {
			t, ok := p.dialect.MsgByName(name)
			if !ok {
				p.failf("%q is not the name of a message of %s", name, p.dialect.Name)
			}
			f.types[t] = true
		}
	}
	if f.name == "" {
		f.name = label + " " + messages
	}
	p.conditions(&f)
	return f
}

// isMessages says whether a word can be the messages of a fault.
func isMessages(d *wire.Dialect, w string) bool {
	first, _, _ := strings.Cut(w, ",")
	_, ok := d.MsgByName(first)
	return ok || w == "*"
}

func (p *parser) conditions(f *fault) {
	for len(p.words) > 0 && p.err == "" {
		switch w := p.next("a condition"); w {
		case "answers":
			f.answers = true
		case "events":
			f.events = true
		case "after":
			f.after = uint64(p.integer("a number", 0))
		case "times":
			f.times = uint64(p.integer("a number", 1))
		case "chance":
			if f.chance = p.integer("a percentage", 1); f.chance > 100 {
				p.failf("%d is not a percentage", f.chance)
			}
		default:
			p.failf("%q is none of answers, events, after, times, chance", w)
		}
	}
	switch {
	case f.answers && f.events:
		p.failf("a message is an answer or an event")
	case f.kind == "refuse" && (f.answers || f.events):
		p.failf("what is refused is a request")
	}
}
