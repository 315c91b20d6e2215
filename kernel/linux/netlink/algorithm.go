package netlink

import (
	"bytes"
	"slices"

	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// algorithm is what the kernel calls one.
type algorithm struct {
	id   wire.AlgID
	name string
}

// What the kernel calls algorithms. To add one: a row here, and one in package afkey.
var (
	auths = []algorithm{
		{wire.AuthNull, "digest_null"}, {wire.AuthMD5HMAC, "hmac(md5)"}, {wire.AuthSHA1HMAC, "hmac(sha1)"},
		{wire.AuthSHA256HMAC, "hmac(sha256)"}, {wire.AuthSHA384HMAC, "hmac(sha384)"},
		{wire.AuthSHA512HMAC, "hmac(sha512)"}, {wire.AuthRIPEMD160HMAC, "hmac(rmd160)"},
		{wire.AuthAESXCBCMAC, "xcbc(aes)"}, {wire.AuthSM3HMAC, "hmac(sm3)"},
	}
	crypts = []algorithm{
		{wire.EncNull, "ecb(cipher_null)"}, {wire.EncDESCBC, "cbc(des)"}, {wire.Enc3DESCBC, "cbc(des3_ede)"},
		{wire.EncCAST128CBC, "cbc(cast5)"}, {wire.EncBlowfishCBC, "cbc(blowfish)"}, {wire.EncAESCBC, "cbc(aes)"},
		{wire.EncSerpentCBC, "cbc(serpent)"}, {wire.EncCamelliaCBC, "cbc(camellia)"},
		{wire.EncTwofishCBC, "cbc(twofish)"}, {wire.EncAESCTR, "rfc3686(ctr(aes))"}, {wire.EncSM4CBC, "cbc(sm4)"},
	}
	comps = []algorithm{{wire.CompDeflate, "deflate"}, {wire.CompLZS, "lzs"}, {wire.CompLZJH, "lzjh"}}
)

// aead is an algorithm of both, which has a size of the ICV beside its name.
type aead struct {
	algorithm
	icvBits uint32
}

// Of PF_KEY they are algorithms of encryption, with the salt behind the key.
var aeads = []aead{
	{algorithm{wire.EncAESCCM8, "rfc4309(ccm(aes))"}, 64}, {algorithm{wire.EncAESCCM12, "rfc4309(ccm(aes))"}, 96},
	{algorithm{wire.EncAESCCM16, "rfc4309(ccm(aes))"}, 128},
	{algorithm{wire.EncAESGCM8, "rfc4106(gcm(aes))"}, 64}, {algorithm{wire.EncAESGCM12, "rfc4106(gcm(aes))"}, 96},
	{algorithm{wire.EncAESGCM16, "rfc4106(gcm(aes))"}, 128},
	{algorithm{wire.EncNullAESGMAC, "rfc4543(gcm(aes))"}, 128},
}

// nameOf is what the kernel calls an algorithm; empty if it has none.
func nameOf(table []algorithm, id wire.AlgID) string {
	for _, a := range table {
		if a.id == id {
			return a.name
		}
	}
	return ""
}

// symbol finds an algorithm by its name; 0 for one that PF_KEY does not have.
func symbol(table []algorithm, name string) wire.AlgID {
	for _, a := range table {
		if a.name == name {
			return a.id
		}
	}
	return 0
}

func aeadOf(id wire.AlgID) (aead, bool) {
	i := slices.IndexFunc(aeads, func(a aead) bool { return a.id == id })
	if i < 0 {
		return aead{}, false
	}
	return aeads[i], true
}

const algNameLen = 64

// name is the name of an algorithm, which ends with a zero.
func (c *coder) name(v *string) {
	b := c.take(algNameLen)
	if c.writing {
		copy(b, *v)
		return
	}
	if i := bytes.IndexByte(b, 0); i >= 0 {
		b = b[:i]
	}
	*v = string(b)
}

// algo is struct xfrm_algo, xfrm_algo_auth and xfrm_algo_aead. The second number is the size of the ICV in bits, which
// the first of them has not.
type algo struct {
	name    string
	bits    uint32 // of the key
	icvBits uint32
	key     []byte
}

func (c *coder) algo(a *algo, icv bool) {
	c.name(&a.name)
	c.u32(&a.bits)
	if icv {
		c.u32(&a.icvBits)
	}
	n := (uint64(a.bits) + 7) / 8
	if c.writing {
		copy(c.take(len(a.key)), a.key)
		return
	}
	if n > uint64(len(c.b)) {
		c.err = errShort
	}
	if c.err == nil {
		a.key = c.take(int(n))
	}
}

// maxKeyBits is the longest key that PF_KEY can express.
const maxKeyBits = 1<<16 - 1

// algorithms puts what attributes say of algorithms into s, whose keys are then copies. Of an AEAD nothing is told
// unless c.AEAD: AF_KEY has no numbers for them.
func (c Codec) algorithms(s *transform.State, auth, crypt, comp, aead *algo) {
	room := 0
	for _, a := range []*algo{auth, crypt, aead} {
		if a != nil {
			room += len(a.key)
		}
	}
	s.Keys = make([]byte, 0, room)
	if auth != nil && auth.bits <= maxKeyBits {
		s.Auth, s.AuthBits = symbol(auths, auth.name), uint16(auth.bits)
		s.Keys = append(s.Keys, auth.key...)
	}
	if crypt != nil && crypt.bits <= maxKeyBits {
		s.Encrypt, s.EncryptBits = symbol(crypts, crypt.name), uint16(crypt.bits)
		s.Keys = append(s.Keys, crypt.key...)
	}
	if comp != nil {
		s.Compress = symbol(comps, comp.name)
	}
	if aead != nil && c.AEAD && aead.bits <= maxKeyBits {
		for _, a := range aeads {
			if a.name == aead.name && a.icvBits == aead.icvBits {
				s.Encrypt, s.EncryptBits = a.id, uint16(aead.bits)
				s.Keys = append(s.Keys, aead.key...)
			}
		}
	}
}

// putAlgorithms appends the attributes of an SA's algorithms. Without a size of the ICV the kernel takes the one that
// PF_KEY has.
func (c Codec) putAlgorithms(w *writer, s *transform.State) {
	const plain, sized = algNameLen + 4, algNameLen + 8
	put := func(t attrType, a algo, size int) {
		w.attr(t, size+len(a.key), func(c *coder) { c.algo(&a, size == sized) })
	}
	if s.Auth != 0 {
		a := algo{name: nameOf(auths, s.Auth), bits: uint32(s.AuthBits), key: s.AuthKey()}
		if s.Auth == wire.AuthSHA256HMAC && c.SHA256Bits != 0 {
			a.icvBits = c.SHA256Bits
			put(attrAuthTruncated, a, sized)
		} else {
			put(attrAuth, a, plain)
		}
	}
	if s.Encrypt != 0 {
		a := algo{bits: uint32(s.EncryptBits), key: s.EncryptKey()}
		if x, ok := aeadOf(s.Encrypt); ok {
			a.name, a.icvBits = x.name, x.icvBits
			put(attrAEAD, a, sized)
		} else {
			a.name = nameOf(crypts, s.Encrypt)
			put(attrCrypt, a, plain)
		}
	}
	if s.Compress != 0 {
		put(attrComp, algo{name: nameOf(comps, s.Compress)}, plain)
	}
}
