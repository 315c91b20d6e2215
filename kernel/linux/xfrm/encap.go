package xfrm

import (
	"encoding/binary"
	"net/netip"
	"sync"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/spd"
	"github.com/pfkeyd/pfkeyd/wire"
)

// encapTable is the UDP sockets with the socket option UDP_ENCAP, which take ESP out of UDP. As long as none was ever
// made, there is one for port 4500, as on a host that runs a key management daemon. Its lock is a leaf.
type encapTable struct {
	mu  sync.RWMutex
	own map[netip.AddrPort]uint8 // nil: none was ever made
}

const (
	udpLen       = 8
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
	return t.own[netip.AddrPortFrom(wildcard(dst.Is6()), port)], false
}

// encapsulated is what a UDP datagram may be that came to a socket with UDP_ENCAP.
type encapsulated int

const (
	notESP encapsulated = iota // IKE, or nothing of ours
	espInUDP
	keepalive
)

// inspect looks into a UDP datagram of an IP packet whose header ends at off. skip is what stands before the ESP
// header.
func inspect(pkt []byte, off int, kind uint8) (what encapsulated, skip int) {
	data := pkt[off+udpLen:]
	if len(data) == 1 && data[0] == 0xff {
		return keepalive, 0
	}
	skip = udpLen
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

// withoutUDP is a packet without the UDP header, and what else stands before ESP, behind its own headers, which end at
// off.
func withoutUDP(pkt []byte, off, skip int) []byte {
	esp := make([]byte, 0, len(pkt)-skip)
	esp = append(append(esp, pkt[:off]...), pkt[off+skip:]...)
	at, _ := nextHeaderAt(pkt, off)
	esp[at] = protoESP
	setLength(esp)
	return esp
}

// tooShort is a test of the original that compares the length of a datagram with more than what will be taken off it,
// so that small packets, mostly over IPv6, are lost.
func tooShort(pkt []byte, off, skip int) bool {
	ip := 40
	if pkt[0]>>4 == 4 {
		ip = off
	}
	return len(pkt)-off < ip+skip
}

// setLength writes the length of an IP header, and its checksum if it has one.
func setLength(pkt []byte) {
	if pkt[0]>>4 == 6 {
		binary.BigEndian.PutUint16(pkt[4:], uint16(len(pkt)-40))
		return
	}
	hl := int(pkt[0]&15) * 4
	binary.BigEndian.PutUint16(pkt[2:], uint16(len(pkt)))
	pkt[10], pkt[11] = 0, 0
	binary.BigEndian.PutUint16(pkt[10:], ^ip.Checksum(0, pkt[:hl]))
}

// header makes the IP header of a packet with a payload that is to follow.
func header(src, dst netip.Addr, proto, ttl uint8, payload int) []byte {
	if dst.Is4() {
		b := make([]byte, 20, 20+payload)
		b[0], b[8], b[9] = 0x45, ttl, proto
		s, d := src.As4(), dst.As4()
		copy(b[12:], s[:])
		copy(b[16:], d[:])
		binary.BigEndian.PutUint16(b[2:], uint16(20+payload))
		binary.BigEndian.PutUint16(b[10:], ^ip.Checksum(0, b))
		return b
	}
	b := make([]byte, 40, 40+payload)
	b[0], b[6], b[7] = 0x60, proto, ttl
	binary.BigEndian.PutUint16(b[4:], uint16(payload))
	s, d := src.As16(), dst.As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
	return b
}

const hostTTL = 64

// UDP makes an IP packet with a UDP datagram. Both addresses are of one family, and the payload has at most 65507
// bytes.
func UDP(src, dst netip.AddrPort, payload []byte) []byte {
	n := udpLen + len(payload)
	b := header(src.Addr(), dst.Addr(), protoUDP, hostTTL, n)
	off := len(b)
	b = append(b, make([]byte, udpLen)...)
	binary.BigEndian.PutUint16(b[off:], src.Port())
	binary.BigEndian.PutUint16(b[off+2:], dst.Port())
	binary.BigEndian.PutUint16(b[off+4:], uint16(n))
	b = append(b, payload...)
	putChecksum(b, off, off+6, protoUDP)
	return b
}

// putChecksum writes the checksum of an upper layer that has a pseudo-header.
func putChecksum(pkt []byte, off, at int, proto uint8) {
	addrs := pkt[12:20]
	if pkt[0]>>4 == 6 {
		addrs = pkt[8:40]
	}
	sum := ip.Checksum(uint32(proto)+uint32(len(pkt)-off), addrs)
	c := ^ip.Checksum(uint32(sum), pkt[off:])
	if c == 0 {
		c = 0xffff
	}
	binary.BigEndian.PutUint16(pkt[at:], c)
}

// flowOfPacket reads the flow of a packet as policies see it: the type and code of ICMP stand where others have ports.
func flowOfPacket(pkt []byte) (f spd.Flow, err error) {
	if f, err = spd.ParseFlow(pkt); err != nil || f.Proto != protoICMP && f.Proto != protoICMPv6 {
		return f, err
	}
	if off := upperLayer(pkt); off+2 <= len(pkt) {
		f.SrcPort, f.DstPort = uint16(pkt[off]), uint16(pkt[off+1])
	}
	return f, nil
}

// upperLayer is where what IP carries begins: behind the IPv4 header and its options, or the IPv6 one and its extension
// headers.
func upperLayer(pkt []byte) int { return headersEnd(pkt, false) }

// transformAt is where a transform stands that leaves the IP header as it is: in IPv6 before the destination options
// that follow a routing header, which are for the last destination alone (ip6_find_1stfragopt).
func transformAt(pkt []byte) int { return headersEnd(pkt, true) }

func headersEnd(pkt []byte, transform bool) int {
	if pkt[0]>>4 == 4 {
		return int(pkt[0]&15) * 4
	}
	const hopByHop = 0
	off, next, routed := 40, pkt[6], false
	for off+8 <= len(pkt) {
		switch next {
		case hopByHop:
		case protoRouting:
			routed = true
		case protoDstOpts:
			if transform && routed {
				return off
			}
		default:
			return off
		}
		n := 8 + int(pkt[off+1])*8
		if off+n > len(pkt) {
			break
		}
		next, off = pkt[off], off+n
	}
	return off
}
