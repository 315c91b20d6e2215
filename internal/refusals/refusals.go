// Package refusals is a table of packets that are wrong, and what Linux 6.1 does with each: it is there to be compared
// with the emulated kernel, by the tests of kernel/linux, and with a real one, by .ci/packets.
package refusals

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// The two ends by family (true: IPv6), and what is behind the tunnel between them.
var (
	sender      = map[bool]netip.Addr{false: netip.MustParseAddr("192.0.2.1"), true: netip.MustParseAddr("2001:db8::1")}
	host        = map[bool]netip.Addr{false: netip.MustParseAddr("192.0.2.2"), true: netip.MustParseAddr("2001:db8::2")}
	senderInner = map[bool]netip.Addr{false: netip.MustParseAddr("10.1.0.1"), true: netip.MustParseAddr("fd00:1::1")}
	hostInner   = map[bool]netip.Addr{false: netip.MustParseAddr("10.2.0.1"), true: netip.MustParseAddr("fd00:2::1")}
)

const (
	senderPort = 7
	hostPort   = 9 // a program of the host listens there
)

// Host is the addresses of the host that gets the packets, of both families.
func Host() []netip.Addr {
	return []netip.Addr{host[false], host[true], hostInner[false], hostInner[true]}
}

func keyBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + n)
	}
	return b
}

// Refusal is a packet, and what Linux does with it: the reason by our name, and all counters that move by one. No
// reason: a program gets it.
type Refusal struct {
	Name     string
	Packet   []byte
	Reason   packet.Reason
	Counters []string // the first is the one that the verdict names
}

// The SPIs of the SAs of [SetUp].
const (
	spiNull   = 0x101 + iota // ESP, NULL with HMAC-MD5
	spiCBC                   // ESP, AES-CBC with HMAC-SHA1
	spiBare                  // ESP, AES-CBC without integrity
	spiAH                    // AH, HMAC-MD5
	spiAH512                 // AH, HMAC-SHA512
	spiTunnel                // ESP, tunnel mode
	spiUDP                   // ESP in UDP
	spiComp                  // IPCOMP
	spiOther                 // ESP, for packets from another host
	spiLarval
	spiPackets // ESP, one packet
	spiBytes   // ESP, one byte
	spiAHNull  // AH without an algorithm
	spiNone    // there is no such SA
)

var key = keyBytes(16)

func md5Suite(proto ipsec.Proto) *ipsec.Suite {
	return &ipsec.Suite{Proto: proto, MAC: ipsec.HMACMD5, AuthKey: ipsec.NewKey(key)}
}

