package linux

import (
	"encoding/binary"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Traffic is one packet that a program has the host send.
type Traffic struct {
	Proto            uint8      // 17: a UDP datagram; 6: the first packet of a TCP connection; 1 and 58: an echo request
	Src              netip.Addr // invalid: the host chooses
	Dst              netip.Addr
	SrcPort, DstPort uint16
	Len              int // bytes of payload, which are zero
}

// Send sends a packet and returns what the program's system call does: what the transforms refuse, programs see; what waits for keys is dropped
// without their knowledge.
func (k *Kernel) Send(t Traffic) pfkey.Errno {
	const most = 65000
	if t.Len < 0 || t.Len > most {
		return wire.EMSGSIZE
	}
	bound := t.SrcPort != 0
	if !t.Src.IsValid() || t.Src.IsUnspecified() {
		var ok bool
		if t.Src, ok = k.source(t.Dst); !ok {
			return wire.ENETUNREACH
		}
	} else {
		bound = true
	}
	if !t.Dst.IsValid() || t.Src.Is4() != t.Dst.Is4() {
		return wire.EAFNOSUPPORT
	}
	pkt := t.packet()
	if pkt == nil {
		return wire.EPROTONOSUPPORT
	}
	if t.Proto == protoTCP {
		k.connect(pkt, bound)
	}
	var end ipsec.Verdict
	k.e.Outbound(&ipsec.Packet{Data: pkt, Done: func(_ *ipsec.Packet, v ipsec.Verdict) { end = v }}, "")
	switch end.Counter {
	case dropRows[dropOutPolBlock].name:
		return wire.EPERM
	case dropRows[dropOutStateExpired].name, dropRows[dropOutStateInvalid].name:
		if t.Proto != protoTCP {
			return wire.EINVAL
		}
	case dropRows[dropOutStateSeqError].name:
		if t.Proto != protoTCP {
			return wire.EOVERFLOW
		}
	}
	if end.Reason == ipsec.NoRoute {
		return wire.ENETUNREACH
	}
	if t.Proto == protoTCP {
		return wire.EINPROGRESS
	}
	return wire.OK
}

// connect looks for the route of a connection's first packet as often as connect(2) does before the packet itself does it once more. A route whose
// keys are missing is never good again: the connection looks for its route, once more when it has chosen a port (only IPv4 does, which has chosen the
// address with it), and once more before it makes the packet (tcp_v4_connect, ip_route_newports, inet_sk_rebuild_header). Each look counts, and holds
// the policy.
func (k *Kernel) connect(pkt []byte, bound bool) {
	f, err := flowOfPacket(pkt)
	if err != nil || k.own(f.Dst) {
		return
	}
	p := k.policies.rules[out].find(f)
	if p == nil {
		return
	}
	looks := 2
	if f.Dst.Is4() && !bound {
		looks++
	}
	var hops [maxTemplates]*sa
	for range looks {
		if _, cause := k.resolve(p, f, &hops); cause != dropOutNoStates {
			return
		}
		p.routes.add(k.e.Now())
		k.counters[dropOutNoStates].Add(1)
	}
}

// packet makes the packet; nil for a protocol that is none of those.
func (t *Traffic) packet() []byte {
	switch t.Proto {
	case protoUDP:
		return UDP(netip.AddrPortFrom(t.Src, t.SrcPort), netip.AddrPortFrom(t.Dst, t.DstPort), make([]byte, t.Len))
	case protoTCP:
		const headerLen = 20
		b := header(t.Src, t.Dst, protoTCP, hostTTL, headerLen)
		off := len(b)
		b = append(b, make([]byte, headerLen)...)
		binary.BigEndian.PutUint16(b[off:], t.SrcPort)
		binary.BigEndian.PutUint16(b[off+2:], t.DstPort)
		b[off+12], b[off+13] = headerLen/4<<4, 2 // SYN
		b[off+14] = 0xff                         // window
		putChecksum(b, off, off+16, protoTCP)
		return b
	case protoICMP, protoICMPv6:
		const headerLen, echo, echo6 = 8, 8, 128
		b := header(t.Src, t.Dst, t.Proto, hostTTL, headerLen+t.Len)
		off := len(b)
		b = append(b, make([]byte, headerLen+t.Len)...)
		b[off] = echo
		if t.Dst.Is6() {
			b[off] = echo6
			putChecksum(b, off, off+2, protoICMPv6)
		} else {
			binary.BigEndian.PutUint16(b[off+2:], ^ipsec.Checksum(0, b[off:]))
		}
		return b
	}
	return nil
}
