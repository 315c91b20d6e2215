package policyfile

import (
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Statements are those of a file in the form of setkey(8), in their order.
type Statements struct {
	File string
	List []Statement
}

// A Statement is one policy to be added.
type Statement struct {
	Policy pfkey.Policy // as X_SPDADD carries it
	Update bool         // spdupdate: it may replace one for the same packets

	line  int
	words []word // of the templates
}

// Setkey reads statements of setkey(8),
//
//	spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
//	spdadd 10.0.0.0/8[any] 10.1.0.0/16[80] tcp -P in prio high ipsec esp/tunnel/192.0.2.2-192.0.2.1/unique:7;
//
// and spdupdate, with # for comments. The statements flush and spdflush, with which such files usually begin, do
// nothing: what a file says is added to what there is. Names of hosts are refused.
//
// Where packets that are forwarded have policies of their own, as on Linux, setkey makes one for them from each policy
// for packets that come in, and so does Setkey if forward is set.
//
// Errors are those of r or say what is wrong with the file; those about one place of it are of type *[Error].
func Setkey(r io.Reader, name string, forward bool) (*Statements, error) {
	text, err := read(r, name)
	if err != nil {
		return nil, err
	}
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("%s: not a text", name)
	}
	all := &Statements{File: name}
	for _, words := range split(text) {
		p := setkeyReader{file: name, words: words}
		st, err := p.statement()
		if err != nil {
			return nil, err
		}
		if st == nil {
			continue
		}
		all.List = append(all.List, *st)
		if forward && st.Policy.Direction == wire.KAMEDirIn {
			all.List = append(all.List, st.forForwarding())
		}
	}
	return all, nil
}

// Refused is the error of a kernel that refuses the statement of that index: for its template of that index, or as a
// whole if template is negative.
func (s *Statements) Refused(index, template int, why string) error {
	st := s.List[index]
	if template < 0 {
		return &Error{File: s.File, Line: st.line, Why: why}
	}
	w := st.words[template]
	return &Error{File: s.File, Line: w.line, Word: w.text, Why: why}
}

// forForwarding is the same policy for packets that go through the host. The first request for an SA of its own takes
// any there.
func (st *Statement) forForwarding() Statement {
	f := *st
	f.Policy.Direction = wire.LinuxDirForward
	f.Policy.Templates = slices.Clone(f.Policy.Templates)
	for i := range f.Policy.Templates {
		if t := &f.Policy.Templates[i]; t.Level == wire.KAMELevelUnique {
			t.Level, t.ReqID = wire.KAMELevelRequire, 0
			break
		}
	}
	return f
}

// split splits a text at its semicolons; comments run to the end of a line.
func split(text string) (all [][]word) {
	var one []word
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		for line != "" {
			head, rest, ended := strings.Cut(line, ";")
			for _, f := range strings.Fields(head) {
				one = append(one, word{text: f, line: i + 1})
			}
			if ended && one != nil {
				all, one = append(all, one), nil
			}
			line = rest
		}
	}
	if one != nil { // without its semicolon
		all = append(all, append(one, word{line: one[len(one)-1].line}))
	}
	return all
}

// setkeyReader reads one statement.
type setkeyReader struct {
	file  string
	words []word
	last  word // the one read last
}

// next takes a word; the empty one at the end.
func (p *setkeyReader) next() string {
	if len(p.words) == 0 {
		p.last.text = ""
		return ""
	}
	p.last, p.words = p.words[0], p.words[1:]
	return p.last.text
}

func (p *setkeyReader) peek() string {
	if len(p.words) == 0 {
		return ""
	}
	return p.words[0].text
}

func (p *setkeyReader) fail(why string) error {
	return &Error{File: p.file, Line: p.last.line, Word: p.last.text, Why: why}
}

// statement reads the words of one; nil if it does nothing.
func (p *setkeyReader) statement() (*Statement, error) {
	if n := len(p.words); p.words[n-1].text == "" {
		p.last = p.words[n-1]
		return nil, p.fail("a statement without its semicolon")
	}
	st := &Statement{line: p.words[0].line}
	switch p.next() {
	case "flush", "spdflush":
		if len(p.words) > 0 {
			p.next()
			return nil, p.fail("nothing may follow here")
		}
		return nil, nil
	case "spdadd":
	case "spdupdate":
		st.Update = true
	default:
		return nil, p.fail("a file of policies: " +
			"of setkey(8) it takes spdadd and spdupdate, and passes over flush and spdflush")
	}
	if err := p.selector(&st.Policy); err != nil {
		return nil, err
	}
	if p.next() != "-P" {
		return nil, p.fail("want -P and the policy")
	}
	return st, p.policy(st)
}

