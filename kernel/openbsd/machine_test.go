package openbsd_test

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/openbsd"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

var (
	here, there = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	here6       = netip.MustParseAddr("2001:db8::1")

	// superuser is the process that opens the sockets of tests.
	superuser = pfkey.Cred{PID: 1234, Privileged: true}

	authKey = []byte("0123456789abcdefghij")
	encKey  = []byte("0123456789abcdef")

	// farSuite is what both sides protect packets with.
	farSuite = ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: ipsec.NewKey(encKey), MAC: ipsec.HMACSHA1,
		AuthKey: ipsec.NewKey(authKey)}
)

// machine is an engine with a socket.
type machine struct {
	testing.TB
	e *engine.Engine
	k *openbsd.Kernel
	d *wire.Dialect
	s pfkey.Socket
}

func boot(t testing.TB) *machine { return bootWith(t, engine.Options{}) }

func bootWith(t testing.TB, o engine.Options) *machine {
	t.Helper()
	o.Addrs = []netip.Addr{here, here6}
	e, err := engine.New("openbsd", o, func(e *engine.Engine) (engine.Kernel, error) { return openbsd.New(e, o) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	h := &machine{TB: t, e: e, k: e.Kernel().(*openbsd.Kernel), d: e.Dialect()}
	h.s = h.open()
	return h
}

func (h *machine) open() pfkey.Socket {
	h.Helper()
	s, errno := h.e.Open(superuser, 3, 2)
	if errno != wire.OK {
		h.Fatalf("open: %v", errno)
	}
	h.Cleanup(s.Close)
	return s
}

// takeAll is everything that waits on a socket.
func takeAll(s pfkey.Socket) (all [][]byte) {
	buf := make([]byte, 1<<16)
	for {
		n, _, errno := s.Recv(buf, 0)
		if errno != wire.OK || n == 0 {
			return all
		}
		all = append(all, slices.Clone(buf[:n]))
	}
}

// says sends a message and tells what comes of it: the error of the call, or that of the first answer.
func (h *machine) says(msg []byte) string {
	h.Helper()
	errno := h.s.Send(msg, superuser)
	got := takeAll(h.s)
	if errno != wire.OK {
		if len(got) > 0 {
			h.Errorf("%s: %v, and an answer", h.d.Line(msg), errno)
		}
		return "send: " + errno.String()
	}
	if len(got) == 0 {
		return "silence"
	}
	said, _ := h.d.Errno(got[0][2])
	return said.String()
}

// must sends a message that has to succeed, and returns the first answer.
func (h *machine) must(msg []byte) []byte {
	h.Helper()
	if errno := h.s.Send(msg, superuser); errno != wire.OK {
		h.Fatalf("%s: %v", h.d.Line(msg), errno)
	}
	got := takeAll(h.s)
	if len(got) == 0 || got[0][2] != 0 {
		h.Fatalf("%s: %d answers", h.d.Line(msg), len(got))
	}
	return got[0]
}

// later moves the clock.
func (h *machine) later(d time.Duration) { h.e.Advance(h.e.Now().Add(d)) }

// set sets a knob.
func (h *machine) set(name string, value int64) {
	h.Helper()
	if errno := h.k.SetSysctl(name, value); errno != wire.OK {
		h.Fatalf("%s = %d: %v", name, value, errno)
	}
}

// association is what a message about an SA is made of. The zero value is ESP from the peer with both keys.
type association struct {
	satype     wire.SAType
	spi        wire.SPI
	src, dst   netip.Addr
	sa         *wire.SA // nil: AES-CBC and HMAC-SHA1
	noKeys     bool
	hard, soft *wire.Lifetime
	more       []byte // further extensions
}

// about builds a message about an SA: only ADD and UPDATE have keys and limits.
func (h *machine) about(typ wire.MsgType, a association) []byte {
	if a.satype == wire.SATypeUnspec {
		a.satype = wire.SATypeESP
	}
	if !a.src.IsValid() {
		a.src = there
	}
	if !a.dst.IsValid() {
		a.dst = here
	}
	sa := wire.SA{State: wire.StateMature, Auth: wire.AuthSHA1HMAC, Encrypt: wire.EncAESCBC}
	if a.sa != nil {
		sa = *a.sa
		sa.State = wire.StateMature
	}
	sa.SPI = a.spi
	b := h.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: typ, SAType: a.satype, Seq: 7,
		PID: uint32(superuser.PID)})
	b = h.d.AppendSA(b, sa)
	b = h.d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Addr: a.src})
	b = h.d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: a.dst})
	if typ == wire.MsgAdd || typ == wire.MsgUpdate {
		if !a.noKeys {
			b = h.d.AppendKey(b, wire.ExtKeyAuth, pfkey.NewKey(authKey))
			b = h.d.AppendKey(b, wire.ExtKeyEncrypt, pfkey.NewKey(encKey))
		}
		if a.hard != nil {
			b = h.d.AppendLifetime(b, wire.ExtLifetimeHard, *a.hard)
		}
		if a.soft != nil {
			b = h.d.AppendLifetime(b, wire.ExtLifetimeSoft, *a.soft)
		}
	}
	return h.d.Finish(append(b, a.more...))
}

