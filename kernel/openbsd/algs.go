package openbsd

import (
	"fmt"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// authAlg is an algorithm of authentication, struct auth_hash.
type authAlg struct {
	id   wire.AlgID
	bits int        // of the one key length it has
	mac  *ipsec.MAC // nil: it goes with a combined mode, and stands beside any cipher all the same
	icv  int        // bytes on the wire
}

// auths are in the order of REGISTER, which lists those that have a MAC.
var auths = []authAlg{
	{wire.AuthSHA1HMAC, 160, ipsec.HMACSHA1, 12},
	{wire.AuthMD5HMAC, 128, ipsec.HMACMD5, 12},
	{wire.AuthRIPEMD160HMAC, 160, ipsec.HMACRIPEMD160, 12},
	{wire.AuthSHA256HMAC, 256, ipsec.HMACSHA256, 16},
	{wire.AuthSHA384HMAC, 384, ipsec.HMACSHA384, 24},
	{wire.AuthSHA512HMAC, 512, ipsec.HMACSHA512, 32},
	{wire.AuthAES128GMAC, 160, nil, 0},
	{wire.AuthAES192GMAC, 224, nil, 0},
	{wire.AuthAES256GMAC, 288, nil, 0},
	{wire.AuthChaCha20Poly1305, 288, nil, 0},
}

// encAlg is an algorithm of encryption, struct enc_xform: as REGISTER lists it, and what it is to packets.
type encAlg struct {
	wire.Alg
	cipher *ipsec.Cipher
	step   int // bits between key lengths, from MinBits on
}

// encrypts are in the order of REGISTER. An IV is stated in bits.
var encrypts = []encAlg{
	{wire.Alg{ID: wire.EncNull}, ipsec.NULL, 0},
	{wire.Alg{ID: wire.Enc3DESCBC, IVLen: 64, MinBits: 192, MaxBits: 192}, ipsec.TripleDES, 64},
	{wire.Alg{ID: wire.EncBlowfishCBC, IVLen: 64, MinBits: 40, MaxBits: 448}, ipsec.BlowfishCBC, 8},
	{wire.Alg{ID: wire.EncCAST128CBC, IVLen: 64, MinBits: 40, MaxBits: 128}, ipsec.CAST128CBC, 8},
	{wire.Alg{ID: wire.EncAESCBC, IVLen: 128, MinBits: 128, MaxBits: 256}, ipsec.AESCBC, 64},
	{wire.Alg{ID: wire.EncAESCTR, IVLen: 128, MinBits: 160, MaxBits: 288}, ipsec.AESCTR, 64},
	{wire.Alg{ID: wire.EncAESGCM16, IVLen: 64, MinBits: 160, MaxBits: 288}, ipsec.AESGCM, 64},
	{wire.Alg{ID: wire.EncNullAESGMAC, IVLen: 64, MinBits: 160, MaxBits: 288}, ipsec.AESGMAC, 64},
	{wire.Alg{ID: wire.EncChaCha20Poly1305, IVLen: 64, MinBits: 288, MaxBits: 288}, ipsec.ChaCha, 64},
}

var compressions = []wire.Alg{{ID: wire.CompDeflate}}

func findAuth(id wire.AlgID) *authAlg {
	if i := slices.IndexFunc(auths, func(a authAlg) bool { return a.id == id }); i >= 0 {
		return &auths[i]
	}
	return nil
}

func findEncrypt(id wire.AlgID) *encAlg {
	if i := slices.IndexFunc(encrypts, func(a encAlg) bool { return a.ID == id }); i >= 0 {
		return &encrypts[i]
	}
	return nil
}

// takes says whether a cipher takes a key of so many bytes. NULL takes any, and has no use for it.
func (a *encAlg) takes(n int) bool {
	bits := 8 * n
	return a.ID == wire.EncNull ||
		bits >= int(a.MinBits) && bits <= int(a.MaxBits) && (bits-int(a.MinBits))%a.step == 0
}

// aeadAuth is the authentication that an SA shows whose cipher makes the ICV, by the bytes of its key.
func aeadAuth(cipher *ipsec.Cipher, n int) wire.AlgID {
	if cipher == ipsec.ChaCha {
		return wire.AuthChaCha20Poly1305
	}
	return map[int]wire.AlgID{20: wire.AuthAES128GMAC, 28: wire.AuthAES192GMAC, 36: wire.AuthAES256GMAC}[n]
}

// keying is what an SA says of the protection of its packets, as messages have it. A key is nil if there is none.
type keying struct {
	proto         uint8 // IP protocol
	auth, encrypt wire.AlgID
	authKey, key  []byte
	flags         wire.SAFlags
}

// maxTCPKey is the longest key of TCP signatures, in bytes (TCP_KEYLEN_MAX).
const maxTCPKey = 80

// prepare makes what seals and opens the packets of an SA (ah_init, esp_init, ipcomp_init, tcp_signature_tdb_init). It
// changes the keying into what the SA shows. The suite is nil where there is nothing to seal with.
func (a *keying) prepare() (*ipsec.Suite, wire.Errno) {
	switch a.proto {
	case ip.ProtoESP:
		return a.esp()
	case ip.ProtoAH:
		m := findAuth(a.auth)
		a.encrypt, a.key = wire.EncNone, nil
		if m == nil || m.mac == nil || 8*len(a.authKey) != m.bits {
			return nil, wire.EINVAL
		}
		return &ipsec.Suite{Proto: ipsec.AH, MAC: m.mac, ICV: m.icv, AuthKey: ipsec.NewKey(a.authKey),
			ESN: a.flags&wire.OpenBSDFlagXESN != 0}, wire.OK
	case ip.ProtoComp:
		a.auth, a.authKey, a.key = wire.AuthNone, nil, nil
		if a.encrypt != wire.CompDeflate {
			return nil, wire.EINVAL
		}
		return nil, wire.OK
	case ip.ProtoTCP:
		a.auth, a.encrypt, a.key = wire.AuthNone, wire.EncNone, nil
		if len(a.authKey) < 1 || len(a.authKey) > maxTCPKey {
			return nil, wire.EINVAL
		}
		return nil, wire.OK
	}
	*a = keying{}
	return nil, wire.OK
}

func (a *keying) esp() (*ipsec.Suite, wire.Errno) {
	u := &ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.NULL, ESN: a.flags&wire.OpenBSDFlagXESN != 0}
	switch c := findEncrypt(a.encrypt); {
	case a.encrypt == wire.EncNone:
		if a.auth == wire.AuthNone {
			return nil, wire.EINVAL
		}
		a.key = nil
	case c == nil || !c.takes(len(a.key)):
		return nil, wire.EINVAL
	case a.key == nil:
		a.key = []byte{} // NULL shows that it has none
	default:
		u.Cipher = c.cipher
	}
	var m *authAlg
	switch {
	case u.Cipher.AEAD():
		a.auth, a.authKey = aeadAuth(u.Cipher, len(a.key)), a.key
	case a.auth == wire.AuthNone:
		a.authKey = nil
	default:
		m = findAuth(a.auth)
		if m == nil || 8*len(a.authKey) != m.bits {
			return nil, wire.EINVAL
		}
		if m.mac == nil { // nothing opens what the original seals so
			return nil, wire.OK
		}
	}
	// Keys are copied once nothing can be wrong any more, and belong to the suite.
	if u.Cipher != ipsec.NULL {
		split := len(a.key) - u.Cipher.SaltLen
		u.Key, u.Salt = ipsec.NewKey(a.key[:split]), ipsec.NewKey(a.key[split:])
	}
	if m != nil {
		u.MAC, u.ICV, u.AuthKey = m.mac, m.icv, ipsec.NewKey(a.authKey)
	}
	return u, wire.OK
}

