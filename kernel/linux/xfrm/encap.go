package xfrm

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// encapTable is the UDP sockets with the socket option UDP_ENCAP, which take ESP out of UDP. As long as none was ever
// made, there is one for port 4500, as on a host that runs a key management daemon. Its lock is a leaf.
type encapTable struct {
	mu  sync.RWMutex
	own map[netip.AddrPort]uint8 // nil: none was ever made
}

const (
	nonIKELen    = 8 // of the marker that the old kind of encapsulation has
	espHeaderLen = 8
)

// Encap makes a UDP socket whose option UDP_ENCAP is kind: [encapESP], [encapNonIKE], 0 for none, or
// 3 (UDP_ENCAP_L2TPINUDP), which takes no ESP out either. Bound to the unspecified address, it is for every one of the
// family.
func (x *Transforms) Encap(at netip.AddrPort, kind int) pfkey.Errno {
	const l2tp = 3
	errno := wire.OK
	switch {
	case kind == l2tp:
		kind = 0
	case kind < 0 || kind > int(encapESP):
		kind, errno = 0, wire.ENOPROTOOPT // the socket is there all the same
	}
	x.encaps.mu.Lock()
	defer x.encaps.mu.Unlock()
	if x.encaps.own == nil {
		x.encaps.own = map[netip.AddrPort]uint8{}
	}
	x.encaps.own[at] = uint8(kind)
	return errno
}

// kind is what a socket takes out of datagrams, 0 for an ordinary one. bypass tells whether it is that of a daemon,
// which the policy does not touch (IP_XFRM_POLICY).
func (t *encapTable) kind(dst netip.Addr, port uint16) (kind uint8, bypass bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.own == nil {
		if port == ipsec.NATTPort {
			return encapESP, true
		}
		return 0, false
	}
	if kind, ok := t.own[netip.AddrPortFrom(dst, port)]; ok {
		return kind, false
	}
	return t.own[netip.AddrPortFrom(transform.Unspecified(dst.Is6()), port)], false
}

// encapsulated is what a UDP datagram may be that came to a socket with UDP_ENCAP.
type encapsulated int

const (
	notESP encapsulated = iota // IKE, or nothing of ours
	espInUDP
	keepalive
)

// inspect looks into a UDP datagram. skip is what stands before the ESP header.
func inspect(d *datagram, kind uint8) (what encapsulated, skip int) {
	data := d.pkt[d.Off+ip.LenUDP:]
	if len(data) == 1 && data[0] == 0xff {
		return keepalive, 0
	}
	skip = ip.LenUDP
	if kind == encapNonIKE {
		if len(data) <= nonIKELen+espHeaderLen || binary.BigEndian.Uint64(data) != 0 {
			return notESP, 0
		}
		return espInUDP, skip + nonIKELen
	}
	if len(data) <= espHeaderLen || binary.BigEndian.Uint32(data) == 0 {
		return notESP, 0
	}
	return espInUDP, skip
}

// withoutUDP is a packet without the UDP header, and what else stands before ESP, skip bytes in all.
func withoutUDP(d *datagram, skip int) datagram {
	esp := make([]byte, 0, len(d.pkt)-skip)
	esp = append(append(esp, d.pkt[:d.Off]...), d.pkt[d.Off+skip:]...)
	esp[d.NextOff] = ip.ProtoESP
	ip.SetLength(esp)
	inner := datagram{d.Header, esp}
	inner.Proto, inner.End = ip.ProtoESP, len(esp)
	return inner
}

// tooShort is a test of the original that compares the length of a datagram with more than what will be taken off it,
// so that small packets, mostly over IPv6, are lost.
func tooShort(d *datagram, skip int) bool {
	least := ip.Len6
	if !d.V6 {
		least = d.Off
	}
	return len(d.pkt)-d.Off < least+skip
}
