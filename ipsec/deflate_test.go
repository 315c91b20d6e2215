package ipsec_test

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

// TestDeflateAsZlib compares with what zlib makes at level 6 with a window of 12 bits, where it uses fixed codes; and
// the lengths of packets with zeros behind a UDP header with those that kernels sent.
func TestDeflateAsZlib(t *testing.T) {
	for _, test := range []struct{ data, want string }{
		{"6161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161616161",
			"4b4c240f0000"},
		{"868666b245128cb0f30ac37c9431e1868666b24512522b3eeed08c868666b24512868666b245128c522b3eeed0868666b24512522b3eeed0",
			"6b6b4bdbe42ad4b3e133d7e19a29860fdbc0dc206dbb77177a206c08d9031642920500"},
		{"b398013527b3980135275e36dd1a93139fb1295e365e36b398013527b398013527dd1a93139fb1295e36dd1a93139fb129dd1a93139fb129dd1a93139fb1295e36b3980135275e36b3980135275e36",
			"db3c83d1547d33888833bb2b355978fe46cd38b338b3cd7061b82094814a4155c22900"},
		{"2738bbd9c8d0b3e9e5df65a80511df65a805112738bbd9c8d0b3e9e5df65a8051138bbd9c8d0b3e9e5df65a8051127df65a8051127df65a80511df65a805112727df65a80511",
			"53b7d87df3c485cd2f9fde4f5dc12a0826d451845038ea48248409610300"},
		{"367534d584e46699367534d584e46699367534d584e46699367534d584e46699367534d584e46699367534d584e46699367534d584e46699367534d584e46699367534d584e46699",
			"332b35b9daf2246da619853400"},
	} {
		if got := hex.EncodeToString(ipsec.Deflate(unhex(test.data))); got != test.want {
			t.Errorf("%s becomes %s, want %s", test.data, got, test.want)
		}
	}
	for n, want := range map[int]int{90: 11, 98: 11, 99: 11, 108: 11, 308: 12, 1008: 16, 1408: 19} {
		b := make([]byte, n)
		copy(b, []byte{0x9c, 0x40, 0, 9})
		binary.BigEndian.PutUint16(b[4:], uint16(n))
		if got := len(ipsec.Deflate(b)); got != want {
			t.Errorf("%d bytes become %d, want %d", n, got, want)
		}
	}
}

// TestDeflateInflate compresses and expands what is easy, hard, empty and long.
func TestDeflateInflate(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := 0; n < 70000; n += 1 + n/2 {
		for _, kinds := range []int{1, 2, 3, 17, 256} {
			b := make([]byte, n)
			for i := range b {
				b[i] = byte(r.IntN(kinds))
			}
			z := ipsec.Deflate(b)
			got, ok := ipsec.Inflate(z, n)
			if !ok || !bytes.Equal(got, b) {
				t.Fatalf("%d bytes of %d kinds do not come back", n, kinds)
			}
			if _, ok := ipsec.Inflate(z, n-1); ok && n > 0 {
				t.Fatalf("%d bytes are given where %d may be", n, n-1)
			}
			if _, ok := ipsec.Inflate(z[:len(z)-1], n); ok {
				t.Fatalf("%d bytes of %d kinds: what is cut is taken", n, kinds)
			}
		}
	}
}
