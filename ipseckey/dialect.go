package ipseckey

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// The command speaks illumos. To an engine of another kernel it speaks that kernel's dialect as far as the two have the
// same things to say: the extensions and flags of RFC 2367.

// illumos tells whether the engine speaks the command's own dialect.
func (s *session) illumos() bool { return isIllumos(s.dial) }

func isIllumos(d *wire.Dialect) bool { return d.Name == wire.Illumos().Name }

// address is an address as the engine wants it. illumos takes IPv4 as IPv4-mapped addresses, as the original sends it,
// others want it plain.
func (s *session) address(v wire.Address) wire.Address {
	if !s.illumos() {
		v.Addr = v.Addr.Unmap()
		if v.Addr.Is4() && v.PrefixLen >= 96 {
			v.PrefixLen -= 96
		}
		if v.PrefixLen == 0 {
			v.PrefixLen = uint8(v.Addr.BitLen())
		}
	}
	return v
}

// dialectAlgorithms is the algorithm table for an engine of another kernel: the names that its dialect has, with the
// names and sizes that the stock table has for the same.
func dialectAlgorithms(d *wire.Dialect) *Algorithms {
	stock := StockAlgorithms()
	table := func(symbol func(uint8) wire.AlgID, name func(wire.AlgID) string, rows []Algorithm) (all []Algorithm) {
		for number := 1; number <= 255; number++ {
			id := symbol(uint8(number))
			n := name(id)
			if strings.HasPrefix(n, "unknown(") {
				continue
			}
			a, ok := byName(rows, n)
			if !ok {
				a = Algorithm{}
			}
			a.ID = id
			if !slices.Contains(a.Names, n) {
				a.Names = append([]string{n}, a.Names...)
			}
			all = append(all, a)
		}
		return all
	}
	return &Algorithms{
		Auth: table(d.Auth, d.AuthName, stock.Auth), Encrypt: table(d.Encrypt, d.EncryptName, stock.Encrypt),
	}
}

// unspecifiedLike is the unspecified address of the family that a is of.
func unspecifiedLike(a netip.Addr) netip.Addr {
	if a.Unmap().Is4() {
		return as16(netip.IPv4Unspecified())
	}
	return netip.IPv6Unspecified()
}

// foreign collects an error for each thing that the engine's dialect has no way to say.
func (a *addition) foreign() {
	if a.s.illumos() {
		return
	}
	for _, f := range []struct {
		used bool
		what string
	}{
		{a.typ == wire.IllumosMsgXUpdatePair, "update-pair"},
		{a.pair != 0, "pair-spi"},
		{a.sa != nil && a.sa.Flags != 0, "inbound and outbound"},
		{a.limits[limitIdle>>4] != nil, "idle lifetimes"},
		{a.inner, "inner addresses"},
		{a.encap && !a.s.kame(), "encap udp"},
		{a.natLoc != nil || a.natRem != nil || a.natLport != 0 || a.natRport != 0, "nat_loc, nat_rem and their ports"},
		{a.replay != nil, "replay_value"},
		{a.label != nil || a.outer != nil, "labels"},
	} {
		if f.used {
			a.add(len(a.s.words), "An engine of %s knows no %s.", a.s.dial.Name, f.what)
		}
	}
}

// illumosErrno is an errno of a dialect by its illumos number.
func illumosErrno(d *wire.Dialect, n uint8) int {
	e, ok := d.Errno(n)
	if !ok || isIllumos(d) {
		return int(n)
	}
	return int(wire.Illumos().ErrnoNumber(e))
}
