package ipseckey

import (
	"context"
	"fmt"
	"math/bits"
	"strings"
)

// number reads the next word as a number of at most bits bits.
func (p *parse) number(bits int) (uint64, error) {
	text, i, ok := p.take()
	if !ok {
		return 0, p.stop(i, "Unexpected end of command line, was expecting a number.")
	}
	v, ok := parseUint(text)
	if !ok {
		return 0, p.stop(i, `Expecting a number, not "%s"!`, p.s.show(i))
	}
	if bits < 64 && v>>bits != 0 {
		if !p.s.keeps(quirkSilentCut) {
			return 0, p.stop(i, "The number %s is too big, the limit is %d.", p.s.show(i), uint64(1)<<bits-1)
		}
		v &= 1<<bits - 1
	}
	return v, nil
}

// once reads the next word as a number that fills to and may be given once: anything but 0 was given before.
func once[T uint8 | uint16](p *parse, to *T, i int, what string) error {
	if p.twice(*to != 0, i, what) {
		return nil
	}
	v, err := p.number(bits.Len64(uint64(^T(0))))
	*to = T(v)
	return err
}

// address reads the next word as an address. When it is none, the word is left for the keywords.
func (p *parse) address(ctx context.Context, only6 bool, unknown string) (h host, ok bool, err error) {
	text, i, ok := p.take()
	if !ok {
		return host{}, false, p.stop(i, "Unexpected end of command line, was expecting an address.")
	}
	h, ok = p.s.lookup(ctx, text, only6)
	if !ok {
		p.warnLine("Unknown address %s.", p.s.show(i))
		p.add(i, unknown, p.s.show(i))
		p.next = i
	}
	return h, ok, nil
}

// inner reads the next word as an address with an optional prefix length.
func (p *parse) inner(ctx context.Context, only6 bool, what string) (h host, prefix uint8, ok bool, err error) {
	text, i, ok := p.take()
	if !ok {
		if p.s.keeps(quirkCrash) {
			return host{}, 0, false, p.s.crash()
		}
		return host{}, 0, false, p.stop(i, "Unexpected end of command line, was expecting an address.")
	}
	name, length, slash := strings.Cut(text, "/")
	shownName, shownLength, _ := strings.Cut(p.s.show(i), "/")
	noPrefix := func() (host, uint8, bool, error) {
		p.add(i, "Invalid prefix /%s.", shownLength)
		if what != innerDstName {
			p.runTogether()
		}
		p.next = i
		return host{}, 0, false, nil
	}
	n := int64(128)
	if slash {
		var ok bool
		if n, ok = p.prefix(length); !ok {
			return noPrefix()
		}
	}
	unknown := `Unknown proxy/inner-source address "%s"`
	if what == innerDstName {
		unknown = `Unknown Inner Src address  "%s"`
	}
	h, ok = p.s.lookup(ctx, name, only6)
	if !ok {
		p.warnLine("Unknown address %s.", shownName)
		p.add(i, unknown, p.s.show(i))
		p.next = i
		return host{}, 0, false, nil
	}
	if v4 := h.addrs[0].Is4In6(); v4 && n <= 32 {
		n += 96
	} else if v4 && slash && !p.s.keeps(quirkLenientPrefix) {
		return noPrefix()
	}
	prefix = uint8(n)
	if len(h.addrs) > 1 {
		p.warnAll(true, "%s %s is vague, not using.", what, h.name)
		return host{}, 0, false, nil
	}
	return h, prefix, true, nil
}

const (
	innerSrcName = "Proxy/inner-source address"
	innerDstName = "Inner destination address"
)

// prefix reads a prefix length: of at most 128 bits, unless the original is kept.
func (p *parse) prefix(text string) (int64, bool) {
	n, digits, ok := parseLong(text)
	if !p.s.keeps(quirkLenientPrefix) && (!digits || strings.Trim(text, "0123456789") != "" || n > 128) {
		return 0, false
	}
	return int64(int32(n)), ok
}

