package linux_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Status tells each policy whole: where it applies, what it does, and how packets are to be protected.
func TestStatusPolicies(t *testing.T) {
	h := newHost(t, engine.Options{})
	err := kernels.LoadPolicy(h.e, strings.NewReader(`
spdadd 192.0.2.1[7] 192.0.2.2[9] udp -P out ipsec esp/transport//unique:3 ah/transport//use;
spdadd 192.0.2.2 192.0.2.1 any -P in ipsec ipcomp/tunnel/192.0.2.2-192.0.2.1/require;
spdadd 10.0.0.0/8 10.1.0.0/16 any -P fwd discard;
spdadd 192.0.2.3 192.0.2.1 any -P in none;
`), "p")
	if err != nil {
		t.Fatal(err)
	}
	beet := linux.OutputPolicy{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.0.2.4"), Proto: 50,
		Mode: 4}
	if errno := h.e.Kernel().(*linux.Kernel).AddOutputPolicy(beet); errno != wire.OK {
		t.Fatal(errno)
	}
	const normal = 1 << 31   // the priority of a policy that names none
	want := []status.Policy{ // the newest first; what is for in is for fwd as well
		{Direction: "out", Src: "192.0.2.1/32", Dst: "192.0.2.4/32", Action: "ipsec", ID: 49,
			Wants: []string{"esp/beet/192.0.2.1-192.0.2.4/require"}},
		{Direction: "fwd", Src: "192.0.2.3/32", Dst: "192.0.2.1/32", Action: "pass", Priority: normal, ID: 42},
		{Direction: "in", Src: "192.0.2.3/32", Dst: "192.0.2.1/32", Action: "pass", Priority: normal, ID: 32},
		{Direction: "fwd", Src: "10.0.0.0/8", Dst: "10.1.0.0/16", Action: "drop", Priority: normal, ID: 26},
		{Direction: "fwd", Src: "192.0.2.2/32", Dst: "192.0.2.1/32", Action: "ipsec", Priority: normal, ID: 18,
			Wants: []string{"ipcomp/tunnel/192.0.2.2-192.0.2.1/require"}},
		{Direction: "in", Src: "192.0.2.2/32", Dst: "192.0.2.1/32", Action: "ipsec", Priority: normal, ID: 8,
			Wants: []string{"ipcomp/tunnel/192.0.2.2-192.0.2.1/require"}},
		{Direction: "out", Src: "192.0.2.1/32", Dst: "192.0.2.2/32", SrcPort: 7, DstPort: 9, Proto: 17, Action: "ipsec",
			Priority: normal, ID: 1, Wants: []string{"esp/transport//unique:3", "ah/transport//use"}},
	}
	if diff := cmp.Diff(want, h.e.Status(0).Policies); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
