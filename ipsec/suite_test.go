package ipsec_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

// TestKeysNeverPrint formats everything that holds a key with every verb and looks for the key.
func TestKeysNeverPrint(t *testing.T) {
	secret := []byte("sixteen secretly") // printable, so that it would show as text too
	k := ipsec.NewKey(secret)
	s := ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: k, Salt: ipsec.NewKey(secret[:4])}
	tr := newTransform(t, s)
	if _, err := tr.SealESP(nil, nil, 59, ipsec.Sealing{IV: make([]byte, 8)}); err != nil { // sets the cipher up
		t.Fatal(err)
	}
	mac := ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA1, AuthKey: k}
	bad := mac
	bad.ICV = 99
	_, err := bad.New()
	type private struct {
		key   ipsec.Key
		suite ipsec.Suite
	}
	things := map[string]any{
		"key": k, "pointer to key": &k, "suite": s, "pointer to suite": &s, "transform": tr, "mac suite": mac,
		"error":          err,
		"private fields": private{k, s}, "pointer to private fields": &private{k, s}, "slice": []any{k, s, &s, tr},
		"map": map[string]ipsec.Key{"k": k}, "exported": struct{ K ipsec.Key }{k},
	}
	needles := []string{string(secret[:4]), hex.EncodeToString(secret[:4]),
		strings.ToUpper(hex.EncodeToString(secret[:4])),
		"115 105 120", "0x73, 0x69", "163 151"}
	check := func(how, out string) {
		t.Helper()
		if out == "" {
			t.Errorf("%s: nothing printed", how)
		}
		for _, n := range needles {
			if strings.Contains(out, n) {
				t.Errorf("%s shows the key: %s", how, out)
			}
		}
	}
	for name, thing := range things {
		for verb := 'A'; verb <= 'z'; verb++ {
			for _, flags := range []string{"", "+", "#", " ", "#+", "08.3"} {
				f := "%" + flags + string(verb)
				check(name+" with "+f, fmt.Sprintf(f, thing))
			}
		}
		var text, js bytes.Buffer
		slog.New(slog.NewTextHandler(&text, nil)).Info("x", "thing", thing)
		slog.New(slog.NewJSONHandler(&js, nil)).Info("x", "thing", thing)
		check(name+" logged as text", text.String())
		check(name+" logged as JSON", js.String())
		if b, err := json.Marshal(thing); err == nil {
			check(name+" as JSON", string(b))
		}
	}
}

func TestKey(t *testing.T) {
	b := []byte{1, 2, 3}
	k := ipsec.NewKey(b)
	b[0] = 9
	got := k.Bytes()
	if !bytes.Equal(got, []byte{1, 2, 3}) {
		t.Errorf("the key follows the bytes it was made from: %v", got)
	}
	got[0] = 9
	if !k.Equal(ipsec.NewKey([]byte{1, 2, 3})) || k.Equal(ipsec.NewKey([]byte{9, 2, 3})) || k.Equal(ipsec.Key{}) {
		t.Error("Equal, or a key changed through Bytes")
	}
	if n := (ipsec.Key{}).Len(); n != 0 {
		t.Errorf("empty key of %d bytes", n)
	}
	if got, want := k.String(), "key(24 bits, hidden)"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
}

