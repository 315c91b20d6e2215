package linux_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/internal/refusals"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestRefused looks at each packet of the table: the verdict, its reason and its counter, the ledger, and every counter
// that moves.
func TestRefused(t *testing.T) {
	e, err := kernels.New("linux", engine.Options{Addrs: refusals.Host()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	k := e.Kernel().(*linux.Kernel)
	s, errno := e.Open(privileged, 3, wire.Version)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	c := pfkey.NewClientOn(s, e.Dialect(), privileged)
	t.Cleanup(func() { c.Close() })
	refusals.SetUp(t, c)
	for _, six := range []bool{false, true} {
		for _, r := range refusals.List(t, six) {
			before, ledger := k.Counters(), e.Ledger().Balance().Reasons[r.Reason.String()]
			var got packet.Verdict
			e.Inbound(&packet.Packet{ID: 1, Data: r.Packet, Done: func(_ *packet.Packet, v packet.Verdict) { got = v }})
			counter := ""
			if len(r.Counters) > 0 {
				counter = r.Counters[0]
			}
			if got.Reason != r.Reason || got.Counter != counter {
				t.Errorf("%s: %v %v %q, want %v %q", r.Name, got.Kind, got.Reason, got.Counter, r.Reason, counter)
			}
			if n := e.Ledger().Balance().Reasons[r.Reason.String()]; r.Reason != packet.NoReason && n != ledger+1 {
				t.Errorf("%s: the ledger counts %v %d times more", r.Name, r.Reason, n-ledger)
			}
			r.Judge(t, got.Kind == packet.Delivered, refusals.Moved(before, k.Counters()))
		}
	}
}

// TestForwardedExtensions: of a packet for another host only the hop-by-hop options are looked at, which is for every
// host on its way.
func TestForwardedExtensions(t *testing.T) {
	const hopByHop, routing, destination, none = 0, 43, 60, 59
	h := newHost(t, engine.Options{})
	from, own, other := netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8::1"),
		netip.MustParseAddr("2001:db8::3")
	good, bad, toGo := []byte{none, 0, 1, 4, 0, 0, 0, 0}, []byte{none, 0, 1, 4, 0, 0, 0, 1}, []byte{none, 0, 0, 1, 0, 0,
		0, 0}
	for _, tt := range []struct {
		name   string
		to     netip.Addr
		proto  byte
		header []byte // all that the packet carries
		want   packet.Reason
	}{
		{"own, options", own, destination, good, packet.NoReason},
		{"own, bad options", own, destination, bad, packet.BadOption},
		{"own, a routing header", own, routing, toGo, packet.SourceRoute},
		{"other, bad options", other, destination, bad, packet.NoReason},
		{"other, a routing header", other, routing, toGo, packet.NoReason},
		{"own, hop-by-hop options", own, hopByHop, good, packet.NoReason},
		{"other, hop-by-hop options", other, hopByHop, good, packet.NoReason},
		{"other, bad hop-by-hop options", other, hopByHop, bad, packet.BadOption},
		{"other, half of them", other, hopByHop, good[:4], packet.BadHeader},
	} {
		pkt := slices.Concat([]byte{0x60, 0, 0, 0, 0, byte(len(tt.header)), tt.proto, 64}, from.AsSlice(),
			tt.to.AsSlice(), tt.header)
		if v := h.inbound(pkt); v.Reason != tt.want {
			t.Errorf("%s: %v %v, want %v", tt.name, v.Kind, v.Reason, tt.want)
		}
	}
}

// TestAddressBeforeLength: an address that no packet may have is told before a packet that is cut.
func TestAddressBeforeLength(t *testing.T) {
	h := newHost(t, engine.Options{})
	from, reserved := netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("ff00::1")
	cut := slices.Concat([]byte{0x60, 0, 0, 0, 0, 8, 59, 64}, from.AsSlice(), reserved.AsSlice())
	if v := h.inbound(cut); v.Reason != packet.BadAddress {
		t.Errorf("%v %v, want %v", v.Kind, v.Reason, packet.BadAddress)
	}
}