// SetUp makes the SAs and policies that the packets are for on a kernel that has the addresses of [Host], and no
// others.
func SetUp(t testing.TB, c *pfkey.Client) {
	t.Helper()
	ctx, d := t.Context(), c.Dialect()
	if err := errors.Join(c.Flush(ctx, wire.SATypeUnspec), c.FlushPolicies(ctx)); err != nil {
		t.Fatal(err)
	}
	for _, six := range []bool{false, true} {
		src, dst := sender[six], host[six]
		add := func(spi wire.SPI, change func(*pfkey.SA)) {
			t.Helper()
			sa := pfkey.SA{
				SAID:   pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: pfkey.Host(src), Dst: pfkey.Host(dst)},
				Replay: 32,
				Auth:   wire.AuthMD5HMAC, AuthKey: pfkey.NewKey(key), Encrypt: wire.EncNull,
				EncryptKey: wire.Key{Data: []byte{}},
				SA2:        &wire.SA2{Mode: wire.ModeTransport},
			}
			if change != nil {
				change(&sa)
			}
			if err := c.Add(ctx, sa, 0); err != nil {
				t.Fatalf("%v: %v", spi, err)
			}
		}
		add(spiNull, nil)
		add(spiCBC, func(sa *pfkey.SA) {
			sa.Encrypt, sa.EncryptKey, sa.Auth, sa.AuthKey = wire.EncAESCBC, pfkey.NewKey(keyBytes(16)),
				wire.AuthSHA1HMAC, pfkey.NewKey(keyBytes(20))
		})
		add(spiBare, func(sa *pfkey.SA) {
			sa.Encrypt, sa.EncryptKey, sa.Auth, sa.AuthKey = wire.EncAESCBC, pfkey.NewKey(keyBytes(16)), 0,
				wire.Key{}
		})
		add(spiAH, func(sa *pfkey.SA) { sa.Type, sa.Encrypt, sa.EncryptKey = wire.SATypeAH, 0, wire.Key{} })
		add(spiAHNull, func(sa *pfkey.SA) {
			sa.Type, sa.Encrypt, sa.EncryptKey = wire.SATypeAH, 0, wire.Key{}
			sa.Auth, sa.AuthKey = wire.AuthNull, wire.Key{Data: []byte{}}
		})
		add(spiAH512, func(sa *pfkey.SA) {
			sa.Type, sa.Encrypt, sa.EncryptKey = wire.SATypeAH, 0, wire.Key{}
			sa.Auth, sa.AuthKey = wire.AuthSHA512HMAC, pfkey.NewKey(keyBytes(64))
		})
		add(spiTunnel, func(sa *pfkey.SA) { sa.SA2.Mode = wire.ModeTunnel })
		add(spiUDP, func(sa *pfkey.SA) {
			sa.Extra = d.AppendNATTType(sa.Extra, wire.NATTType{Type: wire.KAMENATTESP})
			sa.Extra = d.AppendNATTPort(sa.Extra, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: ipsec.NATTPort})
			sa.Extra = d.AppendNATTPort(sa.Extra, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: ipsec.NATTPort})
		})
		add(spiComp, func(sa *pfkey.SA) {
			sa.Type, sa.Encrypt, sa.EncryptKey, sa.Auth, sa.AuthKey = wire.SATypeIPComp, wire.CompDeflate,
				wire.Key{}, 0, wire.Key{}
			sa.Replay = 0
		})
		add(spiOther, func(sa *pfkey.SA) {
			sa.Extra = d.AppendAddress(sa.Extra, wire.ExtAddressProxy, pfkey.Host(senderInner[six]))
		})
		add(spiPackets, func(sa *pfkey.SA) { sa.Hard, sa.Soft = &wire.Lifetime{Allocations: 1}, &wire.Lifetime{} })
		add(spiBytes, func(sa *pfkey.SA) { sa.Hard, sa.Soft = &wire.Lifetime{Bytes: 1}, &wire.Lifetime{} })
		if _, err := c.GetSPI(ctx, pfkey.GetSPIParams{Type: wire.SATypeESP, Src: pfkey.Host(src), Dst: pfkey.Host(dst),
			Min: spiLarval, Max: spiLarval}); err != nil {
			t.Fatal(err)
		}
		host := func(a netip.Addr) wire.Address {
			l := pfkey.Host(a)
			l.Proto = 17
			return l
		}
		tmpl := wire.IPsecRequest{Proto: 50, Mode: wire.ModeTunnel, Level: wire.KAMELevelRequire,
			Src: wire.Sockaddr{Addr: src}, Dst: wire.Sockaddr{Addr: dst}}
		for _, p := range []pfkey.Policy{
			{Type: wire.KAMEPolicyIPsec, Src: host(senderInner[six]), Dst: host(hostInner[six]),
				Templates: []wire.IPsecRequest{tmpl}},
			{Type: wire.KAMEPolicyDiscard, Src: host(senderInner[six]), Dst: host(dst)},
		} {
			p.Direction = wire.KAMEDirIn
			if _, err := c.AddPolicy(ctx, p); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// crafter makes packets of one family from our end to theirs.
type crafter struct {
	t   testing.TB
	six bool
	seq uint32
}

func (b *crafter) datagram(src, dst netip.Addr) []byte {
	data := bytes.Repeat([]byte("x"), 40)
	pkt, err := ip.UDP(netip.AddrPortFrom(src, senderPort), netip.AddrPortFrom(dst, hostPort), data)
	if err != nil {
		b.t.Fatal(err)
	}
	return pkt
}

func (b *crafter) plain() []byte { return b.datagram(sender[b.six], host[b.six]) }
func (b *crafter) inner() []byte { return b.datagram(senderInner[b.six], hostInner[b.six]) }

func (b *crafter) head() int {
	if b.six {
		return ip.Len6
	}
	return ip.Len4
}

// ip puts something behind an IP header, between headers of another packet and a payload.
func (b *crafter) ip(proto uint8, payload []byte) []byte {
	f := ip.Fields{Src: sender[b.six], Dst: host[b.six], Proto: proto, TTL: ip.TTL}
	return f.Make(payload)
}

func (b *crafter) transform(s *ipsec.Suite) *ipsec.Transform {
	b.t.Helper()
	tr, err := s.New()
	if err != nil {
		b.t.Fatal(err)
	}
	return tr
}

// sealed protects a packet in transport mode with NULL and HMAC-MD5.
func (b *crafter) sealed(spi uint32, pkt []byte) []byte {
	b.t.Helper()
	b.seq++
	out, err := b.transform(md5Suite(ipsec.ESP)).SealTransport(nil, pkt, ipsec.Ports{},
		ipsec.Sealing{SPI: spi, Seq: uint64(b.seq)})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// ah protects a packet with AH.
func (b *crafter) ah(spi uint32, pkt []byte, align int) []byte {
	b.t.Helper()
	b.seq++
	out, err := b.transform(md5Suite(ipsec.AH)).SealTransport(nil, pkt, ipsec.Ports{},
		ipsec.Sealing{SPI: spi, Seq: uint64(b.seq), Align: align})
	if err != nil {
		b.t.Fatal(err)
	}
	return out
}

// esp makes what stands behind the header of ESP, body with its trailer, whatever that is, under a right ICV.
func (b *crafter) esp(spi uint32, body []byte) []byte {
	b.seq++
	p := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, spi), b.seq)
	p = append(p, body...)
	m := hmac.New(md5.New, key)
	m.Write(p)
	return b.ip(50, append(p, m.Sum(nil)[:12]...))
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// behind puts extension headers, or options of IPv4, between the header of a packet and the rest, and makes lengths and
// the checksum right.
func behind(pkt []byte, proto uint8, ext []byte) []byte {
	if pkt[0]>>4 == 4 {
		out := join(pkt[:20], ext, pkt[20:])
		out[0] += uint8(len(ext) / 4)
		ip.SetLength(out)
		return out
	}
	out := join(pkt[:40], ext, pkt[40:])
	out[6], out[40] = proto, pkt[6]
	ip.SetLength(out)
	return out
}

func change(pkt []byte, f func(p []byte) []byte) []byte { return f(bytes.Clone(pkt)) }

// List is the table of one family, in the order in which the packets are sent: some depend on those before them.
func List(t testing.TB, six bool) []Refusal {
	b := &crafter{t: t, six: six}
	head := b.head()
	var list []Refusal
	add := func(name string, pkt []byte, r packet.Reason, counters ...string) {
		if six {
			name = "IPv6: " + name
		}
		list = append(list, Refusal{name, pkt, r, counters})
	}
	header, otherHeader, truncated := "IpInHdrErrors", "Ip6InHdrErrors", "IpExtInTruncatedPkts"
	if six {
		header, otherHeader, truncated = otherHeader, header, "Ip6InTruncatedPkts"
	}
	udp := b.plain()[b.head():]
	good := b.sealed(spiNull, b.plain())
	add("good", good, 0)
	add("a replay", good, packet.Replayed, "XfrmInStateSeqError")
	add("a dummy", b.esp(spiNull, join(make([]byte, 8), []byte{1, 2, 2, 59})), packet.Dummy, "XfrmInStateProtoError")
	add("a pad length beyond the packet", b.esp(spiNull, join(udp, []byte{1, 2, 200, 17})), packet.BadPadLength,
		"XfrmInStateProtoError")
	add("nothing but padding", b.esp(spiNull, []byte{1, 2, 2, 17}), packet.BadPadLength, "XfrmInStateProtoError")
	add("padding that is not 1, 2", b.esp(spiNull, join(udp, []byte{7, 7, 2, 17})), 0)
	add("a wrong ICV", change(b.sealed(spiNull, b.plain()), func(p []byte) []byte { p[len(p)-1] ^= 1; return p }),
		packet.BadICV, "XfrmInStateProtoError")
	add("only an ICV", b.esp(spiNull, nil), packet.BadLength, "XfrmInStateProtoError")
	add("a trailer of one byte", b.esp(spiNull, []byte{17}), packet.BadLength, "XfrmInStateProtoError")
	add("shorter than its ICV", b.ip(50, join([]byte{0, 0, 1, 1, 0, 0, 1, 0}, make([]byte, 5))), packet.BadLength,
		"XfrmInStateProtoError")
	add("no header", b.ip(50, []byte{0, 0, 1, 1}), packet.BadHeader, "XfrmInHdrError")
	add("sequence number 0", change(b.sealed(spiNull, b.plain()),
		func(p []byte) []byte { clear(p[head+4 : head+8]); return p }), packet.Replayed, "XfrmInStateSeqError")
	add("no SA", b.sealed(spiNone, b.plain()), packet.NoSA, "XfrmInNoStates")
	add("SPI 0", b.sealed(0, b.plain()), packet.NoSA, "XfrmInNoStates")
	add("a LARVAL SA", b.sealed(spiLarval, b.plain()), packet.LarvalDropped, "XfrmAcquireError")
	add("ciphertext of 20 bytes", b.ip(50, join([]byte{0, 0, 1, 3, 0, 0, 0, 1}, make([]byte, 36))), packet.CryptoFailed,
		"XfrmInStateProtoError")
	add("no ciphertext", b.ip(50, join([]byte{0, 0, 1, 3, 0, 0, 0, 2}, make([]byte, 16))), packet.BadLength,
		"XfrmInStateProtoError")
	add("no room for the IV", b.ip(50, join([]byte{0, 0, 1, 3, 0, 0, 0, 3}, make([]byte, 15))), packet.BadLength,
		"XfrmInStateProtoError")
	cbc := func(seq uint64) []byte {
		s := &ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: ipsec.NewKey(keyBytes(16)), MAC: ipsec.HMACSHA1,
			AuthKey: ipsec.NewKey(keyBytes(20))}
		p, err := b.transform(s).SealTransport(nil, b.plain(), ipsec.Ports{},
			ipsec.Sealing{SPI: spiCBC, Seq: seq, IV: make([]byte, 16)})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	add("AES-CBC", cbc(1), 0)
	add("AES-CBC, a wrong ICV", change(cbc(2), func(p []byte) []byte { p[len(p)-1] ^= 1; return p }), packet.BadICV,
		"XfrmInStateProtoError")
	add("AES-CBC, four bytes less",
		change(cbc(3), func(p []byte) []byte { p = p[:len(p)-4]; ip.SetLength(p); return p }),
		packet.BadICV, "XfrmInStateProtoError")
	add("AES-CBC, shorter than IV and ICV", change(cbc(4),
		func(p []byte) []byte { p = p[:head+8+16+11]; ip.SetLength(p); return p }), packet.BadLength,
		"XfrmInStateProtoError")

	add("AH", b.ah(spiAH, b.plain(), 8), 0)
	add("AH, a wrong ICV", change(b.ah(spiAH, b.plain(), 8), func(p []byte) []byte { p[len(p)-1] ^= 1; return p }),
		packet.BadICV, "XfrmInStateProtoError")
	add("AH, as long as the whole digest", b.ah(spiAH, b.plain(), 32), 0)
	add("AH, too long", b.ah(spiAH, b.plain(), 40), packet.BadLength, "XfrmInStateProtoError")
	add("AH, too short", change(b.ah(spiAH, b.plain(), 8), func(p []byte) []byte { p[head+1] = 1; return p }),
		packet.BadLength, "XfrmInStateProtoError")
	add("AH, beyond the packet", change(b.ah(spiAH, b.plain(), 8), func(p []byte) []byte { p[head+1] = 200; return p }),
		packet.BadLength, "XfrmInStateProtoError")
	add("AH, only a header", change(b.ah(spiAH, b.plain(), 8),
		func(p []byte) []byte { p = p[:head+12]; ip.SetLength(p); return p }), packet.BadLength,
		"XfrmInStateProtoError")
	add("AH, no header", b.ip(51, []byte{17, 4, 0, 0, 0, 0, 1, 4, 0, 0, 0}), packet.BadHeader, "XfrmInHdrError")
	sha512 := func(align int) []byte {
		b.seq++
		s := &ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.HMACSHA512, AuthKey: ipsec.NewKey(keyBytes(64))}
		p, err := b.transform(s).SealTransport(nil, b.plain(), ipsec.Ports{},
			ipsec.Sealing{SPI: spiAH512, Seq: uint64(b.seq), Align: align})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	add("AH of SHA-512, padded to 8 bytes", sha512(8), 0)
	add("AH of SHA-512, padded to 4 bytes", sha512(4), packet.BadLength, "XfrmInStateProtoError")

	null := func(align int) []byte {
		b.seq++
		s := &ipsec.Suite{Proto: ipsec.AH, MAC: ipsec.NullMAC}
		p, err := b.transform(s).SealTransport(nil, b.plain(), ipsec.Ports{},
			ipsec.Sealing{SPI: spiAHNull, Seq: uint64(b.seq), Align: align})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	add("AH without an algorithm, padded to 8 bytes", null(8), 0)
	add("AH without an algorithm, padded to 4 bytes", null(4), packet.BadLength, "XfrmInStateProtoError")

	tunnelled := func(next uint8, inner []byte) []byte { return b.esp(spiTunnel, join(inner, []byte{1, 2, 2, next})) }
	ipip := uint8(4)
	if six {
		ipip = 41
	}
	inner := b.inner()
	add("tunnel", tunnelled(ipip, inner), 0)
	add("tunnel, UDP in it", tunnelled(17, udp), packet.BadMode, "XfrmInStateModeError")
	add("tunnel, the other family", tunnelled(45-ipip, inner), packet.BadHeader, otherHeader)
	add("tunnel, too short for a header", tunnelled(ipip, inner[:head-1]), packet.BadMode, "XfrmInStateModeError")
	add("tunnel, only a header", tunnelled(ipip, inner[:head]), packet.Truncated, truncated)
	add("tunnel, version 5 in it", tunnelled(ipip, change(inner, func(p []byte) []byte { p[0] = 0x55; return p })),
		packet.BadHeader, header)
	add("tunnel, a total length beyond it", tunnelled(ipip, inner[:len(inner)-1]), packet.Truncated, truncated)
	add("tunnel, bytes behind what is in it", tunnelled(ipip, join(inner, []byte("abc"))), 0)
	add("tunnel, no policy", tunnelled(ipip, b.plain()), packet.PolicyMismatch, "XfrmInNoPols")
	add("tunnel, the ends of the SA in it", tunnelled(ipip, b.datagram(sender[six], hostInner[six])),
		packet.PolicyMismatch, "XfrmInNoPols")

	add("a policy that says discard", b.datagram(senderInner[six], host[six]), packet.PolicyDiscard, "XfrmInPolBlock")
	add("a selector for another source", b.sealed(spiOther, b.plain()), packet.SelectorMismatch, "XfrmInStateMismatch")
	add("the inner packet unprotected", inner, packet.PolicyMismatch, "XfrmInTmplMismatch")
	add("the only packet", b.sealed(spiPackets, b.plain()), 0)
	add("the packet beyond it", b.sealed(spiPackets, b.plain()), packet.PacketsExpired, "XfrmInStateExpired")
	add("the last byte", b.sealed(spiBytes, b.plain()), 0)
	add("the byte beyond it", b.sealed(spiBytes, b.plain()), packet.BytesExpired, "XfrmInStateExpired")

	inUDP := func(spi uint32) []byte {
		b.seq++
		out, err := b.transform(md5Suite(ipsec.ESP)).SealTransport(nil, b.plain(),
			ipsec.Ports{Src: ipsec.NATTPort, Dst: ipsec.NATTPort}, ipsec.Sealing{SPI: spi, Seq: uint64(b.seq)})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	add("ESP in UDP", inUDP(spiUDP), 0)
	add("no UDP around it", b.sealed(spiUDP, b.plain()), packet.EncapMismatch, "XfrmInStateMismatch")
	add("UDP around it", inUDP(spiNull), packet.EncapMismatch, "XfrmInStateMismatch")

	comp := func(cpi uint16, data []byte) []byte {
		return b.ip(108, join([]byte{17, 0, byte(cpi >> 8), byte(cpi)}, data))
	}
	add("IPCOMP of nonsense", comp(spiComp, bytes.Repeat([]byte{0xff}, 20)), packet.BadCompression,
		"XfrmInStateProtoError")
	add("IPCOMP of nothing", comp(spiComp, nil), packet.BadCompression, "XfrmInStateProtoError")
	add("IPCOMP cut off", b.ip(108, []byte{17, 0}), packet.BadHeader, "XfrmInHdrError")
	add("IPCOMP without an SA", comp(spiNone, []byte{3, 0}), packet.NoSA, "XfrmInNoStates")

	deep := b.plain()
	for range 7 {
		deep = b.sealed(spiNull, deep)
	}
	add("seven layers", deep, packet.TooManyLayers, "XfrmInBufferError")
	add("six layers", change(b.plain(), func(p []byte) []byte {
		for range 6 {
			p = b.sealed(spiNull, p)
		}
		return p
	}), 0)
	add("a second layer without an SA", b.sealed(spiNull, b.sealed(spiNone, b.plain())), packet.NoSA, "XfrmInNoStates")
	add("a second layer without its header", b.sealed(spiNull, b.ip(50, []byte{0, 0})), packet.BadHeader,
		"XfrmInHdrError")

	// What IP refuses.
	sealed := func() []byte { return b.sealed(spiNull, b.plain()) }
	add("shorter than an IP header", sealed()[:head-1], packet.BadHeader, header)
	add("a total length beyond the packet", change(sealed(), func(p []byte) []byte { return p[:len(p)-1] }),
		packet.Truncated, truncated)
	add("bytes behind the packet", join(sealed(), []byte("abc")), 0)
	if six {
		ext := func(name string, proto uint8, e []byte, r packet.Reason, counters ...string) {
			add(name, behind(sealed(), proto, e), r, counters...)
		}
		pad := []byte{17, 0, 1, 4, 0, 0, 0, 0}
		at := func(i int, v ...byte) []byte { return change(pad, func(p []byte) []byte { copy(p[i:], v); return p }) }
		for _, h := range []struct {
			name  string
			proto uint8
		}{{"hop-by-hop", 0}, {"destination", 60}} {
			ext(h.name+" options", h.proto, pad, 0)
			ext(h.name+" options, six Pad1", h.proto, at(2, 0, 0, 0, 0, 0, 0), 0)
			ext(h.name+" options, padding that is not zero", h.proto, at(7, 1), packet.BadOption, header)
			ext(h.name+" options, eight bytes of padding", h.proto,
				join([]byte{17, 1, 1, 6, 0, 0, 0, 0, 0, 0, 1, 4, 0, 0, 0, 0}), packet.BadOption, header)
			ext(h.name+" options, seven bytes of padding", h.proto,
				join([]byte{17, 1, 0x1e, 5, 0, 0, 0, 0, 0, 1, 5, 0, 0, 0, 0, 0}), 0)
			ext(h.name+" options, seven Pad1", h.proto, join([]byte{17, 1, 0x1e, 5}, make([]byte, 12)), 0)
			ext(h.name+" options, eight Pad1", h.proto, join([]byte{17, 1, 0x1e, 4}, make([]byte, 12)),
				packet.BadOption,
				header)
			ext(h.name+" options, padding on both sides of one", h.proto,
				join([]byte{17, 1, 1, 4, 0, 0, 0, 0, 0x1e, 0, 1, 4, 0, 0, 0, 0}), 0)
			ext(h.name+" options, an unknown one to be skipped", h.proto, at(2, 0x1e), 0)
			ext(h.name+" options, an unknown one to be dropped", h.proto, at(2, 0x5e), packet.BadOption, header)
			ext(h.name+" options, an unknown one to be told of", h.proto, at(2, 0x9e), packet.BadOption, header)
			ext(h.name+" options, an option beyond them", h.proto, at(3, 9), packet.BadOption, header)
			ext(h.name+" options, a type without a length", h.proto, []byte{17, 0, 1, 3, 0, 0, 0, 0x1e},
				packet.BadOption, header)
			ext(h.name+" options beyond the packet", h.proto, at(1, 200), packet.BadHeader, header)
			ext(h.name+" options, eight", h.proto, join([]byte{17, 2}, bytes.Repeat([]byte{0x1e, 0}, 8),
				[]byte{1, 4, 0, 0, 0, 0}), 0)
			ext(h.name+" options, nine", h.proto, join([]byte{17, 2}, bytes.Repeat([]byte{0x1e, 0}, 9), []byte{1, 2, 0,
				0}), packet.BadOption, header)
			ext(h.name+" options, a home address", h.proto, join([]byte{17, 2, 1, 2, 0, 0, 201, 16}, make([]byte, 16)),
				packet.BadOption, header)
			ext(h.name+" options, router alert", h.proto, []byte{17, 0, 5, 2, 0, 0, 1, 0}, 0)
			ext(h.name+" options, a jumbo payload", h.proto, []byte{17, 0, 0xc2, 4, 0, 1, 0, 0}, packet.BadOption,
				header)
		}
		ext("router alert of another length", 0, []byte{17, 0, 5, 4, 0, 0, 0, 0}, packet.BadOption, header)
		ext("router alert that is no hop-by-hop option", 60, []byte{17, 0, 5, 4, 0, 0, 0, 0}, 0)
		add("hop-by-hop options behind others", behind(behind(sealed(), 0, pad), 60, pad), packet.BadHeader,
			"Ip6InUnknownProtos")
		add("two destination options", behind(behind(sealed(), 60, pad), 60, pad), 0)
		routing := func(typ, left byte, addresses int) []byte {
			e := []byte{17, byte(2 * addresses), typ, left, 0, 0, 0, 0}
			for range addresses {
				e = append(e, sender[true].AsSlice()...)
			}
			return e
		}
		for _, typ := range []byte{0, 1, 5} {
			ext(fmt.Sprintf("routing header %d at its end", typ), 43, routing(typ, 0, 2), 0)
			for _, left := range []byte{1, 2, 5} {
				ext(fmt.Sprintf("routing header %d, %d to go", typ, left), 43, routing(typ, left, 2),
					packet.SourceRoute,
					header)
			}
		}
		for _, left := range []byte{0, 1} {
			ext(fmt.Sprintf("RPL, %d to go", left), 43, routing(3, left, 1), packet.SourceRoute)
			ext(fmt.Sprintf("segment routing, %d to go", left), 43, routing(4, left, 1), packet.SourceRoute)
		}
		ext("mobile node, at its end", 43, routing(2, 0, 1), packet.SourceRoute, "Ip6InAddrErrors")
		ext("mobile node, 1 to go", 43, routing(2, 1, 1), packet.SourceRoute, "Ip6InAddrErrors", "XfrmInNoStates")
		ext("mobile node, two addresses", 43, routing(2, 1, 2), packet.SourceRoute, header)
		inside := func(next byte, e []byte) []byte { return b.esp(spiNull, join(e, udp, []byte{1, 2, 2, next})) }
		add("in ESP, options", inside(60, pad), 0)
		add("in ESP, bad options", inside(60, at(7, 1)), packet.BadOption, header)
		add("in ESP, a routing header", inside(43, routing(0, 1, 1)), packet.SourceRoute, header)
		add("in ESP, hop-by-hop options", inside(0, pad), packet.BadHeader, "Ip6InUnknownProtos")
		ext("a routing header beyond the packet", 43, []byte{17, 200, 0, 0, 0, 0, 0, 0}, packet.BadHeader, header)
		add("only 4 bytes of a routing header", b.ip(43, []byte{17, 0, 0, 0}), packet.BadHeader, header)
		add("only 4 bytes of options", b.ip(60, []byte{17, 0, 0, 0}), packet.BadHeader, header)
		add("only 4 bytes of hop-by-hop options", b.ip(0, []byte{17, 0, 0, 0}), packet.BadHeader, header)
		for _, a := range []string{"::1", "ff02::1"} {
			add("from "+a, b.datagram(netip.MustParseAddr(a), host[six]), packet.BadAddress, header)
		}
		for _, a := range []string{"::1", "ff01::1", "ff00::1"} {
			add("to "+a, b.datagram(sender[six], netip.MustParseAddr(a)), packet.BadAddress, header)
		}
		add("from itself", b.datagram(host[six], host[six]), 0)
	} else {
		add("version 6 in front of IPv4", change(sealed(), func(p []byte) []byte { p[0] = 0x65; return p }),
			packet.BadHeader, "Ip6InHdrErrors")
		add("a header of 16 bytes", change(sealed(), func(p []byte) []byte { p[0] = 0x44; return p }), packet.BadHeader,
			header)
		add("a header longer than the packet", change(sealed(),
			func(p []byte) []byte { p[0] = 0x4f; p = p[:40]; return p }), packet.BadHeader, header)
		add("a wrong checksum", change(sealed(), func(p []byte) []byte { p[10] ^= 1; return p }), packet.BadChecksum,
			"IpExtInCsumErrors", header)
		add("a wrong checksum, and a total length beyond the packet", change(sealed(),
			func(p []byte) []byte { p[3]++; return p }),
			packet.BadChecksum, "IpExtInCsumErrors", header)
		add("a total length below the header's", change(sealed(), func(p []byte) []byte {
			p[2], p[3] = 0,
				19
			ip.SetHeaderChecksum(p)
			return p
		}), packet.BadHeader, header)
		add("a total length of the header's", change(sealed(), func(p []byte) []byte {
			p[2], p[3] = 0,
				20
			ip.SetHeaderChecksum(p)
			return p
		}), packet.BadHeader, "XfrmInHdrError")
		opt := func(name string, o []byte, r packet.Reason, counters ...string) {
			for len(o)%4 != 0 {
				o = append(o, 0)
			}
			add(name, behind(sealed(), 0, o), r, counters...)
		}
		route := []byte{192, 0, 2, 10, 192, 0, 2, 2}
		opt("LSRR, two hops to go", join([]byte{131, 11, 4}, route), packet.SourceRoute)
		opt("SSRR, two hops to go", join([]byte{137, 11, 4}, route), packet.SourceRoute)
		opt("LSRR at its end", join([]byte{131, 11, 12}, route), packet.SourceRoute)
		opt("SSRR at its end", join([]byte{137, 11, 12}, route), packet.SourceRoute)
		opt("LSRR without an address", []byte{131, 3, 4}, packet.SourceRoute)
		opt("LSRR twice", join([]byte{131, 7, 8}, route[:4], []byte{131, 7, 8}, route[:4]), packet.BadOption, header)
		opt("LSRR with pointer 3", join([]byte{131, 11, 3}, route), packet.BadOption, header)
		opt("LSRR of two bytes", []byte{131, 2}, packet.BadOption, header)
		opt("no operation", []byte{1, 1, 1, 1}, 0)
		opt("an unknown option", []byte{0x5e, 4, 0, 0}, 0)
		opt("an option beyond the header", []byte{0x5e, 5, 0, 0}, packet.BadOption, header)
		opt("an option of one byte", []byte{0x5e, 1, 0, 0}, packet.BadOption, header)
		opt("an option without a length", []byte{1, 1, 1, 0x5e}, packet.BadOption, header)
		opt("bytes behind the end of options", []byte{0, 0x5e, 9, 9}, 0)
		opt("record route", []byte{7, 7, 4, 0, 0, 0, 0}, 0)
		opt("record route, full", []byte{7, 7, 8, 1, 2, 3, 4}, 0)
		opt("record route, half a place", []byte{7, 7, 6, 0, 0, 0, 0}, packet.BadOption, header)
		opt("record route, no place", []byte{7, 3, 4}, 0)
		opt("record route, a place of three bytes", []byte{7, 7, 5, 0, 0, 0, 0}, packet.BadOption, header)
		opt("record route, a place of one byte", []byte{7, 7, 7, 0, 0, 0, 0}, packet.BadOption, header)
		opt("record route twice", []byte{7, 3, 4, 7, 3, 4}, packet.BadOption, header)
		opt("record route with pointer 3", []byte{7, 7, 3, 0, 0, 0, 0}, packet.BadOption, header)
		opt("record route of two bytes", []byte{7, 2}, packet.BadOption, header)
		opt("timestamp", []byte{68, 8, 5, 0, 0, 0, 0, 0}, 0)
		opt("timestamp, full", []byte{68, 8, 9, 0, 0, 0, 0, 0}, 0)
		opt("timestamp, overflown", []byte{68, 8, 9, 0xf0, 0, 0, 0, 0}, packet.BadOption, header)
		opt("timestamp with address, no place", []byte{68, 8, 5, 1, 0, 0, 0, 0}, packet.BadOption, header)
		opt("timestamp, no place", []byte{68, 4, 5, 0}, 0)
		opt("timestamp, a place of one byte", []byte{68, 8, 8, 0, 0, 0, 0, 0}, packet.BadOption, header)
		opt("timestamp with address", []byte{68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0}, 0)
		opt("timestamp with address, overflown", []byte{68, 12, 13, 0xf1, 0, 0, 0, 0, 0, 0, 0, 0}, packet.BadOption,
			header)
		opt("timestamp with address, a place of seven bytes", []byte{68, 12, 6, 1, 0, 0, 0, 0, 0, 0, 0, 0},
			packet.BadOption, header)
		opt("timestamp of hosts that are named", []byte{68, 12, 5, 3, 192, 0, 2, 2, 0, 0, 0, 0}, 0)
		opt("timestamp of hosts that are named, no place", []byte{68, 8, 5, 3, 0, 0, 0, 0}, packet.BadOption, header)
		opt("timestamp of hosts that are named, overflown", []byte{68, 12, 13, 0xf3, 192, 0, 2, 2, 0, 0, 0, 0}, 0)
		opt("timestamp of an unknown kind", []byte{68, 8, 5, 7, 0, 0, 0, 0}, 0)
		opt("timestamp with pointer 4", []byte{68, 8, 4, 0, 0, 0, 0, 0}, packet.BadOption, header)
		opt("timestamp of three bytes", []byte{68, 3, 5}, packet.BadOption, header)
		opt("timestamp twice", []byte{68, 4, 5, 0, 68, 4, 5, 0}, packet.BadOption, header)
		opt("router alert", []byte{148, 4, 0, 0}, 0)
		opt("router alert of three bytes", []byte{148, 3, 0}, packet.BadOption, header)
		opt("security", []byte{130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0)
		opt("CIPSO", []byte{134, 6, 0, 0, 0, 1}, packet.BadOption, header)
		opt("CIPSO with a tag", []byte{134, 10, 0, 0, 0, 1, 1, 4, 0, 0}, packet.BadOption, header)
		for _, a := range []string{"127.0.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", host[six].String()} {
			add("from "+a, b.datagram(netip.MustParseAddr(a), host[six]), packet.BadAddress)
		}
		for _, a := range []string{"127.0.0.1", "0.0.0.0"} {
			add("to "+a, b.datagram(sender[six], netip.MustParseAddr(a)), packet.BadAddress)
		}
	}
	return list
}

// Judge compares what has become of a packet with the table. Of counters that moved there are the names.
func (r *Refusal) Judge(t testing.TB, delivered bool, counters []string) {
	t.Helper()
	if want := slices.Sorted(slices.Values(r.Counters)); delivered != (r.Reason == packet.NoReason) ||
		!slices.Equal(counters, want) {
		t.Errorf("%s: delivered %v, counters %v, want %v %v", r.Name, delivered, counters, r.Reason == packet.NoReason,
			want)
	}
}

// Moved are the counters that differ, by how much if it is not 1.
func Moved(before, after map[string]uint64) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(after)) {
		switch n := after[name] - before[name]; n {
		case 0:
		case 1:
			names = append(names, name)
		default:
			names = append(names, fmt.Sprintf("%s+%d", name, n))
		}
	}
	return names
}
