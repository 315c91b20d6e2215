package kame_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// load adds policies in the words of setkey.
func (h *machine) load(lines string) {
	h.t.Helper()
	if err := kernels.LoadPolicy(h.e, strings.NewReader(lines), "setkey"); err != nil {
		h.t.Fatal(err)
	}
	received(h.s)
}

// carrying is a packet from one host to another.
func carrying(src, dst string, proto uint8, payload ...byte) []byte {
	f := ip.Fields{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Proto: proto, TTL: 64}
	return f.Make(payload)
}

// ports are the header of a UDP datagram, or the beginning of that of a TCP segment of full length.
func ports(src, dst uint16, n int) []byte {
	b := make([]byte, n)
	binary.BigEndian.PutUint16(b, src)
	binary.BigEndian.PutUint16(b[2:], dst)
	return b
}

// TestMatching: which packets a policy is for. All parts of its selector count, and what a packet hides is nothing's.
func TestMatching(t *testing.T) {
	const v4, v6 = "192.0.2.1", "2001:db8::1"
	to := func(dst string, proto uint8, payload []byte) []byte { return carrying(v4, dst, proto, payload...) }
	fragment := func(pkt []byte, bits uint16) []byte {
		binary.BigEndian.PutUint16(pkt[6:], bits)
		return pkt
	}
	udp, tcp := ports(1000, 53, 8), ports(1000, 53, 20)
	ah := append([]byte{ip.ProtoUDP, 4}, make([]byte, 22)...)
	for _, test := range []struct {
		name, policy string
		pkt          []byte
		meets        bool
	}{
		{"hosts", v4 + " 192.0.2.2 any", to("192.0.2.2", 17, udp), true},
		{"another destination", v4 + " 192.0.2.2 any", to("192.0.2.3", 17, udp), false},
		{"another source", "192.0.2.9 192.0.2.2 any", to("192.0.2.2", 17, udp), false},
		{"a net with host bits", "192.0.2.99/24 192.0.2.99/24 any", to("192.0.2.2", 17, udp), true},
		{"another family", "::/0 ::/0 any", to("192.0.2.2", 17, udp), false},
		{"protocol", v4 + " 192.0.2.2 udp", to("192.0.2.2", 17, udp), true},
		{"another protocol", v4 + " 192.0.2.2 tcp", to("192.0.2.2", 17, udp), false},
		{"protocol 0 is one of its own", v4 + " 192.0.2.2 ip", to("192.0.2.2", 17, udp), false},
		{"ports", v4 + "[1000] 192.0.2.2[53] udp", to("192.0.2.2", 17, udp), true},
		{"ports of any protocol", v4 + "[1000] 192.0.2.2[53] any", to("192.0.2.2", 6, tcp), true},
		{"another source port", v4 + "[1001] 192.0.2.2[53] udp", to("192.0.2.2", 17, udp), false},
		{"another destination port", v4 + "[1000] 192.0.2.2[54] udp", to("192.0.2.2", 17, udp), false},
		{"no ports", v4 + "[1000] 192.0.2.2 gre", to("192.0.2.2", 47, udp), false},
		{"half a UDP header", v4 + " 192.0.2.2 udp", to("192.0.2.2", 17, udp[:7]), false},
		{"half a TCP header", v4 + " 192.0.2.2 tcp", to("192.0.2.2", 6, tcp[:19]), false},
		{"half a UDP header, any", v4 + " 192.0.2.2 any", to("192.0.2.2", 17, udp[:7]), true},
		{"a first fragment", v4 + " 192.0.2.2 udp", fragment(to("192.0.2.2", 17, udp), 0x2000), false},
		{"a later fragment", v4 + " 192.0.2.2 udp", fragment(to("192.0.2.2", 17, udp), 1), false},
		{"a fragment, any", v4 + " 192.0.2.2 any", fragment(to("192.0.2.2", 17, udp), 1), true},
		{"a fragment, protocol 0", v4 + " 192.0.2.2 0", fragment(to("192.0.2.2", 17, udp), 1), false},
		{"behind an AH", v4 + " 192.0.2.2[53] udp", to("192.0.2.2", 51, append(slices.Clone(ah), udp...)), true},
		{"an AH that is cut", v4 + " 192.0.2.2 ah", to("192.0.2.2", 51, ah[:1]), true},
		{"IPv6", v6 + " 2001:db8::/64[53] udp", carrying(v6, "2001:db8::2", 17, udp...), true},
		{"IPv6, another net", v6 + " 2001:db8:1::/64 udp", carrying(v6, "2001:db8::2", 17, udp...), false},
		{"IPv6, half a header", v6 + " 2001:db8::2 udp", carrying(v6, "2001:db8::2", 17, udp[:7]...), true},
		{"IPv6 options", v6 + " 2001:db8::2[53] udp", carrying(v6, "2001:db8::2", 60,
			append([]byte{17, 0, 1, 4, 0, 0, 0, 0}, udp...)...), true},
		{"an IPv6 fragment that is first", v6 + " 2001:db8::2[53] udp", carrying(v6, "2001:db8::2", 44,
			append([]byte{17, 0, 0, 1, 0, 0, 0, 0}, udp...)...), true},
		{"an IPv6 fragment that is not", v6 + " 2001:db8::2 udp", carrying(v6, "2001:db8::2", 44,
			append([]byte{17, 0, 0, 9, 0, 0, 0, 0}, udp...)...), false},
		{"an IPv6 fragment as such", v6 + " 2001:db8::2 44", carrying(v6, "2001:db8::2", 44,
			append([]byte{17, 0, 0, 9, 0, 0, 0, 0}, udp...)...), true},
	} {
		onBoth(t, func(t *testing.T, h *machine) {
			h.load("spdadd " + test.policy + " -P out discard;")
			want := packet.Transmitted
			if test.meets {
				want = packet.Dropped
			}
			if v := h.outbound(slices.Clone(test.pkt)); v.Kind != want {
				t.Errorf("%s: %v %v", test.name, v.Kind, v.Reason)
			}
		})
	}
}

