package bsd

import (
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A policy becomes the flow that says the same, or none.
func TestFlowOf(t *testing.T) {
	d := wire.OpenBSD()
	net4 := wire.Address{Addr: netip.MustParseAddr("10.1.0.0"), PrefixLen: 16, Proto: 255}
	host := wire.Address{Addr: netip.MustParseAddr("192.0.2.2"), PrefixLen: 32, Proto: 17, Port: 9}
	from := wire.Address{Addr: host.Addr, PrefixLen: 32, Proto: 17, Port: 9}
	esp := wire.IPsecRequest{Proto: 50, Level: wire.KAMELevelRequire}
	tunnel := wire.IPsecRequest{Proto: 51, Level: wire.KAMELevelUse,
		Src: wire.Sockaddr{Addr: netip.MustParseAddr("192.0.2.1")}, Dst: wire.Sockaddr{Addr: host.Addr}}
	for _, tt := range []struct {
		p    pfkey.Policy
		want string // "": there is none
	}{
		{pfkey.Policy{Direction: 2, Src: net4, Dst: host, Type: wire.KAMEPolicyIPsec,
			Templates: []wire.IPsecRequest{esp}}, "X_ADDFLOW esp seq=1 pid=1234 dst=0.0.0.0 " +
			"srcmask=255.255.0.0 dstmask=255.255.255.255,port:65535 flowtype=3 (require),out " +
			"srcflow=10.1.0.0 dstflow=192.0.2.2,port:9"},
		{pfkey.Policy{Direction: 1, Src: from, Dst: net4, Type: wire.KAMEPolicyIPsec,
			Templates: []wire.IPsecRequest{tunnel}}, "X_ADDFLOW ah seq=1 pid=1234 src=192.0.2.2 dst=192.0.2.1 " +
			"srcmask=255.255.255.255,port:65535 dstmask=255.255.0.0 protocol=17 (udp) flowtype=1 (use),in " +
			"srcflow=192.0.2.2,port:9 dstflow=10.1.0.0"},
		{pfkey.Policy{Direction: 2, Src: net4, Dst: net4, Type: wire.KAMEPolicyDiscard}, "X_ADDFLOW esp seq=1 " +
			"pid=1234 srcmask=255.255.0.0 dstmask=255.255.0.0 flowtype=5 (deny),out srcflow=10.1.0.0 dstflow=10.1.0.0"},
		{pfkey.Policy{Direction: 2, Src: net4, Dst: net4, Type: wire.KAMEPolicyBypass}, "X_ADDFLOW esp seq=1 " +
			"pid=1234 srcmask=255.255.0.0 dstmask=255.255.0.0 flowtype=4 (bypass),out srcflow=10.1.0.0 dstflow=10.1.0.0"},
		{pfkey.Policy{Direction: 3, Src: net4, Dst: net4, Type: wire.KAMEPolicyBypass}, ""},
		{pfkey.Policy{Direction: 2, Src: net4, Dst: net4, Type: wire.KAMEPolicyIPsec,
			Templates: []wire.IPsecRequest{esp, esp}}, ""},
		{pfkey.Policy{Direction: 2, Src: net4, Dst: net4, Type: wire.KAMEPolicyIPsec,
			Templates: []wire.IPsecRequest{{Proto: 6}}}, ""},
	} {
		msg, err := flowOf(d, &tt.p)
		if (err != nil) != (tt.want == "") || err == nil && d.Line(msg) != tt.want {
			t.Errorf("%+v:\n got %s %v\nwant %s", tt.p, d.Line(msg), err, tt.want)
		}
	}
}
