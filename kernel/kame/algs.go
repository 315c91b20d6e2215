package kame

import (
	"fmt"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Algorithm is one of authentication or of encryption: how REGISTER announces it, and what it is to packets.
type Algorithm struct {
	wire.Alg
	Takes func(bytes int) bool // keys that an SA may have, with their salt; nil: it has no such SA

	MAC *ipsec.MAC // of authentication
	ICV int        // bytes on the wire, of a MAC or of a cipher that makes one

	Cipher *ipsec.Cipher // of encryption
	// Block is what ESP's payload and padding must be a multiple of, in bytes, even if the cipher could do with less.
	Block int
	// Alone: no authentication may stand beside it.
	Alone bool
	// NoDriver: the crypto framework refuses it once all else is right (EOPNOTSUPP).
	NoDriver bool
}

// KeyBits is the rule of keys with one of these lengths, in bits.
func KeyBits(lengths ...int) func(int) bool {
	return func(n int) bool { return slices.Contains(lengths, 8*n) }
}

// KeyRange is the rule of keys with a length from min to max, in bits.
func KeyRange(min, max int) func(int) bool {
	return func(n int) bool { return min <= 8*n && 8*n <= max }
}

// AnyKey is the rule of an algorithm that has no use for its key.
func AnyKey(int) bool { return true }

// announced are the rows of a table as REGISTER shows them.
func announced(table []Algorithm) []wire.Alg {
	algs := make([]wire.Alg, len(table))
	for i := range table {
		algs[i] = table[i].Alg
	}
	return algs
}

// find returns the row of an algorithm; nil if there is none.
func find(table []Algorithm, id wire.AlgID) *Algorithm {
	i := slices.IndexFunc(table, func(a Algorithm) bool { return a.ID == id })
	if i < 0 {
		return nil
	}
	return &table[i]
}

// takes says whether an algorithm, if there is one, takes a key that says how many bytes it has; nil is none. The
// originals believe it if that is more than there are, and use the memory behind.
func (a *Algorithm) takes(key []byte, said int) bool {
	return a != nil && a.Takes != nil && key != nil && said <= len(key) && a.Takes(said)
}

// aeadAuths are what an SA shows as its authentication if the cipher makes the ICV, by the bytes of its key without
// salt.
var aeadAuths = map[int]wire.AlgID{16: wire.AuthAES128GMAC, 24: wire.AuthAES192GMAC, 32: wire.AuthAES256GMAC}

// Lengths in bytes.
const (
	oldAHICV  = 16 // of AH in its old form, whatever the algorithm (RFC 1826)
	tcpMD5Max = 80 // of the key for TCP signatures
)

// protecting is what an SA says of the protection of its packets. A key is nil if there is none.
type protecting struct {
	proto               uint8 // IP protocol
	auth, encrypt       wire.AlgID
	authKey, encryptKey []byte
	authLen, encryptLen int // of the keys, as they say it: there may be less
	flags               wire.SAFlags
}

// suite is what protects the packets of an SA with these algorithms and keys (esp_init, ah_init, ipcomp_init,
// tcpsignature_init). It may change the authentication that the SA shows. That of a TCP signature has nothing but the
// key, IPComp has none.
func (p *Page) suite(a *protecting) (*ipsec.Suite, wire.Errno) {
	switch a.proto {
	case ip.ProtoESP:
		return p.espSuite(a)
	case ip.ProtoAH:
		u := &ipsec.Suite{Proto: ipsec.AH, Old: a.flags&wire.KAMEFlagXOld != 0, ESN: a.flags&p.ESN != 0}
		if errno := p.authenticate(u, a); errno != wire.OK {
			return nil, errno
		}
		u.AuthKey = ipsec.NewKey(a.authKey)
		return u, wire.OK
	case ip.ProtoComp:
		if a.encrypt != wire.CompDeflate {
			return nil, wire.EINVAL
		}
		return nil, wire.OK
	}
	if a.auth != wire.AuthMD5 || len(a.authKey) == 0 || a.authLen > min(tcpMD5Max, len(a.authKey)) {
		return nil, wire.EINVAL
	}
	return &ipsec.Suite{AuthKey: ipsec.NewKey(a.authKey)}, wire.OK
}

func (p *Page) espSuite(a *protecting) (*ipsec.Suite, wire.Errno) {
	c := find(p.Encrypts, a.encrypt)
	if !c.takes(a.encryptKey, a.encryptLen) {
		return nil, wire.EINVAL
	}
	u := &ipsec.Suite{Proto: ipsec.ESP, Cipher: c.Cipher, Old: a.flags&wire.KAMEFlagXOld != 0,
		ESN: a.flags&p.ESN != 0}
	if a.auth != wire.AuthNone {
		if c.Alone {
			return nil, wire.EINVAL
		}
		if errno := p.authenticate(u, a); errno != wire.OK {
			return nil, errno
		}
	}
	// Keys are copied when nothing is refused any more: nobody overwrites those of a suite that nobody gets.
	split := max(0, len(a.encryptKey)-c.Cipher.SaltLen)
	if c.Cipher != ipsec.NULL {
		u.Key = ipsec.NewKey(a.encryptKey[:split])
	}
	u.Salt = ipsec.NewKey(a.encryptKey[split:])
	if c.Cipher.AEAD() {
		u.MAC, u.ICV = nil, c.ICV
		a.auth = aeadAuths[split]
	} else if u.MAC != nil {
		u.AuthKey = ipsec.NewKey(a.authKey)
	}
	return u, wire.OK
}

// authenticate gives a suite the authentication of an SA, but for the key (ah_init0).
func (p *Page) authenticate(u *ipsec.Suite, a *protecting) wire.Errno {
	m := find(p.Auths, a.auth)
	switch {
	case !m.takes(a.authKey, a.authLen):
		return wire.EINVAL
	case m.NoDriver:
		return wire.EOPNOTSUPP
	}
	u.MAC, u.ICV = m.MAC, m.ICV
	if u.Proto == ipsec.AH && u.Old {
		u.ICV = oldAHICV
	}
	return wire.OK
}

// suite is that of a draft, whose authentication it may change.
func (k *Kernel) suite(proto uint8, s *SA) (*ipsec.Suite, wire.Errno) {
	v := &s.Shown
	a := protecting{proto: proto, auth: v.Auth, encrypt: v.Encrypt, flags: v.Flags}
	a.authKey, a.authLen = k.keyBytes(s.Auth)
	a.encryptKey, a.encryptLen = k.keyBytes(s.Encrypt)
	u, errno := k.page.suite(&a)
	v.Auth = a.auth
	return u, errno
}

// Suite is how an SA that PF_KEY describes so protects packets: with which algorithms and keys, in tunnel mode or not,
// and between which ports of UDP encapsulation, if any. Errors name what the kernel does not have.
func Suite(p *Page, sa *pfkey.SA) (s *ipsec.Suite, tunnel bool, udp ipsec.Ports, err error) {
	name := p.Dialect.Name
	a := protecting{proto: p.Protos[sa.Type], auth: sa.Auth, encrypt: sa.Encrypt, authKey: sa.AuthKey.Data,
		encryptKey: sa.EncryptKey.Data, authLen: len(sa.AuthKey.Data), encryptLen: len(sa.EncryptKey.Data),
		flags: sa.Flags}
	if a.proto != ip.ProtoESP && a.proto != ip.ProtoAH {
		return nil, false, udp, fmt.Errorf("SA type %s is neither esp nor ah", sa.Type)
	}
	if a.encrypt == wire.EncNull && a.encryptKey == nil { // a message has an empty one
		a.encryptKey = []byte{}
	}
	if c := find(p.Encrypts, a.encrypt); c != nil && c.Cipher != nil && c.Cipher.AEAD() &&
		a.auth == aeadAuths[len(a.encryptKey)-c.Cipher.SaltLen] {
		a.auth = wire.AuthNone // it is what the kernel shows
	}
	s, errno := p.suite(&a)
	if errno != wire.OK {
		return nil, false, udp, fmt.Errorf("%s has no SA of authentication %d and encryption %d with such keys", name,
			sa.Auth, sa.Encrypt)
	}
	tunnel = sa.SA2 != nil && sa.SA2.Mode == wire.ModeTunnel
	d := p.Dialect
	msg := d.Finish(append(make([]byte, wire.HeaderLen), sa.Extra...)) // to be walked over
	if x, ok := d.Find(msg, wire.KAMEExtXNATTType); ok {
		if v, err := d.ParseNATTType(x.Raw); err != nil || v.Type == 0 {
			return s, tunnel, udp, nil
		}
		ports := map[wire.ExtType]*uint16{wire.KAMEExtXNATTSPort: &udp.Src, wire.KAMEExtXNATTDPort: &udp.Dst}
		for t, to := range ports {
			if x, ok := d.Find(msg, t); ok {
				v, _ := d.ParseNATTPort(x.Raw)
				*to = v.Port
			}
		}
	}
	return s, tunnel, udp, nil
}

// AlignESP is what the payload of ESP with a suite must be a multiple of, in bytes; 0: what its cipher wants.
func AlignESP(p *Page, s *ipsec.Suite) int {
	for i := range p.Encrypts {
		if c := &p.Encrypts[i]; c.Cipher == s.Cipher && c.Takes != nil {
			return max(leastAlign, c.Block)
		}
	}
	return 0
}

// leastAlign is what every payload of ESP is a multiple of (RFC 4303 section 2.4).
const leastAlign = 4

// keyBytes is a key as its count of bits says, as far as there are bytes, and how many there should be; nil for none.
func (k *Kernel) keyBytes(key *Key) ([]byte, int) {
	if key == nil {
		return nil, 0
	}
	n := key.Bits(k.d) / 8
	return key.Data()[:min(n, len(key.Data()))], n
}

// blockOf is what ESP's payload must be a multiple of for an SA, and what its padding makes it one of.
func (k *Kernel) blockOf(p *Protection) (wants, pads int) {
	wants = find(k.page.Encrypts, p.Encrypt).Block
	return wants, max(leastAlign, wants)
}
