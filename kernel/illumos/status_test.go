package illumos_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/status"
)

// Status tells the policies: their direction, what they match, and what they ask for.
func TestStatusPolicies(t *testing.T) {
	k := newPoliced(t, engine.Options{}, tunnels+`{raddr 192.0.2.2 ulp udp rport 9 dir out} ipsec {auth_algs sha1}
{raddr 192.0.2.3 ulp tcp lport 22 dir in} drop {}
{raddr 2001:db8::2 dir both} pass {}
{tunnel tun6 negotiate tunnel dir both} ipsec {encr_algs aes(256) encr_auth_algs sha1} or ipsec {encr_algs aes(128..192)}
`)
	wants := []string{"encr_algs aes-cbc(256) encr_auth_algs hmac-sha1", "encr_algs aes-cbc(128..192)"}
	want := []status.Policy{ // Src is the local side
		{Direction: "both", Src: "::/0", Dst: "2001:db8::2/128", Action: "pass"},
		{Direction: "out", Src: "0.0.0.0/0", Dst: "192.0.2.2/32", Action: "ipsec", DstPort: 9, Proto: 17,
			Wants: []string{"auth_algs hmac-sha1"}},
		{Direction: "in", Src: "0.0.0.0/0", Dst: "192.0.2.3/32", Action: "drop", SrcPort: 22, Proto: 6},
		{Tunnel: "tun6", Direction: "both", Src: "0.0.0.0/0", Dst: "0.0.0.0/0", Action: "ipsec", Wants: wants},
		{Tunnel: "tun6", Direction: "both", Src: "::/0", Dst: "::/0", Action: "ipsec", Wants: wants},
	}
	got := k.e.Status(0).Policies
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
