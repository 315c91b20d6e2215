package wire

import (
	"bytes"
	"fmt"
	"net/netip"
)

// What follows the fixed part of each extension, for Format. Each tail prints as much as is there; the caller prints
// what is left over.

func tailAddress(p *printer) { p.sockaddr("") }

// sockaddr prints one and moves behind it; false if it is not whole.
func (p *printer) sockaddr(prefix string) bool {
	d := p.d
	b := p.take(2)
	if b == nil {
		return false
	}
	family, length := d.family(b), ""
	if d.SockaddrLen {
		length = fmt.Sprintf("length = %d, ", b[0])
	}
	p.line(b, fmt.Sprintf("%s%sfamily = %d (%s)", prefix, length, family, d.familyName(family)))
	switch family {
	case d.AFInet:
		return p.fields([]field{{prefix + "port", 2, asPort}, {prefix + "address", 4, asAddr4},
			{prefix + "zero", 8, asBytes}})
	case d.AFInet6:
		ok := p.fields([]field{
			{prefix + "port", 2, asPort}, {prefix + "flowinfo", 4, asNetHex}, {prefix + "address", 16, asAddr6},
			{prefix + "scope", 4, nil},
		})
		if ok && d.t.sockaddrIn6 > sockaddrIn6 {
			ok = p.fields([]field{{prefix + "source id", 4, nil}})
		}
		return ok
	}
	return false
}

func asAddr4(_ *Dialect, b []byte) string { return netip.AddrFrom4([4]byte(b)).String() }
func asAddr6(_ *Dialect, b []byte) string { return netip.AddrFrom16([16]byte(b)).String() }

func tailKey(p *printer) {
	if !p.keys {
		if n := p.end - p.off; n > 0 {
			p.hidden(n, "key = hidden")
		}
		return
	}
	n := (int(p.d.u16(p.msg[p.off-4:])) + 7) / 8
	if b := p.take(min(n, p.end-p.off)); len(b) > 0 {
		p.line(b, "key")
	}
}

func tailIdentity(p *printer) {
	s := p.msg[p.off:p.end]
	if i := bytes.IndexByte(s, 0); i >= 0 {
		s = s[:i+1]
	}
	if b := p.take(len(s)); len(b) > 0 {
		p.line(b, "identity = "+text(string(bytes.TrimSuffix(b, []byte{0}))))
	}
}

func tailSensitivity(p *printer) {
	m, n := int(p.msg[p.off-7])*8, int(p.msg[p.off-5])*8
	if b := p.take(m); len(b) > 0 {
		p.line(b, "bitmap")
	}
	if b := p.take(n); len(b) > 0 {
		p.line(b, "integrity bitmap")
	}
}

// limitFields end both kinds of combs.
var limitFields = []field{
	{"soft allocations", 4, nil}, {"hard allocations", 4, nil}, {"soft bytes", 8, nil}, {"hard bytes", 8, nil},
	{"soft addtime", 8, nil}, {"hard addtime", 8, nil}, {"soft usetime", 8, nil}, {"hard usetime", 8, nil},
}

var combFields = append([]field{
	{"auth", 1, asAuth}, {"encrypt", 1, asEncrypt}, {"flags", 2, asHex}, {"auth minbits", 2, nil},
	{"auth maxbits", 2, nil},
	{"encrypt minbits", 2, nil}, {"encrypt maxbits", 2, nil}, {"encrypt saltbits", 1, nil}, {"reserved", 3, asBytes},
}, limitFields...)

func tailProposal(p *printer) {
	for i := 1; p.end-p.off >= combLen; i++ {
		p.part("comb %d", i)
		p.fields(combFields)
	}
	p.cookie()
}

// cookie prints the X_KM_COOKIE that illumos hides at the end of proposals.
func (p *printer) cookie() {
	if p.d.cookieIn(p.msg[p.off:p.end]) == nil {
		return
	}
	p.part("X_KM_COOKIE, inside the length of the proposal")
	p.fields([]field{{"len", 2, asWords}, {"exttype", 2, asExt}})
	p.fields(kmCookieFields)
	tailKMCookie(p)
}

func tailSupported(t ExtType, name func(*Dialect, AlgID) string) func(*printer) {
	return func(p *printer) {
		ids := p.d.algsOf(t)
		for p.end-p.off >= algLen {
			b := p.take(algLen)
			s := fmt.Sprintf("alg = %d (%s), ivlen = %d, minbits = %d, maxbits = %d",
				b[0], name(p.d, ids.of(b[0])), b[1], p.d.u16(b[2:]), p.d.u16(b[4:]))
			if b[6] != 0 || b[7] != 0 {
				s += fmt.Sprintf(", increment = %d, saltbits = %d", b[6], b[7])
			}
			p.line(b, s)
		}
	}
}

// illumos

