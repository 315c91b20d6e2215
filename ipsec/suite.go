package ipsec

import (
	"encoding/binary"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
)

// Proto is an IP protocol number of IPsec.
type Proto uint8

// The two protocols.
const (
	ESP Proto = 50 // RFC 4303
	AH  Proto = 51 // RFC 4302
)

// String returns "esp", "ah" or unknown(number).
func (p Proto) String() string {
	switch p {
	case ESP:
		return "esp"
	case AH:
		return "ah"
	}
	return fmt.Sprintf("unknown(%#x)", uint8(p))
}

// Suite says how one SA protects packets: protocol, algorithms, keys. It is not changed once it has been given to
// [Suite.New], and may be shared. It prints without its keys.
type Suite struct {
	Proto   Proto
	Cipher  *Cipher // nil for AH; nil means NULL for ESP
	Key     Key     // without salt
	Salt    Key     // Cipher.SaltLen bytes
	MAC     *MAC    // nil: no integrity, or the AEAD's own
	AuthKey Key     // with the salt of [GMAC]
	ICV     int     // bytes on the wire; 0: the MAC's usual length, or the longest of the AEAD
	ESN     bool    // extended sequence numbers: the high half enters the ICV
	Old     bool    // ESP of RFC 1827, AH of RFC 1826: without a sequence number
}

// String describes the suite without its keys.
func (s Suite) String() string {
	var b strings.Builder
	fmt.Fprint(&b, s.Proto)
	if s.Proto != AH {
		fmt.Fprintf(&b, " %s-%d", s.cipher(), 8*s.Key.Len())
	}
	if s.MAC != nil {
		fmt.Fprintf(&b, " %s", s.MAC)
	}
	fmt.Fprintf(&b, " icv-%d", 8*s.icv())
	if s.ESN {
		b.WriteString(" esn")
	}
	if s.Old {
		b.WriteString(" old")
	}
	return b.String()
}

// Format writes [Suite.String], whatever the verb.
func (s Suite) Format(f fmt.State, verb rune) { io.WriteString(f, s.String()) }

// LogValue implements [slog.LogValuer].
func (s Suite) LogValue() slog.Value { return slog.StringValue(s.String()) }

func (s *Suite) cipher() *Cipher {
	if s.Cipher == nil && s.Proto == ESP {
		return NULL
	}
	return s.Cipher
}

// aead tells whether the cipher makes the ICV.
func (s *Suite) aead() bool { return s.Proto == ESP && s.cipher().AEAD() }

func (s *Suite) icv() int {
	switch {
	case s.ICV != 0:
		return s.ICV
	case s.aead():
		return slices.Max(s.Cipher.ICVs)
	case s.MAC != nil:
		return s.MAC.ICV
	}
	return 0
}

// New checks that lengths and algorithms fit each other. The keyed ciphers, about a kilobyte, are set up at the first
// packet.
func (s *Suite) New() (*Transform, error) {
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("ipsec: %v: %w", *s, err)
	}
	t := &Transform{suite: s, icv: s.icv(), block: 1, head: headerLen(s.Proto)}
	if s.Old {
		t.head -= seqLen
	}
	if c := s.cipher(); s.Proto == ESP {
		t.ivLen, t.block = c.IVLen, c.Block
	} else {
		t.ivLen = s.MAC.IVLen
	}
	return t, nil
}

func (s *Suite) check() error {
	if s.Old && (s.ESN || s.aead() || s.MAC == GMAC) {
		return fmt.Errorf("the old form has no sequence number, and this needs one")
	}
	switch s.Proto {
	case AH:
		if s.Cipher != nil || s.MAC == nil {
			return fmt.Errorf("AH needs a MAC and has no cipher")
		}
	case ESP:
		c := s.cipher()
		if !c.KeyOK(s.Key.Len()) {
			return fmt.Errorf("no key length of this cipher")
		}
		if s.Salt.Len() != c.SaltLen {
			return fmt.Errorf("salt of %d bytes, not %d", s.Salt.Len(), c.SaltLen)
		}
		if c.AEAD() {
			if s.MAC != nil || !slices.Contains(c.ICVs, s.icv()) {
				return fmt.Errorf("the cipher has no ICV of this length, or a MAC beside its own")
			}
			return nil
		}
	default:
		return fmt.Errorf("neither ESP nor AH")
	}
	if s.MAC == nil {
		if s.ICV != 0 {
			return fmt.Errorf("an ICV without a MAC")
		}
		return nil
	}
	if s.MAC == GMAC && (s.Proto != AH || s.icv() != s.MAC.ICV) {
		return fmt.Errorf("this MAC is for AH, with an ICV of %d bytes; for ESP it is a cipher", s.MAC.ICV)
	}
	if n := s.icv(); n < 0 || n == 0 && s.MAC != NullMAC || n > s.MAC.Size {
		return fmt.Errorf("the MAC has no ICV of this length")
	}
	if n := s.AuthKey.Len(); s.MAC.aes && !AESCBC.KeyOK(n-s.MAC.saltLen()) {
		return fmt.Errorf("no key length of this MAC")
	}
	return nil
}

