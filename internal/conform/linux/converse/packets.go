package converse

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/linux"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

var talkLoop4 = parsed("127.0.0.1", "127.0.0.2", "127.0.0.3")
var talkLoop6 = parsed("::1", "::1")

const encapPort = 4500

// receive makes a conversation about packets that come in: UDP sockets that take ESP out of datagrams, SAs with the
// NULL cipher between addresses of the host itself, and datagrams of all kinds.
func (g *talker) receive() *conform.Scenario {
	g.loop = true
	for range 1 + g.IntN(3) {
		g.open()
	}
	sinks := []netip.AddrPort{}
	for range 1 + g.IntN(2) {
		at := netip.AddrPortFrom(pick(g, talkLoop4[1], talkLoop4[1], talkLoop4[2], talkLoop6[0]),
			uint16(pick(g, encapPort, encapPort, encapPort, 4501)))
		if slices.Contains(sinks, at) {
			continue
		}
		sinks = append(sinks, at)
		g.step("encap", "", &linux.Encap{Src: at.Addr(), SPort: at.Port(), Val: pick(g, 2, 2, 2, 2, 1, 0, 3, 4)})
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
	b = g.d.AppendSA(b, wire.SA{SPI: pick[wire.SPI](g, 0x1000, 0x1000, 0x1001, 0x1002),
		Replay: uint8(pick(g, 0, 4, 32)), State: 1, Encrypt: 11})
	src := pick(g, talkLoop4[0], talkLoop4[0], talkLoop4[2])
	if to.Addr().Is6() {
		src = talkLoop6[0]
	}
	b = g.addresses(b, src, to.Addr())
	b = g.key(b, wire.ExtKeyEncrypt, 0)
	if g.chance(30) {
		b = g.d.AppendSA2(b, wire.SA2{Mode: g.d.Mode(uint8(pick(g, 0, 1, 2, 2, 3)))})
	}
	if g.chance(25) {
		hard := wire.Lifetime{Allocations: pick[uint32](g, 0, 100), Bytes: pick[uint64](g, 0, 10000)}
		soft := wire.Lifetime{Allocations: pick[uint32](g, 0, 1, 2, 3), Bytes: pick[uint64](g, 0, 20, 60)}
		b = g.d.AppendLifetime(g.d.AppendLifetime(b, wire.ExtLifetimeHard, hard), wire.ExtLifetimeSoft, soft)
	}
	if g.chance(90) {
		b = g.d.AppendNATTType(b, wire.NATTType{Type: uint8(pick(g, 2, 2, 2, 2, 1))})
		b = g.d.AppendNATTPort(b, wire.KAMEExtXNATTSPort,
			wire.NATTPort{Port: uint16(pick(g, encapPort, encapPort, 5555, 0))})
		b = g.d.AppendNATTPort(b, wire.KAMEExtXNATTDPort,
			wire.NATTPort{Port: uint16(pick(g, encapPort, encapPort, encapPort, 4501))})
		if g.chance(20) {
			b = g.d.AppendAddress(b, wire.KAMEExtXNATTOA, wire.Address{Addr: src, PrefixLen: uint8(src.BitLen())})
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
		inner := ip.Fields{Src: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Dst: netip.AddrFrom4([4]byte{127, 0, 0, 2}),
			Proto: ip.ProtoUDP, TTL: 64, ID: 1}
		b = append(b, inner.Make([]byte{0, 9, 0, 9, 0, 8, 0, 0})...)
		b = append(b, 1, 2, 2, 4)
	case 1: // a dummy
		b = append(b, 1, 2, 3, 4, 1, 2, 2, 59)
	case 2: // padding that is none
		b = append(b, 0, 9, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4, byte(g.IntN(4)), byte(g.IntN(4)), byte(pick(g, 2, 2, 200)),
			17)
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
	port := uint16(pick(g, encapPort, encapPort, encapPort, 5555, 6666))
	if netip.AddrPortFrom(src, port) == to {
		port++ // the program that sends would take the place of the one that receives
	}
	g.step("inject", "", &linux.Datagram{Src: src, SPort: port, Dst: to.Addr(), DPort: to.Port(), Hex: b})
}

// transformPolicy adds an output policy by netlink.
func (g *talker) transformPolicy() {
	src, dst := g.endpoints()
	g.step("xfrmpol", "", &linux.OutputPolicy{Proto: pick[uint8](g, 50, 50, 50, 51, 108, 43, 60, 6, 0),
		Mode: pick[uint8](g, 0, 0, 0, 1, 2, 3, 4, 5), ReqID: pick[uint32](g, 0, 0, 7, 9), Src: src, Dst: dst})
}

// transmit makes a conversation about packets that go out: a policy or two, SAs that suit them or nearly do, and
// packets.
func (g *talker) transmit() *conform.Scenario {
	g.net, g.sc.Net = true, true
	for range 1 + g.IntN(2) {
		g.open()
	}
	v6 := g.chance(25)
	for range 1 + g.IntN(2) {
		g.send(pick(g, g.socks...), g.outPolicy(v6))
	}
	for n := 6 + g.IntN(16); n > 0; n-- {
		s := pick(g, g.socks...)
		switch {
		case g.chance(30):
			g.send(s, g.outSA(v6))
		case g.chance(55):
			g.packet(v6)
		case g.chance(30):
			g.send(s, g.finish(g.header(wire.MsgDump, 0)))
		case g.chance(20):
			g.send(s, g.finish(g.header(wire.KAMEMsgXSPDDump, 0)))
		case g.chance(20):
			g.send(s, g.outPolicy(v6))
		default:
			g.message(s)
		}
	}
	g.send(g.socks[0], g.finish(g.header(wire.MsgDump, 0)))
	return &g.sc
}

// outEnds are the addresses of a packet that goes out, and those of a tunnel for it.
func outEnds(v6 bool) (src, dst, gateway netip.Addr) {
	if v6 {
		return talk6[0], talk6[1], talk6[2]
	}
	return talk4[0], talk4[1], talk4[2]
}

func (g *talker) outPolicy(v6 bool) []byte {
	src, dst, gateway := outEnds(v6)
	b := g.header(pick(g, wire.KAMEMsgXSPDAdd, wire.KAMEMsgXSPDUpdate), 0)
	proto := uint8(pick(g, 255, 255, 255, 17, 6))
	bits := pick(g, src.BitLen(), src.BitLen(), src.BitLen()-8)
	b = g.d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Addr: src, PrefixLen: uint8(bits), Proto: proto})
	b = g.d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: dst, PrefixLen: uint8(bits), Proto: proto})
	p := wire.Policy{Type: wire.KAMEPolicyIPsec, Direction: wire.KAMEDirOut, Priority: uint32(pick(g, 0, 0, 100))}
	for more := pick(g, 1, 1, 1, 2, 3) - 1; more >= 0; more-- {
		protos := []int{50, 50, 51, 108}
		if more > 0 {
			protos = protos[:3] // how well a packet can be compressed does not show if that is done last
		}
		r := wire.IPsecRequest{Proto: uint16(pick(g, protos...)), Mode: g.d.Mode(uint8(pick(g, 1, 1, 1, 2, 2, 3))),
			Level: uint8(pick(g, 2, 2, 1, 3)), ReqID: pick[uint32](g, 0, 0, 7)}
		if r.Mode == wire.ModeTunnel {
			r.Src.Addr, r.Dst.Addr = src, pick(g, gateway, gateway, dst)
			if g.chance(10) {
				r.Src.Addr, r.Dst.Addr, _ = outEnds(!v6)
			}
		}
		p.Requests = append(p.Requests, r)
	}
	return g.finish(g.d.AppendPolicy(b, p))
}

