package ipsec

import (
	"crypto/md5"
	"crypto/sha1"
	"encoding/binary"
	"hash"
)

//lint:file-ignore SA1019 Nobody should use these any more, but the kernels offer them and programs ask for them.

// keyed is a keyed hash of the time before HMAC (RFC 1828, RFC 1852): the key filled up to whole blocks as the hash
// fills up its last one, the data, the key again. What is to be known after [keyed.Sum] is the sum alone: only Reset
// may follow.
type keyed struct {
	hash.Hash
	first []byte // the key, filled up
	key   []byte
}

func newKeyed(h hash.Hash, order binary.AppendByteOrder, key []byte) hash.Hash {
	first := append(append([]byte(nil), key...), 0x80)
	for len(first)%h.BlockSize() != h.BlockSize()-8 {
		first = append(first, 0)
	}
	k := &keyed{h, order.AppendUint64(first, 8*uint64(len(key))), append([]byte(nil), key...)}
	k.Reset()
	return k
}

func newKeyedMD5(key []byte) (hash.Hash, error) {
	return newKeyed(md5.New(), binary.LittleEndian, key), nil
}

func newKeyedSHA1(key []byte) (hash.Hash, error) {
	return newKeyed(sha1.New(), binary.BigEndian, key), nil
}

func (k *keyed) Reset() {
	k.Hash.Reset()
	k.Write(k.first)
}

func (k *keyed) Sum(b []byte) []byte {
	k.Write(k.key)
	return k.Hash.Sum(b)
}
