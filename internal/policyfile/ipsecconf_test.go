package policyfile_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/policyfile"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/wire"
)

const tunnels = `
dladm create-iptun -T ipv4 -a local=192.0.2.1,remote=192.0.2.2 ip.tun0
dladm create-iptun -t -T ipv6 -a local=2001:db8::1,remote=2001:db8::2 tun6
`

func ipsecconf(text string) (*policyfile.Rules, error) {
	auth, encrypt := illumos.Algorithms()
	return policyfile.Ipsecconf(strings.NewReader(text), "p", wire.Illumos(), auth, encrypt)
}

// What becomes of packets by such rules is seen in kernel/illumos.
func TestIpsecconf(t *testing.T) {
	got, err := ipsecconf(`# all kinds
{raddr 192.0.2.0/24 rport 99 dir in} drop {}
{saddr 192.0.2.8} permit {auth_algs none encr_algs aes}
{} ipsec {auth_algs any} or ipsec {encr_algs aes(128..192) encr_auth_algs sha1(160) sa unique replay 64}
{saddr 192.0.2.7 daddr 10.0.0.0 dmask 255.0.0.0 sport 53 proto tcp dir in} ipsec {encr_algs none encr_auth_algs 5}
{lport ssh ulp 6 dir both} bypass {}
` + tunnels + `{tunnel ip.tun0 negotiate tunnel daddr 2001:db8::/32} apply {encr_algs NULL km_proto ike km_cookie 9 self_encap yes}
`)
	if err != nil {
		t.Fatal(err)
	}
	none := spd.Action{AH: spd.NotUsed, ESP: spd.NotUsed, ESPAuth: spd.NotUsed}
	with := func(change func(a *spd.Action)) spd.Action {
		a := none
		change(&a)
		return a
	}
	either := []spd.Action{
		with(func(a *spd.Action) { a.AH = spd.Any }),
		with(func(a *spd.Action) {
			a.ESP, a.ESPAuth, a.Unique, a.Replay = int(wire.EncAESCBC), int(wire.AuthSHA1HMAC), true, 64
			a.EncryptMinBits, a.EncryptMaxBits = 128, 192
		}),
	}
	bypass := with(func(a *spd.Action) { a.Type = spd.Bypass })
	prefix := netip.MustParsePrefix
	want := []spd.Rule{
		{Dir: spd.Both, SrcPort: 22, Proto: 6, Actions: []spd.Action{bypass}},
		{Dir: spd.Both, SrcPort: 22, Proto: 6, V6: true, Actions: []spd.Action{bypass}},
		{Dir: spd.Both, Actions: either},
		{Dir: spd.Both, Actions: either, V6: true},
		{Dir: spd.In, Dst: prefix("192.0.2.8/32"),
			Actions: []spd.Action{with(func(a *spd.Action) { a.ESP = int(wire.EncAESCBC) })}},
		{Dir: spd.In, Src: prefix("10.0.0.0/8"), Dst: prefix("192.0.2.7/32"), DstPort: 53, Proto: 6,
			Actions: []spd.Action{with(func(a *spd.Action) { a.ESP, a.ESPAuth = int(wire.EncNull), 5 })}},
		{Tunnel: "ip.tun0", Dir: spd.Out, Dst: prefix("2001:db8::/32"), Actions: []spd.Action{with(func(a *spd.Action) {
			a.ESP, a.KMProtocol, a.KMCookie, a.SelfEncap = int(wire.EncNull), 1, 9, true
		})}},
		{Dir: spd.In, Dst: prefix("192.0.2.0/24"), DstPort: 99,
			Actions: []spd.Action{with(func(a *spd.Action) { a.Type = spd.Discard })}},
	}
	if diff := cmp.Diff(want, got.List, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	addr := netip.MustParseAddr
	made := []spd.Tunnel{
		{Name: "ip.tun0", Src: addr("192.0.2.1"), Dst: addr("192.0.2.2"), Negotiated: true},
		{Name: "tun6", Src: addr("2001:db8::1"), Dst: addr("2001:db8::2")},
	}
	if diff := cmp.Diff(made, got.Tunnels, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("tunnels (-want +got):\n%s", diff)
	}
}

// A kernel refuses a tunnel: the place is where it is made, or else the first rule that is tried and names it.
func TestTunnelRefused(t *testing.T) {
	r, err := ipsecconf("{tunnel t9} drop {}\n{tunnel t9 dir in} bypass {}\n{tunnel tun6} drop {}" + tunnels)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		there bool
		want  string
	}{
		{"t9", false, `p:2:9: there is no such tunnel (dladm create-iptun makes one): "t9"`},
		{"tun6", true, `p:5:71: there is a tunnel of this name already: "tun6"`},
	} {
		if got := r.TunnelRefused(tt.name, tt.there).Error(); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}

func TestIpsecconfErrors(t *testing.T) {
	for _, tt := range []struct{ policy, want string }{
		{"{raddrr 192.0.2.2} drop {}", `p:1:2: unknown name in a pattern (raddr?): "raddrr"`},
		{"\n  {raddr 192.0.2} drop {}",
			`p:2:10: not an address, with or without /PREFIX (hosts are not looked up): "192.0.2"`},
		{"{raddr 192.0.2.2/33} drop {}",
			`p:1:8: not an address, with or without /PREFIX (hosts are not looked up): "192.0.2.2/33"`},
		{"{raddr} drop {}", `p:1:7: a value for raddr is wanted: "}"`},
		{"{raddr 192.0.2.2 remote 192.0.2.3} drop {}", `p:1:18: named twice in a pattern: "remote"`},
		{"{lport 65536} drop {}", `p:1:8: not a port, by number or well-known name: "65536"`},
		{"{ulp 256} drop {}", `p:1:6: not a protocol, by number or well-known name: "256"`},
		{"{ulp icmp type 8} drop {}", `p:1:16: rules for single types or codes of ICMP are not emulated: "8"`},
		{"{dir up} drop {}", `p:1:6: a direction is in, out or both, not: "up"`},
		{"{src 192.0.2.1 dir both} drop {}",
			`p:1:26: source and destination have no meaning in both directions; dir in or dir out is wanted before: "drop"`},
		{"{src 192.0.2.1 rport 9 dir in} drop {}",
			`p:1:32: local and remote mix with source and destination only in rules with dir out, before: "drop"`},
		{"{src 192.0.2.1 smask 255.0.255.0 dir out} drop {}",
			`p:1:22: not a mask of leading ones, as 0xffffff00 or 255.255.255.0: "255.0.255.0"`},
		{"{smask 255.255.255.0 dir out} drop {}",
			`p:1:31: smask and dmask go with an IPv4 address without prefix, before: "drop"`},
		{"{laddr 192.0.2.1 raddr 2001:db8::2} drop {}",
			`p:1:37: a rule from 192.0.2.1/32 to 2001:db8::2/128 is of two address families, before: "drop"`},
		{"{} bypass {}", `p:1:4: a direction (dir in, dir out, dir both) is wanted with: "bypass"`},
		{"{dir out} bypass {sa shared}", `p:1:19: bypass has no such property: "sa"`},
		{"{} encrypt {}", `p:1:4: an action is ipsec, apply, permit, bypass, pass or drop, not: "encrypt"`},
		{"{} ipsec encr_algs", `p:1:10: the properties of ipsec are wanted, in braces, before: "encr_algs"`},
		{"{} ipsec {}", `p:1:11: ipsec needs auth_algs, encr_algs or encr_auth_algs before: "}"`},
		{"{} ipsec {auth_algs none}", `p:1:25: ipsec uses no algorithm at all before: "}"`},
		{"{} ipsec {encr_alg aes}", `p:1:11: unknown property (encr_algs?): "encr_alg"`},
		{"{} ipsec {encr_algs aess}", `p:1:21: unknown algorithm (aes?): "aess"`},
		{"{} ipsec {encr_algs 256}", `p:1:21: unknown algorithm: "256"`},
		{"{} ipsec {encr_algs aes(256..128)}",
			`p:1:21: key lengths are (BITS), (BITS..), (..BITS) or (BITS..BITS): "aes(256..128)"`},
		{"{} ipsec {encr_algs aes(512)}", `p:1:21: this algorithm has no key of such a length: "aes(512)"`},
		{"{} ipsec {auth_algs sha1(128)}", `p:1:21: this algorithm has no key of such a length: "sha1(128)"`},
		{"{} ipsec {encr_algs aes encr_algs aes}", `p:1:25: named twice in the properties: "encr_algs"`},
		{"{} ipsec {encr_algs aes sa mine}", `p:1:28: an SA is shared or unique, not: "mine"`},
		{"{} ipsec {encr_algs aes replay 256}", `p:1:32: replay wants a number up to 255, not: "256"`},
		{"{src 192.0.2.1} apply {auth_algs md5 dir in}", `p:1:42: apply is for packets that go out, not: "in"`},
		{"{laddr 192.0.2.1} apply {auth_algs md5}",
			`p:1:19: with laddr, raddr, lport and rport goes ipsec, not: "apply"`},
		{"{src 192.0.2.1} apply {auth_algs md5} or apply {auth_algs sha1}",
			`p:1:42: there are no alternatives to apply and permit: "apply"`},
		{"{", `p:1:2: the file ends inside of a pattern`},
		{"{} ipsec {encr_algs aes", `p:1:24: the file ends inside of the properties`},
		{"{}", `p:1:3: the file ends where an action is wanted: ipsec, apply, permit, bypass, pass or drop`},
		{"{} drop {} or",
			`p:1:14: the file ends where an action is wanted: ipsec, apply, permit, bypass, pass or drop`},
		{"{{", `p:1:2: a brace inside of a pattern: "{"`},
		{"drop {}", `p:1:1: an entry begins with { or with dladm, not with: "drop"`},
		{"{negotiate tunnel} drop {}", `p:1:12: only a tunnel negotiates: "tunnel"`},
		{tunnels + "{tunnel tun6 negotiate both} drop {}",
			`p:4:24: a tunnel negotiates tunnel or transport mode, not: "both"`},
		{tunnels + "{tunnel tun6 laddr 10.0.0.0/8} drop {}",
			`p:4:9: a rule with addresses wants negotiate tunnel: "tun6"`},
		{tunnels + "{tunnel tun6 negotiate tunnel} drop {}\n{tunnel tun6} drop {}",
			`p:5:9: a rule has said that this tunnel negotiates tunnel mode: "tun6"`},
		{tunnels + tunnels, `p:5:64: this tunnel has been made before: "ip.tun0"`},
		{"dladm create-vlan", `p:1:7: dladm does nothing here but create-iptun: "create-vlan"`},
		{"dladm create-iptun -T ipip t0", `p:1:23: tunnels are ipv4 or ipv6: "ipip"`},
		{"dladm create-iptun -T ipv4 t0",
			`p:1:28: a tunnel needs -a local=ADDRESS,remote=ADDRESS before its name: "t0"`},
		{"dladm create-iptun -a local=192.0.2.1,remote=192.0.2.2 t0",
			`p:1:56: a tunnel needs -T ipv4 or -T ipv6 before its name: "t0"`},
		{"dladm create-iptun -T ipv6 -a local=192.0.2.1,remote=192.0.2.2 t0",
			`p:1:64: the addresses of this tunnel are not both ipv6: "t0"`},
		{"dladm create-iptun -T ipv4 -a local=192.0.2.1,far=192.0.2.2 t0",
			`p:1:31: not of the form local=ADDRESS,remote=ADDRESS: "local=192.0.2.1,far=192.0.2.2"`},
		{"dladm create-iptun -T ipv4 -a local=here,remote=192.0.2.2 t0",
			`p:1:31: not of the form local=ADDRESS,remote=ADDRESS: "local=here,remote=192.0.2.2"`},
		{"dladm create-iptun t0", `p:1:20: a tunnel needs -a local=ADDRESS,remote=ADDRESS before its name: "t0"`},
		{tunnels + "dladm create-iptun -T ipv4 tun6", `p:4:28: this tunnel has been made before: "tun6"`},
		{"{} apply {auth_algs md5} or apply {}",
			`p:1:36: apply needs auth_algs, encr_algs or encr_auth_algs before: "}"`},
		{"{} bypass {dir}", `p:1:15: a value for dir is wanted: "}"`},
		{"{dir in} bypass {sa mine}", `p:1:18: bypass has no such property: "sa"`},
		{"{dir in} bypass {dir both}", `p:1:22: a direction among the properties is in or out, not: "both"`},
		{"{dir in} bypass {dir out}", `p:1:22: another direction has been named before (in): "out"`},
		{"{} ipsec {auth_algs shaa(128)}", `p:1:21: unknown algorithm (sha?): "shaa(128)"`},
		{"{laddr 192.0.2.1 dir in} apply {auth_algs md5}",
			`p:1:26: with laddr, raddr, lport and rport goes ipsec, not: "apply"`},
		{"{src 192.0.2.1 rport 9} drop {}",
			`p:1:25: local and remote mix with source and destination only in rules with dir out, before: "drop"`},
		{"dladm create-iptun -T ipv4\nt0",
			`p:2:1: dladm create-iptun wants -T TYPE, -a local=ADDRESS,remote=ADDRESS and a name in one line, before: "t0"`},
	} {
		_, err := ipsecconf("{} drop {}\n" + tt.policy)
		bad, ok := errors.AsType[*policyfile.Error](err)
		if !ok {
			t.Errorf("%q: %v, want %s", tt.policy, err, tt.want)
			continue
		}
		bad.Line-- // of the rule before it
		if bad.Error() != tt.want {
			t.Errorf("%q:\n got %s\nwant %s", tt.policy, bad, tt.want)
		}
	}
}

func TestTooLarge(t *testing.T) {
	_, err := ipsecconf(strings.Repeat("# nothing\n", 200_000))
	if err == nil || err.Error() != "p: more than 1048576 bytes of policies" {
		t.Errorf("%v", err)
	}
}

func FuzzIpsecconf(f *testing.F) {
	f.Add("{raddr 192.0.2.2 ulp udp dport 9 dir out} ipsec {encr_algs aes(128..) encr_auth_algs sha1} or bypass {}")
	f.Add(tunnels + "{tunnel ip.tun0 negotiate tunnel laddr 10.0.0.0/8} drop {} # end")
	f.Add("{src ::1 smask 0xff000000 dir out} apply {auth_algs 3 km_cookie 7 replay 3}")
	f.Add("{\n\n} permit { dir in encr_algs none auth_algs any }")
	f.Add("\u00a0") // no blank: those of ipsecconf(8) are ASCII's
	blank := func(r rune) bool { return strings.ContainsRune(" \t\n\v\f\r", r) }
	f.Fuzz(func(t *testing.T, text string) {
		_, err := ipsecconf(text)
		bad, ok := errors.AsType[*policyfile.Error](err)
		if !ok {
			return
		}
		lines := strings.Split(text, "\n")
		if bad.Line < 1 || bad.Line > len(lines) || bad.Column < 1 ||
			!strings.HasPrefix(lines[bad.Line-1][min(bad.Column-1, len(lines[bad.Line-1])):],
				strings.FieldsFunc(bad.Word+" .", blank)[0]) && bad.Word != "" {
			t.Errorf("%v: that is not where %q stands", err, bad.Word)
		}
	})
}