func tailEReg(p *printer) {
	for p.off < p.end {
		b := p.take(1)
		if b[0] == 0 {
			p.off--
			return
		}
		p.line(b, "satype = "+asSAType(p.d, b))
	}
}

var ecombFields = append([]field{
	{"algdescs", 1, nil}, {"reserved", 1, nil}, {"flags", 2, asHex}, {"reserved", 4, nil},
}, limitFields...)

func tailEProp(p *printer) {
	d := p.d
	n := int(d.u16(p.msg[p.off-2:]))
	for i := 1; i <= n && p.end-p.off >= ecombLen; i++ {
		p.part("ecomb %d", i)
		algs := int(p.msg[p.off])
		p.fields(ecombFields)
		for ; algs > 0 && p.end-p.off >= algDescLen; algs-- {
			b := p.take(algDescLen)
			a := d.algDesc(b)
			s := fmt.Sprintf("satype = %d (%s), algtype = %d (%s), alg = %d (%s), minbits = %d, maxbits = %d", a.SAType,
				d.SATypeName(a.SAType), a.AlgType, nameOf(uint64(a.AlgType), illumosAlgTypes), a.Alg, d.algDescName(a),
				a.MinBits, a.MaxBits)
			if a.SaltBits != 0 {
				s += fmt.Sprintf(", saltbits = %d", a.SaltBits)
			}
			p.line(b, s)
		}
	}
	p.cookie()
}

var (
	illumosAlgTypes = []name{{0, "none"}, {1, "auth"}, {2, "crypt"}, {3, "compress"}}
	illumosKMPs     = []name{{0, "manual"}, {1, "ike"}, {2, "kink"}, {3, "ikev2"}}
	kmCookieFields  = []field{{"protocol", 4,
		named(func(_ *Dialect, n uint64) string { return nameOf(n, illumosKMPs) })}}
)

func (d *Dialect) algDescName(a AlgDesc) string {
	switch a.AlgType {
	case IllumosAlgTypeAuth:
		return d.AuthName(a.Alg)
	case IllumosAlgTypeCrypt:
		return d.EncryptName(a.Alg)
	}
	return nameOf(uint64(a.Alg))
}

func tailKMCookie(p *printer) {
	if p.end-p.off < 8 {
		return
	}
	if p.d.u32(p.msg[p.off-4:]) == IllumosKMPIKE {
		p.fields([]field{{"cookie", 4, asHex}, {"reserved", 4, nil}})
	} else {
		p.fields([]field{{"cookie", 8, asHex}})
	}
}

// Linux

var requestFields = []field{
	{"len", 2, func(d *Dialect, b []byte) string { return fmt.Sprintf("%d bytes", d.u16(b)) }},
	{"proto", 2, asProto}, {"mode", 1, asMode}, {"level", 1, asLevel}, {"reserved", 2, nil}, {"reqid", 4, nil},
	{"reserved", 4, nil},
}

func tailPolicy(p *printer) {
	end := p.end
	for i := 1; end-p.off >= ipsecRequestLen; i++ {
		n := int(p.d.u16(p.msg[p.off:]))
		if n < ipsecRequestLen || n > end-p.off {
			break
		}
		p.part("request %d", i)
		p.end = p.off + n
		p.fields(requestFields)
		if p.off < p.end && p.sockaddr("source ") {
			p.sockaddr("destination ")
		}
		if b := p.take(p.end - p.off); len(b) > 0 {
			p.line(b, "extra")
		}
	}
	p.end = end
}

func tailSecCtx(p *printer) {
	n := int(p.d.u16(p.msg[p.off-2:]))
	if b := p.take(min(n, p.end-p.off)); len(b) > 0 {
		p.line(b, "context = "+text(string(bytes.TrimSuffix(b, []byte{0}))))
	}
}

func tailKMAddress(p *printer) {
	if p.sockaddr("local ") {
		p.sockaddr("remote ")
	}
}

var (
	kamePolicyTypes = []name{{0, "discard"}, {1, "none"}, {2, "ipsec"}, {3, "entrust"}, {4, "bypass"}}
	kameDirs        = []name{{0, "any"}, {1, "in"}, {2, "out"}, {3, "fwd"}}
	kameLevels      = []name{{0, "default"}, {1, "use"}, {2, "require"}, {3, "unique"}}
	kameNATTs       = []name{{0, "none"}, {1, "esp-in-udp-non-ike"}, {2, "esp-in-udp"}}

	asMode       = named(func(d *Dialect, n uint64) string { return d.Mode(uint8(n)).String() })
	asPolicyType = fromTable(kamePolicyTypes)
	asDir        = fromTable(kameDirs)
	asLevel      = fromTable(kameLevels)
	asNATT       = fromTable(kameNATTs)
)

func fromTable(t []name) func(*Dialect, []byte) string {
	return named(func(_ *Dialect, n uint64) string { return nameOf(n, t) })
}