func (g *talker) outSA(v6 bool) []byte {
	src, dst, gateway := outEnds(v6)
	if g.chance(5) {
		src, dst, _ = outEnds(!v6)
	}
	satype := pick(g, 3, 3, 2, 9)
	b := g.header(wire.MsgAdd, satype)
	sa := wire.SA{SPI: pick[wire.SPI](g, 0x1000, 0x1001, 0x1002, 0x1003), Replay: uint8(pick(g, 0, 32)), State: 1,
		Flags: pick[uint32](g, 0, 0, 0xe0000000)}
	var keys []byte
	switch satype {
	case 2:
		sa.Auth = 3
		keys = g.key(nil, wire.ExtKeyAuth, 160)
	case 9:
		sa.Encrypt = 2
		sa.SPI &= 0xf0ff // one of 16 bits
	default:
		var bits int
		sa.Encrypt, bits = g.algorithm(g.d.Encrypt, talkEncrypt)
		keys = g.key(nil, wire.ExtKeyEncrypt, bits)
		if g.chance(70) {
			sa.Auth, bits = g.algorithm(g.d.Auth, talkAuth)
			keys = append(keys, g.key(nil, wire.ExtKeyAuth, bits)...)
		}
	}
	b = g.d.AppendSA(b, sa)
	b = g.d.AppendAddress(b, wire.ExtAddressSrc, pfkey.Host(src))
	b = g.d.AppendAddress(b, wire.ExtAddressDst, pfkey.Host(pick(g, dst, dst, gateway)))
	b = append(b, keys...)
	if g.chance(60) {
		b = g.d.AppendSA2(b, wire.SA2{Mode: g.d.Mode(uint8(pick(g, 0, 1, 1, 2, 3))), ReqID: pick[uint32](g, 0, 0, 7)})
	}
	if g.chance(15) {
		hard := wire.Lifetime{Allocations: pick[uint32](g, 0, 100), Bytes: pick[uint64](g, 0, 100000)}
		soft := wire.Lifetime{Allocations: pick[uint32](g, 0, 1, 2, 3), Bytes: pick[uint64](g, 0, 20, 60)}
		b = g.d.AppendLifetime(g.d.AppendLifetime(b, wire.ExtLifetimeHard, hard), wire.ExtLifetimeSoft, soft)
	}
	if satype == 3 && g.chance(10) {
		b = g.d.AppendNATTType(b, wire.NATTType{Type: uint8(pick(g, 2, 2, 1))})
		b = g.d.AppendNATTPort(b, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: encapPort})
		b = g.d.AppendNATTPort(b, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: encapPort})
	}
	return g.finish(b)
}

// packet has the host send one.
func (g *talker) packet(v6 bool) {
	src, dst, _ := outEnds(v6)
	a := &linux.Traffic{Proto: pick[uint8](g, 17, 17, 6, 1), Dst: dst, SPort: pick[uint16](g, 40000, 40000, 0),
		DPort: pick[uint16](g, 9, 500), Len: pick(g, 0, 5, 20, 100, 1000, 3000)}
	if v6 {
		a.Len = min(a.Len, 1000) // longer ones are fragmented before a tunnel, which the emulated host does not do
		if a.Proto == 1 {
			a.Proto = 58
		}
	}
	if g.chance(30) {
		a.Src = src
	}
	g.step("traffic", "", a)
}
