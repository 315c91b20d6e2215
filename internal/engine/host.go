package engine

import (
	"math/bits"
	"net/netip"
)

// Host is the host whose kernel is emulated. It does not change, so it needs no lock.
type Host struct {
	addrs     []netip.Addr // in the order given
	own       map[netip.Addr]bool
	broadcast map[netip.Addr]bool
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func newHost(own, broadcast []netip.Addr) Host {
	h := Host{own: map[netip.Addr]bool{}, broadcast: map[netip.Addr]bool{limitedBroadcast: true}}
	for _, a := range own {
		a = a.Unmap().WithZone("")
		h.addrs = append(h.addrs, a)
		h.own[a] = true
	}
	for _, a := range broadcast {
		h.broadcast[a.Unmap()] = true
	}
	return h
}

// Own says whether a is one of the host's addresses.
func (h *Host) Own(a netip.Addr) bool { return h.own[a] }

// Broadcast says whether a is a broadcast address of one of the host's networks.
func (h *Host) Broadcast(a netip.Addr) bool { return h.broadcast[a] }

// Source chooses the address from which the host sends to dst: dst itself if that is its own, else of its addresses of
// that family and scope the one that has most leading bits in common with dst, the first of several. false: the host
// has none.
func (h *Host) Source(dst netip.Addr) (src netip.Addr, ok bool) {
	if h.own[dst] {
		return dst, true
	}
	most := -1
	for _, a := range h.addrs {
		if a.Is4() != dst.Is4() || a.IsLoopback() || a.IsLinkLocalUnicast() != dst.IsLinkLocalUnicast() {
			continue
		}
		if n := commonBits(a.AsSlice(), dst.AsSlice()); n > most {
			src, most = a, n
		}
	}
	return src, most >= 0
}

func commonBits(a, b []byte) (n int) {
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return n + bits.LeadingZeros8(x)
		}
		n += 8
	}
	return n
}
