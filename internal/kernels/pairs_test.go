package kernels_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// pairSuite is algorithms that some kernels have, with the same lengths of key, IV and ICV.
type pairSuite struct {
	name            string
	auth, encrypt   wire.AlgID
	authKey, encKey int // bytes; a salt is the last of the latter
	kernels         string
	otherwise       string // kernels that take it for something else, with another ICV
}

const (
	everybody = "freebsd illumos linux netbsd openbsd"
	bsds      = "freebsd netbsd"
)

// pairSuites are all that two kernels have in common, and those that one has alone. HMAC-SHA2-256 has 12 bytes on
// Linux, where the others have 16; NULL authentication has an ICV on the BSDs.
var pairSuites = []pairSuite{
	{"null sha1", wire.AuthSHA1HMAC, wire.EncNull, 20, 0, everybody, ""},
	{"aes-cbc-128 sha1", wire.AuthSHA1HMAC, wire.EncAESCBC, 20, 16, everybody, ""},
	{"aes-cbc-192 sha1", wire.AuthSHA1HMAC, wire.EncAESCBC, 20, 24, everybody, ""},
	{"aes-cbc-256 sha1", wire.AuthSHA1HMAC, wire.EncAESCBC, 20, 32, everybody, ""},
	{"aes-cbc-256 sha384", wire.AuthSHA384HMAC, wire.EncAESCBC, 48, 32, everybody, ""},
	{"aes-cbc-256 sha512", wire.AuthSHA512HMAC, wire.EncAESCBC, 64, 32, everybody, ""},
	{"aes-cbc-128 sha256", wire.AuthSHA256HMAC, wire.EncAESCBC, 32, 16, "freebsd illumos netbsd openbsd", "linux"},
	{"aes-cbc-128", 0, wire.EncAESCBC, 0, 16, everybody, ""},
	{"aes-cbc-128 null", wire.AuthNull, wire.EncAESCBC, 0, 16, bsds, "linux"},
	{"aes-cbc-128 md5", wire.AuthMD5HMAC, wire.EncAESCBC, 16, 16, "illumos linux netbsd openbsd", ""},
	{"aes-cbc-128 ripemd160", wire.AuthRIPEMD160HMAC, wire.EncAESCBC, 20, 16, "linux netbsd openbsd", ""},
	{"aes-cbc-128 xcbc", wire.AuthAESXCBCMAC, wire.EncAESCBC, 16, 16, "linux netbsd", ""},
	{"aes-ctr-128 sha1", wire.AuthSHA1HMAC, wire.EncAESCTR, 20, 20, "freebsd linux netbsd openbsd", ""},
	{"aes-ctr-192 sha1", wire.AuthSHA1HMAC, wire.EncAESCTR, 20, 28, "freebsd linux netbsd openbsd", ""},
	{"aes-ctr-256 sha512", wire.AuthSHA512HMAC, wire.EncAESCTR, 64, 36, "freebsd linux netbsd openbsd", ""},
	{"aes-gcm-128", 0, wire.EncAESGCM16, 0, 20, "freebsd illumos netbsd openbsd", ""},
	{"aes-gcm-192", 0, wire.EncAESGCM16, 0, 28, "freebsd illumos netbsd openbsd", ""},
	{"aes-gcm-256", 0, wire.EncAESGCM16, 0, 36, "freebsd illumos netbsd openbsd", ""},
	{"chacha20-poly1305", 0, wire.EncChaCha20Poly1305, 0, 36, "openbsd", ""},
	{"aes-gmac-128", 0, wire.EncNullAESGMAC, 0, 20, "netbsd openbsd", ""},
	{"camellia-128 sha1", wire.AuthSHA1HMAC, wire.EncCamelliaCBC, 20, 16, "linux netbsd", ""},
	{"camellia-256 sha1", wire.AuthSHA1HMAC, wire.EncCamelliaCBC, 20, 32, "linux netbsd", ""},
	{"des sha1", wire.AuthSHA1HMAC, wire.EncDESCBC, 20, 8, "illumos linux netbsd", ""},
	{"3des md5", wire.AuthMD5HMAC, wire.Enc3DESCBC, 16, 24, "illumos linux netbsd openbsd", ""},
	{"blowfish-128 sha1", wire.AuthSHA1HMAC, wire.EncBlowfishCBC, 20, 16, "illumos linux netbsd openbsd", ""},
	{"blowfish-448 sha1", wire.AuthSHA1HMAC, wire.EncBlowfishCBC, 20, 56, "linux netbsd openbsd", ""},
	{"cast128 sha1", wire.AuthSHA1HMAC, wire.EncCAST128CBC, 20, 16, "linux netbsd openbsd", ""},
	{"skipjack sha1", wire.AuthSHA1HMAC, wire.EncSkipjackCBC, 20, 10, "netbsd", ""},
	{"null keyed-md5", wire.AuthKeyedMD5, wire.EncNull, 16, 0, "netbsd", ""},
	{"aes-cbc-128 keyed-sha1", wire.AuthKeyedSHA1, wire.EncAESCBC, 20, 16, "netbsd", ""},
}