// TestDefaultPolicy: a knob says what becomes of packets that no policy is for.
func TestDefaultPolicy(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		h.load("spdadd 192.0.2.1 192.0.2.9 any -P out none;")
		if v := h.outbound(h.datagram(there)); v.Kind != packet.Transmitted {
			t.Errorf("by default: %v %v", v.Kind, v.Reason)
		}
		if errno := h.k.SetSysctl("net.inet.ipsec.def_policy", 0); errno != wire.OK {
			t.Fatal(errno)
		}
		if v := h.outbound(h.datagram(there)); v.Kind != packet.Dropped {
			t.Errorf("with def_policy 0: %v", v.Kind)
		}
		if v := h.outbound(h.datagram(netip.MustParseAddr("192.0.2.9"))); v.Kind != packet.Transmitted {
			t.Errorf("with a policy: %v %v", v.Kind, v.Reason)
		}
	})
}

// TestDefaultLevels: a knob for each protocol and mode says whether a request of level DEFAULT is demanded.
func TestDefaultLevels(t *testing.T) {
	knobs := []string{"esp_trans", "esp_net", "ah_trans", "ah_net"}
	for i, request := range []string{"esp/transport", "esp/tunnel/192.0.2.1-192.0.2.9", "ah/transport",
		"ah/tunnel/192.0.2.1-192.0.2.9", "ipcomp/transport"} {
		onBoth(t, func(t *testing.T, h *machine) {
			h.load("spdadd 192.0.2.1 192.0.2.2 any -P out ipsec " + request + ";")
			for j, knob := range knobs {
				if errno := h.k.SetSysctl("net.inet.ipsec."+knob+"_deflev", 2); errno != wire.OK {
					t.Fatal(knob, errno)
				}
				want := packet.Transmitted
				if i == j {
					want = packet.Dropped
				}
				if v := h.outbound(h.datagram(there)); v.Kind != want {
					t.Errorf("%s, %s 2: %v %v", request, knob, v.Kind, v.Reason)
				}
				h.k.SetSysctl("net.inet.ipsec."+knob+"_deflev", 1)
			}
		})
	}
}

// TestPolicyStatus: the status says all of a policy and of an ACQUIRE that is not answered.
func TestPolicyStatus(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		h.load(`spdadd 192.0.2.1[5] 192.0.2.0/24[6] udp -P out ipsec
	ipcomp/transport//use esp/tunnel/192.0.2.1-192.0.2.9/require ah/transport//unique:3 esp/transport//default;
spdadd 192.0.2.2 192.0.2.1 any -P in discard;
spdadd 2001:db8::2 2001:db8::1 any -P in none;
`)
		priority := int64(0)
		if h.e.Name() == "freebsd" { // which has them
			priority = 0x80000000
		}
		want := []status.Policy{
			{ID: 2, Direction: "in", Src: "192.0.2.2/32", Dst: "192.0.2.1/32", Action: "drop", Priority: priority},
			{ID: 3, Direction: "in", Src: "2001:db8::2/128", Dst: "2001:db8::1/128", Action: "pass",
				Priority: priority},
			{ID: 1, Direction: "out", Src: "192.0.2.1/32", Dst: "192.0.2.0/24", SrcPort: 5, DstPort: 6, Proto: 17,
				Action: "ipsec", Priority: priority, Wants: []string{"ipcomp/transport//use",
					"esp/tunnel/192.0.2.1-192.0.2.9/require", "ah/transport//unique:3", "esp/transport//default"}},
		}
		st := h.e.Status(0)
		if diff := cmp.Diff(want, st.Policies); diff != "" {
			t.Errorf("policies (-want +got):\n%s", diff)
		}
		h.outbound(carrying("192.0.2.1", "192.0.2.2", 17, ports(5, 6, 8)...))
		now := h.e.Now().Unix()
		wanted := []status.Acquire{
			{Type: "ipcomp", Seq: 1, Src: "192.0.2.1", Dst: "192.0.2.2", Expires: now + 20},
			{Type: "esp", Seq: 2, Src: "192.0.2.1", Dst: "192.0.2.9", Expires: now + 20},
		}
		st = h.e.Status(0)
		if diff := cmp.Diff(wanted, st.Acquires); diff != "" {
			t.Errorf("ACQUIREs (-want +got):\n%s", diff)
		}
		if st = h.e.Status(1); len(st.Policies) != 1 || len(st.Acquires) != 1 || st.PolicyCount != 3 ||
			st.AcquireCount != 2 {
			t.Errorf("one of each: %d of %d policies, %d of %d ACQUIREs", len(st.Policies), st.PolicyCount,
				len(st.Acquires), st.AcquireCount)
		}
	})
}

