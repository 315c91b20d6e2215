package openbsd_test

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
	"github.com/pfkeyd/pfkeyd/kernel/openbsd"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

var (
	me, peer   = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	me6, peer6 = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")

	root = pfkey.Cred{Privileged: true}
)

// host is an engine with a client.
type host struct {
	testing.TB
	e *engine.Engine
	k *openbsd.Kernel
	c *pfkey.Client
}

func newHost(t testing.TB) *host {
	t.Helper()
	e, err := kernels.New("openbsd", engine.Options{Addrs: []netip.Addr{me, me6}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return &host{t, e, e.Kernel().(*openbsd.Kernel), client(t, e)}
}

func open(t testing.TB, e *engine.Engine) pfkey.Socket {
	t.Helper()
	s, errno := e.Open(root, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	t.Cleanup(s.Close)
	return s
}

func client(t testing.TB, e *engine.Engine) *pfkey.Client {
	t.Helper()
	return pfkey.NewClientOn(open(t, e), e.Dialect(), root)
}

// flows loads flows in the words of ipsec.conf.
func (h *host) flows(text string) {
	h.Helper()
	if err := kernels.LoadPolicy(h.e, strings.NewReader(text), "flows"); err != nil {
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

// tunnel is an SA in tunnel mode.
func tunnel(src, dst netip.Addr, spi wire.SPI) pfkey.SA {
	sa := esp(src, dst, spi)
	sa.Flags = wire.OpenBSDFlagXTunnel
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
	return wrap(t, netip.AddrPortFrom(src, 1000), netip.AddrPortFrom(dst, 2000), make([]byte, size))
}

// wrap puts bytes into UDP.
func wrap(t testing.TB, src, dst netip.AddrPort, payload []byte) []byte {
	t.Helper()
	pkt, err := ip.UDP(src, dst, payload)
	if err != nil {
		t.Fatal(err)
	}
	return pkt
}

// changed is a packet with other bytes.
func changed(pkt []byte, change func(b []byte)) []byte {
	pkt = bytes.Clone(pkt)
	change(pkt)
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

// atRest checks that no packet has gone astray: this kernel keeps none.
func (h *host) atRest() {
	h.Helper()
	if b := h.e.Ledger().Balance(); b.InFlight != 0 || b.Held != 0 || b.Injected != b.Ended {
		h.Errorf("ledger at rest: %d injected, %d ended, %d held, %d in flight", b.Injected, b.Ended, b.Held,
			b.InFlight)
	}
}

// received is everything that a socket has received.
func received(s pfkey.Socket) (all [][]byte) {
	buf := make([]byte, 1<<16)
	for {
		n, _, errno := s.Recv(buf, 0)
		if errno != wire.OK {
			return all
		}
		all = append(all, bytes.Clone(buf[:n]))
	}
}
