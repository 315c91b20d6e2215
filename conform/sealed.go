package conform

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/wire"
)

// protection is how an SA protects packets, as an ADD or UPDATE put it.
type protection struct {
	proto         ipsec.Proto
	auth, encrypt uint8 // the dialect's numbers
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
func (r keyring) learn(f *family, msg []byte) {
	h, err := f.dialect.Header(msg)
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
	x, ok := f.dialect.Find(msg, wire.ExtSA)
	if !ok {
		return
	}
	sa, err := f.dialect.ParseSA(x.Raw)
	if err != nil {
		return
	}
	p.auth, p.encrypt = sa.Auth, sa.Encrypt
	for typ, to := range map[wire.ExtType]*wire.Key{wire.ExtKeyAuth: &p.authKey, wire.ExtKeyEncrypt: &p.encryptKey} {
		if x, ok := f.dialect.Find(msg, typ); ok {
			if *to, err = f.dialect.ParseKey(x.Raw); err != nil {
				return
			}
		}
	}
	k := ringKey{p.proto, sa.SPI}
	r[k] = append([]protection{p}, r[k]...)
}

var errNoKeys = errors.New("no ADD or UPDATE stated the keys of its SA")

// try calls f with the transform of each protection that has been stated for an SPI, until one fits.
func (r keyring) try(f *family, k ringKey, do func(*ipsec.Transform) error) error {
	err := errNoKeys
	for _, p := range r[k] {
		s, e := f.suite(p)
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
func (r keyring) open(f *family, pkt []byte) ([]byte, error) {
	in, err := ipsec.ParseInbound(pkt)
	if err != nil {
		return nil, err
	}
	esp, head := in.ESP(pkt), []byte(nil)
	if in.Proto == ipsec.AH {
		size := ipsec.ParseAH(pkt, &in)
		if err := r.try(f, ringKey{ipsec.AH, wire.SPI(in.SPI)}, func(t *ipsec.Transform) error {
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
	err = r.try(f, ringKey{ipsec.ESP, wire.SPI(binary.BigEndian.Uint32(esp))}, func(t *ipsec.Transform) (err error) {
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
func (j *judge) sealed(w whole) string {
	want, err := j.golden.open(j.f, w.want)
	if err != nil {
		return fmt.Sprintf("the recorded packet cannot be opened: %v", err)
	}
	got, err := j.ours.open(j.f, w.got)
	if err != nil {
		return fmt.Sprintf("the packet cannot be opened: %v", err)
	}
	if !bytes.Equal(want, got) {
		return fmt.Sprintf("opened, it holds %x instead of %x", got, want)
	}
	return ""
}
