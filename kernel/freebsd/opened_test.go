package freebsd_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// sealing is an SA that a host does not have yet, from one end to the other.
func sealing(src, dst string, spi wire.SPI, mode wire.Mode) pfkey.SA {
	sa := pfkey.SA{Auth: wire.AuthSHA1HMAC, AuthKey: pfkey.NewKey(bytes.Repeat([]byte{1}, 20)), Replay: 4,
		Encrypt: wire.EncAESCBC, EncryptKey: pfkey.NewKey(bytes.Repeat([]byte{2}, 16)), SA2: &wire.SA2{Mode: mode}}
	sa.SAID = pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: pfkey.Host(netip.MustParseAddr(src)),
		Dst: pfkey.Host(netip.MustParseAddr(dst))}
	return sa
}

// says sends a message about an SA, and returns the errno of the answer.
func says(t *testing.T, e *engine.Engine, s pfkey.Socket, typ wire.MsgType, sa pfkey.SA) string {
	t.Helper()
	d := e.Dialect()
	h := wire.Header{Version: wire.Version, Type: typ, SAType: sa.Type, PID: 1}
	s.Send(d.Finish(sa.AppendExtensions(d, d.AppendHeader(nil, h))), pfkey.Cred{Privileged: true})
	b := make([]byte, 4096)
	n, _, errno := s.Recv(b, 0)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	told(e, s)
	answer, err := d.Header(b[:n])
	if err != nil {
		t.Fatal(err)
	}
	said, _ := d.Errno(answer.Errno)
	return said.String()
}

// TestWhereOpenedPacketsGo: what a packet carried goes to the input of IP again, on IPv6 only if it is a packet itself.
// What came in through a tunnel and is none is dropped on IPv4.
func TestWhereOpenedPacketsGo(t *testing.T) {
	e, s := loaded(t, "")
	k := e.Kernel().(*kame.Kernel)
	seed := rand.NewChaCha8([32]byte{})
	v4, v6 := [2]string{"192.0.2.2", "192.0.2.1"}, [2]string{"2001:db8::2", "2001:db8::1"}
	data := func(ends [2]string) []byte {
		return pfkeytest.UDP(netip.AddrPortFrom(netip.MustParseAddr(ends[0]), 9).String(),
			netip.AddrPortFrom(netip.MustParseAddr(ends[1]), 9).String(), "hello")
	}
	inside := data([2]string{"10.0.0.1", "10.0.0.2"})
	inside[10]++ // a wrong checksum, which only IP looks at
	for i, tt := range []struct {
		ends       [2]string
		mode, sent wire.Mode // of the SA, and of the packet
		want       string
		verdict    string
	}{
		{v4, wire.ModeTunnel, wire.ModeTunnel, "input", "dropped bad-checksum "},
		{v4, wire.ModeAny, wire.ModeTunnel, "input", "dropped bad-checksum "},
		{v4, wire.ModeTransport, wire.ModeTransport, "input", "delivered"},
		{v4, wire.ModeAny, wire.ModeTransport, "input", "delivered"},
		{v4, wire.ModeTunnel, wire.ModeTransport, "", "dropped bad-mode espstat.esps_nopf"},
		{v6, wire.ModeTunnel, wire.ModeTunnel, "input", "dropped bad-checksum "},
		{v6, wire.ModeTransport, wire.ModeTransport, "upper", "delivered"},
		{v6, wire.ModeTunnel, wire.ModeTransport, "upper", "delivered"},
	} {
		name := fmt.Sprintf("%s, an SA of mode %v, a packet of mode %v", tt.ends, tt.mode, tt.sent)
		sa := sealing(tt.ends[0], tt.ends[1], wire.SPI(0x1000+i), tt.mode)
		sa.SA2.ReqID = uint32(1 + i) // a head of its own
		if got := says(t, e, s, wire.MsgAdd, sa); got != "OK" {
			t.Fatalf("%s: %s", name, got)
		}
		sa.SA2 = &wire.SA2{Mode: tt.sent}
		inner := data(tt.ends)
		if tt.sent == wire.ModeTunnel {
			inner = inside
		}
		for n := range uint64(2) {
			pkt, err := kernels.Seal(e, &sa, inner, n+1, seed)
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				o := k.Input(pkt)
				if o.Via != tt.want || o.Via != "" && !bytes.Equal(o.Packet, inner) {
					t.Errorf("%s: to %q: %x", name, o.Via, o.Packet)
				}
				continue
			}
			var got packet.Verdict
			e.Inbound(&packet.Packet{Data: pkt, Done: func(_ *packet.Packet, v packet.Verdict) { got = v }})
			text := got.Kind.String()
			if got.Kind == packet.Dropped {
				text += fmt.Sprintf(" %v %s", got.Reason, got.Counter)
			}
			if text != tt.verdict {
				t.Errorf("%s: %s, want %s", name, text, tt.verdict)
			}
		}
	}
}

