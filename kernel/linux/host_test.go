package linux_test

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

var (
	peer = netip.MustParseAddr("192.0.2.2")
	me   = netip.MustParseAddr("192.0.2.1")

	authKey    = []byte("0123456789abcdefghij")
	encryptKey = []byte("0123456789abcdef")

	// suite is what both sides protect packets with.
	suite = ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: ipsec.NewKey(encryptKey), MAC: ipsec.HMACSHA1,
		AuthKey: ipsec.NewKey(authKey)}

	privileged = pfkey.Cred{Privileged: true}
)

const (
	protoESP  = 50
	protoAH   = 51
	protoComp = 108
)

// host is an engine with a socket, and the peer's side of its SAs.
type host struct {
	t   testing.TB
	e   *engine.Engine
	k   *linux.Kernel
	s   pfkey.Socket
	far *ipsec.Transform
}

func newHost(t testing.TB, o engine.Options) *host {
	t.Helper()
	o.Addrs = append(o.Addrs, me, netip.MustParseAddr("2001:db8::1"))
	e, err := kernels.New("linux", o)
	if err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, e: e, k: e.Kernel().(*linux.Kernel)}
	h.s = h.open()
	if h.far, err = suite.New(); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *host) open() pfkey.Socket {
	h.t.Helper()
	s, errno := h.e.Open(privileged, 3, 2)
	if errno != wire.OK {
		h.t.Fatalf("open: %v", errno)
	}
	h.t.Cleanup(s.Close)
	return s
}

func (h *host) d() *wire.Dialect { return h.e.Dialect() }

func (h *host) send(msg []byte) {
	h.t.Helper()
	if errno := h.s.Send(msg, privileged); errno != wire.OK {
		h.t.Errorf("send: %v", errno)
	}
}

// read returns everything that a socket has received.
func read(s pfkey.Socket) (all [][]byte) {
	buf := make([]byte, 16384)
	for {
		n, _, errno := s.Recv(buf, 0)
		if errno != wire.OK {
			return all
		}
		all = append(all, slices.Clone(buf[:n]))
	}
}

func (h *host) drain() { read(h.s) }

// do sends a message and returns the first answer.
func (h *host) do(msg []byte) []byte {
	h.t.Helper()
	h.send(msg)
	got := read(h.s)
	if len(got) == 0 {
		h.t.Fatalf("no answer to %s", h.d().Line(msg))
	}
	return got[0]
}

// must is do for what has to succeed.
func (h *host) must(msg []byte) []byte {
	h.t.Helper()
	got := h.do(msg)
	if got[2] != 0 {
		h.t.Fatalf("%s: errno %d", h.d().Line(msg), got[2])
	}
	return got
}

// association is what an SA message is made of.
type association struct {
	typ          wire.MsgType
	satype       wire.SAType
	spi          wire.SPI
	src, dst     netip.Addr
	mode         wire.Mode
	replay       uint8
	encrypt      wire.AlgID
	flags        uint32
	hard, soft   *wire.Lifetime
	natt         uint8
	sport, dport uint16
	seq          wire.Seq
}

// sa builds an ADD or whatever a has as its type.
func (h *host) sa(a association) []byte {
	d := h.d()
	if a.typ == 0 {
		a.typ = wire.MsgAdd
	}
	if a.satype == 0 {
		a.satype = wire.SATypeESP
	}
	if !a.src.IsValid() {
		a.src, a.dst = peer, me
	}
	b := d.AppendHeader(nil, wire.Header{Version: 2, Type: a.typ, SAType: a.satype, Seq: a.seq, PID: 1})
	v := wire.SA{SPI: a.spi, Replay: a.replay, Flags: a.flags}
	if a.satype != wire.SATypeIPComp {
		v.Auth = wire.AuthSHA1HMAC
	}
	switch {
	case a.encrypt != 0:
		v.Encrypt = a.encrypt
	case a.satype == wire.SATypeESP:
		v.Encrypt = wire.EncAESCBC
	case a.satype == wire.SATypeIPComp:
		v.Encrypt = wire.CompDeflate
	}
	b = d.AppendSA(b, v)
	b = d.AppendAddress(b, wire.ExtAddressSrc, pfkey.Host(a.src))
	b = d.AppendAddress(b, wire.ExtAddressDst, pfkey.Host(a.dst))
	if a.typ == wire.MsgAdd || a.typ == wire.MsgUpdate {
		b = d.AppendKey(b, wire.ExtKeyAuth, pfkey.NewKey(authKey))
		if a.satype == wire.SATypeESP {
			b = d.AppendKey(b, wire.ExtKeyEncrypt, pfkey.NewKey(encryptKey))
		}
		if a.hard != nil || a.soft != nil {
			for t, l := range map[wire.ExtType]*wire.Lifetime{wire.ExtLifetimeHard: a.hard,
				wire.ExtLifetimeSoft: a.soft} {
				if l == nil {
					l = &wire.Lifetime{}
				}
				b = d.AppendLifetime(b, t, *l)
			}
		}
		b = d.AppendSA2(b, wire.SA2{Mode: a.mode})
		if a.natt != 0 {
			b = d.AppendNATTType(b, wire.NATTType{Type: a.natt})
			b = d.AppendNATTPort(b, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: a.sport})
			b = d.AppendNATTPort(b, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: a.dport})
		}
	}
	return d.Finish(b)
}

