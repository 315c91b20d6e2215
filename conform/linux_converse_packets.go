package conform

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/wire"
)

var talkLoop4 = addrs("127.0.0.1", "127.0.0.2", "127.0.0.3")
var talkLoop6 = addrs("::1", "::1")

const encapPort = 4500

// receive makes a conversation about packets that come in: UDP sockets that take ESP out of datagrams, SAs with the NULL cipher between addresses of the
// host itself, and datagrams of all kinds.
func (g *talker) receive() *Scenario {
	g.loop = true
	for range 1 + g.IntN(3) {
		g.open()
	}
	sinks := []netip.AddrPort{}
	for range 1 + g.IntN(2) {
		at := netip.AddrPortFrom(pick(g, talkLoop4[1], talkLoop4[1], talkLoop4[2], talkLoop6[0]), uint16(pick(g, encapPort, encapPort, encapPort, 4501)))
		if slices.Contains(sinks, at) {
			continue
		}
		sinks = append(sinks, at)
		g.step(Action{Op: "encap", Src: at.Addr().String(), SPort: at.Port(), Val: pick(g, 2, 2, 2, 2, 1, 0, 3, 4)})
	}
	for n := 6 + g.IntN(20); n > 0; n-- {
		s := pick(g, g.socks...)
		switch {
		case g.chance(20):
			g.send(s, g.encapsulated(pick(g, wire.MsgAdd, wire.MsgAdd, wire.MsgUpdate), pick(g, sinks...)))
		case g.chance(50):
			g.datagram(pick(g, sinks...))
		case g.chance(30):
			g.send(s, g.naming(wire.MsgGet, 3))
		default:
			g.message(s)
		}
	}
	return &g.sc
}

// encapsulated is an ADD or UPDATE of an SA for ESP in UDP.
func (g *talker) encapsulated(t wire.MsgType, to netip.AddrPort) []byte {
	b := g.header(t, 3)
	b = g.d.AppendSA(b, wire.SA{SPI: pick[wire.SPI](g, 0x1000, 0x1000, 0x1001, 0x1002), Replay: uint8(pick(g, 0, 4, 32)), State: 1, Encrypt: 11})
	src := pick(g, talkLoop4[0], talkLoop4[0], talkLoop4[2])
	if to.Addr().Is6() {
		src = talkLoop6[0]
	}
	b = g.addresses(b, src, to.Addr())
	b = g.key(b, wire.ExtKeyEncrypt, 0)
	if g.chance(30) {
		b = g.d.AppendSA2(b, wire.SA2{Mode: uint8(pick(g, 0, 1, 2, 2, 3))})
	}
	if g.chance(25) {
		hard := wire.Lifetime{Allocations: pick[uint32](g, 0, 100), Bytes: pick[uint64](g, 0, 10000)}
		soft := wire.Lifetime{Allocations: pick[uint32](g, 0, 1, 2, 3), Bytes: pick[uint64](g, 0, 20, 60)}
		b = g.d.AppendLifetime(g.d.AppendLifetime(b, wire.ExtLifetimeHard, hard), wire.ExtLifetimeSoft, soft)
	}
	if g.chance(90) {
		b = g.d.AppendNATTType(b, wire.NATTType{Type: uint8(pick(g, 2, 2, 2, 2, 1))})
		b = g.d.AppendNATTPort(b, wire.LinuxExtXNATTSPort, wire.NATTPort{Port: uint16(pick(g, encapPort, encapPort, 5555, 0))})
		b = g.d.AppendNATTPort(b, wire.LinuxExtXNATTDPort, wire.NATTPort{Port: uint16(pick(g, encapPort, encapPort, encapPort, 4501))})
		if g.chance(20) {
			b = g.d.AppendAddress(b, wire.LinuxExtXNATTOA, wire.Address{Addr: src, PrefixLen: uint8(src.BitLen())})
		}
	}
	return g.finish(b)
}

// datagram is one that comes to a socket: ESP with the next sequence number, or with another one, or something else.
func (g *talker) datagram(to netip.AddrPort) {
	src := pick(g, talkLoop4[0], talkLoop4[0], talkLoop4[0], talkLoop4[2])
	if to.Addr().Is6() {
		src = talkLoop6[0]
	}
	g.arrived++
	o := binary.BigEndian
	seq := g.arrived
	if g.chance(20) {
		seq = pick[uint32](g, 0, 1, 2, seq+10, seq+40, 1<<31, 1<<32-1)
	}
	b := o.AppendUint32(nil, pick[uint32](g, 0x1000, 0x1000, 0x1000, 0x1001, 0x1002, 0x1003))
	b = o.AppendUint32(b, seq)
	switch g.IntN(12) {
	case 0: // IPv4 in a tunnel
		b = append(b, 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 2)
		o.PutUint16(b[len(b)-10:], ^ipsec.Checksum(0, b[len(b)-20:]))
		b = append(b, 0, 9, 0, 9, 0, 8, 0, 0, 1, 2, 2, 4)
	case 1: // a dummy
		b = append(b, 1, 2, 3, 4, 1, 2, 2, 59)
	case 2: // padding that is none
		b = append(b, 0, 9, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4, byte(g.IntN(4)), byte(g.IntN(4)), byte(pick(g, 2, 2, 200)), 17)
	default:
		b = append(b, 0, 9, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4, 1, 2, 2, 17)
	}
	switch g.IntN(14) {
	case 0:
		b = []byte{0xff} // keepalive
	case 1:
		b = append([]byte{0, 0, 0, 0}, b...) // IKE
	case 2:
		b = append(make([]byte, 8), b...) // as the drafts of NAT-T had ESP
	case 3:
		b = b[:g.IntN(len(b))]
	}
	g.step(Action{Op: "inject", Src: src.String(), SPort: uint16(pick(g, encapPort, encapPort, encapPort, 5555, 6666)), Dst: to.Addr().String(), DPort: to.Port(), Hex: b})
}

// transformPolicy adds an output policy by netlink.
func (g *talker) transformPolicy() {
	src, dst := g.endpoints()
	g.step(Action{Op: "xfrmpol", Proto: pick(g, 50, 50, 50, 51, 108, 43, 60, 6, 0), Val: pick(g, 0, 0, 0, 1, 2, 3, 4, 5), Len: pick(g, 0, 0, 7, 9), Src: src.String(), Dst: dst.String()})
}
