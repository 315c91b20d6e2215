package linux

import (
	"fmt"

	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/linux/xfrm"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Suite is how an SA that PF_KEY describes so protects packets: with which algorithms and keys, in tunnel mode or not,
// and between which ports of UDP encapsulation, if any. Errors name what the kernel does not have.
func Suite(d *wire.Dialect, sa *pfkey.SA) (s *ipsec.Suite, tunnel bool, udp ipsec.Ports, err error) {
	s = &ipsec.Suite{Proto: ipsec.ESP}
	switch sa.Type {
	case wire.SATypeESP:
	case wire.SATypeAH:
		s.Proto = ipsec.AH
	default:
		return nil, false, udp, fmt.Errorf("SA type %s is neither esp nor ah", sa.Type)
	}
	xfrm.FillSuite(s, sa.Auth, sa.Encrypt, sa.AuthKey.Data, sa.EncryptKey.Data)
	if sa.Auth != 0 && s.MAC == nil {
		return nil, false, udp, fmt.Errorf("linux has no authentication algorithm %d", sa.Auth)
	}
	if s.Proto == ipsec.ESP && s.Cipher == nil {
		return nil, false, udp, fmt.Errorf("linux has no encryption algorithm %d", sa.Encrypt)
	}
	if sa.SA2 != nil {
		switch sa.SA2.Mode {
		case wire.ModeAny, wire.ModeTransport:
		case wire.ModeTunnel:
			tunnel = true
		default:
			return nil, false, udp, fmt.Errorf("mode %d is neither transport nor tunnel", sa.SA2.Mode)
		}
	}
	msg := d.Finish(append(make([]byte, wire.HeaderLen), sa.Extra...)) // to be walked over
	if x, ok := d.Find(msg, wire.KAMEExtXNATTType); ok {
		v, err := d.ParseNATTType(x.Raw)
		if err != nil || v.Type != wire.KAMENATTESP {
			return nil, false, udp, fmt.Errorf("UDP encapsulation of type %d is not that of RFC 3948", v.Type)
		}
		ports := map[wire.ExtType]*uint16{wire.KAMEExtXNATTSPort: &udp.Src, wire.KAMEExtXNATTDPort: &udp.Dst}
		for t, to := range ports {
			if x, ok := d.Find(msg, t); ok {
				p, _ := d.ParseNATTPort(x.Raw)
				*to = p.Port
			}
		}
	}
	return s, tunnel, udp, nil
}
