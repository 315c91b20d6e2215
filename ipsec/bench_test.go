package ipsec_test

import (
	"crypto/aes"
	"crypto/cipher"
	"testing"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

const benchPayload = 1400

// sealed makes a packet to open, with room for what comes out.
func sealed(b testing.TB, s ipsec.Suite) (tr *ipsec.Transform, iv, esp, room []byte) {
	tr = newTransform(b, s)
	iv = sequence(1, tr.IVLen())
	esp, err := tr.SealESP(nil, make([]byte, benchPayload), 4, ipsec.Sealing{SPI: 1, Seq: 1, IV: iv})
	if err != nil {
		b.Fatal(err)
	}
	return tr, iv, esp, make([]byte, 0, len(esp)+64)
}

// TestAllocations opens, seals and parses without allocating, given room.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("a sync.Pool forgets at random under the race detector")
	}
	count := func(name string, want float64, f func()) {
		t.Helper()
		if got := testing.AllocsPerRun(200, f); got > want {
			t.Errorf("%s: %v allocations", name, got)
		}
	}
	var err error
	check := func() {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range suites() {
		if s.Proto != ipsec.ESP {
			continue
		}
		tr, iv, esp, room := sealed(t, s)
		want := 0.0
		if s.Cipher == ipsec.AESCTR {
			want = 1
		}
		count("open "+s.String(), want, func() { _, err = tr.OpenESP(room, esp, 0); check() })
		payload := make([]byte, benchPayload)
		count("seal "+s.String(), want, func() {
			_, err = tr.SealESP(room, payload, 4, ipsec.Sealing{SPI: 1, Seq: 1, IV: iv})
			check()
		})
	}
	esp := newTransform(t, ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: key(16), Salt: key(4)})
	ah := newTransform(t, ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA256, AuthKey: key(32)})
	inner, iv := ip4(17, nil, udp(1, 2, make([]byte, 1000))), make([]byte, 8)
	room := make([]byte, 0, 2000)
	var pkt []byte
	count("seal a tunnel", 0, func() {
		o := ipsec.Outer{Src: v6a, Dst: v6b}
		pkt, err = esp.SealTunnel(room, inner, &o, ipsec.Ports{Src: 1, Dst: 4500},
			ipsec.Sealing{SPI: 1, Seq: 1, IV: iv})
		check()
	})
	var in ipsec.Inbound
	count("parse", 0, func() { in, err = ipsec.ParseInbound(pkt); check() })
	count("seal AH in transport mode", 0, func() {
		pkt, err = ah.SealTransport(room, inner, ipsec.Ports{}, ipsec.Sealing{SPI: 1, Seq: 1})
		check()
	})
	count("verify AH", 0, func() { err = ah.VerifyAH(pkt, 20, 0); check() })
	in, err = ipsec.ParseInbound(pkt)
	check()
	count("decapsulate", 0, func() { _, err = ipsec.DecapTransport(pkt[:0], pkt, &in, pkt[44:], 17); check() })
}

func BenchmarkOpenESPGCM1400(b *testing.B) {
	tr, _, esp, room := sealed(b, ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: key(16), Salt: key(4)})
	b.SetBytes(benchPayload)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tr.OpenESP(room, esp, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBareGCM1400 is the cipher alone on the same packet.
func BenchmarkBareGCM1400(b *testing.B) {
	_, iv, esp, room := sealed(b, ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: key(16), Salt: key(4)})
	block, err := aes.NewCipher(key(16).Bytes())
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	nonce := append(key(4).Bytes(), iv...)
	b.SetBytes(benchPayload)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := gcm.Open(room, nonce, esp[16:], esp[:8]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSealESPGCM1400(b *testing.B) {
	tr, iv, _, room := sealed(b, ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: key(16), Salt: key(4)})
	payload := make([]byte, benchPayload)
	b.SetBytes(benchPayload)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tr.SealESP(room, payload, 4, ipsec.Sealing{SPI: 1, Seq: 1, IV: iv}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBareSealGCM1400(b *testing.B) {
	_, iv, _, room := sealed(b, ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: key(16), Salt: key(4)})
	block, err := aes.NewCipher(key(16).Bytes())
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	nonce, payload, aad := append(key(4).Bytes(), iv...), make([]byte, benchPayload+4), make([]byte, 8)
	b.SetBytes(benchPayload)
	b.ReportAllocs()
	for b.Loop() {
		gcm.Seal(room, nonce, payload, aad)
	}
}

// BenchmarkOpen1400 opens with one suite of every kind.
func BenchmarkOpen1400(b *testing.B) {
	for _, s := range []ipsec.Suite{
		{Proto: ipsec.ESP, MAC: ipsec.HMACSHA1, AuthKey: key(20)},
		{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: key(16), MAC: ipsec.HMACSHA1, AuthKey: key(20)},
		{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: key(32), MAC: ipsec.HMACSHA256, AuthKey: key(32)},
		{Proto: ipsec.ESP, Cipher: ipsec.TripleDES, Key: key(24), MAC: ipsec.HMACMD5, AuthKey: key(16)},
		{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: key(16), Salt: key(4), ICV: 8},
		{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: key(16), Salt: key(4), ICV: 12},
		{Proto: ipsec.ESP, Cipher: ipsec.AESCCM, Key: key(16), Salt: key(3)},
		{Proto: ipsec.ESP, Cipher: ipsec.ChaCha, Key: key(32), Salt: key(4)},
	} {
		b.Run(s.String(), func(b *testing.B) {
			tr, _, esp, room := sealed(b, s)
			b.SetBytes(benchPayload)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := tr.OpenESP(room, esp, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkVerifyAH1400(b *testing.B) {
	ah := newTransform(b, ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA256, AuthKey: key(32)})
	pkt, err := ah.SealTransport(nil, ip4(17, nil, make([]byte, benchPayload)), ipsec.Ports{},
		ipsec.Sealing{SPI: 1, Seq: 1})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(benchPayload)
	b.ReportAllocs()
	for b.Loop() {
		if err := ah.VerifyAH(pkt, 20, 0); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseInbound(b *testing.B) {
	pkt := ip4(17, nil, udp(4500, 4500, sequence(1, 100)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ipsec.ParseInbound(pkt); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWindow(b *testing.B) {
	w := ipsec.NewWindow(64)
	b.ReportAllocs()
	for seq := uint64(1); b.Loop(); seq++ {
		if w.Look(seq).Seen || !w.Accept(seq) {
			b.Fatal(seq)
		}
	}
}