func TestSuiteChecks(t *testing.T) {
	esp := func(c *ipsec.Cipher, k, salt, icv int) ipsec.Suite {
		return ipsec.Suite{Proto: ipsec.ESP, Cipher: c, Key: key(k), Salt: key(salt), ICV: icv}
	}
	with := func(s ipsec.Suite, m *ipsec.MAC, k, icv int) ipsec.Suite {
		s.MAC, s.AuthKey, s.ICV = m, key(k), icv
		return s
	}
	for _, tt := range []struct {
		name  string
		suite ipsec.Suite
		icv   int // -1: refused
	}{
		{"null without anything", esp(nil, 0, 0, 0), 0},
		{"null with a key", esp(ipsec.NULL, 8, 0, 0), -1},
		{"aes-cbc-128", esp(ipsec.AESCBC, 16, 0, 0), 0},
		{"aes-cbc-192", esp(ipsec.AESCBC, 24, 0, 0), 0},
		{"aes-cbc-160", esp(ipsec.AESCBC, 20, 0, 0), -1},
		{"aes-cbc with a salt", esp(ipsec.AESCBC, 16, 4, 0), -1},
		{"aes-cbc with an ICV and no MAC", esp(ipsec.AESCBC, 16, 0, 12), -1},
		{"des with 7 bytes", esp(ipsec.DESCBC, 7, 0, 0), -1},
		{"gcm, usual ICV", esp(ipsec.AESGCM, 16, 4, 0), 16},
		{"gcm-8", esp(ipsec.AESGCM, 16, 4, 8), 8},
		{"gcm-9", esp(ipsec.AESGCM, 16, 4, 9), -1},
		{"gcm without salt", esp(ipsec.AESGCM, 16, 0, 0), -1},
		{"gcm with a MAC", with(esp(ipsec.AESGCM, 16, 4, 0), ipsec.HMACSHA1, 20, 0), -1},
		{"sha1", with(esp(ipsec.NULL, 0, 0, 0), ipsec.HMACSHA1, 20, 0), 12},
		{"sha256", with(esp(ipsec.NULL, 0, 0, 0), ipsec.HMACSHA256, 32, 0), 16},
		{"sha256-96", with(esp(ipsec.NULL, 0, 0, 0), ipsec.HMACSHA256, 32, 12), 12},
		{"sha256, too long", with(esp(ipsec.NULL, 0, 0, 0), ipsec.HMACSHA256, 32, 33), -1},
		{"negative ICV", with(esp(ipsec.NULL, 0, 0, 0), ipsec.HMACSHA256, 32, -1), -1},
		{"xcbc with 20 bytes", with(esp(ipsec.NULL, 0, 0, 0), ipsec.AESXCBC, 20, 0), -1},
		{"ah", with(ipsec.Suite{Proto: ipsec.AH}, ipsec.HMACMD5, 16, 0), 12},
		{"ah without MAC", ipsec.Suite{Proto: ipsec.AH}, -1},
		{"ah with a cipher", with(ipsec.Suite{Proto: ipsec.AH, Cipher: ipsec.NULL}, ipsec.HMACMD5, 16, 0), -1},
		{"no protocol", ipsec.Suite{}, -1},
	} {
		tr, err := tt.suite.New()
		switch {
		case tt.icv < 0 && err == nil:
			t.Errorf("%s: accepted", tt.name)
		case tt.icv >= 0 && err != nil:
			t.Errorf("%s: %v", tt.name, err)
		case tt.icv >= 0 && (tr.ICVLen() != tt.icv || tr.Authenticated() != (tt.icv > 0)):
			t.Errorf("%s: ICV of %d bytes, want %d", tt.name, tr.ICVLen(), tt.icv)
		}
	}
}

func TestNames(t *testing.T) {
	s := ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: key(32), MAC: ipsec.HMACSHA256, AuthKey: key(32),
		ICV: 12, ESN: true}
	for got, want := range map[string]string{
		s.String(): "esp aes-cbc-256 hmac-sha256 icv-96 esn",
		ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACMD5}.String(): "ah hmac-md5 icv-96",
		ipsec.ESP.String():            "esp",
		ipsec.Proto(17).String():      "unknown(0x11)",
		(*ipsec.Cipher)(nil).String(): "none",
		(*ipsec.MAC)(nil).String():    "none",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	names := map[string]bool{}
	for _, c := range ipsec.Ciphers() {
		if names[c.Name] || c.String() != c.Name {
			t.Errorf("cipher name %q", c.Name)
		}
		names[c.Name] = true
	}
}