// selector reads both nets and the protocol.
func (p *setkeyReader) selector(pol *pfkey.Policy) (err error) {
	for strings.HasPrefix(p.peek(), "-") && strings.Trim(p.peek(), "-46n") == "" {
		p.next()
	}
	if pol.Src, err = p.net(); err != nil {
		return err
	}
	if pol.Dst, err = p.net(); err != nil {
		return err
	}
	if pol.Src.Addr.Is4() != pol.Dst.Addr.Is4() {
		return p.fail("two address families")
	}
	proto, ok := upperProtocols[p.next()]
	if !ok {
		n, err := strconv.ParseUint(p.last.text, 10, 8)
		if err != nil {
			return p.fail("unknown upper layer protocol")
		}
		proto = uint8(n)
	}
	pol.Src.Proto, pol.Dst.Proto = proto, proto
	if w := p.peek(); w == "-P" {
		return nil
	}
	if proto != ip.ProtoICMP && proto != ip.ProtoICMPv6 {
		p.next()
		return p.fail("this protocol has no parts to name")
	}
	typ, code, _ := strings.Cut(p.next(), ",")
	for s, to := range map[string]*uint16{"t" + typ: &pol.Src.Port, "c" + code: &pol.Dst.Port} {
		if s = s[1:]; s == "" {
			continue
		}
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil {
			return p.fail("not a type and a code of ICMP")
		}
		*to = uint16(n)
	}
	return nil
}

// protoAny is PF_KEY's number for all protocols.
const protoAny = 255

// upperProtocols are those that may be called by name.
var upperProtocols = map[string]uint8{
	"any": protoAny, "ip": 0, "icmp": ip.ProtoICMP, "igmp": 2, "ip4": ip.ProtoIPv4, "ipencap": ip.ProtoIPv4,
	"tcp": ip.ProtoTCP, "udp": ip.ProtoUDP, "ipv6": ip.ProtoIPv6, "gre": 47, "esp": ip.ProtoESP, "ah": ip.ProtoAH,
	"icmp6": ip.ProtoICMPv6, "ipv6-icmp": ip.ProtoICMPv6, "ospf": 89, "sctp": 132,
}

// net reads ADDRESS[/BITS][[PORT]].
func (p *setkeyReader) net() (n wire.Address, err error) {
	w := p.next()
	if i := strings.IndexByte(w, '['); i >= 0 {
		text, ok := strings.CutSuffix(w[i+1:], "]")
		v, err := strconv.ParseUint(text, 10, 16)
		if !ok || err != nil && text != "any" {
			return n, p.fail("not a port")
		}
		w, n.Port = w[:i], uint16(v)
	}
	addr, bits, cut := strings.Cut(w, "/")
	if n.Addr, err = netip.ParseAddr(addr); err != nil || n.Addr.Zone() != "" {
		return n, p.fail("not an address")
	}
	length := n.Addr.BitLen()
	if cut {
		if length, err = strconv.Atoi(bits); err != nil || length < 0 || length > n.Addr.BitLen() {
			return n, p.fail("not a prefix length of this address family")
		}
	}
	n.PrefixLen = uint8(length)
	return n, nil
}

// Priorities: the larger value is the less urgent one.
const (
	priorityLow     = 0xc0000000
	priorityDefault = 0x80000000
	priorityHigh    = 0x40000000
)

// policy reads what stands behind -P.
func (p *setkeyReader) policy(st *Statement) (err error) {
	pol := &st.Policy
	switch p.next() {
	case "in":
		pol.Direction = wire.KAMEDirIn
	case "out":
		pol.Direction = wire.KAMEDirOut
	case "fwd":
		pol.Direction = wire.LinuxDirForward
	default:
		return p.fail("want in, out or fwd")
	}
	pol.Priority = priorityDefault
	if w := p.peek(); w == "prio" || w == "priority" {
		p.next()
		if pol.Priority, err = p.priority(); err != nil {
			return err
		}
	}
	switch p.next() {
	case "discard":
		pol.Type = wire.KAMEPolicyDiscard
	case "none":
		pol.Type = wire.KAMEPolicyNone
	case "ipsec":
		pol.Type = wire.KAMEPolicyIPsec
		for len(p.words) > 0 {
			t, err := p.template()
			if err != nil {
				return err
			}
			pol.Templates, st.words = append(pol.Templates, t), append(st.words, p.last)
		}
		if pol.Templates == nil {
			p.next()
			return p.fail("ipsec without a transform")
		}
	default:
		return p.fail("want discard, none or ipsec")
	}
	if len(p.words) > 0 {
		p.next()
		return p.fail("nothing may follow here")
	}
	return nil
}

