package netlink

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
)

// Messages of NETLINK_ROUTE, which counts for itself (RTM_*).
const (
	newAddr Type = 20
	getAddr Type = 22
)

// Attributes of an address (IFA_*): the one of the interface, and where it is the end of a tunnel, its own end.
const (
	attrAddress attrType = 1
	attrLocal   attrType = 2
)

// addrHeadLen is the size of struct ifaddrmsg, which begins with the family.
const addrHeadLen = 8

// appendDumpAddrs appends the request for all addresses.
func (c Codec) appendDumpAddrs(b []byte) []byte {
	w := c.begin(b, getAddr, flagDump, transform.By{})
	w.grow(addrHeadLen)
	return w.end()
}

// addr reads an address of the host; an invalid one from what is none.
func (c Codec) addr(m Message) (a netip.Addr, err error) {
	if m.Type != newAddr {
		return a, nil
	}
	if len(m.Body) < addrHeadLen {
		return a, errShort
	}
	local := false
	for t, v := range c.attributes(m.Body[addrHeadLen:]) {
		if v.err != nil {
			return netip.Addr{}, v.err
		}
		if t == attrLocal || t == attrAddress && !local {
			a, _ = netip.AddrFromSlice(v.b)
			local = t == attrLocal
		}
	}
	return a, nil
}

// Addrs are the addresses that the interfaces of the network namespace have now. Those that cannot be read are left
// out.
func (t *Transforms) Addrs() map[netip.Addr]bool {
	all := map[netip.Addr]bool{}
	err := t.port.dumpRoutes(t.c.appendDumpAddrs(t.out[:0]), func(b []byte) (done bool, err error) {
		for m, err := range t.c.Messages(b) {
			if err != nil {
				return true, err
			}
			if m.Type == typeError || m.Type == typeDone {
				return true, nil
			}
			a, err := t.c.addr(m)
			if err != nil {
				return true, err
			}
			all[a] = true
		}
		return false, nil
	})
	if err != nil && err != errClosed {
		t.e.Log().Warn("netlink: the addresses of this host", "error", err)
	}
	delete(all, netip.Addr{})
	return all
}
