package kame_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// heirs are the kernels whose common part is tested.
var heirs = []string{"freebsd", "netbsd"}

var (
	me, peer   = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	me6, peer6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

// host is an engine with a client.
type host struct {
	testing.TB
	kernel string
	e      *engine.Engine
	k      *kame.Kernel
	c      *pfkey.Client
}

// eachHeir runs a test on each kernel.
func eachHeir(t *testing.T, f func(t *testing.T, h *host)) {
	for _, kernel := range heirs {
		t.Run(kernel, func(t *testing.T) { f(t, newHost(t, kernel)) })
	}
}

func newHost(t testing.TB, kernel string) *host {
	t.Helper()
	e, err := kernels.New(kernel, engine.Options{Addrs: []netip.Addr{me, me6}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return &host{t, kernel, e, e.Kernel().(*kame.Kernel), client(t, e)}
}

func client(t testing.TB, e *engine.Engine) *pfkey.Client {
	t.Helper()
	s, errno := e.Open(root, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	c := pfkey.NewClientOn(s, e.Dialect(), root)
	t.Cleanup(func() { c.Close() })
	return c
}

// policies loads policies in setkey's words.
func (h *host) policies(text string) {
	h.Helper()
	if err := kernels.LoadPolicy(h.e, strings.NewReader(text), "policies"); err != nil {
		h.Fatal(err)
	}
}

// esp is an SA from one end to the other.
func esp(src, dst netip.Addr, spi wire.SPI) pfkey.SA {
	sa := pfkey.SA{Auth: wire.AuthSHA1HMAC, AuthKey: pfkey.NewKey(bytes.Repeat([]byte{1}, 20)), Replay: 4,
		Encrypt: wire.EncAESCBC, EncryptKey: pfkey.NewKey(bytes.Repeat([]byte{2}, 16))}
	sa.SAID = pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: pfkey.Host(src), Dst: pfkey.Host(dst)}
	return sa
}

// add adds an SA that must be taken.
func (h *host) add(sa pfkey.SA) {
	h.Helper()
	if err := h.c.Add(context.Background(), sa, 0); err != nil {
		h.Fatal(err)
	}
}

// sealed is a packet that a peer has sealed.
func (h *host) sealed(sa pfkey.SA, inner []byte, seq uint64) []byte {
	h.Helper()
	pkt, err := kernels.Seal(h.e, &sa, inner, seq, rand.NewChaCha8([32]byte{}))
	if err != nil {
		h.Fatal(err)
	}
	return pkt
}

// udp is a datagram of so many bytes of payload.
func udp(t testing.TB, src, dst netip.Addr, size int) []byte {
	t.Helper()
	pkt, err := ip.UDP(netip.AddrPortFrom(src, 1000), netip.AddrPortFrom(dst, 2000), make([]byte, size))
	if err != nil {
		t.Fatal(err)
	}
	return pkt
}

func (h *host) in(pkt []byte) packet.Verdict { return verdict(h.e.Inbound, pkt) }

func (h *host) out(pkt []byte) packet.Verdict {
	return verdict(func(p *packet.Packet) { h.e.Outbound(p, "") }, pkt)
}

// verdict has a packet go a way, and returns what becomes of it.
func verdict(drive func(*packet.Packet), pkt []byte) (v packet.Verdict) {
	drive(&packet.Packet{Data: bytes.Clone(pkt), Done: func(_ *packet.Packet, is packet.Verdict) { v = is }})
	v.Inner = bytes.Clone(v.Inner)
	return v
}

// fate is a verdict in words.
func fate(v packet.Verdict) string {
	if v.Kind != packet.Dropped {
		return v.Kind.String()
	}
	return strings.TrimSpace(fmt.Sprintf("%v %s", v.Reason, v.Counter))
}

// atRest checks that no packet has gone astray: these kernels keep none.
func (h *host) atRest() {
	h.Helper()
	if b := h.e.Ledger().Balance(); b.InFlight != 0 || b.Held != 0 || b.Injected != b.Ended {
		h.Errorf("ledger at rest: %d injected, %d ended, %d held, %d in flight", b.Injected, b.Ended, b.Held,
			b.InFlight)
	}
}