// bases are what a priority may be counted from.
var bases = []struct {
	name string
	at   int64
}{{"low", priorityLow}, {"def", priorityDefault}, {"high", priorityHigh}}

// priority reads N, -N, BASE, BASE+N or BASE-N, with blanks between or without.
func (p *setkeyReader) priority() (uint32, error) {
	base, bounded := int64(priorityDefault), false
	for _, b := range bases {
		rest, ok := strings.CutPrefix(p.peek(), b.name)
		if !ok || rest != "" && rest[0] != '+' && rest[0] != '-' {
			continue
		}
		base, bounded = b.at, true
		if p.next(); rest != "" {
			p.putBack(rest)
		}
		break
	}
	sign, signed := int64(1), false
	if w := p.peek(); w != "" && (w[0] == '-' || w[0] == '+' && bounded) {
		if signed = true; w[0] == '-' {
			sign = -1
		}
		if p.next(); w != "-" && w != "+" {
			p.putBack(w[1:])
		}
	}
	if bounded && !signed {
		return uint32(base), nil
	}
	n, err := strconv.ParseInt(p.next(), 10, 64)
	if err != nil {
		return 0, p.fail("not a number")
	}
	most := int64(1) << 31
	if bounded { // it stays on its side of the other bases
		most = 1 << 30
	}
	if n < 0 || n > most || sign < 0 && n == most {
		return 0, p.fail("out of range")
	}
	return uint32(min(base-sign*n, math.MaxUint32)), nil
}

// putBack has the rest of the last word be read next.
func (p *setkeyReader) putBack(rest string) {
	p.words = append([]word{{text: rest, line: p.last.line}}, p.words...)
}

// template reads PROTO/MODE[/[SRC-DST][/LEVEL]].
func (p *setkeyReader) template() (t wire.IPsecRequest, err error) {
	part := strings.Split(p.next(), "/")
	if len(part) < 2 || len(part) > 4 {
		return t, p.fail("want PROTOCOL/MODE/SOURCE-DESTINATION/LEVEL")
	}
	for len(part) < 4 {
		part = append(part, "")
	}
	switch part[0] {
	case "esp":
		t.Proto = ip.ProtoESP
	case "ah":
		t.Proto = ip.ProtoAH
	case "ipcomp":
		t.Proto = ip.ProtoComp
	default:
		return t, p.fail("want esp, ah or ipcomp")
	}
	switch part[1] {
	case "transport":
		t.Mode = wire.ModeTransport
	case "tunnel":
		t.Mode = wire.ModeTunnel
		src, dst, _ := strings.Cut(part[2], "-")
		var errs [2]error
		t.Src.Addr, errs[0] = endpoint(src)
		t.Dst.Addr, errs[1] = endpoint(dst)
		if errs[0] != nil || errs[1] != nil || t.Src.Addr.Is4() != t.Dst.Addr.Is4() {
			return t, p.fail("a tunnel needs two addresses of one family")
		}
	default:
		return t, p.fail("want transport or tunnel")
	}
	level, id, numbered := strings.Cut(part[3], ":")
	switch level {
	case "", "default":
		t.Level = wire.KAMELevelDefault
	case "use":
		t.Level = wire.KAMELevelUse
	case "require":
		t.Level = wire.KAMELevelRequire
	case "unique":
		t.Level = wire.KAMELevelUnique
		if numbered {
			n, err := strconv.ParseUint(id, 10, 32)
			if err != nil {
				return t, p.fail("not a request id")
			}
			t.ReqID = uint32(n)
		}
		return t, nil
	default:
		return t, p.fail("want default, use, require or unique")
	}
	if numbered {
		return t, p.fail("only unique has a request id")
	}
	return t, nil
}

// endpoint reads ADDRESS[[PORT]]; the port means nothing to the kernel.
func endpoint(s string) (netip.Addr, error) {
	s, _, _ = strings.Cut(s, "[")
	a, err := netip.ParseAddr(s)
	return a.WithZone(""), err
}