func (s *pairSuite) has(kernel string) bool {
	return slices.Contains(strings.Fields(s.kernels), kernel)
}

// way is how a packet goes: between the hosts themselves, or in a tunnel of theirs.
type way struct{ v6, tunnel bool }

func (w way) String() string {
	family, mode := "IPv4", "transport"
	if w.v6 {
		family = "IPv6"
	}
	if w.tunnel {
		mode = "tunnel"
	}
	return family + " " + mode
}

// ends are those of the SA, and of the packet.
func (w way) ends() (src, dst, from, to netip.Addr) {
	a := netip.MustParseAddr
	src, dst = a("192.0.2.1"), a("192.0.2.2")
	from, to = a("10.0.0.1"), a("10.0.1.1")
	if w.v6 {
		src, dst, from, to = a("2001:db8::1"), a("2001:db8::2"), a("2001:db8:a::1"), a("2001:db8:b::1")
	}
	if !w.tunnel {
		from, to = src, dst
	}
	return src, dst, from, to
}

// host is a kernel at one end.
type host struct {
	kernel string
	e      *engine.Engine
	c      *pfkey.Client
}

// newHost boots the sender or the receiver, with the policy that all packets are protected.
func newHost(t *testing.T, kernel string, w way, sends bool) *host {
	t.Helper()
	src, dst, from, to := w.ends()
	own := []netip.Addr{src, from}
	if !sends {
		own = []netip.Addr{dst, to}
	}
	e, err := kernels.New(kernel, engine.Options{Addrs: own})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	direction, mode := "in", "transport/"
	if sends {
		direction = "out"
	}
	if w.tunnel {
		mode = fmt.Sprintf("tunnel/%v-%v", src, dst)
	}
	policy := fmt.Sprintf("spdadd %v %v any -P %s ipsec esp/%s/require;", from, to, direction, mode)
	if kernel == "openbsd" {
		far := dst
		if !sends {
			far = src
		}
		policy = fmt.Sprintf("flow esp %s from %v to %v peer %v", direction, from, to, far)
	}
	if kernel == "illumos" {
		policy = "{ulp udp} ipsec {encr_algs any encr_auth_algs any}"
		if w.tunnel {
			local, remote := src, dst
			if !sends {
				local, remote = dst, src
			}
			family := "ipv4"
			if w.v6 {
				family = "ipv6"
			}
			policy = fmt.Sprintf("dladm create-iptun -T %s -a local=%v,remote=%v tun0\n"+
				"{tunnel tun0 negotiate tunnel} ipsec {encr_algs any encr_auth_algs any}", family, local, remote)
		}
	}
	if err := kernels.LoadPolicy(e, strings.NewReader(policy), "policy"); err != nil {
		t.Fatalf("%s: %v", kernel, err)
	}
	cred := pfkey.Cred{Privileged: true}
	s, errno := e.Open(cred, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	c := pfkey.NewClientOn(s, e.Dialect(), cred)
	t.Cleanup(func() { c.Close() })
	return &host{kernel, e, c}
}

// sa is that of a suite, as the host's kernel wants it described.
func (h *host) sa(s *pairSuite, w way, spi wire.SPI) pfkey.SA {
	key := func(n int) wire.Key {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i*7 + n)
		}
		return pfkey.NewKey(b)
	}
	src, dst, from, to := w.ends()
	sa := pfkey.SA{Auth: s.auth, Encrypt: s.encrypt, EncryptKey: key(s.encKey)}
	sa.SAID = pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: pfkey.Host(src), Dst: pfkey.Host(dst)}
	if s.auth != 0 {
		sa.AuthKey = key(s.authKey)
	}
	if s.encrypt == wire.EncNull && strings.Contains("illumos openbsd", h.kernel) { // others want an empty one
		sa.EncryptKey = wire.Key{}
	}
	if h.kernel == "illumos" {
		if w.tunnel {
			d := h.e.Dialect()
			sa.Extra = d.AppendAddress(sa.Extra, wire.IllumosExtXAddressInnerSrc, pfkey.Host(from))
			sa.Extra = d.AppendAddress(sa.Extra, wire.IllumosExtXAddressInnerDst, pfkey.Host(to))
		}
		return sa
	}
	if h.kernel == "openbsd" {
		if w.tunnel {
			sa.Flags = wire.OpenBSDFlagXTunnel
		}
		return sa
	}
	sa.SA2 = &wire.SA2{Mode: wire.ModeTransport}
	if w.tunnel {
		sa.SA2.Mode = wire.ModeTunnel
	}
	return sa
}