// TestRoundTrip seals and opens with every suite, payloads of every small length, in fresh memory and in place.
func TestRoundTrip(t *testing.T) {
	for _, s := range suites() {
		if s.Proto != ipsec.ESP {
			continue
		}
		t.Run(s.String(), func(t *testing.T) {
			tr := newTransform(t, s)
			for n := range 70 {
				payload := sequence(byte(n), n)
				iv, err := tr.AppendIV(nil, uint64(n), bytes.NewReader(sequence(3, 16)))
				if err != nil {
					t.Fatal(err)
				}
				const hi = 7
				esp, err := tr.SealESP(nil, payload, 17, ipsec.Sealing{SPI: 0x1234, Seq: hi<<32 | 9, IV: iv})
				if err != nil {
					t.Fatal(err)
				}
				if want := max(tr.Block(), 4); (len(esp)-8-tr.IVLen()-tr.ICVLen())%want != 0 {
					t.Fatalf("payload of %d bytes: sealed to %d", n, len(esp))
				}
				original := slices.Clone(esp)
				plain, err := tr.OpenESP([]byte("before"), esp, hi)
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(esp, original) {
					t.Fatal("OpenESP changed the packet")
				}
				plain, ok := bytes.CutPrefix(plain, []byte("before"))
				if !ok || !bytes.Equal(ipsec.Payload(plain), payload) || !ipsec.CheckPadding(plain) {
					t.Fatalf("payload of %d bytes: opened to %x", n, plain)
				}
				if _, next, _ := ipsec.Trailer(plain); next != 17 {
					t.Fatalf("next header %d", next)
				}
				if _, err := tr.OpenESP(nil, esp, hi+1); s.ESN && tr.Authenticated() != (err == ipsec.ErrICV) ||
					!s.ESN && err != nil {
					t.Fatalf("with another high half: %v", err)
				}
				// In place, over the IV or over the ciphertext.
				head := 8 + tr.IVLen()
				got, err := tr.OpenESP(esp[:head], esp, hi)
				if err != nil || !bytes.Equal(got[head:], plain) || &got[0] != &esp[0] {
					t.Fatalf("in place: %x, %v", got, err)
				}
				// The payload where it will be, and elsewhere in the room of dst.
				for _, at := range []int{head, 0, 5} {
					buf := make([]byte, 400)
					copy(buf[at:], payload)
					got, err := tr.SealESP(buf[:0], buf[at:at+n], 17, ipsec.Sealing{SPI: 0x1234, Seq: hi<<32 | 9,
						IV: iv})
					if err != nil || !bytes.Equal(got, original) {
						t.Fatalf("payload at %d of dst's room: %x, %v", at, got, err)
					}
				}
			}
		})
	}
}

func TestSealErrors(t *testing.T) {
	tr := newTransform(t, ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: key(16)})
	iv := make([]byte, 16)
	for _, tt := range []struct {
		name    string
		payload int
		s       ipsec.Sealing
		want    error
	}{
		{"fine", 100, ipsec.Sealing{IV: iv}, nil},
		{"align 64", 100, ipsec.Sealing{IV: iv, Align: 64}, nil},
		{"short IV", 100, ipsec.Sealing{IV: iv[:8]}, ipsec.ErrIV},
		{"no multiple of the block", 100, ipsec.Sealing{IV: iv, Align: 8}, ipsec.ErrAlign},
		{"beyond a pad length", 100, ipsec.Sealing{IV: iv, Align: 272}, ipsec.ErrAlign},
		{"negative", 100, ipsec.Sealing{IV: iv, Align: -16}, ipsec.ErrAlign},
		{"too long", 65535, ipsec.Sealing{IV: iv}, ipsec.ErrTooLong},
	} {
		out, err := tr.SealESP([]byte("x"), make([]byte, tt.payload), 4, tt.s)
		if err != tt.want || err != nil && string(out) != "x" {
			t.Errorf("%s: %v, %d bytes; want %v", tt.name, err, len(out), tt.want)
		}
	}
	// Align 256 is the most that a pad length can express: 255 bytes.
	esp, err := tr.SealESP(nil, make([]byte, 255), 4, ipsec.Sealing{IV: iv, Align: 256})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := tr.OpenESP(nil, esp, 0)
	if padLen, _, ok := ipsec.Trailer(plain); err != nil || !ok || padLen != 255 || !ipsec.CheckPadding(plain) {
		t.Errorf("padding of %d, %v", padLen, err)
	}
}