// newTransform is what seals and opens packets; nil for no suite, or a key that no implementation takes: CAST-128 with
// up to 80 bits.
func newTransform(u *ipsec.Suite) *ipsec.Transform {
	if u == nil {
		return nil
	}
	t, err := u.New()
	if err != nil {
		u.OwnKeys()
		return nil
	}
	t.OwnKeys()
	return t
}

// Suite is how an SA that PF_KEY describes so protects packets: with which algorithms and keys, in tunnel mode or not,
// and between which ports of UDP encapsulation, if any. Errors name what the kernel does not have.
func Suite(d *wire.Dialect, sa *pfkey.SA) (s *ipsec.Suite, tunnel bool, udp ipsec.Ports, err error) {
	a := keying{auth: sa.Auth, encrypt: sa.Encrypt, authKey: sa.AuthKey.Data, key: sa.EncryptKey.Data, flags: sa.Flags}
	switch sa.Type {
	case wire.SATypeESP:
		a.proto = ip.ProtoESP
	case wire.SATypeAH:
		a.proto = ip.ProtoAH
	default:
		return nil, false, udp, fmt.Errorf("SA type %s is neither esp nor ah", sa.Type)
	}
	s, errno := a.prepare()
	if errno != wire.OK || s == nil {
		return nil, false, udp, fmt.Errorf("openbsd has no SA of authentication %d and encryption %d with such keys",
			sa.Auth, sa.Encrypt)
	}
	if sa.Flags&wire.OpenBSDFlagXUDPEncap != 0 {
		udp = ipsec.Ports{Src: ipsec.NATTPort, Dst: ipsec.NATTPort}
		msg := d.Finish(append(make([]byte, wire.HeaderLen), sa.Extra...)) // to be walked over
		if x, ok := d.Find(msg, wire.OpenBSDExtXUDPEncap); ok {
			if v, err := d.ParseNATTPort(x.Raw); err == nil && v.Port != 0 {
				udp.Dst = v.Port
			}
		}
	}
	return s, sa.Flags&wire.OpenBSDFlagXTunnel != 0, udp, nil
}
