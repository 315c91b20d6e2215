package illumos_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// udp is a packet from this host to another.
func udp(t testing.TB, src, dst string, sport, dport uint16) []byte {
	t.Helper()
	s, d := netip.MustParseAddr(src), netip.MustParseAddr(dst)
	payload := []byte{byte(sport >> 8), byte(sport), byte(dport >> 8), byte(dport), 0, 8, 0, 0}
	if s.Is4() {
		h := []byte{0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0}
		return summed(append(append(append(h, s.AsSlice()...), d.AsSlice()...), payload...))
	}
	h := []byte{0x60, 0, 0, 0, 0, 8, 17, 64}
	return append(append(append(h, s.AsSlice()...), d.AsSlice()...), payload...)
}

// newPoliced is an engine with a policy, and a socket that has registered for both protocols.
func newPoliced(t testing.TB, o engine.Options, policy string) *talk {
	t.Helper()
	o.Addrs = append(o.Addrs, me, netip.MustParseAddr("2001:db8::1"))
	k := newTalk(t, o)
	if err := kernels.LoadPolicy(k.e, strings.NewReader(policy), "p"); err != nil {
		t.Fatal(err)
	}
	k.must(message(wire.MsgRegister, wire.SATypeAH))
	k.must(message(wire.MsgRegister, wire.SATypeESP))
	return k
}

// extend has a new socket ask for the extended form, instead of the one there was.
func (k *talk) extend() {
	k.t.Helper()
	k.s.Close()
	k.s = openSocket(k.t, k.e)
	k.must(message(wire.MsgRegister, wire.SATypeUnspec, func(b []byte) []byte {
		return d.AppendEReg(b, wire.EReg{Types: []wire.SAType{wire.SATypeAH, wire.SATypeESP}})
	}))
}

// received describes the messages that wait on the socket.
func (k *talk) received() (lines []string) {
	for _, m := range messages(k.s) {
		lines = append(lines, d.Line(m)+combinations(m))
	}
	return lines
}

// combinations are what an ACQUIRE proposes, in either form.
func combinations(msg []byte) (text string) {
	alg := func(name string, lo, hi uint16) {
		if lo|hi != 0 || name == "null" {
			text += fmt.Sprintf(" %s(%d-%d)", name, lo, hi)
		}
	}
	if x, ok := d.Find(msg, wire.ExtProposal); ok {
		v, err := d.ParseProposal(x.Raw)
		if err != nil {
			return err.Error()
		}
		for _, c := range v.Combs {
			text += ";"
			alg(d.AuthName(c.Auth), c.AuthMinBits, c.AuthMaxBits)
			alg(d.EncryptName(c.Encrypt), c.EncryptMinBits, c.EncryptMaxBits)
		}
	}
	if x, ok := d.Find(msg, wire.IllumosExtXEProp); ok {
		v, err := d.ParseEProp(x.Raw)
		if err != nil {
			return err.Error()
		}
		text += fmt.Sprintf("; replay %d", v.Replay)
		if v.Cookie != nil {
			text += fmt.Sprintf(" cookie %d/%d", v.Cookie.Protocol, v.Cookie.Cookie)
		}
	}
	return text
}

// out sends a packet and says what became of it at once, and what key management heard.
func (k *talk) out(pkt []byte, tunnel string) string {
	fate := "nothing"
	k.e.Outbound(&packet.Packet{ID: packetIDs.Add(1), Data: pkt, Done: func(_ *packet.Packet, v packet.Verdict) {
		fate = fmt.Sprint(v.Kind)
		if v.Reason != 0 {
			fate += " " + v.Counter
		}
	}}, tunnel)
	return strings.Join(append([]string{fate}, k.received()...), "\n")
}

const tunnels = `
dladm create-iptun -T ipv4 -a local=192.0.2.1,remote=192.0.2.2 ip.tun0
dladm create-iptun -t -T ipv6 -a local=2001:db8::1,remote=2001:db8::2 tun6
`

