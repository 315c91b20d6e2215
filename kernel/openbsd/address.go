package openbsd

import (
	"net/netip"
	"strconv"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/wire"
)

// addressOf is the address in an extension; invalid: there is no extension, or no address in it. Its zone is the number
// of its scope: addresses of two scopes are two.
func (k *Kernel) addressOf(raw []byte) netip.Addr {
	if raw == nil {
		return netip.Addr{}
	}
	a, err := k.d.ParseAddress(raw)
	switch {
	case err != nil:
		return netip.Addr{}
	case a.Scope != 0 && a.Addr.Is6():
		return a.Addr.WithZone(strconv.FormatUint(uint64(a.Scope), 10))
	}
	return a.Addr
}

// appendAddress appends an extension with an address, as [Kernel.addressOf] has it.
func (k *Kernel) appendAddress(b []byte, t wire.ExtType, a netip.Addr) []byte {
	scope, _ := strconv.ParseUint(a.Zone(), 10, 32)
	return k.d.AppendAddress(b, t, wire.Address{Addr: a.WithZone(""), Scope: uint32(scope)})
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