// TestPairs has every kernel open what every kernel seals, with every suite that both have. What one does not have it
// refuses.
func TestPairs(t *testing.T) {
	all := strings.Fields(everybody)
	n := 0
	for _, from := range all {
		for _, to := range all {
			t.Run(from+" to "+to, func(t *testing.T) {
				for _, w := range []way{{}, {tunnel: true}, {v6: true}, {true, true}} {
					sender, receiver := newHost(t, from, w, true), newHost(t, to, w, false)
					for i := range pairSuites {
						if s := &pairSuites[i]; exchange(t, sender, receiver, s, w, wire.SPI(0x1000+i)) {
							n++
						}
					}
				}
			})
		}
	}
	if n == 0 {
		t.Error("no packet was sent")
	}
	t.Logf("%d packets", n)
}

// exchange sends one packet, if both have the suite.
func exchange(t *testing.T, sender, receiver *host, s *pairSuite, w way, spi wire.SPI) bool {
	t.Helper()
	ctx := context.Background()
	both := true
	for _, h := range []*host{sender, receiver} {
		if slices.Contains(strings.Fields(s.otherwise), h.kernel) {
			both = false
			continue
		}
		sa := h.sa(s, w, spi)
		err := h.c.Add(ctx, sa, 0)
		if has := s.has(h.kernel); (err == nil) != has {
			t.Errorf("%s, %v: %s says %v", s.name, w, h.kernel, err)
			return false
		} else if !has {
			both = false
		}
		if err == nil {
			defer h.c.Delete(ctx, sa.SAID)
		}
	}
	if !both {
		return false
	}
	_, _, from, to := w.ends()
	// With its trailer the payload is a multiple of every cipher's block, as the BSDs want it even of AES-CTR.
	size := 64 - 2 - ip.LenUDP
	if w.tunnel {
		size -= 20
		if w.v6 {
			size -= 20
		}
	}
	inner, err := ip.UDP(netip.AddrPortFrom(from, 1000), netip.AddrPortFrom(to, 2000), make([]byte, size))
	if err != nil {
		t.Fatal(err)
	}
	tunnel := ""
	if w.tunnel && sender.kernel == "illumos" {
		tunnel = "tun0"
	}
	sealed := verdict(func(p *packet.Packet) { sender.e.Outbound(p, tunnel) }, inner)
	if sealed.Kind != packet.Transmitted || len(sealed.Inner) <= len(inner) || bytes.Equal(sealed.Inner, inner) {
		t.Errorf("%s, %v: not sealed: %v %v %s", s.name, w, sealed.Kind, sealed.Reason, sealed.Counter)
		return false
	}
	opened := verdict(receiver.e.Inbound, sealed.Inner)
	if opened.Kind != packet.Delivered || !bytes.Equal(opened.Inner, inner) {
		t.Errorf("%s, %v: not opened: %v %v %s", s.name, w, opened.Kind, opened.Reason, opened.Counter)
	}
	return true
}

// verdict has a packet go a way, and returns what becomes of it.
func verdict(drive func(*packet.Packet), pkt []byte) (v packet.Verdict) {
	drive(&packet.Packet{Data: bytes.Clone(pkt), Done: func(_ *packet.Packet, is packet.Verdict) { v = is }})
	v.Inner = bytes.Clone(v.Inner)
	return v
}