func TestTrailer(t *testing.T) {
	for _, tt := range []struct {
		plain         string
		padLen        int
		next          uint8
		ok, all, last bool
		payload       string
	}{
		{"", 0, 0, false, false, false, ""},
		{"00", 0, 0, false, false, false, ""},
		{"0006", 0, 6, true, true, true, ""},
		{"0106", 1, 6, false, false, false, ""},
		{"aa0006", 0, 6, true, true, true, "aa"},
		{"010106", 1, 6, true, true, true, ""},
		{"aa01020206", 2, 6, true, true, true, "aa"},
		{"aa00020206", 2, 6, true, false, true, "aa"},
		{"aa01000206", 2, 6, true, false, false, "aa"},
		{"aa0102ff06", 255, 6, false, false, false, ""},
	} {
		plain := unhex(tt.plain)
		padLen, next, ok := ipsec.Trailer(plain)
		if padLen != tt.padLen || next != tt.next || ok != tt.ok {
			t.Errorf("Trailer(%s) = %d, %d, %v", tt.plain, padLen, next, ok)
		}
		if got := ipsec.CheckPadding(plain); got != tt.all {
			t.Errorf("CheckPadding(%s) = %v", tt.plain, got)
		}
		if got := ipsec.CheckLastPad(plain); got != tt.last {
			t.Errorf("CheckLastPad(%s) = %v", tt.plain, got)
		}
		if got := hex.EncodeToString(ipsec.Payload(plain)); got != tt.payload {
			t.Errorf("Payload(%s) = %s", tt.plain, got)
		}
	}
}

// TestConcurrentUse opens and seals with one transform on many goroutines.
func TestConcurrentUse(t *testing.T) {
	for _, s := range suites() {
		if s.Proto != ipsec.ESP || s.ESN {
			continue
		}
		t.Run(s.String(), func(t *testing.T) {
			tr := newTransform(t, s)
			done := make(chan error)
			const workers = 4
			for w := range workers {
				go func() {
					done <- func() error {
						for i := range 50 {
							payload := sequence(byte(w), 20+i)
							iv := sequence(byte(w+i), tr.IVLen())
							esp, err := tr.SealESP(nil, payload, 4, ipsec.Sealing{SPI: uint32(w), Seq: uint64(i),
								IV: iv})
							if err != nil {
								return err
							}
							plain, err := tr.OpenESP(nil, esp, 0)
							if err != nil {
								return err
							}
							if !bytes.Equal(ipsec.Payload(plain), payload) {
								return fmt.Errorf("opened to %x", plain)
							}
						}
						return nil
					}()
				}()
			}
			for range workers {
				if err := <-done; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// Keys that a suite owns are overwritten when it is gone, with or without a transform.
func TestOwnKeys(t *testing.T) {
	for _, way := range []struct {
		name string
		own  func(*ipsec.Suite)
	}{
		{"suite", (*ipsec.Suite).OwnKeys},
		{"transform", func(s *ipsec.Suite) {
			tr, err := s.New()
			if err != nil {
				t.Fatal(err)
			}
			tr.OwnKeys()
		}},
	} {
		key := ipsec.NewKey([]byte("0123456789abcdefghij"))
		way.own(&ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA1, AuthKey: key})
		overwritten := false
		for range 100 { // another goroutine sees to it
			runtime.GC()
			runtime.Gosched()
			if overwritten = bytes.Equal(key.Bytes(), make([]byte, key.Len())); overwritten {
				break
			}
		}
		if !overwritten {
			t.Errorf("%s: the key is still there", way.name)
		}
	}
}
