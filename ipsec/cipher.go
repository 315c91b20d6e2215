package ipsec

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"encoding/binary"
	"io"
	"sync"
)

// Cipher is one row of the table of encryption algorithms; lengths are bytes. To add an algorithm: a row and its
// function.
type Cipher struct {
	Name    string
	MinKey  int // key without salt
	MaxKey  int
	KeyStep int
	Block   int   // the encrypted part must be a multiple of it; 1 for stream ciphers
	IVLen   int   // explicit IV in every packet
	SaltLen int   // implicit part of the nonce, beside the key
	Counter bool  // an IV must never repeat, so it is a counter; otherwise it is random
	ICVs    []int // what an AEAD allows; nil for a cipher that needs a MAC beside it

	newMode func(key, salt []byte) (mode, error)
	newAEAD func(key, salt []byte, icv int) (aead, error)
}

// The encryption algorithms. They are shared, and must not be changed. (Their type is written out so that go doc has
// them beside it.)
var (
	// RFC 2410
	NULL *Cipher = &Cipher{Name: "null", KeyStep: 1, Block: 1, newMode: newNull}
	// RFC 2405
	DESCBC *Cipher = &Cipher{Name: "des-cbc", MinKey: 8, MaxKey: 8, KeyStep: 8, Block: 8, IVLen: 8,
		newMode: cbcOf(des.NewCipher)}
	// RFC 2451
	TripleDES *Cipher = &Cipher{Name: "3des-cbc", MinKey: 24, MaxKey: 24, KeyStep: 8, Block: 8, IVLen: 8,
		newMode: cbcOf(des.NewTripleDESCipher)}
	BlowfishCBC *Cipher = &Cipher{Name: "blowfish-cbc", MinKey: 4, MaxKey: 56, KeyStep: 1, Block: 8, IVLen: 8,
		newMode: cbcOf(newBlowfish)}
	// CAST-128 with keys of up to 80 bits has 12 rounds, which nobody implements for Go; longer ones are padded with
	// zeros.
	CAST128CBC *Cipher = &Cipher{Name: "cast128-cbc", MinKey: 11, MaxKey: 16, KeyStep: 1, Block: 8, IVLen: 8,
		newMode: cbcOf(newCAST)}
	TwofishCBC *Cipher = &Cipher{Name: "twofish-cbc", MinKey: 16, MaxKey: 32, KeyStep: 8, Block: 16, IVLen: 16,
		newMode: cbcOf(newTwofish)}
	SerpentCBC *Cipher = &Cipher{Name: "serpent-cbc", MaxKey: 32, KeyStep: 1, Block: 16, IVLen: 16,
		newMode: cbcOf(newSerpent)}
	SkipjackCBC *Cipher = &Cipher{Name: "skipjack-cbc", MinKey: 10, MaxKey: 10, KeyStep: 1, Block: 8, IVLen: 8,
		newMode: cbcOf(newSkipjack)}
	// RFC 4312
	CamelliaCBC *Cipher = &Cipher{Name: "camellia-cbc", MinKey: 16, MaxKey: 32, KeyStep: 8, Block: 16, IVLen: 16,
		newMode: cbcOf(newCamellia)}
	// RFC 3602
	AESCBC *Cipher = &Cipher{Name: "aes-cbc", MinKey: 16, MaxKey: 32, KeyStep: 8, Block: 16, IVLen: 16,
		newMode: cbcOf(aes.NewCipher)}
	// RFC 3686
	AESCTR *Cipher = &Cipher{Name: "aes-ctr", MinKey: 16, MaxKey: 32, KeyStep: 8, Block: 1, IVLen: 8, SaltLen: 4,
		Counter: true, newMode: newCTR}

	AESGCM  *Cipher = aeadRow("aes-gcm", 16, 4, []int{8, 12, 16}, newGCM)       // RFC 4106
	AESGMAC *Cipher = aeadRow("aes-gmac", 16, 4, []int{16}, newGMAC)            // RFC 4543: integrity only
	AESCCM  *Cipher = aeadRow("aes-ccm", 16, 3, []int{8, 12, 16}, newCCM)       // RFC 4309
	ChaCha  *Cipher = aeadRow("chacha20-poly1305", 32, 4, []int{16}, newChaCha) // RFC 7634
)

