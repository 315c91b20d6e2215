package policyfile_test

import (
	"math"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/policyfile"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

func setkey(text string) (*policyfile.Statements, error) {
	return policyfile.Setkey(strings.NewReader(text), "f", false)
}

func TestSetkey(t *testing.T) {
	const file = `#!/usr/sbin/setkey -f
flush; spdflush;
spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;   # to the peer
spdupdate -4 10.0.0.0/8[any] 10.1.0.0/16[80] tcp -P in prio high
	ipsec esp/tunnel/192.0.2.1[500]-192.0.2.2/unique:7 ah/transport//use ipcomp/transport//unique:65536;
spdadd 2001:db8::1 2001:db8::/32 icmp6 135,1 -P fwd none;
spdadd 192.0.2.2[53] 192.0.2.1 17 -P out priority - 16 discard; spdadd ::1 ::2 ip -P out ipsec ah/transport;
`
	end := func(prefix string, port uint16, proto uint8) wire.Address {
		a := pfkey.Prefix(netip.MustParsePrefix(prefix))
		a.Port, a.Proto = port, proto
		return a
	}
	host := func(s string) wire.Sockaddr { return wire.Sockaddr{Addr: netip.MustParseAddr(s)} }
	tunnel := wire.IPsecRequest{Proto: 50, Mode: wire.ModeTunnel, Level: wire.KAMELevelUnique, ReqID: 7,
		Src: host("192.0.2.1"), Dst: host("192.0.2.2")}
	use := wire.IPsecRequest{Proto: 51, Mode: wire.ModeTransport, Level: wire.KAMELevelUse}
	comp := wire.IPsecRequest{Proto: 108, Mode: wire.ModeTransport, Level: wire.KAMELevelUnique, ReqID: 65536}
	want := []policyfile.Statement{
		{Policy: pfkey.Policy{Direction: wire.KAMEDirOut, Type: wire.KAMEPolicyIPsec, Priority: 0x80000000,
			Src: end("192.0.2.1/32", 0, 255), Dst: end("192.0.2.2/32", 0, 255), Templates: []wire.IPsecRequest{
				{Proto: 50, Mode: wire.ModeTransport, Level: wire.KAMELevelRequire}}}},
		{Policy: pfkey.Policy{Direction: wire.KAMEDirIn, Type: wire.KAMEPolicyIPsec, Priority: 0x40000000,
			Src: end("10.0.0.0/8", 0, 6), Dst: end("10.1.0.0/16", 80, 6),
			Templates: []wire.IPsecRequest{tunnel, use, comp}}, Update: true},
		{Policy: pfkey.Policy{Direction: wire.LinuxDirForward, Type: wire.KAMEPolicyNone, Priority: 0x80000000,
			Src: end("2001:db8::1/128", 135, 58), Dst: end("2001:db8::/32", 1, 58)}},
		{Policy: pfkey.Policy{Direction: wire.KAMEDirOut, Type: wire.KAMEPolicyDiscard, Priority: 0x80000010,
			Src: end("192.0.2.2/32", 53, 17), Dst: end("192.0.2.1/32", 0, 17)}},
		{Policy: pfkey.Policy{Direction: wire.KAMEDirOut, Type: wire.KAMEPolicyIPsec, Priority: 0x80000000,
			Src: end("::1/128", 0, 0), Dst: end("::2/128", 0, 0), Templates: []wire.IPsecRequest{
				{Proto: 51, Mode: wire.ModeTransport, Level: wire.KAMELevelDefault}}}},
	}
	same := cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".line" || p.Last().String() == ".words" },
			cmp.Ignore()),
	}
	got, err := setkey(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.List, same); diff != "" {
		t.Errorf("statements (-want +got):\n%s", diff)
	}
	// Where forwarded packets have policies of their own, that for those that come in is made twice. The first template
	// with an SA of its own takes any there.
	twin := want[1]
	twin.Policy.Direction = wire.LinuxDirForward
	any := tunnel
	any.Level, any.ReqID = wire.KAMELevelRequire, 0
	twin.Policy.Templates = []wire.IPsecRequest{any, use, comp}
	want = append(want[:2:2], append([]policyfile.Statement{twin}, want[2:]...)...)
	if got, err = policyfile.Setkey(strings.NewReader(file), "f", true); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.List, same); diff != "" {
		t.Errorf("statements with those for forwarding (-want +got):\n%s", diff)
	}
	for _, tt := range []struct {
		index, template int
		want            string
	}{
		{0, -1, "f:3: no"}, {1, -1, "f:4: no"}, {2, -1, "f:4: no"},
		{2, 1, `f:5: no: "ah/transport//use"`}, {4, -1, "f:7: no"},
	} {
		if got := got.Refused(tt.index, tt.template, "no").Error(); got != tt.want {
			t.Errorf("statement %d, template %d: %s, want %s", tt.index, tt.template, got, tt.want)
		}
	}
}