// TestAcquireIsComplete: what a program leaves out of an ACQUIRE is looked for first, then whether there is an SA.
func TestAcquireIsComplete(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		h.must(h.sa(association{spi: 0x1000}))
		ask := h.sa(association{typ: wire.MsgAcquire}) // without PROPOSAL
		h.s.Send(slices.Clone(ask), superuser)
		got := received(h.s)
		if len(got) != 1 || got[0][2] != h.d().ErrnoNumber(wire.EINVAL) {
			t.Errorf("without PROPOSAL: %x", got)
		}
		h.s.Send(h.d().Finish(h.d().AppendProposal(ask, wire.Proposal{})), superuser)
		if got = received(h.s); len(got) != 1 || got[0][2] != h.d().ErrnoNumber(wire.EEXIST) {
			t.Errorf("with all: %x", got)
		}
	})
}

// TestPoliciesWithoutIDs: where a knob leaves no try to find an id, there is no policy, and none of a file.
func TestPoliciesWithoutIDs(t *testing.T) {
	for heir, knob := range map[string][2]string{"netbsd": {"net.key.spi_try", "1"},
		"freebsd": {"net.key.spi_trycnt", "0"}} {
		h := boot(t, heir, engine.Options{Tunables: map[string]string{knob[0]: knob[1]}})
		h.s.Send(h.policy(there), superuser)
		if got := received(h.s); len(got) != 1 || got[0][2] != h.d().ErrnoNumber(wire.ENOBUFS) {
			t.Errorf("%s: SPDADD: %x", heir, got)
		}
		if err := kernels.LoadPolicy(h.e, strings.NewReader("spdadd 192.0.2.1 192.0.2.2 any -P out none;"),
			"file"); err == nil {
			t.Errorf("%s: a policy of a file is there", heir)
		}
		if n := h.e.Status(1).PolicyCount; n != 0 {
			t.Errorf("%s: %d policies", heir, n)
		}
	}
}

// TestPolicyInUse: a limit on the time without use counts from the last packet, whichever way it goes.
func TestPolicyInUse(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		d := h.d()
		for _, dir := range []wire.Direction{wire.KAMEDirIn, wire.KAMEDirOut} {
			b := h.policy(there)
			if dir == wire.KAMEDirIn {
				x, _ := d.Find(b, wire.ExtAddressSrc)
				y, _ := d.Find(b, wire.ExtAddressDst)
				for i := 4; i < len(x.Raw); i++ { // the other way round
					x.Raw[i], y.Raw[i] = y.Raw[i], x.Raw[i]
				}
			}
			z, _ := d.Find(b, wire.KAMEExtXPolicy)
			d.Order.PutUint16(z.Raw[4:], wire.KAMEPolicyNone)
			z.Raw[6] = dir
			h.must(d.Finish(d.AppendLifetime(b, wire.ExtLifetimeHard, wire.Lifetime{UseTime: 2})))
		}
		for range 4 {
			h.e.Advance(h.e.Now().Add(2 * time.Second))
			if v := h.outbound(h.datagram(there)); v.Kind != packet.Transmitted {
				t.Fatalf("out: %v", v.Kind)
			}
			if v := h.inbound(carrying("192.0.2.2", "192.0.2.1", 17, ports(7, 8, 8)...)); v.Kind == packet.Dropped {
				t.Fatalf("in: %v %v", v.Kind, v.Reason)
			}
		}
		if n := h.e.Status(1).PolicyCount; n != 2 {
			t.Errorf("%d policies after packets, want 2", n)
		}
		h.e.Advance(h.e.Now().Add(3 * time.Second))
		if n := h.e.Status(1).PolicyCount; n != 0 {
			t.Errorf("%d policies later, want none", n)
		}
	})
}
