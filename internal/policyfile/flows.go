package policyfile

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Bounds of a file of flows: lists of hosts multiply, and so do macros in macros.
const (
	maxFlows     = 1 << 16
	maxExpansion = 1 << 18 // words that macros put in
)

// Flows are those of a file in the form of ipsec.conf(5), in their order.
type Flows struct {
	File string
	List [][]byte // X_ADDFLOW messages

	at []word // where each of them begins
}

// IpsecFlows reads the flows of ipsec.conf(5),
//
//	flow esp from 10.0.0.0/8 to { 10.1.0.0/16, 10.2.0.0/16 } peer 192.0.2.2
//	flow esp out proto tcp from 192.0.2.1 to any port 80 local 192.0.2.1 peer 192.0.2.2 type acquire
//
// with # for comments, \ before the end of a line that goes on in the next one, and macros: net = "10.0.0.0/8", then
// $net. A flow with neither in nor out is two: one for packets that leave, and one for those that come back. Names of
// hosts and of interfaces are refused, and statements that are no flows.
//
// Errors are those of r or say what is wrong with the file; those about one place of it are of type *[Error].
func IpsecFlows(r io.Reader, name string, d *wire.Dialect) (*Flows, error) {
	text, err := read(r, name)
	if err != nil {
		return nil, err
	}
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("%s: not a text", name)
	}
	p := &flowReader{d: d, flows: &Flows{File: name}, macros: map[string][]word{}}
	statements, err := p.split(text)
	if err != nil {
		return nil, err
	}
	for _, p.words = range statements {
		p.at = 0
		if err := p.statement(); err != nil {
			return nil, err
		}
	}
	return p.flows, nil
}

// Refused is the error of a kernel that refuses the flow of that index.
func (f *Flows) Refused(index int, why string) error {
	return &Error{File: f.File, Line: f.at[index].line, Column: f.at[index].column, Word: f.at[index].text, Why: why}
}

// flowReader reads one statement after the other.
type flowReader struct {
	d        *wire.Dialect
	flows    *Flows
	macros   map[string][]word
	words    []word // of the statement, as far as macros are put in; the last one is empty
	at       int    // the one to be read next
	last     word   // the one read last
	expanded int    // words that macros have put in
}

const flowSigns = "{},()=$"