// Every form of a rule, seen in what becomes of packets and in what key management is asked for.
func TestPolicyRules(t *testing.T) {
	const esp = "ipsec {encr_algs aes encr_auth_algs sha1 sa shared}"
	for _, tt := range []struct {
		name, policy string
		src, dst     string // default: 192.0.2.1 to 192.0.2.2
		sport, dport uint16 // default: 7 to 9
		tunnel       string
		extended     bool     // key management wants the extended form
		want         []string // parts of what comes back
	}{
		{name: "no rule", want: []string{"transmitted"}},
		{name: "comment", policy: "# {} drop {}\n", want: []string{"transmitted"}},
		{name: "all", policy: "{} " + esp, want: []string{"held\nACQUIRE esp seq=4294967294", "src=192.0.2.1,port:7",
			"; hmac-sha1(160-160) aes-cbc(128-256)"}},
		{name: "all, IPv6", policy: "{} " + esp, src: "2001:db8::1", dst: "2001:db8::2",
			want: []string{"held\nACQUIRE esp", "2001:db8::2"}},
		{name: "remote and port", policy: "{raddr 192.0.2.2 ulp udp dport 9 dir out} " + esp, want: []string{"held"}},
		{name: "another remote", policy: "{raddr 192.0.2.3 ulp udp dport 9 dir out} " + esp,
			want: []string{"transmitted"}},
		{name: "another port", policy: "{raddr 192.0.2.2 ulp udp dport 10 dir out} " + esp,
			want: []string{"transmitted"}},
		{name: "another protocol", policy: "{raddr 192.0.2.2 proto tcp} " + esp, want: []string{"transmitted"}},
		{name: "port by name", policy: "{rport discard} drop {}", want: []string{"dropped spd_explicit"}},
		{name: "local port", policy: "{lport 7} drop {}", want: []string{"dropped"}},
		{name: "other local port", policy: "{lport 8} drop {}", want: []string{"transmitted"}},
		{name: "network", policy: "{laddr 192.0.2.0/24 remote 192.0.2.2/31} drop {}", want: []string{"dropped"}},
		{name: "another network", policy: "{laddr 192.0.3.0/24} drop {}", want: []string{"transmitted"}},
		{name: "mask", policy: "{src 192.0.2.0 smask 255.255.255.0 dst 192.0.0.0 dmask 0xffff0000 dir out} drop {}",
			want: []string{"dropped"}},
		{name: "inbound only", policy: "{dir in} drop {}", want: []string{"transmitted"}},
		{name: "old form, out",
			policy: "{saddr 192.0.2.1 daddr 192.0.2.2} apply {encr_algs aes encr_auth_algs md5 sa unique}",
			want:   []string{"held\nACQUIRE esp", "hmac-md5"}},
		{name: "old form, in", policy: "{saddr 192.0.2.1 daddr 192.0.2.2} permit {auth_algs md5}",
			want: []string{"transmitted"}},
		{name: "old bypass", policy: "{sport 7} bypass {dir out}\n{} drop {}", want: []string{"transmitted"}},
		{name: "bypass comes first", policy: "{} drop {}\n{dport 9 dir out} pass {}", want: []string{"transmitted"}},
		{name: "ESP comes before AH", policy: "{} ipsec {auth_algs sha1}\n{} " + esp, want: []string{"ACQUIRE esp"}},
		{name: "both come before ESP", policy: "{} " + esp + "\n{} ipsec {auth_algs sha1 encr_algs 3des}",
			want: []string{"ACQUIRE esp", "3des-cbc"}},
		{name: "in the order of the file", policy: "{} ipsec {encr_algs des}\n{} ipsec {encr_algs aes}",
			want: []string{"ACQUIRE esp", "des-cbc"}},
		{name: "AH", policy: "{} ipsec {auth_algs sha512}", want: []string{"ACQUIRE ah", "hmac-sha512"}},
		{name: "authentication by ESP", policy: "{} ipsec {encr_auth_algs sha256}",
			want: []string{"ACQUIRE esp", "hmac-sha256", "null"}},
		{name: "combined mode", policy: "{} ipsec {encr_algs aes-gcm}", want: []string{"ACQUIRE esp", "aes-gcm16"}},
		{name: "number", policy: "{} ipsec {encr_algs 14 encr_auth_algs none}",
			want: []string{"ACQUIRE esp", "aes-ccm8"}},
		{name: "key lengths", policy: "{} ipsec {encr_algs aes(192..256) encr_auth_algs sha1(160)}",
			want: []string{"aes-cbc(192-256)"}},
		{name: "one key length", policy: "{} ipsec {encr_algs AES (256)}", want: []string{"aes-cbc(256-256)"}},
		{name: "alternatives",
			policy: "{} ipsec {encr_algs aes encr_auth_algs sha1} or ipsec {encr_algs 3des encr_auth_algs md5}\n",
			want:   []string{"ACQUIRE esp", "aes-cbc", "3des-cbc"}},
		{name: "lines", policy: "{\n\traddr 192.0.2.2 # the peer\n} ipsec\n{ encr_algs\naes }", want: []string{"held"}},
		{name: "tunnel mode", policy: tunnels + "{tunnel ip.tun0 negotiate tunnel laddr 10.0.0.0/8} " + esp,
			tunnel: "ip.tun0", src: "10.0.0.1", dst: "10.9.0.1",
			want: []string{"held\nACQUIRE esp", "192.0.2.2", "10.0.0.0/8"}},
		{name: "tunnel mode, other addresses", policy: tunnels + "{tunnel ip.tun0 negotiate tunnel laddr 10.0.0.0/8} " +
			esp, tunnel: "ip.tun0", src: "11.0.0.1", dst: "10.9.0.1",
			want: []string{"dropped spd_explicit"}},
		{name: "transport mode in a tunnel", policy: tunnels + "{tunnel ip.tun0 negotiate transport} " + esp,
			tunnel: "ip.tun0", src: "10.0.0.1", dst: "10.9.0.1",
			want: []string{"held\nACQUIRE esp", "192.0.2.2"}},
		{name: "IPv6 tunnel", policy: tunnels + "{tunnel tun6 negotiate tunnel} " + esp, tunnel: "tun6",
			src: "10.0.0.1", dst: "10.9.0.1",
			want: []string{"held\nACQUIRE esp", "2001:db8::2"}},
		{name: "tunnel without rules", policy: tunnels, tunnel: "ip.tun0", src: "10.0.0.1", dst: "10.9.0.1",
			want: []string{"transmitted"}},
		{name: "a tunnel's rules are its own", policy: tunnels + "{tunnel ip.tun0} drop {}",
			want: []string{"transmitted"}},
		{name: "ours", policy: "{} ipsec {encr_algs aes km_proto ike km_cookie 7 replay 128 self_encap yes}",
			extended: true,
			want:     []string{"held\nACQUIRE unspec", "; replay 128 cookie 1/7"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.src == "" {
				tt.src, tt.dst = "192.0.2.1", "192.0.2.2"
			}
			if tt.dport == 0 {
				tt.sport, tt.dport = 7, 9
			}
			k := newPoliced(t, engine.Options{}, tt.policy)
			if tt.extended {
				k.extend()
			}
			got := k.out(udp(t, tt.src, tt.dst, tt.sport, tt.dport), tt.tunnel)
			for _, part := range tt.want {
				if !strings.Contains(got, part) {
					t.Errorf("no %q in:\n%s", part, got)
				}
			}
		})
	}
}

