package ipseckey

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// host is what an address word stands for: one address, or all of a name. Addresses are IPv6, IPv4 ones mapped.
type host struct {
	name  string // to show
	addrs []netip.Addr
}

// as16 is a as the command keeps addresses: 16 bytes, without zone.
func as16(a netip.Addr) netip.Addr { return netip.AddrFrom16(a.As16()) }

// lookup finds the addresses of a word. only6 keeps IPv4 out.
func (s *session) lookup(ctx context.Context, text string, only6 bool) (host, bool) {
	if s.numeric {
		a, ok := parseLiteral(text)
		if !ok || only6 && a.Is4In6() && !s.keeps(quirkFindDst6) {
			return host{}, false
		}
		s.lastAddr = a
		return host{text, []netip.Addr{a}}, true
	}
	if a, ok := parseIPv6(text); ok {
		return host{text, []netip.Addr{a}}, true
	}
	if a, ok := parseDotted(text); ok && !s.keeps(quirkInetAddr) {
		return host{as16(a).String(), []netip.Addr{as16(a)}}, !only6
	}
	if a, ok := parseInetAddr(text); ok && s.keeps(quirkInetAddr) {
		return host{as16(a).String(), []netip.Addr{as16(a)}}, !only6
	}
	if s.Names == nil || strings.Trim(text, "0123456789.:/") == "" {
		return host{}, false // no name looks like that
	}
	name, addrs := s.Names.Host(ctx, text)
	h := host{name: name}
	for _, a := range addrs {
		if !(only6 && a.Unmap().Is4()) {
			h.addrs = append(h.addrs, as16(a))
		}
	}
	return h, len(h.addrs) > 0
}

// parseLiteral reads an IPv6 or a dotted IPv4 address.
func parseLiteral(text string) (netip.Addr, bool) {
	if a, ok := parseIPv6(text); ok {
		return a, true
	}
	a, ok := parseDotted(text)
	return as16(a), ok
}

func parseIPv6(text string) (netip.Addr, bool) {
	if strings.ContainsRune(text, '%') {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(text)
	return a, err == nil && a.Is6()
}

// parseDotted reads four decimal numbers; leading zeros mean nothing.
func parseDotted(text string) (netip.Addr, bool) {
	var b [4]byte
	parts := strings.Split(text, ".")
	if len(parts) != 4 {
		return netip.IPv4Unspecified(), false
	}
	for i, p := range parts {
		if p == "" || strings.Trim(p, "0123456789") != "" {
			return netip.IPv4Unspecified(), false
		}
		n, err := strconv.ParseUint(p, 10, 8)
		if err != nil {
			return netip.IPv4Unspecified(), false
		}
		b[i] = byte(n)
	}
	return netip.AddrFrom4(b), true
}

// parseInetAddr reads what inet_addr(3C) reads: one to four numbers in any base, the last of which fills what is left.
// It cannot tell 255.255.255.255 from an error.
func parseInetAddr(text string) (netip.Addr, bool) {
	parts := strings.Split(text, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var v uint64
	for i, p := range parts {
		if p == "" || p[0] < '0' || p[0] > '9' {
			return netip.Addr{}, false
		}
		n, ok := parseUint(p)
		limit := uint64(0xff)
		if i == len(parts)-1 {
			limit = 1<<(8*(5-len(parts))) - 1
		}
		if !ok || n > limit {
			return netip.Addr{}, false
		}
		if i == len(parts)-1 {
			v |= n
		} else {
			v |= n << (8 * (3 - i))
		}
	}
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(v))
	return netip.AddrFrom4(b), v != 0xffffffff
}

// scope is what the source of a message must have in common with an IPv6 destination.
type scope int

const (
	scopeUnspecified scope = iota
	scopeLinkLocal
	scopeSiteLocal
	scopeV4Compatible
	scopeLoopback
	scopeGlobal
)

func scopeOf(a netip.Addr) scope {
	b := a.As16()
	switch {
	case a.IsUnspecified():
		return scopeUnspecified
	case b[0] == 0xfe && b[1]&0xc0 == 0x80:
		return scopeLinkLocal
	case b[0] == 0xfe && b[1]&0xc0 == 0xc0:
		return scopeSiteLocal
	case a == netip.IPv6Loopback():
		return scopeLoopback
	case slices.Max(b[:12]) == 0:
		return scopeV4Compatible
	}
	return scopeGlobal
}

// showAddr prints an address as inet_ntop(3C) of illumos does.
func showAddr(a netip.Addr) string {
	if b := a.As16(); a.Is6() && slices.Max(b[:12]) == 0 && (b[12] != 0 || b[13] != 0) {
		return "::" + netip.AddrFrom4([4]byte(b[12:])).String()
	}
	return a.String()
}
