package linux

import (
	"fmt"
	"io"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/kernel/linux/afkey"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/kernel/linux/xfrm"
	"github.com/pfkeyd/pfkeyd/spd"
)

// A PolicyError is a place in a file of policies that makes no sense.
type PolicyError struct {
	File string
	Line int    // from 1
	Word string // what stands there; empty at the end of a statement
	Why  string
}

func (e *PolicyError) Error() string {
	if e.Word == "" {
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Why)
	}
	return fmt.Sprintf("%s:%d: %s: %q", e.File, e.Line, e.Why, e.Word)
}

// LoadPolicy implements [engine.PolicyLoader]: statements of setkey(8),
//
//	spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
//	spdadd 10.0.0.0/8[any] 10.1.0.0/16[80] tcp -P in prio high ipsec esp/tunnel/192.0.2.2-192.0.2.1/unique:7;
//
// and spdupdate, with # for comments. As setkey does, a policy for packets that come in is made for those that are
// forwarded too. The statements flush and spdflush, with which such files usually begin, do nothing: what is loaded is
// added. Names of hosts are refused.
func (k *Kernel) LoadPolicy(r io.Reader, name string) error {
	text, err := engine.ReadPolicy(r, name)
	if err != nil {
		return err
	}
	if !utf8.ValidString(text) {
		return fmt.Errorf("%s: not a text", name)
	}
	var all []statement
	for _, words := range statements(text) {
		p := policyReader{file: name, words: words}
		st, err := p.statement()
		if err != nil {
			return err
		}
		all = append(all, st...)
	}
	k.e.Do(func() { err = k.addPolicies(all, name) })
	return err
}

// addPolicies adds all policies of a file, or none. The control lock is held.
func (k *Kernel) addPolicies(all []statement, file string) error {
	var seen [transform.Directions]map[spd.Selector]bool
	for _, st := range all {
		p := st.policy
		if !st.update && (seen[p.Direction][p.Selector] || k.transforms.HasPolicy(p.Direction, p.Selector)) {
			return &PolicyError{File: file, Line: st.line, Why: "there is a policy for these packets already"}
		}
		if seen[p.Direction] == nil {
			seen[p.Direction] = map[spd.Selector]bool{}
		}
		seen[p.Direction][p.Selector] = true
	}
	if _, _, there := k.transforms.Counts(); there+len(all) > xfrm.MaxPolicies {
		return fmt.Errorf("%s: more than %d policies", file, xfrm.MaxPolicies)
	}
	for _, st := range all {
		for i := range st.policy.Templates {
			if t := &st.policy.Templates[i]; t.ReqID == chooseReqID {
				t.ReqID = k.NewReqID()
			}
		}
		k.transforms.AddPolicy(st.policy, st.update, transform.By{})
	}
	return nil
}

// Numbers of the Internet.
const (
	protoICMP   = 1
	protoIPIP   = 4
	protoTCP    = 6
	protoUDP    = 17
	protoIPv6   = 41
	protoESP    = 50
	protoAH     = 51
	protoICMPv6 = 58
	protoComp   = 108
	anyProto    = 255 // in texts, where the database has 0
)

// chooseReqID stands for a request id that the kernel is to choose.
const chooseReqID = math.MaxUint32

// statement is a policy to be added.
type statement struct {
	line   int
	update bool
	policy *transform.Policy
}

// word is a word of a file, or a sign that is one by itself.
type word struct {
	text string
	line int
}

// statements splits a text at its semicolons; comments run to the end of a line.
func statements(text string) (all [][]word) {
	var one []word
	for i, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		for line != "" {
			head, rest, ended := strings.Cut(line, ";")
			for _, f := range strings.Fields(head) {
				one = append(one, word{f, i + 1})
			}
			if ended && one != nil {
				all, one = append(all, one), nil
			}
			line = rest
		}
	}
	if one != nil { // without its semicolon
		all = append(all, append(one, word{"", one[len(one)-1].line}))
	}
	return all
}

// policyReader reads one statement.
type policyReader struct {
	file  string
	words []word
	last  word // the one read last
}

// next takes a word; the empty one at the end.
func (p *policyReader) next() string {
	if len(p.words) == 0 {
		p.last.text = ""
		return ""
	}
	p.last, p.words = p.words[0], p.words[1:]
	return p.last.text
}

func (p *policyReader) fail(why string) error {
	return &PolicyError{File: p.file, Line: p.last.line, Word: p.last.text, Why: why}
}

