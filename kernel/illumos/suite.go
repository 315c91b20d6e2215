package illumos

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Suite is how an SA that PF_KEY describes so protects packets: with which algorithms and keys, in tunnel mode or not,
// and between which ports of UDP encapsulation, if any, as the host sends. Errors name what the kernel does not have.
func Suite(d *wire.Dialect, sa *pfkey.SA) (s *ipsec.Suite, tunnel bool, udp ipsec.Ports, err error) {
	s = &ipsec.Suite{Proto: ipsec.ESP}
	switch sa.Type {
	case wire.SATypeESP:
	case wire.SATypeAH:
		s.Proto = ipsec.AH
	default:
		return nil, false, udp, fmt.Errorf("SA type %s is neither esp nor ah", sa.Type)
	}
	var encryptKey, salt []byte
	if sa.AuthKey.Data != nil && authAlg(sa.Auth) == nil {
		return nil, false, udp, fmt.Errorf("illumos has no authentication algorithm %d", sa.Auth)
	}
	if s.Proto == ipsec.ESP {
		alg := encryptAlg(sa.Encrypt)
		if alg == nil {
			return nil, false, udp, fmt.Errorf("illumos has no encryption algorithm %d", sa.Encrypt)
		}
		n := alg.keyBits(sa.EncryptKey) / 8
		if n < 0 || n+alg.saltLen > len(sa.EncryptKey.Data) {
			return nil, false, udp, errors.New("the encryption key is shorter than its salt")
		}
		encryptKey, salt = sa.EncryptKey.Data[:n], sa.EncryptKey.Data[n:n+alg.saltLen]
	}
	fillSuite(s, sa.Auth, sa.Encrypt, sa.AuthKey.Data, encryptKey, salt)

	msg := d.Finish(append(make([]byte, wire.HeaderLen), sa.Extra...)) // to be walked over
	_, tunnel = d.Find(msg, wire.IllumosExtXAddressInnerSrc)
	if sa.Flags&flagNATT != 0 {
		var nat natAddrs
		if x, ok := d.Find(msg, wire.IllumosExtXAddressNattLoc); ok {
			a, _ := d.ParseAddress(x.Raw)
			nat.loc = netip.AddrPortFrom(a.Addr, a.Port)
		}
		if x, ok := d.Find(msg, wire.IllumosExtXAddressNattRem); ok {
			a, _ := d.ParseAddress(x.Raw)
			nat.rem = netip.AddrPortFrom(a.Addr, a.Port)
		}
		udp = nat.ports()
	}
	return s, tunnel, udp, nil
}

// fillSuite sets algorithms and keys. A cipher that makes the ICV itself leaves an authentication algorithm unused,
// which is shown all the same.
func fillSuite(s *ipsec.Suite, auth, encrypt wire.AlgID, authKey, encryptKey, salt []byte) {
	if authKey != nil {
		alg := authAlg(auth)
		s.MAC, s.AuthKey, s.ICV = alg.mac, ipsec.NewKey(authKey), alg.icvLen
	}
	if s.Proto == ipsec.ESP {
		alg := encryptAlg(encrypt)
		s.Cipher, s.Key, s.Salt = alg.cipher, ipsec.NewKey(encryptKey), ipsec.NewKey(salt)
		if alg.combined() {
			s.ICV, s.MAC, s.AuthKey = alg.icvLen, nil, ipsec.Key{}
		}
	}
}

// keyBits is how many bits of a KEY_ENCRYPT are the key itself: salt follows it, and what the reserved field counts.
func (a *algorithm) keyBits(key wire.Key) int { return int(key.Bits) - int(key.Reserved) - a.saltLen*8 }
