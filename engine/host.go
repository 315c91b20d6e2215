package engine

import "net/netip"

// Host is the host whose kernel is emulated. It does not change, so it needs no lock.
type Host struct {
	own       map[netip.Addr]bool
	broadcast map[netip.Addr]bool
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

func newHost(own, broadcast []netip.Addr) Host {
	h := Host{own: map[netip.Addr]bool{}, broadcast: map[netip.Addr]bool{limitedBroadcast: true}}
	for _, a := range own {
		h.own[a.Unmap().WithZone("")] = true
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
