package linux_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// spdGet asks for a policy by its id.
func (h *host) spdGet(id uint32) []byte {
	return h.d().Finish(h.d().AppendPolicy(h.bare(wire.KAMEMsgXSPDGet, 0), wire.Policy{ID: id}))
}

// TestPolicyReferences: sadb_msg_reserved counts the policy's timer, which runs for a second, and on where there is a
// limit of any kind.
func TestPolicyReferences(t *testing.T) {
	for _, test := range []struct {
		name string
		typ  wire.ExtType
		l    wire.Lifetime
		want uint16 // after a second, by SPDGET
	}{
		{"none", wire.ExtLifetimeSoft, wire.Lifetime{Bytes: 1, Allocations: 1}, 2},
		{"soft, from the beginning", wire.ExtLifetimeSoft, wire.Lifetime{AddTime: 100}, 3},
		{"soft, from the first use", wire.ExtLifetimeSoft, wire.Lifetime{UseTime: 100}, 3},
		{"soft, and over", wire.ExtLifetimeSoft, wire.Lifetime{AddTime: 1}, 3},
		{"hard, from the beginning", wire.ExtLifetimeHard, wire.Lifetime{AddTime: 100}, 3},
		{"hard, from the first use", wire.ExtLifetimeHard, wire.Lifetime{UseTime: 100}, 3},
	} {
		h := newHost(t, engine.Options{})
		add := h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)})
		h.must(h.d().Finish(h.d().AppendLifetime(add, test.typ, test.l)))
		references := func() uint16 {
			hdr, err := h.d().Header(h.must(h.spdGet(1)))
			if err != nil {
				t.Fatal(err)
			}
			return hdr.Reserved
		}
		if got := references(); got != 3 {
			t.Errorf("limit %s: %d references at first, want 3", test.name, got)
		}
		h.e.Advance(h.e.Now().Add(2 * time.Second))
		if got := references(); got != test.want {
			t.Errorf("limit %s: %d references later, want %d", test.name, got, test.want)
		}
	}
}

// TestPolicyUseTime: a policy says when a packet has met it.
func TestPolicyUseTime(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer}))
	added := uint64(h.e.Now().Unix())
	current := func() wire.Lifetime {
		x, _ := h.d().Find(h.must(h.spdGet(1)), wire.ExtLifetimeCurrent)
		v, err := h.d().ParseLifetime(x.Raw)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if diff := cmp.Diff(wire.Lifetime{AddTime: added}, current()); diff != "" {
		t.Errorf("before:\n%s", diff)
	}
	h.e.Advance(h.e.Now().Add(9 * time.Second))
	if v := h.outbound(datagram(me, peer)); v.Kind != packet.Transmitted {
		t.Errorf("%v %q", v.Kind, v.Counter)
	}
	if diff := cmp.Diff(wire.Lifetime{AddTime: added, UseTime: added + 9}, current()); diff != "" {
		t.Errorf("after:\n%s", diff)
	}
}

// TestTooManyRequests: a policy has at most six requests, and the seventh is looked at before it is counted.
func TestTooManyRequests(t *testing.T) {
	h := newHost(t, engine.Options{})
	six := policy{out: true, src: me, dst: third, req: slices.Repeat(transport(protoESP), 6)}
	h.must(h.policy(wire.KAMEMsgXSPDAdd, six))
	msg := h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: slices.Repeat(transport(protoESP),
		7)})
	if got := h.errno(msg); got != wire.ELOOP {
		t.Errorf("seven: %v, want ELOOP", got)
	}
	x, _ := h.d().Find(msg, wire.KAMEExtXPolicy)
	msg[x.Offset+16+6*16] = 17 // longer than what is there
	if got := h.errno(msg); got != wire.EINVAL {
		t.Errorf("seven, the last one too long: %v, want EINVAL", got)
	}
}

// TestOutputPolicyRefused lists what netlink does not take, and that SPDGET does not show what PF_KEY has no number
// for.
func TestOutputPolicyRefused(t *testing.T) {
	h := newHost(t, engine.Options{})
	good := linux.OutputPolicy{Src: me, Dst: peer, Proto: protoESP, Mode: 2}
	for name, spoil := range map[string]func(*linux.OutputPolicy){
		"no source":       func(o *linux.OutputPolicy) { o.Src = netip.Addr{} },
		"no destination":  func(o *linux.OutputPolicy) { o.Dst = netip.Addr{} },
		"two families":    func(o *linux.OutputPolicy) { o.Dst = netip.IPv6Loopback() },
		"unknown mode":    func(o *linux.OutputPolicy) { o.Mode = 5 },
		"not a transform": func(o *linux.OutputPolicy) { o.Proto = 17 },
	} {
		o := good
		spoil(&o)
		if got := h.k.AddOutputPolicy(o); got != wire.EINVAL {
			t.Errorf("%s: %v, want EINVAL", name, got)
		}
	}
	for mode := range uint8(5) {
		h := newHost(t, engine.Options{})
		o := good
		o.Mode = mode
		if got := h.k.AddOutputPolicy(o); got != wire.OK {
			t.Fatalf("mode %d: %v", mode, got)
		}
		if got := h.k.AddOutputPolicy(o); got != wire.EEXIST {
			t.Errorf("mode %d once more: %v", mode, got)
		}
		want := wire.OK
		if mode == 2 || mode == 3 { // route optimisation, inbound trigger
			want = wire.EINVAL
		}
		if got := h.errno(h.spdGet(1)); got != want {
			t.Errorf("mode %d: SPDGET: %v, want %v", mode, got, want)
		}
	}
}

// TestLoadPolicySays: everybody hears of the policies of a file as of others; what is for packets that come in is for
// those that go through as well.
func TestLoadPolicySays(t *testing.T) {
	h := newHost(t, engine.Options{})
	if err := kernels.LoadPolicy(h.e, strings.NewReader("spdadd 192.0.2.0/24 198.51.100.0/24 any -P in discard;"),
		"f"); err != nil {
		t.Fatal(err)
	}
	got := read(h.s)
	for _, m := range got {
		if hdr, err := h.d().Header(m); err != nil || hdr.Version != wire.Version || hdr.Type != wire.KAMEMsgXSPDAdd {
			t.Errorf("%s", h.d().Line(m))
		}
	}
	want := []string{
		"src=192.0.2.0/24,proto:any dst=198.51.100.0/24,proto:any policy=discard,in,id:8,prio:0x80000000",
		"src=192.0.2.0/24,proto:any dst=198.51.100.0/24,proto:any policy=discard,fwd,id:10,prio:0x80000000",
	}
	if diff := cmp.Diff(want, h.policies()); diff != "" || len(got) != 2 {
		t.Errorf("%d messages; policies (-want +got):\n%s", len(got), diff)
	}
	through := udpPacket(netip.MustParseAddrPort("192.0.2.9:1"), netip.MustParseAddrPort("198.51.100.7:2"), nil)
	if v := h.inbound(through); v.Counter != "XfrmInPolBlock" {
		t.Errorf("a packet that goes through: %v %q", v.Kind, v.Counter)
	}
}