func TestSetkeyPriorities(t *testing.T) {
	for text, want := range map[string]uint32{
		"prio 1": 0x7fffffff, "prio 2147483648": 0, "prio - 2147483647": 0xffffffff,
		"prio -1":  0x80000001,
		"prio low": 0xc0000000, "prio def": 0x80000000, "prio high + 1073741824": 0,
		"prio high+1":           0x3fffffff,
		"prio low - 1073741823": 0xffffffff, "prio def -3": 0x80000003,
	} {
		got, err := setkey("spdadd 192.0.2.1 192.0.2.2 any -P out " + text + " none;")
		if err != nil {
			t.Errorf("%s: %v", text, err)
		} else if p := got.List[0].Policy.Priority; p != want {
			t.Errorf("%s: %#x, want %#x", text, p, want)
		}
	}
}

func TestSetkeyErrors(t *testing.T) {
	const rule = "spdadd 192.0.2.1 192.0.2.2 any -P "
	for text, want := range map[string]string{
		"dump esp;": `f:1: a file of policies: ` +
			`of setkey(8) it takes spdadd and spdupdate, and passes over flush and spdflush: "dump"`,
		"\nspdflush now;": `f:2: nothing may follow here: "now"`,
		rule + "out none": `f:1: a statement without its semicolon`,
		"spdadd host.example 192.0.2.2 any -P in none;":  `f:1: not an address: "host.example"`,
		"spdadd 192.0.2.1/33 192.0.2.2 any -P in none;":  `f:1: not a prefix length of this address family: "192.0.2.1/33"`,
		"spdadd 192.0.2.1[70000] ::1 any -P in none;":    `f:1: not a port: "192.0.2.1[70000]"`,
		"spdadd 192.0.2.1 ::1 any -P in none;":           `f:1: two address families: "::1"`,
		"spdadd 192.0.2.1 192.0.2.2 what -P in none;":    `f:1: unknown upper layer protocol: "what"`,
		"spdadd 192.0.2.1 192.0.2.2 tcp 1,2 -P in none;": `f:1: this protocol has no parts to name: "1,2"`,
		"spdadd 192.0.2.1 192.0.2.2 any out none;":       `f:1: this protocol has no parts to name: "out"`,
		rule + "up none;":                  `f:1: want in, out or fwd: "up"`,
		rule + "out;":                      `f:1: want discard, none or ipsec`,
		rule + "out prio none;":            `f:1: not a number: "none"`,
		rule + "out prio low\n+9x none;":   `f:2: not a number: "9x"`,
		rule + "out prio 2147483649 none;": `f:1: out of range: "2147483649"`,
		rule + "out none esp/transport;":   `f:1: nothing may follow here: "esp/transport"`,
		rule + "out ipsec;":                `f:1: ipsec without a transform`,
		rule +
			"out ipsec esp;": `f:1: want PROTOCOL/MODE/SOURCE-DESTINATION/LEVEL: "esp"`,
		rule + "out ipsec tcp/transport;": `f:1: want esp, ah or ipcomp: "tcp/transport"`,
		rule + "out ipsec esp/beet;":      `f:1: want transport or tunnel: "esp/beet"`,
		rule +
			"out ipsec esp/tunnel/1.2.3.4-::1/use;": `f:1: a tunnel needs two addresses of one family: "esp/tunnel/1.2.3.4-::1/use"`,
		rule +
			"out ipsec esp/transport//sometimes;": `f:1: want default, use, require or unique: "esp/transport//sometimes"`,
		rule +
			"out ipsec esp/transport//require:3;": `f:1: only unique has a request id: "esp/transport//require:3"`,
		"\xff": `f: not a text`,
	} {
		if _, err := setkey(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzSetkey(f *testing.F) {
	f.Add("spdadd 10.0.0.0/8[any] ::1 tcp -P out prio high-1 ipsec esp/tunnel/192.0.2.1-192.0.2.2/unique:7;#\n;")
	f.Add("spdupdate ::/0 ::/0 58 1,2 -P in prio low + 1 ipsec ah/transport//use ipcomp/transport;")
	f.Fuzz(func(t *testing.T, text string) {
		all, err := setkey(text)
		if err != nil {
			return
		}
		for _, st := range all.List {
			// It is what X_SPDADD carries.
			d := wire.Linux()
			b := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.KAMEMsgXSPDAdd})
			b = st.Policy.AppendExtensions(d, b)
			if len(b) > math.MaxUint16 {
				continue
			}
			got, err := pfkey.ParsePolicy(d, d.Finish(b))
			if err != nil || got.Priority != st.Policy.Priority || len(got.Templates) != len(st.Policy.Templates) {
				t.Errorf("%+v became %+v, %v", st.Policy, got, err)
			}
		}
	})
}