// TestNumberZero: a packet with the sequence number 0 may come if nobody looks for replays.
func TestNumberZero(t *testing.T) {
	for window, want := range map[uint8]packet.Kind{0: packet.Delivered, 4: packet.Dropped} {
		e, s := loaded(t, "")
		sa := sealing("192.0.2.2", "192.0.2.1", 0x1000, wire.ModeTransport)
		sa.Replay = window
		says(t, e, s, wire.MsgAdd, sa)
		pkt, err := kernels.Seal(e, &sa, pfkeytest.UDP("192.0.2.2:9", "192.0.2.1:9", "hello"), 0,
			rand.NewChaCha8([32]byte{}))
		if err != nil {
			t.Fatal(err)
		}
		var got packet.Verdict
		e.Inbound(&packet.Packet{Data: pkt, Done: func(_ *packet.Packet, v packet.Verdict) { got = v }})
		if got.Kind != want {
			t.Errorf("a window of %d: %+v", 8*window, got)
		}
	}
}

// TestMoveBehindNATWithoutPorts: an UPDATE that gives an SA another end, and of a NAT the type alone.
func TestMoveBehindNATWithoutPorts(t *testing.T) {
	e, s := loaded(t, "")
	d := e.Dialect()
	sa := sealing("192.0.2.2", "192.0.2.1", 0x1000, wire.ModeTransport)
	if got := says(t, e, s, wire.MsgAdd, sa); got != "OK" {
		t.Fatal(got)
	}
	sa.AuthKey, sa.EncryptKey = wire.Key{}, wire.Key{}
	move := d.AppendAddress(nil, wire.FreeBSDExtXNewAddressSrc, pfkey.Host(netip.MustParseAddr("192.0.2.9")))
	for _, tt := range []struct {
		extra []byte
		want  string
	}{
		{d.AppendNATTType(move[:len(move):len(move)], wire.NATTType{Type: wire.KAMENATTESP}), "EINVAL"},
		{move, "OK"},
	} {
		sa.Extra = tt.extra
		if got := says(t, e, s, wire.MsgUpdate, sa); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
	if got := e.Status(0).SAs[0].Src; got != "192.0.2.9" {
		t.Errorf("the SA is from %s", got)
	}
}

// TestLongPacketsThroughNAT: this kernel never cuts a packet, whatever an SA says.
func TestLongPacketsThroughNAT(t *testing.T) {
	e, s := loaded(t, "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;")
	d := e.Dialect()
	sa := sealing("192.0.2.1", "192.0.2.2", 0x1000, wire.ModeTransport)
	sa.Extra = d.AppendNATTType(nil, wire.NATTType{Type: wire.KAMENATTESP})
	sa.Extra = d.AppendNATTPort(sa.Extra, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: 4500})
	sa.Extra = d.AppendNATTPort(sa.Extra, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: 4501})
	sa.Extra = d.AppendNATTFrag(sa.Extra, wire.NATTFrag{Bytes: 100})
	if got := says(t, e, s, wire.MsgAdd, sa); got != "OK" {
		t.Fatal(got)
	}
	o := e.Kernel().(*kame.Kernel).Output(pfkeytest.UDP("192.0.2.1:9", "192.0.2.2:9", string(make([]byte, 500))))
	if o.Via != "ip" || len(o.Packet) < 528 || o.Packet[9] != ip.ProtoUDP {
		t.Errorf("via %q: %x", o.Via, o.Packet)
	}
}

// TestSignatureOfPair: a pair has one SA for TCP signatures, which is found whatever SPI is asked for; one with keys
// before one without.
func TestSignatureOfPair(t *testing.T) {
	e, s := loaded(t, "")
	d := e.Dialect()
	sa := pfkey.SA{Auth: wire.AuthMD5, AuthKey: pfkey.NewKey([]byte("secret")), Soft: &wire.Lifetime{AddTime: 1},
		Hard: &wire.Lifetime{AddTime: 1000}}
	sa.SAID = pfkey.SAID{Type: wire.SATypeTCPSig, SPI: 0x1000, Src: pfkey.Host(netip.MustParseAddr("192.0.2.1")),
		Dst: pfkey.Host(netip.MustParseAddr("192.0.2.2"))}
	if got := says(t, e, s, wire.MsgAdd, sa); got != "OK" {
		t.Fatal(got)
	}
	e.Advance(e.Now().Add(3 * time.Second))
	told(e, s)
	b := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgGetSPI, SAType: sa.Type, PID: 1})
	b = d.AppendAddress(d.AppendAddress(b, wire.ExtAddressSrc, sa.Src), wire.ExtAddressDst, sa.Dst)
	s.Send(d.Finish(d.AppendSPIRange(b, wire.SPIRange{Min: 0x2000, Max: 0x2fff})), pfkey.Cred{Privileged: true})
	told(e, s)
	var states []string
	for _, each := range e.Status(0).SAs {
		states = append(states, each.State)
	}
	slices.Sort(states)
	if diff := cmp.Diff([]string{"dying", "larval"}, states); diff != "" {
		t.Fatalf("SAs (-want +got):\n%s", diff)
	}
	sa.SPI = 0x9999
	get := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgGet, SAType: sa.Type, PID: 1})
	get = d.AppendSA(get, wire.SA{SPI: sa.SPI})
	get = d.AppendAddress(d.AppendAddress(get, wire.ExtAddressSrc, sa.Src), wire.ExtAddressDst, sa.Dst)
	s.Send(d.Finish(get), pfkey.Cred{Privileged: true})
	answer := make([]byte, 4096)
	n, _, errno := s.Recv(answer, 0)
	if line := d.Line(answer[:n]); errno != wire.OK || !strings.Contains(line, "spi=0x1000 ") {
		t.Errorf("GET: %v %s", errno, line)
	}
}