func (p *policyReader) statement() (all []statement, err error) {
	if n := len(p.words); p.words[n-1].text == "" {
		p.last = p.words[n-1]
		return nil, p.fail("a statement without its semicolon")
	}
	st := statement{line: p.words[0].line}
	switch p.next() {
	case "flush", "spdflush":
		if len(p.words) > 0 {
			p.next()
			return nil, p.fail("nothing may follow here")
		}
		return nil, nil
	case "spdadd":
	case "spdupdate":
		st.update = true
	default:
		return nil, p.fail("a file of policies: " +
			"of setkey(8) it takes spdadd and spdupdate, and passes over flush and spdflush")
	}
	sel, err := p.selector()
	if err != nil {
		return nil, err
	}
	if p.next() != "-P" {
		return nil, p.fail("want -P and the policy")
	}
	if st.policy, err = p.policy(sel); err != nil {
		return nil, err
	}
	all = append(all, st)
	if st.policy.Direction == transform.In {
		st.policy = forForwarding(st.policy)
		all = append(all, st)
	}
	return all, nil
}

// forForwarding is the same policy for packets that go through the host. The first request for an SA of its own takes
// any there.
func forForwarding(p *transform.Policy) *transform.Policy {
	f := *p
	f.Direction = transform.Forward
	f.Templates = slices.Clone(p.Templates)
	for i := range f.Templates {
		if t := &f.Templates[i]; t.ReqID != 0 {
			t.ReqID = 0
			break
		}
	}
	return &f
}

// selector reads both nets and the protocol.
func (p *policyReader) selector() (sel spd.Selector, err error) {
	for strings.HasPrefix(p.peek(), "-") && strings.Trim(p.peek(), "-46n") == "" {
		p.next()
	}
	if sel.Src, sel.SrcPort, err = p.net(); err != nil {
		return sel, err
	}
	if sel.Dst, sel.DstPort, err = p.net(); err != nil {
		return sel, err
	}
	if sel.Src.Addr().Is4() != sel.Dst.Addr().Is4() {
		return sel, p.fail("two address families")
	}
	proto, ok := upperProtocols[p.next()]
	if !ok {
		n, err := strconv.ParseUint(p.last.text, 10, 8)
		if err != nil {
			return sel, p.fail("unknown upper layer protocol")
		}
		proto = uint8(n)
	}
	if proto != anyProto {
		sel.Proto = proto
	}
	if w := p.peek(); w == "-P" {
		return sel, nil
	}
	if proto != protoICMP && proto != protoICMPv6 {
		p.next()
		return sel, p.fail("this protocol has no parts to name")
	}
	typ, code, _ := strings.Cut(p.next(), ",")
	for s, to := range map[string]*uint16{"t" + typ: &sel.SrcPort, "c" + code: &sel.DstPort} {
		if s = s[1:]; s == "" {
			continue
		}
		n, err := strconv.ParseUint(s, 10, 8)
		if err != nil {
			return sel, p.fail("not a type and a code of ICMP")
		}
		*to = uint16(n)
	}
	return sel, nil
}

// upperProtocols are those that may be called by name.
var upperProtocols = map[string]uint8{
	"any": anyProto, "ip": 0, "icmp": protoICMP, "igmp": 2, "ip4": protoIPIP, "ipencap": protoIPIP, "tcp": protoTCP,
	"udp": protoUDP, "ipv6": protoIPv6,
	"gre": 47, "esp": protoESP, "ah": protoAH, "icmp6": protoICMPv6, "ipv6-icmp": protoICMPv6, "ospf": 89, "sctp": 132,
}

func (p *policyReader) peek() string {
	if len(p.words) == 0 {
		return ""
	}
	return p.words[0].text
}

// net reads ADDRESS[/BITS][[PORT]].
func (p *policyReader) net() (n netip.Prefix, port uint16, err error) {
	w := p.next()
	if i := strings.IndexByte(w, '['); i >= 0 {
		text, ok := strings.CutSuffix(w[i+1:], "]")
		v, err := strconv.ParseUint(text, 10, 16)
		if !ok || err != nil && text != "any" {
			return n, 0, p.fail("not a port")
		}
		w, port = w[:i], uint16(v)
	}
	addr, bits, cut := strings.Cut(w, "/")
	a, err := netip.ParseAddr(addr)
	if err != nil || a.Zone() != "" {
		return n, 0, p.fail("not an address")
	}
	length := a.BitLen()
	if cut {
		if length, err = strconv.Atoi(bits); err != nil || length < 0 || length > a.BitLen() {
			return n, 0, p.fail("not a prefix length of this address family")
		}
	}
	return netip.PrefixFrom(a, length), port, nil
}