func aeadRow(name string, minKey, salt int, icvs []int, f func(key, salt []byte, icv int) (aead, error)) *Cipher {
	return &Cipher{Name: name, MinKey: minKey, MaxKey: 32, KeyStep: 8, Block: 1, IVLen: 8, SaltLen: salt, Counter: true,
		ICVs: icvs, newAEAD: f}
}

var ciphers = []*Cipher{NULL, DESCBC, TripleDES, BlowfishCBC, CAST128CBC, TwofishCBC, SerpentCBC, SkipjackCBC,
	CamelliaCBC, AESCBC, AESCTR, AESGCM, AESGMAC, AESCCM, ChaCha}

// Ciphers lists the table.
func Ciphers() []*Cipher { return append([]*Cipher(nil), ciphers...) }

// AEAD tells whether the cipher brings its own integrity check.
func (c *Cipher) AEAD() bool { return c.newAEAD != nil }

// KeyOK tells whether n bytes are a possible key length (salt not counted).
func (c *Cipher) KeyOK(n int) bool {
	return n >= c.MinKey && n <= c.MaxKey && (n-c.MinKey)%c.KeyStep == 0
}

// String returns the name.
func (c *Cipher) String() string {
	if c == nil {
		return "none"
	}
	return c.Name
}

// AppendIV appends an IV for one packet: counter in network order for a counter-mode cipher, else bytes of rand. The
// caller counts, and never gives a counter twice under one key. The error is that of rand.
func (c *Cipher) AppendIV(dst []byte, counter uint64, rand io.Reader) ([]byte, error) {
	if c.Counter {
		return binary.BigEndian.AppendUint64(dst, counter), nil
	}
	n := len(dst)
	dst = grow(dst, c.IVLen)
	_, err := io.ReadFull(rand, dst[n:])
	return dst, err
}

// mode is a keyed cipher without integrity. Both functions work on multiples of the block, in place or not at all
// overlapping, and are safe for concurrent use.
type mode interface {
	encrypt(dst, src, iv []byte)
	decrypt(dst, src, iv []byte)
}

type null struct{}

func newNull(key, salt []byte) (mode, error) { return null{}, nil }
func (null) encrypt(dst, src, iv []byte)     { copy(dst, src) }
func (null) decrypt(dst, src, iv []byte)     { copy(dst, src) }

// cbc keeps its chaining states for reuse: they are the only thing that would be allocated for a packet.
type cbc struct{ enc, dec sync.Pool }

// chain is what the standard library's CBC modes are.
type chain interface {
	cipher.BlockMode
	SetIV([]byte)
}

func cbcOf(block func(key []byte) (cipher.Block, error)) func(key, salt []byte) (mode, error) {
	return func(key, _ []byte) (mode, error) {
		b, err := block(key)
		if err != nil {
			return nil, err
		}
		return &cbc{
			enc: sync.Pool{New: func() any { return cipher.NewCBCEncrypter(b, make([]byte, b.BlockSize())) }},
			dec: sync.Pool{New: func() any { return cipher.NewCBCDecrypter(b, make([]byte, b.BlockSize())) }},
		}, nil
	}
}

func (c *cbc) encrypt(dst, src, iv []byte) { chained(&c.enc, dst, src, iv) }
func (c *cbc) decrypt(dst, src, iv []byte) { chained(&c.dec, dst, src, iv) }

func chained(pool *sync.Pool, dst, src, iv []byte) {
	m := pool.Get().(chain)
	m.SetIV(iv)
	m.CryptBlocks(dst, src)
	pool.Put(m)
}

// ctr is AES in counter mode: nonce, IV, and a counter that begins at 1 (RFC 3686 section 4).
type ctr struct {
	b    cipher.Block
	salt [4]byte
}

func newCTR(key, salt []byte) (mode, error) {
	b, err := aes.NewCipher(key)
	return &ctr{b, [4]byte(salt)}, err
}

func (c *ctr) encrypt(dst, src, iv []byte) {
	s := scratches.Get().(*scratch)
	block := s.sum[:16]
	clear(block)
	copy(block, c.salt[:])
	copy(block[4:], iv)
	block[15] = 1
	cipher.NewCTR(c.b, block).XORKeyStream(dst, src)
	scratches.Put(s)
}

func (c *ctr) decrypt(dst, src, iv []byte) { c.encrypt(dst, src, iv) }