// getSPI reserves an SPI.
func (h *host) getSPI(spi wire.SPI) []byte {
	d := h.d()
	b := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgGetSPI, SAType: wire.SATypeESP, PID: 1})
	b = d.AppendAddress(b, wire.ExtAddressSrc, pfkey.Host(peer))
	b = d.AppendAddress(b, wire.ExtAddressDst, pfkey.Host(me))
	return d.Finish(d.AppendSPIRange(b, wire.SPIRange{Min: spi, Max: spi}))
}

func (h *host) bare(typ wire.MsgType, satype wire.SAType) []byte {
	return h.d().Finish(h.d().AppendHeader(nil, wire.Header{Version: 2, Type: typ, SAType: satype, Seq: 1, PID: 1}))
}

// policy is what a policy message is made of.
type policy struct {
	out, discard bool
	src, dst     netip.Addr
	req          []wire.IPsecRequest
}

func transport(proto uint16) []wire.IPsecRequest {
	return []wire.IPsecRequest{{Proto: proto, Mode: wire.ModeTransport, Level: wire.KAMELevelRequire}}
}

func tunnel(proto uint16, src, dst netip.Addr) []wire.IPsecRequest {
	return []wire.IPsecRequest{{Proto: proto, Mode: wire.ModeTunnel, Level: wire.KAMELevelRequire,
		Src: wire.Sockaddr{Addr: src}, Dst: wire.Sockaddr{Addr: dst}}}
}

func (h *host) policy(typ wire.MsgType, p policy) []byte {
	d := h.d()
	v := wire.Policy{Type: wire.KAMEPolicyIPsec, Direction: wire.KAMEDirIn, Requests: p.req}
	if p.out {
		v.Direction = wire.KAMEDirOut
	}
	if p.discard {
		v.Type = wire.KAMEPolicyDiscard
	}
	b := d.AppendHeader(nil, wire.Header{Version: 2, Type: typ, PID: 1})
	b = d.AppendPolicy(b, v)
	for t, a := range map[wire.ExtType]netip.Addr{wire.ExtAddressSrc: p.src, wire.ExtAddressDst: p.dst} {
		b = d.AppendAddress(b, t, wire.Address{Proto: 255, PrefixLen: uint8(a.BitLen()), Addr: a})
	}
	return d.Finish(b)
}

// plain is the packet the peer protects.
var plain = slices.Concat([]byte{0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0xf6, 0xcc}, peer.AsSlice(), me.AsSlice(),
	[]byte{0, 7, 0, 9, 0, 8, 0, 0})

// sealed is a packet of the peer.
func (h *host) sealed(spi wire.SPI, seq uint32) []byte {
	pkt, err := h.far.SealTransport(nil, plain, ipsec.Ports{}, ipsec.Sealing{SPI: uint32(spi), Seq: uint64(seq),
		IV: make([]byte, 16)})
	if err != nil {
		h.t.Fatal(err)
	}
	return pkt
}

var packetIDs atomic.Uint64

// drive sends a packet through the engine and returns its verdict, which is there when the call is over: this kernel
// keeps no packets.
func drive(way func(*packet.Packet), pkt []byte) (end packet.Verdict) {
	way(&packet.Packet{ID: packetIDs.Add(1), Data: pkt, Done: func(_ *packet.Packet, v packet.Verdict) { end = v }})
	return end
}

func (h *host) inbound(pkt []byte) packet.Verdict { return drive(h.e.Inbound, pkt) }

func (h *host) outbound(pkt []byte) packet.Verdict {
	return drive(func(p *packet.Packet) { h.e.Outbound(p, "") }, pkt)
}

var third = netip.MustParseAddr("192.0.2.3")

// udpPacket is an IP packet with a UDP datagram.
func udpPacket(src, dst netip.AddrPort, payload []byte) []byte {
	pkt, err := ip.UDP(src, dst, payload)
	if err != nil {
		panic(err)
	}
	return pkt
}

// datagram is a UDP datagram that the host wants to send.
func datagram(src, dst netip.Addr) []byte {
	return udpPacket(netip.AddrPortFrom(src, 40000), netip.AddrPortFrom(dst, 9), make([]byte, 200))
}
