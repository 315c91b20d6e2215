package kame_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("192.0.2.2")

	farAuth    = []byte("0123456789abcdefghij")
	farEncrypt = []byte("0123456789abcdef")

	// farSuite is what both sides protect packets with.
	farSuite = ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: ipsec.NewKey(farEncrypt), MAC: ipsec.HMACSHA1,
		AuthKey: ipsec.NewKey(farAuth)}

	superuser = pfkey.Cred{Privileged: true}
)

// systems are the kernels that stand on package kame.
var systems = []string{"netbsd", "freebsd"}

// machine is an engine with a socket, and the peer's side of its SAs.
type machine struct {
	t   testing.TB
	e   *engine.Engine
	k   *kame.Kernel
	s   pfkey.Socket
	far *ipsec.Transform
}

func boot(t testing.TB, heir string, o engine.Options) *machine {
	t.Helper()
	o.Addrs = []netip.Addr{here, netip.MustParseAddr("2001:db8::1")}
	e, err := kernels.New(heir, o)
	if err != nil {
		t.Fatal(err)
	}
	h := &machine{t: t, e: e, k: e.Kernel().(*kame.Kernel)}
	h.s = h.open()
	if h.far, err = farSuite.New(); err != nil {
		t.Fatal(err)
	}
	return h
}

// onBoth runs a test on every heir.
func onBoth(t *testing.T, f func(t *testing.T, h *machine)) {
	for _, heir := range systems {
		t.Run(heir, func(t *testing.T) { f(t, boot(t, heir, engine.Options{})) })
	}
}

func (h *machine) open() pfkey.Socket {
	h.t.Helper()
	s, errno := h.e.Open(superuser, 3, 2)
	if errno != wire.OK {
		h.t.Fatalf("open: %v", errno)
	}
	h.t.Cleanup(s.Close)
	return s
}

func (h *machine) d() *wire.Dialect { return h.e.Dialect() }

// received returns everything that a socket has received.
func received(s pfkey.Socket) (all [][]byte) {
	buf := make([]byte, 16384)
	for {
		n, _, errno := s.Recv(buf, 0)
		if errno != wire.OK {
			return all
		}
		all = append(all, slices.Clone(buf[:n]))
	}
}

// must sends a message that has to succeed, and returns the first answer.
func (h *machine) must(msg []byte) []byte {
	h.t.Helper()
	if errno := h.s.Send(msg, superuser); errno != wire.OK {
		h.t.Fatalf("%s: %v", h.d().Line(msg), errno)
	}
	got := received(h.s)
	if len(got) == 0 || got[0][2] != 0 {
		h.t.Fatalf("%s: answers %d", h.d().Line(msg), len(got))
	}
	return got[0]
}

// association is what a message about an SA is made of.
type association struct {
	typ      wire.MsgType
	spi      wire.SPI
	src, dst netip.Addr
	sa2      *wire.SA2
	hard     *wire.Lifetime
	soft     *wire.Lifetime
	ports    [2]uint16 // of a NAT; 0: none
	noKeys   bool
}

// sa builds an ADD, or whatever a has as its type.
func (h *machine) sa(a association) []byte {
	d := h.d()
	if a.typ == 0 {
		a.typ = wire.MsgAdd
	}
	if !a.src.IsValid() {
		a.src, a.dst = there, here
	}
	b := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: a.typ, SAType: wire.SATypeESP, PID: 1})
	b = d.AppendSA(b, wire.SA{SPI: a.spi, Replay: 4, Auth: wire.AuthSHA1HMAC, Encrypt: wire.EncAESCBC})
	if a.sa2 != nil {
		b = d.AppendSA2(b, *a.sa2)
	}
	b = d.AppendAddress(b, wire.ExtAddressSrc, pfkey.Host(a.src))
	b = d.AppendAddress(b, wire.ExtAddressDst, pfkey.Host(a.dst))
	if a.typ != wire.MsgAdd && a.typ != wire.MsgUpdate {
		return d.Finish(b)
	}
	if !a.noKeys {
		b = d.AppendKey(b, wire.ExtKeyAuth, pfkey.NewKey(farAuth))
		b = d.AppendKey(b, wire.ExtKeyEncrypt, pfkey.NewKey(farEncrypt))
	}
	if a.hard != nil {
		b = d.AppendLifetime(d.AppendLifetime(b, wire.ExtLifetimeHard, *a.hard), wire.ExtLifetimeSoft, *a.soft)
	}
	if a.ports[0] != 0 {
		b = d.AppendNATTType(b, wire.NATTType{Type: wire.KAMENATTESP})
		b = d.AppendNATTPort(b, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: a.ports[0]})
		b = d.AppendNATTPort(b, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: a.ports[1]})
	}
	return d.Finish(b)
}