// Nothing of a file counts that has one thing wrong, for the grammar or for the kernel.
func TestPolicyAllOrNone(t *testing.T) {
	for _, tt := range []struct{ policy, want string }{
		{"{raddr} drop {}", `p:2:7: a value for raddr is wanted: "}"`},
		{"{tunnel t9} drop {}", `p:2:9: there is no such tunnel (dladm create-iptun makes one): "t9"`},
		{"{} ipsec {auth_algs sha1(128)}", `p:2:21: this algorithm has no key of such a length: "sha1(128)"`},
	} {
		e, err := kernels.New("illumos", engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = kernels.LoadPolicy(e, strings.NewReader("{} drop {}\n"+tt.policy), "p")
		if err == nil || err.Error() != tt.want {
			t.Errorf("%q: %v, want %s", tt.policy, err, tt.want)
		}
		e.Outbound(&packet.Packet{Data: udp(t, "192.0.2.1", "192.0.2.2", 7, 9),
			Done: func(_ *packet.Packet, v packet.Verdict) {
				if v.Kind != packet.Transmitted {
					t.Errorf("%q: a rule of the file is in force: %v", tt.policy, v.Kind)
				}
			}}, "")
	}
}

// Tunnels of an earlier file are there for a later one.
func TestPolicyTwoFiles(t *testing.T) {
	k := newPoliced(t, engine.Options{}, tunnels)
	if err := kernels.LoadPolicy(k.e, strings.NewReader("{tunnel ip.tun0} drop {}"),
		"q"); err != nil {
		t.Fatal(err)
	}
	if got := k.out(udp(t, "10.0.0.1", "10.0.0.2", 7, 9), "ip.tun0"); got != "dropped spd_explicit" {
		t.Error(got)
	}
	err := kernels.LoadPolicy(k.e, strings.NewReader(tunnels), "q")
	if d := cmp.Diff(`q:2:64: there is a tunnel of this name already: "ip.tun0"`, fmt.Sprint(err)); d != "" {
		t.Error(d)
	}
}

func FuzzLoadPolicy(f *testing.F) {
	f.Add(
		"{raddr 192.0.2.2 ulp udp dport 9 dir out} ipsec {encr_algs aes(128..) encr_auth_algs sha1 sa unique} or bypass {}")
	f.Add(tunnels + "{tunnel ip.tun0 negotiate tunnel laddr 10.0.0.0/8} drop {} # end")
	f.Add("{src ::1 smask 0xff000000 dir out} apply {auth_algs 3 km_cookie 7 replay 3}")
	f.Add("{\n\n} permit { dir in encr_algs none auth_algs any }")
	f.Fuzz(func(t *testing.T, text string) {
		e, err := kernels.New("illumos", engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		err = kernels.LoadPolicy(e, strings.NewReader(text), "p")
		if err == nil {
			for _, tunnel := range []string{"", "ip.tun0"} {
				e.Outbound(&packet.Packet{Data: udp(t, "192.0.2.1", "192.0.2.2", 7, 9)}, tunnel)
				e.Outbound(&packet.Packet{Data: udp(t, "2001:db8::1", "2001:db8::2", 7, 9)}, tunnel)
			}
		}
	})
}
