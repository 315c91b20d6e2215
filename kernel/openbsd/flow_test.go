package openbsd_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/wire"
)

// addFlow is an X_ADDFLOW of a type, for packets out between two nets.
func (h *host) addFlow(kind wire.FlowType, src, dst netip.Prefix) []byte {
	d := h.e.Dialect()
	b := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.OpenBSDMsgXAddFlow, SAType: wire.SATypeESP})
	b = d.AppendFlowProtocol(b, wire.OpenBSDExtXFlowType, wire.FlowProtocol{Value: kind, Direction: 2})
	ones := netip.MustParseAddr("255.255.255.255")
	for i, net := range []netip.Prefix{src, dst} {
		base := []wire.ExtType{wire.OpenBSDExtXSrcFlow, wire.OpenBSDExtXDstFlow}[i]
		mask := []wire.ExtType{wire.OpenBSDExtXSrcMask, wire.OpenBSDExtXDstMask}[i]
		b = d.AppendAddress(b, base, wire.Address{Addr: net.Addr()})
		b = d.AppendAddress(b, mask, wire.Address{Addr: netip.PrefixFrom(ones, net.Bits()).Masked().Addr()})
	}
	return d.Finish(b)
}

// TestMostSpecific compares which flow a packet finds with a search through all of them: of those that differ in one
// net it is the narrowest one.
func TestMostSpecific(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const rounds, flows, packets = 30, 40, 60
	addr := func() netip.Addr {
		return netip.AddrFrom4([4]byte{10, byte(rnd.IntN(3)), byte(rnd.IntN(4)), byte(rnd.IntN(4))})
	}
	any4 := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	for round := range rounds {
		h := newHost(t)
		s := open(t, h.e)
		there := map[netip.Prefix]wire.FlowType{}
		bySrc := round%2 == 0
		for range flows {
			net := netip.PrefixFrom(addr(), 8+rnd.IntN(25)).Masked()
			if rnd.IntN(4) == 0 && len(there) > 0 { // take one out
				for net = range there {
					break
				}
				msg := h.addFlow(wire.OpenBSDFlowDeny, net, any4)
				if !bySrc {
					msg = h.addFlow(wire.OpenBSDFlowDeny, any4, net)
				}
				msg[1] = 13
				received(s)
				if errno := s.Send(msg, root); errno != wire.OK {
					t.Fatal(errno)
				}
				if received(s)[0][2] == 0 { // one that a narrower one hides cannot be taken out
					delete(there, net)
				}
				continue
			}
			kind := wire.OpenBSDFlowDeny
			if rnd.IntN(2) == 0 {
				kind = wire.OpenBSDFlowBypass
			}
			if there[net] != 0 { // a flow that hides another is another test's
				continue
			}
			there[net] = kind
			msg := h.addFlow(kind, net, any4)
			if !bySrc {
				msg = h.addFlow(kind, any4, net)
			}
			if errno := s.Send(msg, root); errno != wire.OK {
				t.Fatal(errno)
			}
		}
		for range packets {
			a, other := addr(), netip.MustParseAddr("192.0.2.9")
			best := netip.Prefix{}
			for net := range there {
				if net.Contains(a) && (!best.IsValid() || net.Bits() > best.Bits()) {
					best = net
				}
			}
			want := "transmitted"
			if there[best] == wire.OpenBSDFlowDeny {
				want = "policy-discard"
			}
			pkt := udp(t, a, other, 1)
			if !bySrc {
				pkt = udp(t, other, a, 1)
			}
			if got := fate(h.out(pkt)); got != want {
				t.Fatalf("round %d: %v: %s, want %s of %v among %v", round, a, got, want, best, there)
			}
		}
	}
}

// TestFlowBounds: a program cannot have the kernel keep any number of masks.
func TestFlowBounds(t *testing.T) {
	h := newHost(t)
	s := open(t, h.e)
	const maxMasks = 4096
	one := netip.MustParsePrefix("10.0.0.0/8")
	refused := 0
	for i := range maxMasks + 10 {
		msg := h.addFlow(wire.OpenBSDFlowDeny, one, one)
		// The last address in the message is the mask of the destination.
		msg[len(msg)-12], msg[len(msg)-11], msg[len(msg)-10], msg[len(msg)-9] = 255, byte(i>>8), byte(i), 255
		switch errno := s.Send(msg, root); errno {
		case wire.OK:
		case wire.ENOMEM, wire.ENOBUFS:
			refused++
		default:
			t.Fatalf("%d: %v", i, errno)
		}
		received(s)
	}
	if refused == 0 {
		t.Error("masks have no bound")
	}
}

// TestAddFlows: a file is taken as a whole, or leaves no trace.
func TestAddFlows(t *testing.T) {
	h := newHost(t)
	flow := func(kind wire.FlowType, dst string) []byte {
		return h.addFlow(kind, netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix(dst))
	}
	if err := h.k.AddFlows([][]byte{flow(wire.OpenBSDFlowDeny, "198.51.100.1/32")}); err != nil {
		t.Fatal(err)
	}
	err := h.k.AddFlows([][]byte{flow(wire.OpenBSDFlowBypass, "198.51.100.1/32"),
		flow(wire.OpenBSDFlowDeny, "198.51.100.2/32"), flow(7, "198.51.100.3/32")})
	if refused, ok := err.(*engine.PolicyError); !ok || refused.Index != 2 || !strings.Contains(refused.Why, "EINVAL") {
		t.Fatalf("%v", err)
	}
	for dst, want := range map[string]string{"198.51.100.1": "policy-discard", "198.51.100.2": "transmitted"} {
		if got := fate(h.out(udp(t, me, netip.MustParseAddr(dst), 1))); got != want {
			t.Errorf("%s: %s, want %s", dst, got, want)
		}
	}
	if err := h.k.AddFlows([][]byte{flow(wire.OpenBSDFlowBypass, "198.51.100.1/32")}); err != nil {
		t.Fatal(err)
	}
	if got := fate(h.out(udp(t, me, netip.MustParseAddr("198.51.100.1"), 1))); got != "transmitted" {
		t.Error(got)
	}
}

// BenchmarkFlows shows that a packet finds its flow among many as fast as among few.
func BenchmarkFlows(b *testing.B) {
	for _, n := range []int{10, 1000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			h := newHost(b)
			msgs := make([][]byte, n)
			for i := range msgs {
				dst := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
				net := netip.PrefixFrom(dst, 24+i%9).Masked()
				msgs[i] = h.addFlow(wire.OpenBSDFlowBypass, netip.PrefixFrom(me, 32), net)
			}
			slices.Reverse(msgs)
			if err := h.k.AddFlows(msgs); err != nil {
				b.Fatal(err)
			}
			pkt := udp(b, me, netip.MustParseAddr("10.0.0.5"), 100)
			for b.Loop() {
				h.k.Output(0, pkt)
			}
		})
	}
}