// getSPI asks for an SPI in a range.
func (h *machine) getSPI(least, most wire.SPI) []byte {
	d := h.d()
	b := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgGetSPI, SAType: wire.SATypeESP, PID: 1})
	b = d.AppendAddress(b, wire.ExtAddressSrc, pfkey.Host(there))
	b = d.AppendAddress(b, wire.ExtAddressDst, pfkey.Host(here))
	return d.Finish(d.AppendSPIRange(b, wire.SPIRange{Min: least, Max: most}))
}

// bare is a message without extensions.
func (h *machine) bare(typ wire.MsgType, satype wire.SAType) []byte {
	return h.d().Finish(h.d().AppendHeader(nil, wire.Header{Version: wire.Version, Type: typ, SAType: satype, PID: 1}))
}

// policy is an SPDADD for packets to the peer that must be protected in transport mode.
func (h *machine) policy(dst netip.Addr) []byte {
	d := h.d()
	b := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.KAMEMsgXSPDAdd, PID: 1})
	src, to := pfkey.Host(here), pfkey.Host(dst)
	src.Proto, to.Proto = kame.AnyProto, kame.AnyProto
	b = d.AppendAddress(d.AppendAddress(b, wire.ExtAddressSrc, src), wire.ExtAddressDst, to)
	return d.Finish(d.AppendPolicy(b, wire.Policy{Type: wire.KAMEPolicyIPsec, Direction: wire.KAMEDirOut,
		Requests: []wire.IPsecRequest{{Proto: 50, Mode: wire.ModeTransport, Level: wire.KAMELevelRequire}}}))
}

// datagram is a packet of the host's to an address.
func (h *machine) datagram(dst netip.Addr) []byte {
	pkt, err := ipsec.MakeUDP(netip.AddrPortFrom(here, 4000), netip.AddrPortFrom(dst, 4000), []byte("data"))
	if err != nil {
		h.t.Fatal(err)
	}
	return pkt
}

// sealed is a packet that the peer has protected in transport mode.
func (h *machine) sealed(spi wire.SPI, seq uint64) []byte {
	h.t.Helper()
	inner, err := ipsec.MakeUDP(netip.AddrPortFrom(there, 4000), netip.AddrPortFrom(here, 4000), []byte("data"))
	if err != nil {
		h.t.Fatal(err)
	}
	pkt, err := h.far.SealTransport(nil, inner, ipsec.Ports{}, ipsec.Sealing{SPI: uint32(spi), Seq: seq,
		IV: make([]byte, h.far.IVLen())})
	if err != nil {
		h.t.Fatal(err)
	}
	return pkt
}

// through injects a packet and returns its verdict.
func (h *machine) through(inject func(*packet.Packet), pkt []byte) (last packet.Verdict) {
	inject(&packet.Packet{Data: pkt, Done: func(_ *packet.Packet, v packet.Verdict) { last = v }})
	return last
}

func (h *machine) inbound(pkt []byte) packet.Verdict { return h.through(h.e.Inbound, pkt) }

func (h *machine) outbound(pkt []byte) packet.Verdict {
	return h.through(func(p *packet.Packet) { h.e.Outbound(p, "") }, pkt)
}

// balanced checks that no packet has gone astray: these kernels keep none.
func balanced(t testing.TB, e *engine.Engine) {
	t.Helper()
	if b := e.Ledger().Balance(); b.InFlight != 0 || b.Held != 0 || b.Injected != b.Ended {
		t.Errorf("ledger at rest: %d injected, %d ended, %d held, %d in flight", b.Injected, b.Ended, b.Held,
			b.InFlight)
	}
}