// split makes statements of a text, and words of those: signs, what stands in quotes, and the rest.
func (p *flowReader) split(text string) (all [][]word, err error) {
	var one []word
	end := func(line, column int) {
		if one != nil {
			all, one = append(all, append(one, word{line: line, column: column})), nil
		}
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		body, goesOn := strings.CutSuffix(strings.TrimRight(line, " \t\r"), `\`)
		for at := 0; at < len(body) && body[at] != '#'; {
			if strings.IndexByte(" \t", body[at]) >= 0 {
				at++
				continue
			}
			w := word{text: body[at:][:wordLen(body[at:])], line: i + 1, column: at + 1}
			if w.text == "" {
				w.text = body[at:]
				return nil, p.failAt(w, "a text without its second quote")
			}
			one = append(one, w)
			at += len(w.text)
		}
		if !goesOn {
			end(i+1, len(line)+1)
		}
	}
	end(len(lines), 0)
	return all, nil
}

// wordLen is the length of the word that s begins with; 0: its quote does not end.
func wordLen(s string) int {
	if s[0] == '"' {
		if n := strings.IndexByte(s[1:], '"'); n >= 0 {
			return n + 2
		}
		return 0
	}
	if strings.IndexByte(flowSigns, s[0]) >= 0 {
		return 1
	}
	if n := strings.IndexAny(s, " \t#\""+flowSigns); n >= 0 {
		return n
	}
	return len(s)
}

func (p *flowReader) failAt(w word, why string) error {
	return &Error{File: p.flows.File, Line: w.line, Column: w.column, Word: w.text, Why: why}
}

func (p *flowReader) fail(why string) error { return p.failAt(p.last, why) }

// next takes a word, once all macros before it are put in; the empty one at the end.
func (p *flowReader) next() (string, error) {
	for p.words[p.at].text == "$" {
		at, name := p.words[p.at], p.words[p.at+1].text
		at.text += name
		macro, ok := p.macros[name]
		if !ok {
			return "", p.failAt(at, "no such macro")
		}
		if p.expanded += len(macro) + 1; p.expanded > maxExpansion {
			return "", p.failAt(at, "too many words of macros")
		}
		words := make([]word, 0, len(macro)+len(p.words)-p.at)
		for _, w := range macro { // they stand where the macro is used
			words = append(words, word{text: w.text, line: at.line, column: at.column})
		}
		p.words, p.at = append(words, p.words[p.at+2:]...), 0
	}
	p.last = p.words[p.at]
	if p.last.text != "" {
		p.at++
	}
	return p.last.text, nil
}

// take takes the next word if it is that one.
func (p *flowReader) take(text string) (bool, error) {
	got, err := p.next()
	if err != nil || got == text {
		return err == nil, err
	}
	p.putBack()
	return false, nil
}

// putBack has the last word be read again.
func (p *flowReader) putBack() {
	if p.last.text != "" {
		p.at--
	}
}

// name takes a word that names something, without its quotes.
func (p *flowReader) name() (string, error) {
	s, err := p.next()
	if err == nil && (s == "" || strings.Contains(flowSigns, s)) {
		err = p.fail("want a name")
	}
	return strings.Trim(s, `"`), err
}

func (p *flowReader) statement() error {
	if len(p.words) > 2 && p.words[1].text == "=" {
		return p.macro()
	}
	switch s, err := p.next(); {
	case err != nil:
		return err
	case s != "flow":
		return p.fail("a file of policies: of ipsec.conf(5) it takes flow, and macros")
	}
	return p.flow(p.last)
}

// macro reads NAME = VALUE. The value is the words of what stands in its quotes.
func (p *flowReader) macro() error {
	name := p.words[0]
	if strings.Contains(flowSigns+`"`, name.text[:1]) {
		return p.failAt(name, "not a name of a macro")
	}
	value := []word{}
	for p.at = 2; ; {
		s, err := p.next()
		if err != nil {
			return err
		}
		if s == "" {
			break
		}
		inner, err := p.split(strings.Trim(s, `"`))
		if err != nil {
			return err
		}
		for _, words := range inner {
			value = append(value, words[:len(words)-1]...)
		}
	}
	p.macros[name.text] = value
	return nil
}

// flowLine is what a line says of flows.
type flowLine struct {
	at          word
	satype      wire.SAType
	kind        wire.FlowType
	proto       uint8
	from, to    []netip.Prefix
	sport       uint16
	dport       uint16
	peer, local netip.Addr
	anyPeer     bool
	ids         [2]wire.Identity
}

// Directions of flows.
const (
	flowIn  wire.Direction = 1
	flowOut wire.Direction = 2
)

// flowEncaps are the types of SAs that flows want.
var flowEncaps = map[string]wire.SAType{
	"esp": wire.SATypeESP, "ah": wire.SATypeAH, "ipcomp": wire.SATypeIPComp, "ipip": wire.SATypeIPIP,
}

var flowTypes = map[string]wire.FlowType{
	"use": wire.OpenBSDFlowUse, "acquire": wire.OpenBSDFlowAcquire, "require": wire.OpenBSDFlowRequire,
	"deny": wire.OpenBSDFlowDeny, "bypass": wire.OpenBSDFlowBypass, "dontacq": wire.OpenBSDFlowDontAcq,
}

// flow reads [ENCAP] [in|out] [proto P] from HOST [port N] to HOST [port N] [peer A] [local A] [srcid I] [dstid I]
// [type T].
func (p *flowReader) flow(at word) error {
	f := flowLine{at: at, satype: wire.SATypeESP}
	s, err := p.next()
	if err != nil {
		return err
	}
	if t, ok := flowEncaps[s]; ok {
		f.satype = t
		if s, err = p.next(); err != nil {
			return err
		}
	}
	dirs := []wire.Direction{flowOut, flowIn}
	switch s {
	case "in":
		dirs = []wire.Direction{flowIn}
	case "out":
		dirs = []wire.Direction{flowOut}
	default:
		p.putBack()
	}
	for _, part := range []func(*flowLine) error{p.proto, p.hosts, p.peers, p.identities, p.kind} {
		if err := part(&f); err != nil {
			return err
		}
	}
	if s, err := p.next(); err != nil || s != "" {
		if err == nil {
			err = p.fail("nothing may follow here")
		}
		return err
	}
	return p.add(&f, dirs)
}

func (p *flowReader) proto(f *flowLine) error {
	if ok, err := p.take("proto"); !ok {
		return err
	}
	s, err := p.name()
	if err != nil {
		return err
	}
	n, ok := upperProtocols[s]
	if v, err := strconv.ParseUint(s, 10, 8); err == nil {
		n, ok = uint8(v), true
	}
	if !ok || n == protoAny && s == "any" {
		return p.fail("unknown protocol")
	}
	f.proto = n
	return nil
}

// hosts reads from and to, in either order.
func (p *flowReader) hosts(f *flowLine) error {
	s, err := p.next()
	if err != nil {
		return err
	}
	second := map[string]string{"from": "to", "to": "from"}[s]
	if second == "" {
		return p.fail("want from or to")
	}
	for _, side := range []string{s, second} {
		if side == second {
			if ok, err := p.take(side); !ok {
				if err == nil {
					p.next()
					err = p.fail("want " + side)
				}
				return err
			}
		}
		hosts, port := &f.from, &f.sport
		if side == "to" {
			hosts, port = &f.to, &f.dport
		}
		if *hosts, err = p.host(0); err == nil {
			*port, err = p.port()
		}
		if err != nil {
			return err
		}
		if *port != 0 && f.proto != ip.ProtoTCP && f.proto != ip.ProtoUDP {
			return p.fail("only tcp and udp have ports")
		}
	}
	return nil
}

const maxNesting = 16 // lists in lists

// host reads ADDRESS[/BITS], any, or a list of those in braces.
func (p *flowReader) host(depth int) (all []netip.Prefix, err error) {
	s, err := p.next()
	switch {
	case err != nil:
		return nil, err
	case s == "any":
		v4, v6 := netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		return []netip.Prefix{v4, v6}, nil
	case s != "{":
		one, err := netip.ParsePrefix(strings.Trim(s, `"`))
		if addr, e := netip.ParseAddr(strings.Trim(s, `"`)); e == nil && addr.Zone() == "" {
			one, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil || one.Addr().Is4In6() {
			return nil, p.fail("not an address, nor a net")
		}
		if ok, err := p.take("("); ok || err != nil {
			if err == nil {
				err = p.fail("flows with NAT are not read")
			}
			return nil, err
		}
		return []netip.Prefix{one}, nil
	case depth == maxNesting:
		return nil, p.fail("too many lists in lists")
	}
	for {
		some, err := p.host(depth + 1)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if _, err = p.take(","); err != nil {
			return nil, err
		}
		if done, err := p.take("}"); done || err != nil {
			return all, err
		}
	}
}

func (p *flowReader) port() (uint16, error) {
	if ok, err := p.take("port"); !ok {
		return 0, err
	}
	s, err := p.next()
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, p.fail("not a number of a port")
	}
	return uint16(n), nil
}

// peers reads peer and local, in either order.
func (p *flowReader) peers(f *flowLine) error {
	for {
		s, err := p.next()
		if err != nil {
			return err
		}
		to := map[string]*netip.Addr{"peer": &f.peer, "local": &f.local}[s]
		if to == nil {
			p.putBack()
			return nil
		}
		if to.IsValid() || s == "peer" && f.anyPeer {
			return p.fail("this is there already")
		}
		host, err := p.name()
		if err != nil {
			return err
		}
		if s == "peer" && host == "any" {
			f.anyPeer = true
			continue
		}
		if *to, err = netip.ParseAddr(host); err != nil || to.Zone() != "" || to.Is4In6() {
			return p.fail("not an address")
		}
	}
}

func (p *flowReader) identities(f *flowLine) error {
	for i, which := range []string{"srcid", "dstid"} {
		ok, err := p.take(which)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		name, err := p.name()
		if err != nil {
			return err
		}
		f.ids[i] = wire.Identity{Type: wire.IdentFQDN, Name: name}
		if addr, err := netip.ParseAddr(name); err == nil {
			f.ids[i] = wire.Identity{Type: wire.IdentPrefix, Name: netip.PrefixFrom(addr, addr.BitLen()).String()}
		} else if strings.Contains(name, "@") {
			f.ids[i].Type = wire.IdentUserFQDN
		}
	}
	return nil
}

// kind reads what is done with packets. Flows of IPComp and of IPIP are not asked for unless the file says so.
func (p *flowReader) kind(f *flowLine) error {
	f.kind = wire.OpenBSDFlowRequire
	if f.satype == wire.SATypeIPComp || f.satype == wire.SATypeIPIP {
		f.kind = wire.OpenBSDFlowUse
	}
	if ok, err := p.take("type"); !ok {
		return err
	}
	s, err := p.next()
	if err != nil {
		return err
	}
	kind, ok := flowTypes[s]
	if !ok {
		return p.fail("want use, acquire, require, dontacq, deny or bypass")
	}
	f.kind = kind
	return nil
}

// add makes the flows of a line: each source with each destination of its family.
func (p *flowReader) add(f *flowLine, dirs []wire.Direction) error {
	n := len(p.flows.List)
	for _, v4 := range []bool{true, false} {
		to := ofFamily(f.to, v4)
		for _, from := range ofFamily(f.from, v4) {
			for _, to := range to {
				if err := p.addPair(*f, dirs, from, to); err != nil {
					return err
				}
			}
		}
	}
	if len(p.flows.List) == n {
		return p.failAt(f.at, "two address families")
	}
	return nil
}

func ofFamily(all []netip.Prefix, v4 bool) (some []netip.Prefix) {
	for _, net := range all {
		if net.Addr().Is4() == v4 {
			some = append(some, net)
		}
	}
	return some
}

// addPair makes the flows between two hosts or nets. The peer is the far host, unless the line names one.
func (p *flowReader) addPair(f flowLine, dirs []wire.Direction, from, to netip.Prefix) error {
	if f.kind == wire.OpenBSDFlowDeny || f.kind == wire.OpenBSDFlowBypass {
		f.peer, f.local, f.ids = netip.Addr{}, netip.Addr{}, [2]wire.Identity{}
	} else if !f.peer.IsValid() && !f.anyPeer {
		far := to
		if dirs[0] == flowIn {
			far = from
		}
		if !far.IsSingleIP() {
			return p.failAt(f.at, fmt.Sprintf("no peer for packets between nets, from %v to %v", from, to))
		}
		f.peer = far.Addr()
	}
	if len(p.flows.List)+len(dirs) > maxFlows {
		return p.failAt(f.at, fmt.Sprintf("more than %d flows", maxFlows))
	}
	for i, dir := range dirs {
		if i > 0 {
			from, to, f.sport, f.dport = to, from, f.dport, f.sport
		}
		p.flows.List = append(p.flows.List, p.message(&f, dir, from, to))
		p.flows.at = append(p.flows.at, f.at)
	}
	return nil
}

// maskOf is the mask of a net as an address.
func maskOf(net netip.Prefix) netip.Addr {
	ones := netip.AddrFrom16([16]byte(bytes.Repeat([]byte{0xff}, 16)))
	if net.Addr().Is4() {
		ones = netip.AddrFrom4([4]byte{0xff, 0xff, 0xff, 0xff})
	}
	return netip.PrefixFrom(ones, net.Bits()).Masked().Addr()
}

// message is the X_ADDFLOW of a flow.
func (p *flowReader) message(f *flowLine, dir wire.Direction, from, to netip.Prefix) []byte {
	d := p.d
	b := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.OpenBSDMsgXAddFlow, SAType: f.satype})
	b = d.AppendFlowProtocol(b, wire.OpenBSDExtXFlowType, wire.FlowProtocol{Value: f.kind, Direction: dir})
	if f.local.IsValid() {
		b = d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Addr: f.local})
	}
	if f.peer.IsValid() {
		b = d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: f.peer})
	}
	side := func(base, mask wire.ExtType, net netip.Prefix, port uint16) {
		b = d.AppendAddress(b, base, wire.Address{Addr: net.Addr(), Port: port})
		m := wire.Address{Addr: maskOf(net)}
		if port != 0 {
			m.Port = 0xffff
		}
		b = d.AppendAddress(b, mask, m)
	}
	side(wire.OpenBSDExtXSrcFlow, wire.OpenBSDExtXSrcMask, from, f.sport)
	side(wire.OpenBSDExtXDstFlow, wire.OpenBSDExtXDstMask, to, f.dport)
	b = d.AppendFlowProtocol(b, wire.OpenBSDExtXProtocol, wire.FlowProtocol{Value: f.proto})
	for i, t := range []wire.ExtType{wire.ExtIdentitySrc, wire.ExtIdentityDst} {
		if f.ids[i].Name != "" {
			b = d.AppendIdentity(b, t, f.ids[i])
		}
	}
	return d.Finish(b)
}
