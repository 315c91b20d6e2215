package linux_test

import (
	"testing"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/internal/refusals"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestRefused looks at each packet of the table: the verdict, its reason and its counter, the ledger, and every counter that moves.
func TestRefused(t *testing.T) {
	e, err := kernel.New("linux", engine.Options{Addrs: refusals.Host()})
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
			var got ipsec.Verdict
			e.Inbound(&ipsec.Packet{ID: 1, Data: r.Packet, Done: func(_ *ipsec.Packet, v ipsec.Verdict) { got = v }})
			counter := ""
			if len(r.Counters) > 0 {
				counter = r.Counters[0]
			}
			if got.Reason != r.Reason || got.Counter != counter {
				t.Errorf("%s: %v %v %q, want %v %q", r.Name, got.Kind, got.Reason, got.Counter, r.Reason, counter)
			}
			if n := e.Ledger().Balance().Reasons[r.Reason.String()]; r.Reason != ipsec.NoReason && n != ledger+1 {
				t.Errorf("%s: the ledger counts %v %d times more", r.Name, r.Reason, n-ledger)
			}
			r.Judge(t, got.Kind == ipsec.Delivered, refusals.Moved(before, k.Counters()))
		}
	}
}
