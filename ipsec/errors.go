package ipsec

import (
	"errors"

	"github.com/pfkeyd/pfkeyd/internal/ip"
)

// What can be wrong with a packet. All are returned as they are, so they compare with ==; none carries bytes of the
// packet.
var (
	ErrShort     = errors.New("ipsec: packet too short")
	ErrVersion   = errors.New("ipsec: neither IPv4 nor IPv6")
	ErrHeaderLen = errors.New("ipsec: bad IP header length")
	ErrTotalLen  = errors.New("ipsec: IP or UDP length does not fit the data")
	ErrFragment  = errors.New("ipsec: fragment")
	ErrExtension = errors.New("ipsec: malformed IPv6 extension header")
	ErrOption    = errors.New("ipsec: malformed IP option")
	ErrProtocol  = errors.New("ipsec: neither ESP nor AH")
	ErrKeepalive = errors.New("ipsec: NAT-T keepalive")
	ErrNonESP    = errors.New("ipsec: non-ESP marker (IKE)")
	ErrLength    = errors.New("ipsec: length is no multiple of the cipher block")
	ErrAHLen     = errors.New("ipsec: the AH length lies")
	ErrICV       = errors.New("ipsec: wrong integrity check value")
	ErrUnsigned  = errors.New("ipsec: no TCP signature")
	ErrPadding   = errors.New("ipsec: malformed padding")
	ErrInner     = errors.New("ipsec: malformed inner packet")
	ErrTooLong   = ip.ErrTooLong
	ErrAddress   = ip.ErrAddress
	ErrIV        = errors.New("ipsec: IV has the wrong length")
	ErrAlign     = errors.New("ipsec: impossible alignment")
)
