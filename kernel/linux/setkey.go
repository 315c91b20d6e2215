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
	"github.com/pfkeyd/pfkeyd/spd"
	"github.com/pfkeyd/pfkeyd/wire"
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
	var seen [directions]map[spd.Selector]bool
	for _, st := range all {
		p := st.policy
		if !st.update && (seen[p.dir][p.sel] || k.policies.bySel[p.dir][p.sel] != nil) {
			return &PolicyError{File: file, Line: st.line, Why: "there is a policy for these packets already"}
		}
		if seen[p.dir] == nil {
			seen[p.dir] = map[spd.Selector]bool{}
		}
		seen[p.dir][p.sel] = true
	}
	if len(k.policies.byID)+len(all) > maxPolicies {
		return fmt.Errorf("%s: more than %d policies", file, maxPolicies)
	}
	for _, st := range all {
		ts := *st.policy.templates.Load()
		for i := range ts {
			if ts[i].reqID == chooseReqID {
				ts[i].reqID = k.newReqID()
			}
		}
		k.insertPolicy(st.policy, !st.update)
		k.tellPolicy(wire.Header{Version: wire.Version, Type: wire.KAMEMsgXSPDAdd}, st.policy)
	}
	return nil
}

// chooseReqID stands for a request id that the kernel is to choose.
const chooseReqID = math.MaxUint32

// statement is a policy to be added.
type statement struct {
	line   int
	update bool
	policy *policy
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
	if st.policy.dir == in {
		st.policy = forForwarding(st.policy)
		all = append(all, st)
	}
	return all, nil
}

// forForwarding is the same policy for packets that go through the host. The first request for an SA of its own takes
// any there.
func forForwarding(p *policy) *policy {
	f := &policy{dir: forward, sel: p.sel, block: p.block, limits: p.limits}
	f.rank.priority = p.rank.priority
	ts := slices.Clone(*p.templates.Load())
	for i := range ts {
		if ts[i].reqID != 0 {
			ts[i].reqID = 0
			break
		}
	}
	f.templates.Store(&ts)
	return f
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
	sel.Proto = selectorProto(proto)
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
	"any": protoAny, "ip": 0, "icmp": protoICMP, "igmp": 2, "ip4": protoIPIP, "ipencap": protoIPIP, "tcp": protoTCP,
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
func (p *policyReader) policy(sel spd.Selector) (*policy, error) {
	pol := &policy{sel: sel, limits: noLimits}
	switch p.next() {
	case "in":
		pol.dir = in
	case "out":
		pol.dir = out
	case "fwd":
		pol.dir = forward
	default:
		return nil, p.fail("want in, out or fwd")
	}
	pol.rank.priority = priorityDefault
	if w := p.peek(); w == "prio" || w == "priority" {
		p.next()
		var err error
		if pol.rank.priority, err = p.priority(); err != nil {
			return nil, err
		}
	}
	var ts []template
	switch p.next() {
	case "discard":
		pol.block = true
	case "none":
	case "ipsec":
		for len(p.words) > 0 {
			if len(ts) == maxTemplates {
				p.next()
				return nil, p.fail(fmt.Sprintf("more than %d transforms", maxTemplates))
			}
			t, err := p.template(pol)
			if err != nil {
				return nil, err
			}
			ts = append(ts, t)
		}
		if ts == nil {
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
	pol.templates.Store(&ts)
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
func (p *policyReader) template(pol *policy) (t template, err error) {
	part := strings.Split(p.next(), "/")
	if len(part) < 2 || len(part) > 4 {
		return t, p.fail("want PROTOCOL/MODE/SOURCE-DESTINATION/LEVEL")
	}
	for len(part) < 4 {
		part = append(part, "")
	}
	t.v6 = pol.v6()
	switch part[0] {
	case "esp":
		t.proto = protoESP
	case "ah":
		t.proto = protoAH
	case "ipcomp":
		t.proto = protoComp
	default:
		return t, p.fail("want esp, ah or ipcomp")
	}
	switch part[1] {
	case "transport":
	case "tunnel":
		t.mode = modeTunnel
		src, dst, _ := strings.Cut(part[2], "-")
		var errs [2]error
		t.src, errs[0] = endpoint(src)
		t.dst, errs[1] = endpoint(dst)
		if errs[0] != nil || errs[1] != nil || t.src.Is4() != t.dst.Is4() {
			return t, p.fail("a tunnel needs two addresses of one family")
		}
		t.v6 = t.dst.Is6()
	default:
		return t, p.fail("want transport or tunnel")
	}
	level, id, numbered := strings.Cut(part[3], ":")
	switch level {
	case "", "default", "require":
	case "use":
		if t.mode == modeTunnel && pol.dir == out {
			return t, p.fail("a tunnel for packets that leave cannot be optional")
		}
		t.optional = true
	case "unique":
		t.reqID = chooseReqID
		if numbered {
			n, err := strconv.ParseUint(id, 10, 32)
			if err != nil {
				return t, p.fail("not a request id")
			}
			if n > 0 && n <= manualReqIDMax {
				t.reqID = uint32(n)
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
