package ipsec

//lint:file-ignore SA1019 Nobody should use these any more, but the kernels offer them and programs ask for them.

import (
	"crypto/cipher"
	"hash"

	"github.com/aead/serpent"
	"golang.org/x/crypto/blowfish"
	"golang.org/x/crypto/cast5"
	"golang.org/x/crypto/ripemd160"
	"golang.org/x/crypto/twofish"
)

func newBlowfish(key []byte) (cipher.Block, error) { return blowfish.NewCipher(key) }
func newTwofish(key []byte) (cipher.Block, error)  { return twofish.NewCipher(key) }
func newRIPEMD160() hash.Hash                      { return ripemd160.New() }

// newSerpent makes a key of up to 32 bytes that long: a one bit, which is the lowest of its byte, and zeros, as the
// cipher's authors have it.
func newSerpent(key []byte) (cipher.Block, error) {
	var k [32]byte
	if n := copy(k[:], key); n < len(k) {
		k[n] = 1
	}
	return serpent.NewCipher(k[:])
}

// newCAST takes keys of 11 to 16 bytes; shorter ones would have fewer rounds (RFC 2144 section 2.5).
func newCAST(key []byte) (cipher.Block, error) {
	var k [16]byte
	copy(k[:], key)
	return cast5.NewCipher(k[:])
}