func (h *machine) add(a association) []byte { return h.about(wire.MsgAdd, a) }

// bare is a message without extensions.
func (h *machine) bare(typ wire.MsgType, t wire.SAType) []byte {
	return h.d.Finish(h.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: typ, SAType: t, Seq: 7,
		PID: uint32(superuser.PID)}))
}

// getSPI asks for an SPI of a range.
func (h *machine) getSPI(t wire.SAType, least, most wire.SPI) []byte {
	b := h.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgGetSPI, SAType: t, Seq: 7,
		PID: uint32(superuser.PID)})
	b = h.d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Addr: there})
	b = h.d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: here})
	return h.d.Finish(h.d.AppendSPIRange(b, wire.SPIRange{Min: least, Max: most}))
}

// find is an extension of a message; nil: it has none.
func (h *machine) find(msg []byte, t wire.ExtType) []byte {
	x, _ := h.d.Find(msg, t)
	return x.Raw
}

// spi is that of a message.
func (h *machine) spi(msg []byte) wire.SPI {
	h.Helper()
	v, err := h.d.ParseSA(h.find(msg, wire.ExtSA))
	if err != nil {
		h.Fatal(err)
	}
	return v.SPI
}

// datagram is a UDP packet with some bytes of payload.
func datagram(t testing.TB, src, dst netip.Addr) []byte {
	t.Helper()
	pkt, err := ip.UDP(netip.AddrPortFrom(src, 1000), netip.AddrPortFrom(dst, 2000), make([]byte, 24))
	if err != nil {
		t.Fatal(err)
	}
	return pkt
}

// sealed is a packet that the peer has sealed in transport mode.
func (h *machine) sealed(spi wire.SPI, seq uint64) []byte {
	h.Helper()
	far, err := farSuite.New()
	if err != nil {
		h.Fatal(err)
	}
	pkt, err := far.SealTransport(nil, datagram(h, there, here), ipsec.Ports{},
		ipsec.Sealing{SPI: uint32(spi), Seq: seq, IV: make([]byte, far.IVLen())})
	if err != nil {
		h.Fatal(err)
	}
	return pkt
}

func (h *machine) in(pkt []byte) packet.Verdict { return through(h.e.Inbound, pkt) }

func (h *machine) out(pkt []byte) packet.Verdict {
	return through(func(p *packet.Packet) { h.e.Outbound(p, "") }, pkt)
}

// through has a packet go a way, and returns what becomes of it.
func through(way func(*packet.Packet), pkt []byte) (v packet.Verdict) {
	way(&packet.Packet{Data: bytes.Clone(pkt), Done: func(_ *packet.Packet, is packet.Verdict) { v = is }})
	v.Inner = bytes.Clone(v.Inner)
	return v
}

// fateOf is a verdict in words.
func fateOf(v packet.Verdict) string {
	if v.Kind != packet.Dropped {
		return v.Kind.String()
	}
	return v.Reason.String()
}
