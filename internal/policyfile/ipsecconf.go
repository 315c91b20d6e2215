package policyfile

import (
	"fmt"
	"io"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/internal/spelling"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Rules are what a file in the form of ipsecconf(8) says.
type Rules struct {
	File    string
	Tunnels []spd.Tunnel
	List    []spd.Rule // in the order in which they are tried

	named map[string]word // where a tunnel is made or, if the file does not make it, named by the first rule
}

// Ipsecconf reads rules in the form of ipsecconf(8),
//
//	{raddr 192.0.2.2 ulp udp dport 9 dir out} ipsec {encr_algs aes encr_auth_algs sha1 sa shared}
//	{tunnel ip.tun0 negotiate tunnel laddr 10.0.0.0/8} ipsec {encr_algs aes encr_auth_algs sha256} or bypass {}
//	{lport 22 dir both} bypass {}
//
// and tunnels as dladm(8) makes them, because a rule only names one:
//
//	dladm create-iptun -T ipv4 -a local=192.0.2.1,remote=192.0.2.2 ip.tun0
//
// Rules are tried as ipsecconf orders them: bypass first, then those with AH and ESP, ESP, AH, and each kind in the
// order of the file. A rule without an address is for IPv4 and IPv6. Names of hosts, types and codes of ICMP and masks
// that are no prefix are refused. What ipsecconf has no word for, since others set it, has one of ours: km_proto,
// km_cookie, replay and self_encap, among the properties.
//
// d has the names and numbers of algorithms; auth and encrypt are those that the kernel has, and say how long keys may
// be. Errors are those of r or say what is wrong with the file; those about one place of it are of type *[Error].
func Ipsecconf(r io.Reader, name string, d *wire.Dialect, auth, encrypt []wire.Alg) (*Rules, error) {
	text, err := read(r, name)
	if err != nil {
		return nil, err
	}
	p := &ipsecconfReader{file: name, text: text, line: 1, column: 1, dialect: d, auth: auth, encrypt: encrypt}
	if err := p.parse(); err != nil {
		return nil, err
	}
	return p.result(), nil
}

// TunnelRefused is the error of a kernel that has a tunnel of that name already or, unless there is set, has none.
func (r *Rules) TunnelRefused(name string, there bool) error {
	why := "there is no such tunnel (dladm create-iptun makes one)"
	if there {
		why = "there is a tunnel of this name already"
	}
	w := r.named[name]
	return &Error{File: r.File, Line: w.line, Column: w.column, Word: w.text, Why: why}
}

// ipsecconfReader reads a file.
type ipsecconfReader struct {
	file          string
	text          string // what is left of it
	line, column  int
	mid           bool // a word of this line has been read
	ahead         *word
	dialect       *wire.Dialect
	auth, encrypt []wire.Alg
	tunnels       []madeTunnel
	rules         []rankedRule
}

type madeTunnel struct {
	spd.Tunnel
	word      word
	transport word // where a rule has named it, that is not of tunnel mode
}

type rankedRule struct {
	spd.Rule
	tunnel word
	rank   int // those with a higher one are tried first
}

// result puts the rules in the order in which they are tried.
func (p *ipsecconfReader) result() *Rules {
	slices.SortStableFunc(p.rules, func(a, b rankedRule) int { return b.rank - a.rank })
	all := &Rules{File: p.file, named: map[string]word{}}
	for _, t := range p.tunnels {
		all.Tunnels = append(all.Tunnels, t.Tunnel)
		all.named[t.Name] = t.word
	}
	for _, r := range p.rules {
		all.List = append(all.List, r.Rule)
		if _, ok := all.named[r.Tunnel]; !ok {
			all.named[r.Tunnel] = r.tunnel
		}
	}
	return all
}

func (p *ipsecconfReader) tunnel(name string) int {
	return slices.IndexFunc(p.tunnels, func(t madeTunnel) bool { return t.Name == name })
}

func (p *ipsecconfReader) at(w word, why string, args ...any) error {
	return &Error{File: p.file, Line: w.line, Column: w.column, Word: w.text, Why: fmt.Sprintf(why, args...)}
}

// next reads a word.
func (p *ipsecconfReader) next() word {
	if w := p.ahead; w != nil {
		p.ahead = nil
		return *w
	}
	p.space()
	w := word{line: p.line, column: p.column, first: !p.mid}
	p.mid = true
	n := strings.IndexAny(p.text, " \t\r\n\f\v{}#")
	switch {
	case n < 0:
		n = len(p.text)
	case n == 0 && p.text != "": // a brace
		n = 1
	}
	w.text, p.text = p.text[:n], p.text[n:]
	p.column += n
	return w
}

func (p *ipsecconfReader) peek() word {
	w := p.next()
	p.ahead = &w
	return w
}

// space skips white space and comments.
func (p *ipsecconfReader) space() {
	for i := 0; i < len(p.text); i++ {
		switch c := p.text[i]; {
		case c == '\n':
			p.line, p.column, p.mid = p.line+1, 0, false
		case c == '#':
			end := strings.IndexByte(p.text[i:], '\n')
			if end < 0 {
				p.column += len(p.text) - i
				p.text = ""
				return
			}
			p.column += end - 1
			i += end - 1
		case c != ' ' && c != '\t' && c != '\r' && c != '\f' && c != '\v':
			p.text = p.text[i:]
			return
		}
		p.column++
	}
	p.text = ""
}

func (p *ipsecconfReader) parse() error {
	for {
		switch w := p.next(); {
		case w.text == "":
			return p.settle()
		case w.text == "dladm":
			if err := p.dladm(); err != nil {
				return err
			}
		case w.text == "{":
			if err := p.entry(); err != nil {
				return err
			}
		default:
			return p.at(w, "an entry begins with { or with dladm, not with")
		}
	}
}

// settle gives each tunnel the mode that its rules have named.
func (p *ipsecconfReader) settle() error {
	for _, t := range p.tunnels {
		if t.transport.text != "" && t.Negotiated {
			return p.at(t.transport, "a rule has said that this tunnel negotiates tunnel mode")
		}
	}
	return nil
}

// dladm reads what follows the name of that command: create-iptun [-t] -T TYPE -a local=ADDRESS,remote=ADDRESS NAME, in
// one line.
func (p *ipsecconfReader) dladm() error {
	w := p.next()
	if w.text != "create-iptun" {
		return p.at(w, "dladm does nothing here but create-iptun")
	}
	var t madeTunnel
	var kind word
	for {
		if w = p.peek(); w.first || w.text == "" {
			return p.at(w,
				"dladm create-iptun wants -T TYPE, -a local=ADDRESS,remote=ADDRESS and a name in one line, before")
		}
		switch p.next(); w.text {
		case "-t":
		case "-T":
			if kind = p.next(); kind.text != "ipv4" && kind.text != "ipv6" {
				return p.at(kind, "tunnels are ipv4 or ipv6")
			}
		case "-a":
			if err := p.endpoints(&t); err != nil {
				return err
			}
		default:
			return p.newTunnel(t, kind, w)
		}
	}
}

func (p *ipsecconfReader) endpoints(t *madeTunnel) error {
	w := p.next()
	for part := range strings.SplitSeq(w.text, ",") {
		key, value, _ := strings.Cut(part, "=")
		a, err := netip.ParseAddr(value)
		switch {
		case err != nil || a.Zone() != "" || a.Is4In6():
			return p.at(w, "not of the form local=ADDRESS,remote=ADDRESS")
		case key == "local":
			t.Src = a
		case key == "remote":
			t.Dst = a
		default:
			return p.at(w, "not of the form local=ADDRESS,remote=ADDRESS")
		}
	}
	return nil
}

func (p *ipsecconfReader) newTunnel(t madeTunnel, kind, name word) error {
	t.Name, t.word = name.text, name
	switch {
	case p.tunnel(t.Name) >= 0:
		return p.at(name, "this tunnel has been made before")
	case !t.Src.IsValid() || !t.Dst.IsValid():
		return p.at(name, "a tunnel needs -a local=ADDRESS,remote=ADDRESS before its name")
	case kind.text == "":
		return p.at(name, "a tunnel needs -T ipv4 or -T ipv6 before its name")
	case t.Src.Is4() != t.Dst.Is4(), t.Src.Is4() != (kind.text == "ipv4"):
		return p.at(name, "the addresses of this tunnel are not both %s", kind.text)
	}
	p.tunnels = append(p.tunnels, t)
	return nil
}

// entry is what is known of an entry while it is read.
type entry struct {
	words map[string]word // where each value of the pattern stands
	// The sides as the pattern names them: the local and the remote one, or the source and the destination.
	addr  [2]netip.Prefix
	mask  [2]int // bits, -1: none
	port  [2]uint16
	forms map[string]bool // "local" and "source", if the pattern uses them
	proto uint8
	dir   word
}

const (
	near = iota // local, or the source
	far
)

func (p *ipsecconfReader) entry() error {
	e := &entry{words: map[string]word{}, mask: [2]int{-1, -1}, forms: map[string]bool{}}
	if err := p.pattern(e); err != nil {
		return err
	}
	tunnel := e.words["tunnel"]
	var actions []spd.Action
	var first word
	var rank int
	for {
		verb := p.next()
		if first.text == "" {
			first = verb
		}
		a, err := p.action(e, verb)
		if err != nil {
			return err
		}
		if len(actions) > 0 && (verb.text == "apply" || verb.text == "permit" || first.text == "apply" ||
			first.text == "permit") {
			return p.at(verb, "there are no alternatives to apply and permit")
		}
		actions = append(actions, a)
		rank |= rankOf(&a)
		if p.peek().text != "or" {
			break
		}
		p.next()
	}
	if err := p.checkTunnel(e, tunnel); err != nil {
		return err
	}
	rule, err := p.rule(e, first)
	if err != nil {
		return err
	}
	rule.Tunnel, rule.Actions = tunnel.text, actions
	p.rules = append(p.rules, rankedRule{rule, tunnel, rank})
	if !rule.Src.IsValid() && !rule.Dst.IsValid() {
		rule.V6 = true
		p.rules = append(p.rules, rankedRule{rule, tunnel, rank})
	}
	return nil
}

// The order of rules that ipsecconf gives them.
const (
	rankAH = 1 << iota
	rankESP
	rankBypass
)

func rankOf(a *spd.Action) (rank int) {
	if a.Type == spd.Bypass {
		return rankBypass
	}
	if a.Type == spd.Apply && a.AH != spd.NotUsed {
		rank |= rankAH
	}
	if a.Type == spd.Apply && (a.ESP != spd.NotUsed || a.ESPAuth != spd.NotUsed) {
		rank |= rankESP
	}
	return rank
}

// patternNames are the names of a pattern: what they set, and which of the two forms they belong to.
var patternNames = map[string]struct {
	canonical string
	side      int
	form      string
}{
	"laddr": {"addr", near, "local"}, "local": {"addr", near, "local"}, "lport": {"port", near, "local"},
	"raddr": {"addr", far, "local"}, "remote": {"addr", far, "local"}, "rport": {"port", far, "local"},
	"saddr": {"addr", near, "source"}, "src": {"addr", near, "source"}, "srcaddr": {"addr", near, "source"},
	"daddr": {"addr", far, "source"}, "dst": {"addr", far, "source"}, "dstaddr": {"addr", far, "source"},
	"dest":  {"addr", far, "source"},
	"smask": {"mask", near, "source"}, "dmask": {"mask", far, "source"}, "sport": {"port", near, "source"},
	"dport": {"port", far, "source"},
	"ulp":   {"ulp", 0, ""}, "proto": {"ulp", 0, ""}, "type": {"type", 0, ""}, "code": {"code", 0, ""},
	"tunnel": {"tunnel", 0, ""}, "negotiate": {"negotiate", 0, ""}, "dir": {"dir", 0, ""},
}

func (p *ipsecconfReader) pattern(e *entry) error {
	for {
		w := p.next()
		switch w.text {
		case "}":
			return nil
		case "":
			return p.at(w, "the file ends inside of a pattern")
		case "{":
			return p.at(w, "a brace inside of a pattern")
		}
		n, ok := patternNames[strings.ToLower(w.text)]
		if !ok {
			return p.at(w, "unknown name in a pattern%s", like(strings.ToLower(w.text), patternNames))
		}
		v := p.next()
		if v.text == "" || v.text == "{" || v.text == "}" {
			return p.at(v, "a value for %s is wanted", w.text)
		}
		key := n.canonical
		if n.form != "" {
			key += []string{" near", " far"}[n.side]
			e.forms[n.form] = true
		}
		if _, twice := e.words[key]; twice {
			return p.at(w, "named twice in a pattern")
		}
		e.words[key] = v
		if err := p.patternValue(e, n.canonical, n.side, v); err != nil {
			return err
		}
	}
}

func (p *ipsecconfReader) patternValue(e *entry, what string, side int, v word) (err error) {
	switch what {
	case "addr":
		if e.addr[side], err = parsePrefix(v.text); err != nil {
			return p.at(v, "not an address, with or without /PREFIX (hosts are not looked up)")
		}
	case "mask":
		bits, ok := parseMask(v.text)
		if !ok {
			return p.at(v, "not a mask of leading ones, as 0xffffff00 or 255.255.255.0")
		}
		e.mask[side] = bits
	case "port":
		n, ok := numberOrName(v.text, 1<<16-1, services)
		if !ok {
			return p.at(v, "not a port, by number or well-known name")
		}
		e.port[side] = uint16(n)
	case "ulp":
		n, ok := numberOrName(v.text, 255, protocols)
		if !ok {
			return p.at(v, "not a protocol, by number or well-known name")
		}
		e.proto = uint8(n)
	case "type", "code":
		return p.at(v, "rules for single types or codes of ICMP are not emulated")
	case "negotiate":
		if v.text != "tunnel" && v.text != "transport" {
			return p.at(v, "a tunnel negotiates tunnel or transport mode, not")
		}
	case "dir":
		if v.text != "in" && v.text != "out" && v.text != "both" {
			return p.at(v, "a direction is in, out or both, not")
		}
		e.dir = v
	}
	return nil
}

// services and protocols are the names that need no file of the system's.
var services = map[string]uint64{
	"ftp-data": 20, "ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "time": 37, "domain": 53, "bootps": 67,
	"bootpc": 68, "tftp": 69, "http": 80,
	"kerberos": 88, "pop3": 110, "sunrpc": 111, "ntp": 123, "imap": 143, "snmp": 161, "bgp": 179, "ldap": 389,
	"https": 443, "isakmp": 500,
	"ipsec-nat-t": 4500, "syslog": 514, "nfsd": 2049, "discard": 9, "echo": 7,
}

var protocols = map[string]uint64{
	"icmp": 1, "igmp": 2, "ipip": 4, "encap": 4, "tcp": 6, "udp": 17, "ipv6": 41, "gre": 47, "esp": 50, "ah": 51,
	"ipv6-icmp": 58, "icmpv6": 58, "ospf": 89,
	"sctp": 132,
}

func numberOrName(s string, most uint64, names map[string]uint64) (uint64, bool) {
	if n, ok := names[strings.ToLower(s)]; ok {
		return n, true
	}
	n, err := strconv.ParseUint(s, 10, 64)
	return n, err == nil && n <= most
}

func parsePrefix(s string) (netip.Prefix, error) {
	if strings.Contains(s, "/") {
		q, err := netip.ParsePrefix(s)
		if err == nil && q.Addr().Is4In6() {
			err = strconv.ErrSyntax
		}
		return q.Masked(), err
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() {
		return netip.Prefix{}, strconv.ErrSyntax
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

// parseMask reads an IPv4 mask and returns how many leading ones it has.
func parseMask(s string) (bits int, ok bool) {
	var m uint64
	if rest, hex := strings.CutPrefix(strings.ToLower(s), "0x"); hex {
		n, err := strconv.ParseUint(rest, 16, 32)
		if err != nil {
			return 0, false
		}
		m = n
	} else {
		a, err := netip.ParseAddr(s)
		if err != nil || !a.Is4() {
			return 0, false
		}
		for _, b := range a.As4() {
			m = m<<8 | uint64(b)
		}
	}
	for bits = 0; bits < 32 && m&(1<<(31-bits)) != 0; bits++ {
	}
	return bits, m == (1<<32-1)&^(1<<(32-bits)-1)
}

// action reads the properties of an alternative.
func (p *ipsecconfReader) action(e *entry, verb word) (a spd.Action, err error) {
	a = spd.Action{AH: spd.NotUsed, ESP: spd.NotUsed, ESPAuth: spd.NotUsed}
	switch verb.text {
	case "ipsec", "apply", "permit":
	case "bypass", "pass":
		a.Type = spd.Bypass
	case "drop":
		a.Type = spd.Discard
	case "":
		return a, p.at(verb, "the file ends where an action is wanted: ipsec, apply, permit, bypass, pass or drop")
	default:
		return a, p.at(verb, "an action is ipsec, apply, permit, bypass, pass or drop, not")
	}
	if w := p.next(); w.text != "{" {
		return a, p.at(w, "the properties of %s are wanted, in braces, before", verb.text)
	}
	seen := map[string]bool{}
	for {
		w := p.next()
		switch w.text {
		case "}":
			return a, p.checkAction(&a, verb, w, seen)
		case "":
			return a, p.at(w, "the file ends inside of the properties")
		case "{":
			return a, p.at(w, "a brace inside of the properties")
		}
		name := strings.ToLower(w.text)
		if _, ok := properties[name]; !ok {
			return a, p.at(w, "unknown property%s", like(name, properties))
		}
		if seen[name] {
			return a, p.at(w, "named twice in the properties")
		}
		seen[name] = true
		v := p.next()
		if v.text == "" || v.text == "{" || v.text == "}" {
			return a, p.at(v, "a value for %s is wanted", w.text)
		}
		if name == "dir" {
			if err := p.propertyDir(e, v); err != nil {
				return a, err
			}
			continue
		}
		if a.Type != spd.Apply {
			return a, p.at(w, "%s has no such property", verb.text)
		}
		if err := p.property(&a, name, v); err != nil {
			return a, err
		}
	}
}

var properties = map[string]struct{}{"auth_algs": {}, "encr_algs": {}, "encr_auth_algs": {}, "sa": {}, "dir": {},
	"km_proto": {}, "km_cookie": {}, "replay": {}, "self_encap": {}}

func (p *ipsecconfReader) propertyDir(e *entry, v word) error {
	switch {
	case v.text != "in" && v.text != "out":
		return p.at(v, "a direction among the properties is in or out, not")
	case e.dir.text != "" && e.dir.text != v.text:
		return p.at(v, "another direction has been named before (%s)", e.dir.text)
	}
	e.dir = v
	return nil
}

var kmProtocols = map[string]uint64{"manual": 0, "ike": 1, "kink": 2, "ikev2": 3}

func (p *ipsecconfReader) property(a *spd.Action, name string, v word) (err error) {
	number := func(most uint64, names map[string]uint64) (n uint64) {
		n, ok := numberOrName(v.text, most, names)
		if !ok {
			err = p.at(v, "%s wants a number up to %d, not", name, most)
		}
		return n
	}
	switch name {
	case "auth_algs":
		a.AH, err = p.authAlgorithm(v)
	case "encr_auth_algs":
		a.ESPAuth, err = p.authAlgorithm(v)
	case "encr_algs":
		a.ESP, a.EncryptMinBits, a.EncryptMaxBits, err = p.encryptAlgorithm(v)
	case "sa":
		if a.Unique = v.text == "unique"; !a.Unique && v.text != "shared" {
			return p.at(v, "an SA is shared or unique, not")
		}
	case "self_encap":
		if a.SelfEncap = v.text == "yes"; !a.SelfEncap && v.text != "no" {
			return p.at(v, "self_encap is yes or no, not")
		}
	case "km_proto":
		a.KMProtocol = uint32(number(1<<32-1, kmProtocols))
	case "km_cookie":
		a.KMCookie = number(1<<32-1, nil)
	case "replay":
		a.Replay = uint8(number(255, nil))
	}
	return err
}

// checkAction looks at an alternative as a whole. Authentication by ESP alone is that of ESP with the NULL cipher.
func (p *ipsecconfReader) checkAction(a *spd.Action, verb, end word, seen map[string]bool) error {
	if a.Type != spd.Apply {
		return nil
	}
	if !seen["auth_algs"] && !seen["encr_algs"] && !seen["encr_auth_algs"] {
		return p.at(end, "%s needs auth_algs, encr_algs or encr_auth_algs before", verb.text)
	}
	if a.ESP == spd.NotUsed && a.ESPAuth != spd.NotUsed {
		a.ESP = int(wire.EncNull)
	}
	if a.AH == spd.NotUsed && a.ESP == spd.NotUsed {
		return p.at(end, "%s uses no algorithm at all before", verb.text)
	}
	return nil
}

var authNames = map[string]wire.AlgID{
	"md5": wire.AuthMD5HMAC, "sha": wire.AuthSHA1HMAC, "sha1": wire.AuthSHA1HMAC,
	"hmac-sha": wire.AuthSHA1HMAC,
	"sha256":   wire.AuthSHA256HMAC, "sha384": wire.AuthSHA384HMAC, "sha512": wire.AuthSHA512HMAC,
}

var encryptNames = map[string]wire.AlgID{
	"aes": wire.EncAESCBC, "des": wire.EncDESCBC, "3des": wire.Enc3DESCBC,
	"blowfish": wire.EncBlowfishCBC,
	"aes-ccm":  wire.EncAESCCM16, "aes-gcm": wire.EncAESGCM16,
}

// algorithm reads NAME, NUMBER, any or none, with or without (LENGTHS) behind it.
func (p *ipsecconfReader) algorithm(w word, names map[string]wire.AlgID, byName func(string) (wire.AlgID, bool),
	numbered func(uint8) wire.AlgID) (id int, lo, hi uint16, err error) {
	text := strings.ToLower(w.text)
	lengths := ""
	if i := strings.IndexByte(text, '('); i >= 0 {
		text, lengths = text[:i], text[i:]
	} else if next := p.peek(); strings.HasPrefix(next.text, "(") {
		lengths = p.next().text
		w.text += " " + lengths
	}
	n, isName := names[text]
	if !isName {
		n, isName = byName(text)
	}
	switch number, bad := strconv.ParseUint(text, 10, 8); {
	case text == "any":
		id = spd.Any
	case text == "none":
		id = spd.NotUsed
	case isName:
		id = int(n)
	case bad == nil && number > 0:
		id = int(numbered(uint8(number)))
	default:
		return 0, 0, 0, p.at(w, "unknown algorithm%s", like(text, names))
	}
	if lengths == "" {
		return id, 0, 0, nil
	}
	if lo, hi, isName = parseLengths(lengths); !isName {
		return 0, 0, 0, p.at(w, "key lengths are (BITS), (BITS..), (..BITS) or (BITS..BITS)")
	}
	return id, lo, hi, nil
}

func parseLengths(s string) (lo, hi uint16, ok bool) {
	s, opened := strings.CutPrefix(s, "(")
	s, closed := strings.CutSuffix(s, ")")
	from, to, dots := strings.Cut(s, "..")
	read := func(s string) (n uint16) {
		v, err := strconv.ParseUint(s, 10, 16)
		if s != "" && (err != nil || v == 0) {
			opened = false
		}
		return uint16(v)
	}
	lo, hi = read(from), read(to)
	if !dots {
		hi = lo
	}
	return lo, hi, opened && closed && (lo != 0 || hi != 0) && (hi == 0 || lo <= hi)
}

// authAlgorithm reads an algorithm whose key has one length.
func (p *ipsecconfReader) authAlgorithm(w word) (int, error) {
	id, lo, hi, err := p.algorithm(w, authNames, p.dialect.AuthByName, p.dialect.Auth)
	if err != nil {
		return 0, err
	}
	if alg := find(p.auth, id); lo|hi != 0 && (alg == nil || lo > alg.MaxBits || hi != 0 && hi < alg.MinBits) {
		return 0, p.at(w, "this algorithm has no key of such a length")
	}
	return id, nil
}

func (p *ipsecconfReader) encryptAlgorithm(w word) (id int, lo, hi uint16, err error) {
	id, lo, hi, err = p.algorithm(w, encryptNames, p.dialect.EncryptByName, p.dialect.Encrypt)
	if err != nil {
		return 0, 0, 0, err
	}
	if alg := find(p.encrypt, id); lo|hi != 0 && alg != nil && (lo > alg.MaxBits || hi != 0 && hi < alg.MinBits) {
		return 0, 0, 0, p.at(w, "this algorithm has no key of such a length")
	}
	return id, lo, hi, nil
}

// find returns the algorithm of that number; nil if the kernel has none, as for [spd.Any].
func find(algs []wire.Alg, id int) *wire.Alg {
	i := slices.IndexFunc(algs, func(a wire.Alg) bool { return int(a.ID) == id })
	if i < 0 {
		return nil
	}
	return &algs[i]
}

// checkTunnel looks at what an entry says of a tunnel.
func (p *ipsecconfReader) checkTunnel(e *entry, tunnel word) error {
	mode, named := e.words["negotiate"]
	if tunnel.text == "" {
		if named {
			return p.at(mode, "only a tunnel negotiates")
		}
		return nil
	}
	if mode.text != "tunnel" {
		for _, a := range e.addr {
			if a.IsValid() {
				return p.at(tunnel, "a rule with addresses wants negotiate tunnel")
			}
		}
	}
	i := p.tunnel(tunnel.text)
	if i < 0 {
		return nil // it may be there already, made by somebody else
	}
	t := &p.tunnels[i]
	if mode.text == "tunnel" {
		t.Negotiated = true
	} else if t.transport.text == "" {
		t.transport = tunnel
	}
	return nil
}

// rule makes the rule of an entry, but for its actions.
func (p *ipsecconfReader) rule(e *entry, verb word) (r spd.Rule, err error) {
	source, local := e.forms["source"], e.forms["local"]
	dir := e.dir.text
	switch verb.text {
	case "apply", "permit":
		want := map[string]string{"apply": "out", "permit": "in"}[verb.text]
		switch {
		case local:
			return r, p.at(verb, "with laddr, raddr, lport and rport goes ipsec, not")
		case dir != "" && dir != want:
			return r, p.at(e.dir, "%s is for packets that go %s, not", verb.text, want)
		}
		dir = want
	case "bypass", "pass":
		if dir == "" {
			return r, p.at(verb, "a direction (dir in, dir out, dir both) is wanted with")
		}
	default:
		if dir == "" {
			dir = "both"
		}
	}
	switch {
	case source && local && dir != "out":
		return r, p.at(verb, "local and remote mix with source and destination only in rules with dir out, before")
	case source && dir == "both":
		return r,
			p.at(verb,
				"source and destination have no meaning in both directions; dir in or dir out is wanted before")
	}
	for i, bits := range e.mask {
		switch {
		case bits < 0:
		case !e.addr[i].IsValid() || !e.addr[i].Addr().Is4() || !e.addr[i].IsSingleIP():
			return r, p.at(verb, "smask and dmask go with an IPv4 address without prefix, before")
		default:
			e.addr[i] = netip.PrefixFrom(e.addr[i].Addr(), bits).Masked()
		}
	}
	r = spd.Rule{Src: e.addr[near], Dst: e.addr[far], Proto: e.proto, SrcPort: e.port[near], DstPort: e.port[far]}
	if source && dir == "in" { // the source is the remote side
		r.Src, r.Dst, r.SrcPort, r.DstPort = r.Dst, r.Src, r.DstPort, r.SrcPort
	}
	r.Dir = map[string]spd.Direction{"in": spd.In, "out": spd.Out, "both": spd.Both}[dir]
	if r.Src.IsValid() && r.Dst.IsValid() && r.Src.Addr().Is4() != r.Dst.Addr().Is4() {
		return r, p.at(verb, "a rule from %v to %v is of two address families, before", r.Src, r.Dst)
	}
	return r, nil
}

// like suggests a name, if one of those there are is near.
func like[T any](s string, names map[string]T) string {
	best := spelling.Nearest(s, slices.Sorted(maps.Keys(names)))
	if best == "" {
		return ""
	}
	return fmt.Sprintf(" (%s?)", best)
}
