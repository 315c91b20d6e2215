package illumos_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
)

// Status tells the policies: their direction, what they match, and what they ask for.
func TestStatusPolicies(t *testing.T) {
	k := newPoliced(t, engine.Options{}, `{raddr 192.0.2.2 ulp udp rport 9 dir out} ipsec {auth_algs sha1}
{raddr 192.0.2.3 ulp tcp lport 22 dir in} drop {}
{raddr 2001:db8::2 dir both} pass {}
`)
	type policy struct {
		Direction, Src, Dst, Action string
		SrcPort, DstPort            uint16
		Proto                       uint8
	}
	want := []policy{ // Src is the local side
		{"both", "::/0", "2001:db8::2/128", "pass", 0, 0, 0},
		{"out", "0.0.0.0/0", "192.0.2.2/32", "ipsec", 0, 9, 17},
		{"in", "0.0.0.0/0", "192.0.2.3/32", "drop", 22, 0, 6},
	}
	var got []policy
	for _, p := range k.e.Status(0).Policies {
		got = append(got, policy{p.Direction, p.Src, p.Dst, p.Action, p.SrcPort, p.DstPort, p.Proto})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