// Transform protects and opens packets with one suite. It is safe for concurrent use. It prints as its suite does.
type Transform struct {
	suite *Suite
	icv   int
	ivLen int
	block int
	head  int // length of the ESP header, of the AH header up to the ICV

	once sync.Once // guards the set-up of what follows
	err  error
	mode mode
	aead aead
	macs sync.Pool // of *macState
}

// macState is a keyed MAC that works on one packet at a time.
type macState struct {
	h   hash.Hash
	sum [64]byte
	hi  [4]byte
}

// OwnKeys says that nobody else uses the keys of the suite: they are overwritten once nobody can reach t any more. It
// cannot reach what the standard library's ciphers and MACs have made of them.
func (t *Transform) OwnKeys() {
	runtime.AddCleanup(t, (*Suite).forget, t.suite)
}

// OwnKeys is [Transform.OwnKeys] for a suite without a transform, as that of a TCP signature is. Who uses a key keeps
// the suite.
func (s *Suite) OwnKeys() {
	runtime.AddCleanup(s, (*Suite).forget, &Suite{Key: s.Key, Salt: s.Salt, AuthKey: s.AuthKey})
}

func (s *Suite) forget() {
	for _, k := range []Key{s.Key, s.Salt, s.AuthKey} {
		clear(k.bytes())
	}
}

// Suite returns the description it was made from; it must not be changed.
func (t *Transform) Suite() *Suite { return t.suite }

// headerLen is how many bytes of a protocol's header stand before the IV, or the ICV; the last of them are the sequence
// number.
func headerLen(p Proto) int {
	if p == AH {
		return ahHeaderLen
	}
	return espHeaderLen
}

const seqLen = 4

// ICVLen is the length of the ICV on the wire in bytes.
func (t *Transform) ICVLen() int { return t.icv }

// IVLen is the length of the explicit IV in bytes.
func (t *Transform) IVLen() int { return t.ivLen }

// Block is what the length of the encrypted part must be a multiple of, in bytes; 1 for stream ciphers and AEADs.
func (t *Transform) Block() int { return t.block }

// Authenticated tells whether packets have an ICV at all.
func (t *Transform) Authenticated() bool { return t.icv > 0 }

// AppendIV is [Cipher.AppendIV] of its cipher. A MAC that has an IV counts as well.
func (t *Transform) AppendIV(dst []byte, counter uint64, rand io.Reader) ([]byte, error) {
	switch {
	case t.suite.Proto != AH:
	case t.ivLen > 0:
		return binary.BigEndian.AppendUint64(dst, counter), nil
	default:
		return dst, nil
	}
	return t.suite.cipher().AppendIV(dst, counter, rand)
}

// Format writes the suite without its keys, whatever the verb.
func (t *Transform) Format(f fmt.State, verb rune) { t.suite.Format(f, verb) }

// LogValue implements [slog.LogValuer].
func (t *Transform) LogValue() slog.Value { return t.suite.LogValue() }

// ready sets the ciphers up, once.
func (t *Transform) ready() error {
	t.once.Do(func() { t.err = t.setUp() })
	return t.err
}

func (t *Transform) setUp() (err error) {
	s := t.suite
	if s.Proto == ESP {
		if c := s.cipher(); c.AEAD() {
			t.aead, err = c.newAEAD(s.Key.bytes(), s.Salt.bytes(), t.icv)
		} else {
			t.mode, err = c.newMode(s.Key.bytes(), s.Salt.bytes())
		}
	}
	if err == nil && s.MAC != nil {
		_, err = s.MAC.new(s.AuthKey.bytes())
		t.macs.New = func() any {
			h, _ := s.MAC.new(s.AuthKey.bytes()) // succeeded above
			return &macState{h: h}
		}
	}
	if err != nil {
		return fmt.Errorf("ipsec: %v: %w", *s, err)
	}
	return nil
}

// startMAC takes a MAC for one packet; its owner gives it back with t.macs.Put.
func (t *Transform) startMAC() *macState {
	m := t.macs.Get().(*macState)
	m.h.Reset()
	return m
}

// finish returns the ICV, valid until m is given back. seqHi enters if the SA has extended sequence numbers.
func (t *Transform) finish(m *macState, seqHi uint32) []byte {
	if t.suite.ESN {
		m.hi = [4]byte{byte(seqHi >> 24), byte(seqHi >> 16), byte(seqHi >> 8), byte(seqHi)}
		m.h.Write(m.hi[:])
	}
	return m.h.Sum(m.sum[:0])[:t.icv]
}
