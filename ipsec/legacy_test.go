package ipsec_test

import (
	"bytes"
	"crypto/md5"
	"crypto/sha1"
	"encoding/hex"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
)

//lint:file-ignore SA1019 These are what kernels still have.

// TestSkipjack has the example that NIST's specification prints, through CBC with an IV of zeros.
func TestSkipjack(t *testing.T) {
	tr := newTransform(t, ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.SkipjackCBC,
		Key: ipsec.NewKey(unhex("00998877665544332211"))})
	esp := unhex("00001000 00000001 0000000000000000 2587cae27a12d300")
	plain, err := tr.OpenESP(nil, esp, 0)
	if want := unhex("33221100ddccbbaa"); err != nil || !bytes.Equal(plain, want) {
		t.Errorf("decrypted: %x, %v; want %x", plain, err, want)
	}
	sealed, err := tr.SealESP(nil, []byte("six.."), 17, ipsec.Sealing{SPI: 1, IV: make([]byte, 8)})
	if err != nil {
		t.Fatal(err)
	}
	if plain, err = tr.OpenESP(nil, sealed, 0); err != nil || string(ipsec.Payload(plain)) != "six.." {
		t.Errorf("what is encrypted does not come back: %x, %v", plain, err)
	}
}

// TestKeyedHashes computes the ICV of NULL encryption with the hashes alone: the key, filled up to a block, the packet,
// the key.
func TestKeyedHashes(t *testing.T) {
	key := sequence(1, 20)
	fill := func(key []byte, length string) []byte {
		b := append(append([]byte(nil), key...), 0x80)
		return append(append(b, make([]byte, 56-len(b))...), unhex(length)...)
	}
	for _, test := range []struct {
		mac    *ipsec.MAC
		key    []byte
		filled []byte
		sum    func([]byte) []byte
	}{
		{ipsec.KeyedMD5, key[:16], fill(key[:16], "8000000000000000"),
			func(b []byte) []byte { s := md5.Sum(b); return s[:] }},
		{ipsec.KeyedSHA1, key, fill(key, "00000000000000a0"), func(b []byte) []byte { s := sha1.Sum(b); return s[:] }},
	} {
		tr := newTransform(t, ipsec.Suite{Proto: ipsec.ESP, MAC: test.mac, AuthKey: ipsec.NewKey(test.key)})
		esp, err := tr.SealESP(nil, []byte("hello, world"), 17, ipsec.Sealing{SPI: 0x1000, Seq: 1})
		if err != nil {
			t.Fatal(err)
		}
		body, icv := esp[:len(esp)-test.mac.ICV], esp[len(esp)-test.mac.ICV:]
		want := test.sum(append(append(append([]byte(nil), test.filled...), body...), test.key...))
		if !bytes.Equal(icv, want) {
			t.Errorf("%v: %x, want %x", test.mac, icv, want)
		}
		if _, err := tr.OpenESP(nil, esp, 0); err != nil {
			t.Errorf("%v: %v", test.mac, err)
		}
	}
}

// TestOldForms looks at packets without a sequence number.
func TestOldForms(t *testing.T) {
	esp := newTransform(t, ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.DESCBC, Key: ipsec.NewKey(sequence(1, 8)),
		MAC: ipsec.HMACSHA1, AuthKey: ipsec.NewKey(sequence(1, 20)), Old: true})
	inner := unhex("4500001c000100004011f6ccc0000201c0000202" + "9c40000900080000")
	pkt, err := esp.SealTransport(nil, inner, ipsec.Ports{}, ipsec.Sealing{SPI: 0x1000, Seq: 7, IV: sequence(9, 8)})
	if err != nil {
		t.Fatal(err)
	}
	got, want := hex.EncodeToString(pkt[20:32]), "00001000"+"090a0b0c0d0e0f10"
	if got != want || len(pkt) != 20+4+8+16+12 {
		t.Errorf("ESP begins with %s and has %d bytes", got, len(pkt))
	}
	if plain, err := esp.OpenESP(nil, pkt[20:], 0); err != nil || !bytes.Equal(ipsec.Payload(plain), inner[20:]) {
		t.Errorf("ESP: %x, %v", plain, err)
	}
	ah := newTransform(t, ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA1, ICV: 16,
		AuthKey: ipsec.NewKey(sequence(1, 20)), Old: true})
	if pkt, err = ah.SealTransport(nil, inner, ipsec.Ports{}, ipsec.Sealing{SPI: 0x1000, Seq: 7}); err != nil {
		t.Fatal(err)
	}
	if got = hex.EncodeToString(pkt[20:28]); got != "1104"+"0000"+"00001000" || len(pkt) != 20+8+16+8 {
		t.Errorf("AH begins with %s and has %d bytes", got, len(pkt))
	}
	if err := ah.VerifyAH(pkt, ip.Len4, 0); err != nil {
		t.Errorf("AH: %v", err)
	}
	pkt[len(pkt)-1] ^= 1
	if err := ah.VerifyAH(pkt, ip.Len4, 0); err != ipsec.ErrICV {
		t.Errorf("AH with another payload: %v", err)
	}
	for _, bad := range []ipsec.Suite{
		{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: ipsec.NewKey(sequence(0, 16)),
			Salt: ipsec.NewKey(sequence(0, 4))},
		{Proto: ipsec.ESP, MAC: ipsec.HMACSHA1, ESN: true},
		{Proto: ipsec.AH, MAC: ipsec.GMAC, AuthKey: ipsec.NewKey(sequence(0, 20))},
	} {
		bad.Old = true
		if _, err := bad.New(); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}

// TestZeroMAC has an ICV that is there and says nothing.
func TestZeroMAC(t *testing.T) {
	tr := newTransform(t, ipsec.Suite{Proto: ipsec.ESP, MAC: ipsec.ZeroMAC})
	esp, err := tr.SealESP(nil, []byte("ab"), 17, ipsec.Sealing{SPI: 0x1000, Seq: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hex.EncodeToString(esp[8:]), "61620011"+"000000000000000000000000"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if _, err := tr.OpenESP(nil, esp, 0); err != nil {
		t.Error(err)
	}
	esp[len(esp)-1] = 1
	if _, err := tr.OpenESP(nil, esp, 0); err != ipsec.ErrICV {
		t.Errorf("another ICV: %v", err)
	}
}

// TestPad has padding of another kind than that of the RFC.
func TestPad(t *testing.T) {
	tr := newTransform(t, ipsec.Suite{Proto: ipsec.ESP})
	esp, err := tr.SealESP(nil, []byte("abcde"), 17, ipsec.Sealing{SPI: 0x1000, Seq: 1, Pad: []byte{7, 8, 9, 10},
		Align: 16})
	if got := hex.EncodeToString(esp[8:]); err != nil || got != "6162636465"+"0708090a"+"05060708"+"09"+"0911" {
		t.Errorf("%s, %v", got, err)
	}
}