// Priorities: the larger value is the less urgent one.
const (
	priorityLow     = 0xc0000000
	priorityDefault = 0x80000000
	priorityHigh    = 0x40000000
)

// policy reads what stands behind -P.
func (p *policyReader) policy(sel spd.Selector) (*transform.Policy, error) {
	pol := &transform.Policy{Selector: sel, Limits: transform.NoLimits}
	switch p.next() {
	case "in":
		pol.Direction = transform.In
	case "out":
		pol.Direction = transform.Out
	case "fwd":
		pol.Direction = transform.Forward
	default:
		return nil, p.fail("want in, out or fwd")
	}
	pol.Priority = priorityDefault
	if w := p.peek(); w == "prio" || w == "priority" {
		p.next()
		var err error
		if pol.Priority, err = p.priority(); err != nil {
			return nil, err
		}
	}
	switch p.next() {
	case "discard":
		pol.Block = true
	case "none":
	case "ipsec":
		for len(p.words) > 0 {
			if len(pol.Templates) == transform.MaxTemplates {
				p.next()
				return nil, p.fail(fmt.Sprintf("more than %d transforms", transform.MaxTemplates))
			}
			t, err := p.template(pol)
			if err != nil {
				return nil, err
			}
			pol.Templates = append(pol.Templates, t)
		}
		if pol.Templates == nil {
			p.next()
			return nil, p.fail("ipsec without a transform")
		}
	default:
		return nil, p.fail("want discard, none or ipsec")
	}
	if len(p.words) > 0 {
		p.next()
		return nil, p.fail("nothing may follow here")
	}
	return pol, nil
}

// bases are what a priority may be counted from.
var bases = []struct {
	name string
	at   int64
}{{"low", priorityLow}, {"def", priorityDefault}, {"high", priorityHigh}}

// priority reads N, -N, BASE, BASE+N or BASE-N, with blanks between or without.
func (p *policyReader) priority() (uint32, error) {
	base, bounded := int64(priorityDefault), false
	for _, b := range bases {
		rest, ok := strings.CutPrefix(p.peek(), b.name)
		if !ok || rest != "" && rest[0] != '+' && rest[0] != '-' {
			continue
		}
		base, bounded = b.at, true
		if p.next(); rest != "" {
			p.words = append([]word{{rest, p.last.line}}, p.words...)
		}
		break
	}
	sign, signed := int64(1), false
	if w := p.peek(); w != "" && (w[0] == '-' || w[0] == '+' && bounded) {
		if signed = true; w[0] == '-' {
			sign = -1
		}
		if p.next(); w != "-" && w != "+" {
			p.words = append([]word{{w[1:], p.last.line}}, p.words...)
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

// template reads PROTO/MODE[/[SRC-DST][/LEVEL]].
func (p *policyReader) template(pol *transform.Policy) (t transform.Template, err error) {
	part := strings.Split(p.next(), "/")
	if len(part) < 2 || len(part) > 4 {
		return t, p.fail("want PROTOCOL/MODE/SOURCE-DESTINATION/LEVEL")
	}
	for len(part) < 4 {
		part = append(part, "")
	}
	t.V6 = pol.Selector.Dst.Addr().Is6()
	switch part[0] {
	case "esp":
		t.Proto = protoESP
	case "ah":
		t.Proto = protoAH
	case "ipcomp":
		t.Proto = protoComp
	default:
		return t, p.fail("want esp, ah or ipcomp")
	}
	switch part[1] {
	case "transport":
	case "tunnel":
		t.Mode = transform.Tunnel
		src, dst, _ := strings.Cut(part[2], "-")
		var errs [2]error
		t.Src, errs[0] = endpoint(src)
		t.Dst, errs[1] = endpoint(dst)
		if errs[0] != nil || errs[1] != nil || t.Src.Is4() != t.Dst.Is4() {
			return t, p.fail("a tunnel needs two addresses of one family")
		}
		t.V6 = t.Dst.Is6()
	default:
		return t, p.fail("want transport or tunnel")
	}
	level, id, numbered := strings.Cut(part[3], ":")
	switch level {
	case "", "default", "require":
	case "use":
		if t.Mode == transform.Tunnel && pol.Direction == transform.Out {
			return t, p.fail("a tunnel for packets that leave cannot be optional")
		}
		t.Optional = true
	case "unique":
		t.ReqID = chooseReqID
		if numbered {
			n, err := strconv.ParseUint(id, 10, 32)
			if err != nil {
				return t, p.fail("not a request id")
			}
			if n > 0 && n <= afkey.ManualReqIDMax {
				t.ReqID = uint32(n)
			}
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
