package xfrm

import (
	"encoding/binary"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Traffic is one packet that a program has the host send.
type Traffic struct {
	// 17: a UDP datagram; 6: the first packet of a TCP connection; 1 and 58: an echo request
	Proto            uint8
	Src              netip.Addr // invalid: the host chooses
	Dst              netip.Addr
	SrcPort, DstPort uint16 // SrcPort 0: the host chooses, for UDP and TCP
	Payload          []byte
}

// Send sends a packet and returns what the program's system call does: what the transforms refuse, programs see; what
// waits for keys is dropped without their knowledge. A packet to the host itself comes in again.
func (x *Transforms) Send(t Traffic) pfkey.Errno {
	const most = 65000
	if len(t.Payload) > most {
		return wire.EMSGSIZE
	}
	if !t.Dst.IsValid() {
		return wire.EAFNOSUPPORT
	}
	switch t.Dst { // what is for nobody is for the host itself
	case netip.IPv4Unspecified():
		t.Dst, _ = x.source(t.Dst)
	case netip.IPv6Unspecified():
		t.Dst = netip.IPv6Loopback()
	}
	bound := t.SrcPort != 0 // or to an address, which has the socket choose the port before it connects
	if !t.Src.IsValid() || t.Src.IsUnspecified() {
		var ok bool
		if t.Src, ok = x.source(t.Dst); !ok {
			return wire.ENETUNREACH
		}
	} else {
		bound = true
	}
	if t.Src.Is4() != t.Dst.Is4() {
		return wire.EAFNOSUPPORT
	}
	if t.SrcPort == 0 && (t.Proto == ip.ProtoUDP || t.Proto == ip.ProtoTCP) {
		t.SrcPort = x.ephemeralPort()
	}
	pkt := t.packet()
	if pkt == nil {
		return wire.EPROTONOSUPPORT
	}
	if t.Proto == ip.ProtoTCP {
		x.connect(pkt, bound)
	}
	var end packet.Verdict
	x.e.Outbound(&packet.Packet{Data: pkt, Done: func(_ *packet.Packet, v packet.Verdict) { end = v }}, "")
	if end.Kind == packet.Transmitted {
		var d datagram
		if d.outgoing(end.Inner) && x.Own(d.Dst) {
			in := &packet.Packet{Data: end.Inner, Done: func(*packet.Packet, packet.Verdict) {}}
			x.e.Ledger().Inject(in)
			x.inbound(in, true)
		}
	}
	switch end.Counter {
	case dropRows[dropOutPolBlock].Counter:
		return wire.EPERM
	case dropRows[dropOutBytesExpired].Counter, dropRows[dropOutStateInvalid].Counter:
		if t.Proto != ip.ProtoTCP {
			return wire.EINVAL
		}
	case dropRows[dropOutStateSeqError].Counter:
		if t.Proto != ip.ProtoTCP {
			return wire.EOVERFLOW
		}
	}
	if end.Reason == packet.NoRoute {
		return wire.ENETUNREACH
	}
	if t.Proto == ip.ProtoTCP {
		return wire.EINPROGRESS
	}
	return wire.OK
}

// ephemeralPort chooses a port as net.ipv4.ip_local_port_range has them.
func (x *Transforms) ephemeralPort() uint16 {
	const first, last = 32768, 60999
	return uint16(first + x.e.Uint32()%(last-first+1))
}

// connect looks for the route of a connection's first packet as often as connect(2) does before the packet itself does
// it once more. A route whose keys are missing is never good again: the connection looks first, without a port if it
// has none, again when it has chosen one (IPv4 that chose the address with the route; IPv6 does not), and once more
// before it makes the packet (tcp_v4_connect, ip_route_newports, inet_sk_rebuild_header). Each look counts, and holds
// the policy.
func (x *Transforms) connect(pkt []byte, bound bool) {
	var d datagram
	d.outgoing(pkt) // it is ours
	f := d.flow()
	if x.toItself(f) {
		return
	}
	looks := []spd.Flow{f, f}
	if !bound {
		looks[0].SrcPort = 0
		if f.Dst.Is4() {
			looks = append(looks, f)
		}
	}
	var hops [transform.MaxTemplates]*sa
	for _, f := range looks {
		p := x.policies.rules[transform.Out].find(f)
		if p == nil {
			return
		}
		if _, cause := x.resolve(p, f, &hops); cause != dropOutNoStates {
			return
		}
		p.routes.add(x.e.Now())
		x.drops.Count(int(dropOutNoStates))
	}
}

// packet makes the packet; nil for a protocol that is none of those.
func (t *Traffic) packet() []byte {
	switch src, dst := netip.AddrPortFrom(t.Src, t.SrcPort), netip.AddrPortFrom(t.Dst, t.DstPort); t.Proto {
	case ip.ProtoUDP:
		pkt, _ := ip.UDP(src, dst, t.Payload)
		return pkt
	case ip.ProtoTCP:
		const window, mss4, mss6 = 0xfaf0, 1460, 1440
		mss := uint16(mss4)
		if t.Dst.Is6() {
			mss = mss6
		}
		options := binary.BigEndian.AppendUint16([]byte{2, 4}, mss)
		options = append(options, 4, 2)                          // selective acknowledgements
		options = append(options, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0) // timestamps
		options = append(options, 1, 3, 3, 7)                    // window scale
		pkt, _ := ip.SYN(src, dst, 0, window, options)
		return pkt
	case ip.ProtoICMP, ip.ProtoICMPv6:
		pkt, _ := ip.Echo(t.Src, t.Dst, 0, 0, t.Payload)
		var h ip.Header
		if h.Parse(pkt) == ip.Fine && h.Proto != t.Proto { // a raw socket of another protocol
			pkt[h.NextOff] = t.Proto
			ip.SetLength(pkt)
		}
		return pkt
	}
	return nil
}
