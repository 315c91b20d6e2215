package freebsd_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// loaded is a running FreeBSD with a socket and the policies of a file, of which the socket has heard.
func loaded(t *testing.T, file string) (*engine.Engine, pfkey.Socket) {
	t.Helper()
	e, err := kernels.New("freebsd", engine.Options{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
	if err != nil {
		t.Fatal(err)
	}
	s, errno := e.Open(pfkey.Cred{Privileged: true}, 3, 0)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	if err := kernels.LoadPolicy(e, strings.NewReader(file), "ipsec.conf"); err != nil {
		t.Fatal(err)
	}
	told(e, s)
	return e, s
}

// told takes the messages that wait, one a line, from the addresses on.
func told(e *engine.Engine, s pfkey.Socket) (lines []string) {
	b := make([]byte, 4096)
	for {
		n, _, errno := s.Recv(b, 0)
		if errno != wire.OK {
			return lines
		}
		line := e.Dialect().Line(b[:n])
		if at := strings.Index(line, " src="); at >= 0 {
			line = line[at+1:]
		}
		lines = append(lines, line)
	}
}

func ask(e *engine.Engine, s pfkey.Socket, t wire.MsgType, st wire.SAType) []string {
	s.Send(e.Dialect().Finish(e.Dialect().AppendHeader(nil, wire.Header{Version: wire.Version, Type: t, SAType: st})),
		pfkey.Cred{Privileged: true})
	return told(e, s)
}

// TestPolicyFile: policies are listed by direction and priority, and one with too many transforms is refused with the
// place of the first that is too much.
func TestPolicyFile(t *testing.T) {
	e, s := loaded(t, `spdadd 192.0.2.1 192.0.2.2 any -P out prio low ipsec esp/transport//require;
spdadd 192.0.2.1 192.0.2.3 any -P out none;
spdadd 192.0.2.1 192.0.2.0/24 udp -P out prio high ipsec esp/tunnel/192.0.2.1-192.0.2.9/unique;
spdadd 192.0.2.1 192.0.2.4 any -P out discard;
spdadd 192.0.2.2 192.0.2.1 any -P in prio low discard;
`)
	want := []string{
		"src=192.0.2.2,proto:any dst=192.0.2.1,proto:any policy=discard,in,id:5,scope:1,prio:0xc0000000",
		"src=192.0.2.1,proto:udp dst=192.0.2.0/24,proto:udp policy=ipsec,out,id:3,scope:1,prio:0x40000000," +
			"esp/tunnel/192.0.2.1-192.0.2.9/unique:16385",
		"src=192.0.2.1,proto:any dst=192.0.2.3,proto:any policy=none,out,id:2,scope:1,prio:0x80000000",
		"src=192.0.2.1,proto:any dst=192.0.2.4,proto:any policy=discard,out,id:4,scope:1,prio:0x80000000",
		"src=192.0.2.1,proto:any dst=192.0.2.2,proto:any policy=ipsec,out,id:1,scope:1,prio:0xc0000000," +
			"esp/transport//require",
	}
	if diff := cmp.Diff(want, ask(e, s, wire.KAMEMsgXSPDDump, wire.SATypeUnspec)); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
	err := kernels.LoadPolicy(e, strings.NewReader("spdadd 192.0.2.1 192.0.2.9 any -P out none;\n"+
		"spdadd 192.0.2.1 192.0.2.8 any -P out ipsec\n"+strings.Repeat("esp/transport\n", 5)+";"), "more")
	const refused = `more:7: more than 4 transforms: "esp/transport"`
	if err == nil || err.Error() != refused {
		t.Errorf("five transforms: %v, want %s", err, refused)
	}
	if got := ask(e, s, wire.KAMEMsgXSPDDump, wire.SATypeUnspec); len(got) != len(want) {
		t.Errorf("%d policies after a file that was refused, want %d", len(got), len(want))
	}
}

// TestPoliciesExpireBackwards: those of one second are told in the reverse order of a DUMP.
func TestPoliciesExpireBackwards(t *testing.T) {
	e, s := loaded(t, "")
	ask(e, s, wire.MsgRegister, wire.SATypeESP)
	d := e.Dialect()
	var want []string
	for _, dst := range []string{"192.0.2.2", "192.0.2.3", "192.0.2.4"} {
		p := pfkey.Policy{Direction: wire.KAMEDirOut, Type: wire.KAMEPolicyNone, Hard: &wire.Lifetime{UseTime: 2},
			Src: wire.Address{Addr: netip.MustParseAddr("192.0.2.1"), PrefixLen: 32, Proto: 255},
			Dst: wire.Address{Addr: netip.MustParseAddr(dst), PrefixLen: 32, Proto: 255}}
		s.Send(d.Finish(p.AppendExtensions(d, d.AppendHeader(nil, wire.Header{Version: wire.Version,
			Type: wire.KAMEMsgXSPDAdd}))), pfkey.Cred{Privileged: true})
		want = append(want, dst)
	}
	slices.Reverse(want)
	told(e, s)
	e.Advance(e.Now().Add(3 * time.Second))
	var got []string
	for _, line := range told(e, s) {
		_, dst, _ := strings.Cut(line, "dst=")
		dst, _, _ = strings.Cut(dst, ",")
		got = append(got, dst)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("policies that expire (-want +got):\n%s", diff)
	}
}

// TestAcquireFromProgram: all who have registered hear once that a program asks for an SA.
func TestAcquireFromProgram(t *testing.T) {
	e, s := loaded(t, "")
	ask(e, s, wire.MsgRegister, wire.SATypeAH)
	d := e.Dialect()
	b := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgAcquire, SAType: wire.SATypeESP, Seq: 9})
	for _, t := range []wire.ExtType{wire.ExtAddressSrc, wire.ExtAddressDst} {
		b = d.AppendAddress(b, t, wire.Address{Addr: netip.MustParseAddr("192.0.2.2"), PrefixLen: 24, Proto: 17,
			Port: 53})
	}
	b = d.AppendSA2(b, wire.SA2{Mode: wire.ModeTunnel, ReqID: 70000})
	b = d.Finish(d.AppendProposal(b, wire.Proposal{}))
	want := []string{"src=192.0.2.2,proto:any dst=192.0.2.2,proto:any sa2=tunnel,reqid:70000 proposal=combs:5,replay:32"}
	for range 12 {
		s.Send(slices.Clone(b), pfkey.Cred{Privileged: true})
		if diff := cmp.Diff(want, told(e, s)); diff != "" {
			t.Errorf("ACQUIRE (-want +got):\n%s", diff)
		}
		want = nil // eleven are held back
	}
}
