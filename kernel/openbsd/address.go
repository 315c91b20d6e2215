package openbsd

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
)

// addressOf is the address in an extension; invalid: there is no extension, or no address in it.
func (k *Kernel) addressOf(raw []byte) netip.Addr {
	if raw == nil {
		return netip.Addr{}
	}
	a, err := k.d.ParseAddress(raw)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr
}

// protoOf is the IP protocol of the SAs of a type, by its number (SADB_GETSPROTO); 0: no SAs have that type.
func protoOf(satype uint8) uint8 {
	switch satype {
	case ahNumber:
		return ip.ProtoAH
	case espNumber:
		return ip.ProtoESP
	case ipipNumber:
		return ip.ProtoIPv4
	case tcpSigNumber:
		return ip.ProtoTCP
	case ipcompNumber:
		return ip.ProtoComp
	}
	return 0
}
