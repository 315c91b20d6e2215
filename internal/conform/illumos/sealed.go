package illumos

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/wire"
)

// protection is how an SA protects packets, as an ADD or UPDATE put it.
type protection struct {
	proto         ipsec.Proto
	auth, encrypt wire.AlgID
	authKey       wire.Key
	encryptKey    wire.Key
}

// keyring holds the protections a scenario has stated, newest first, by protocol and SPI.
type keyring map[ringKey][]protection

type ringKey struct {
	proto ipsec.Proto
	spi   wire.SPI
}

// learn takes the keys out of an ADD or UPDATE; a message that has none, or is malformed, teaches nothing.
func (r keyring) learn(msg []byte) {
	h, err := dialect.Header(msg)
	if err != nil {
		return
	}
	var p protection
	switch h.SAType {
	case wire.SATypeAH:
		p.proto = ipsec.AH
	case wire.SATypeESP:
		p.proto = ipsec.ESP
	default:
		return
	}
	x, ok := dialect.Find(msg, wire.ExtSA)
	if !ok {
		return
	}
	sa, err := dialect.ParseSA(x.Raw)
	if err != nil {
		return
	}
	p.auth, p.encrypt = sa.Auth, sa.Encrypt
	for typ, to := range map[wire.ExtType]*wire.Key{wire.ExtKeyAuth: &p.authKey, wire.ExtKeyEncrypt: &p.encryptKey} {
		if x, ok := dialect.Find(msg, typ); ok {
			if *to, err = dialect.ParseKey(x.Raw); err != nil {
				return
			}
		}
	}
	k := ringKey{p.proto, sa.SPI}
	r[k] = append([]protection{p}, r[k]...)
}

var errNoKeys = errors.New("no ADD or UPDATE stated the keys of its SA")

// try calls f with the transform of each protection that has been stated for an SPI, until one fits.
func (r keyring) try(k ringKey, do func(*ipsec.Transform) error) error {
	err := errNoKeys
	for _, p := range r[k] {
		s, e := suite(p)
		if e != nil {
			err = e
			continue
		}
		t, e := s.New()
		if e != nil {
			err = e
			continue
		}
		if err = do(t); err == nil {
			return nil
		}
	}
	return err
}

// open checks the ICVs of a protected packet and returns its IPsec headers up to where they become unpredictable, and
// what is under them, for comparison.
func (r keyring) open(pkt []byte) ([]byte, error) {
	in, err := ipsec.ParseInbound(pkt)
	if err != nil {
		return nil, err
	}
	esp, head := in.ESP(pkt), []byte(nil)
	if in.Proto == ipsec.AH {
		size := ipsec.ParseAH(pkt, &in)
		if err := r.try(ringKey{ipsec.AH, wire.SPI(in.SPI)}, func(t *ipsec.Transform) error {
			return t.VerifyAH(pkt, in.Off, 0)
		}); err != nil {
			return nil, fmt.Errorf("AH: %w", err)
		}
		// The ICV has been checked: it lies between the fixed part and the padding, whose length the ICV's says.
		esp = esp[size.Len:]
		if size.Next != uint8(ipsec.ESP) {
			return esp, nil
		}
	}
	if len(esp) < wordOfESP {
		return nil, ipsec.ErrShort
	}
	head = bytes.Clone(esp[:wordOfESP])
	var plain []byte
	err = r.try(ringKey{ipsec.ESP, wire.SPI(binary.BigEndian.Uint32(esp))}, func(t *ipsec.Transform) (err error) {
		plain, err = t.OpenESP(nil, esp, 0)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("ESP: %w", err)
	}
	return append(head, plain...), nil
}

const wordOfESP = 8 // SPI and sequence number, bytes

// sealed: both packets open with the keys of the scenario, and hold the same.
func sealed(j *conform.Judge, w conform.Whole) string {
	m := j.Memory.(*memory)
	want, err := m.golden.open(w.Want)
	if err != nil {
		return fmt.Sprintf("the recorded packet cannot be opened: %v", err)
	}
	got, err := m.ours.open(w.Got)
	if err != nil {
		return fmt.Sprintf("the packet cannot be opened: %v", err)
	}
	if !bytes.Equal(want, got) {
		return fmt.Sprintf("opened, it holds %x instead of %x", got, want)
	}
	return ""
}

// macs and ciphers are the algorithms that the recorded packets are protected with.
var macs = map[wire.AlgID]*ipsec.MAC{
	wire.AuthMD5HMAC:    ipsec.HMACMD5,
	wire.AuthSHA1HMAC:   ipsec.HMACSHA1,
	wire.AuthSHA256HMAC: ipsec.HMACSHA256,
	wire.AuthSHA384HMAC: ipsec.HMACSHA384,
	wire.AuthSHA512HMAC: ipsec.HMACSHA512,
}

var ciphers = map[wire.AlgID]struct {
	cipher *ipsec.Cipher
	icv    int
}{
	wire.EncNone:        {ipsec.NULL, 0},
	wire.EncDESCBC:      {ipsec.DESCBC, 0},
	wire.Enc3DESCBC:     {ipsec.TripleDES, 0},
	wire.EncBlowfishCBC: {ipsec.BlowfishCBC, 0},
	wire.EncNull:        {ipsec.NULL, 0},
	wire.EncAESCBC:      {ipsec.AESCBC, 0},
	wire.EncAESCCM8:     {ipsec.AESCCM, 8},
	wire.EncAESCCM12:    {ipsec.AESCCM, 12},
	wire.EncAESCCM16:    {ipsec.AESCCM, 16},
	wire.EncAESGCM8:     {ipsec.AESGCM, 8},
	wire.EncAESGCM12:    {ipsec.AESGCM, 12},
	wire.EncAESGCM16:    {ipsec.AESGCM, 16},
}

// suite builds the suite of an SA as PF_KEY states it here: the key of a cipher is followed by its salt and, if
// the reserved field of the extension says so, by bits of the first IV.
func suite(p protection) (*ipsec.Suite, error) {
	s := &ipsec.Suite{Proto: p.proto}
	if p.auth != wire.AuthNone {
		if s.MAC = macs[p.auth]; s.MAC == nil {
			return nil, fmt.Errorf("unknown authentication algorithm %d", p.auth)
		}
		s.AuthKey = ipsec.NewKey(p.authKey.Data)
	}
	if p.proto == ipsec.AH {
		return s, nil
	}
	c, ok := ciphers[p.encrypt]
	if !ok {
		return nil, fmt.Errorf("unknown encryption algorithm %d", p.encrypt)
	}
	if s.Cipher = c.cipher; c.cipher == ipsec.NULL {
		return s, nil
	}
	n := (int(p.encryptKey.Bits)-int(p.encryptKey.Reserved))/8 - c.cipher.SaltLen
	if n < 0 || n+c.cipher.SaltLen > len(p.encryptKey.Data) {
		return nil, errors.New("encryption key shorter than its salt")
	}
	s.Key = ipsec.NewKey(slices.Clone(p.encryptKey.Data[:n]))
	s.Salt = ipsec.NewKey(p.encryptKey.Data[n : n+c.cipher.SaltLen])
	s.ICV = c.icv
	return s, nil
}