// key reads the next word as a key.
func (p *parse) key(invalid string) (keyValue, bool, error) {
	text, i, ok := p.take()
	if !ok {
		return keyValue{}, false, p.stop(i, "Unexpected end of command line, was expecting a key.")
	}
	k, digits, count, size, problems := parseKey(text)
	shown := digits
	if !p.s.keeps(quirkEchoKeys) {
		shown = maskKey(digits)
	}
	first := "" // of a piece that goes on
	for _, problem := range problems {
		switch problem {
		case keyBadBits:
			if !p.s.keeps(quirkEchoKeys) {
				count = strings.Repeat("X", len(count))
			}
			return keyValue{}, false, p.stop(i, `"%s" is not a bit specifier.`, count)
		case keyTruncated:
			p.warn("WARNING: Lower bits will be truncated for:\n\t%s/%d.", shown, size)
			digits = digits[:max(0, int(size)+3)>>2]
			shown = shown[:len(digits)]
		case keyTooBig:
			if !p.s.keeps(quirkOnlyPrinted) {
				p.add(i, "bit length %d is too big for %s.", size, shown)
				return keyValue{}, false, nil
			}
			first = p.s.text("bit length %d is too big for %s.", []any{size, shown})
		case keyNotHex:
			p.s.report(first + p.s.text("string '%s' not a hex value.", []any{shown}) + "\n")
			p.add(i, "%s", invalid)
			for n := range len(digits) {
				if _, ok := digit(digits[n]); !ok {
					p.problems[len(p.problems)-1].note = fmt.Sprintf("character %d of %d is not a hexadecimal digit",
						n+1, len(digits))
					break
				}
			}
			return keyValue{}, false, nil
		}
	}
	if first != "" {
		p.s.report(first + "\n")
	}
	return k, true, nil
}

var stateNames = []string{"larval", "mature", "dying", "dead"}

// state reads the next word as an SA state.
func (p *parse) state() (uint8, error) {
	text, i, ok := p.take()
	if !ok {
		return 0, p.stop(i, "Unexpected end of command line was expecting a state.")
	}
	for n, name := range stateNames {
		if text == name {
			return uint8(n), nil
		}
	}
	if p.s.keeps(quirkLarvalState) {
		p.warn(`Unknown state type "%s"`, p.s.show(i))
		return 0, nil
	}
	if n, ok := parseUint(text); ok && n < uint64(len(stateNames)) {
		return uint8(n), nil
	}
	p.add(i, `Unknown state type "%s"`, p.s.show(i))
	p.suggest(stateNames)
	return 1, nil
}

// algorithm reads the next word as an algorithm: a name, or a number that nobody looks at.
func (p *parse) algorithm(rows []Algorithm, kind string) (Algorithm, error) {
	text, i, ok := p.take()
	if !ok {
		return Algorithm{}, p.stop(i, "Unexpected end of command line, was expecting an algorithm name.")
	}
	if a, ok := byName(rows, text); ok {
		if a.Counter {
			p.warn(`Using manual keying with a Counter mode algorithm such as "%s" may be insecure!`, a.Names[0])
		}
		return a, nil
	}
	if n, ok := parseUint(text); ok && n <= 255 {
		if kind == "encryption" {
			return Algorithm{ID: p.s.dial.Encrypt(uint8(n))}, nil
		}
		return Algorithm{ID: p.s.dial.Auth(uint8(n))}, nil
	}
	if p.s.keeps(quirkOnlyPrinted) {
		p.warn(`Unknown %s algorithm type "%s"`, kind, p.s.show(i))
		return Algorithm{}, nil
	}
	p.add(i, `Unknown %s algorithm type "%s"`, kind, p.s.show(i))
	var names []string
	for _, a := range rows {
		names = append(names, a.Names...)
	}
	p.suggest(names)
	return Algorithm{}, nil
}

var identityTypes = []struct {
	name string
	id   uint16
}{
	{"prefix", 1}, {"fqdn", 2}, {"domain", 2}, {"domainname", 2}, {"user_fqdn", 3}, {"mailbox", 3}, {"der_dn", 4},
	{"der_gn", 5},
}

func identityTypeNames() (names []string) {
	for _, t := range identityTypes {
		names = append(names, t.name)
	}
	return names
}

// identity reads the next two words, which must be there.
func (p *parse) identity() (id uint16, name string) {
	text, i, _ := p.take()
	name, _, _ = p.take()
	for _, t := range identityTypes {
		if strings.EqualFold(text, t.name) {
			return t.id, name
		}
	}
	if n, ok := parseUint(text); ok && n <= 65535 {
		return uint16(n), name
	}
	if p.s.keeps(quirkOnlyPrinted) {
		p.warn(`Unknown identity type "%s"`, p.s.show(i))
		return 0, name
	}
	p.add(i, `Unknown identity type "%s"`, p.s.show(i))
	p.suggest(identityTypeNames())
	return 0, name
}
