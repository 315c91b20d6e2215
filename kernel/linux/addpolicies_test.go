package linux_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

var _ engine.PolicyTaker = (*linux.Kernel)(nil)

// policies lists what SPDDUMP tells, oldest first, without times and counts.
func (h *host) policies() (lines []string) {
	h.send(h.bare(wire.KAMEMsgXSPDDump, 0))
	for _, m := range read(h.s) {
		if m[2] != 0 {
			return nil
		}
		line := h.d().Line(m)
		line = line[strings.Index(line, " src="):]
		i, j := strings.Index(line, " hard="), strings.Index(line, " policy=")
		lines = append([]string{strings.TrimSpace(line[:i] + line[j:])}, lines...)
	}
	return lines
}

func TestLoadPolicy(t *testing.T) {
	const file = `#!/usr/sbin/setkey -f
flush; spdflush;
spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;   # to the peer
spdadd -4 10.0.0.0/8[any] 10.1.0.0/16[80] tcp -P out prio high
	ipsec esp/tunnel/192.0.2.1-192.0.2.2/unique:7 ah/transport//use;
spdadd 2001:db8::1 2001:db8::/32 icmp6 135,0 -P fwd none;
spdadd 192.0.2.2 192.0.2.1 any -P in prio low-5 ipsec ipcomp/transport//unique:9 esp/transport;
spdadd 192.0.2.2[53] 192.0.2.1 17 -P out priority - 16 discard;
`
	h := newHost(t, engine.Options{})
	if err := kernels.LoadPolicy(h.e, strings.NewReader(file), "ipsec.conf"); err != nil {
		t.Fatal(err)
	}
	if got := len(read(h.s)); got != 6 {
		t.Errorf("%d messages, want one for each policy", got)
	}
	want := []string{
		"src=192.0.2.1,proto:any dst=192.0.2.2,proto:any policy=ipsec,out,id:1,prio:0x80000000,esp/transport//require",
		"src=10.0.0.0/8,proto:tcp dst=10.1.0.0/16,port:80,proto:tcp policy=ipsec,out,id:9,prio:0x40000000,esp/tunnel/192.0.2.1-192.0.2.2/unique:7,ah/transport//use",
		"src=2001:db8::1,port:135,proto:icmpv6 dst=2001:db8::/32,proto:icmpv6 policy=none,fwd,id:18,prio:0x80000000",
		"src=192.0.2.2,proto:any dst=192.0.2.1,proto:any policy=ipsec,in,id:24,prio:0xc0000005,ipcomp/transport//unique:9,esp/transport//require",
		"src=192.0.2.2,proto:any dst=192.0.2.1,proto:any policy=ipsec,fwd,id:34,prio:0xc0000005,ipcomp/transport//require,esp/transport//require",
		"src=192.0.2.2,port:53,proto:udp dst=192.0.2.1,proto:udp policy=discard,out,id:41,prio:0x80000010",
	}
	if diff := cmp.Diff(want, h.policies()); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
	if v := h.outbound(datagram(me, peer)); v.Reason != packet.NoSA {
		t.Errorf("a packet for the first policy: %v %v", v.Kind, v.Reason)
	}
	if err := kernels.LoadPolicy(h.e,
		strings.NewReader("spdadd 192.0.2.9 192.0.2.8 any -P out none; spdadd 192.0.2.1 192.0.2.2 any -P out none;"),
		"more"); err == nil {
		t.Error("the same policy once more is accepted")
	}
	if got := len(h.policies()); got != len(want) {
		t.Errorf("%d policies after a file that was refused, want %d", got, len(want))
	}
	update := "spdupdate 192.0.2.1 192.0.2.2 any -P out none;"
	if err := kernels.LoadPolicy(h.e, strings.NewReader(update), "more"); err != nil {
		t.Error(err)
	}
	if v := h.outbound(datagram(me, peer)); v.Kind != packet.Transmitted {
		t.Errorf("a packet for the policy that was replaced: %v %v", v.Kind, v.Reason)
	}
}

// Nothing of a file counts that has one thing wrong, for the grammar or for the kernel.
func TestLoadPolicyErrors(t *testing.T) {
	const rule = "spdadd 192.0.2.1 192.0.2.2 any -P "
	for text, want := range map[string]string{
		rule + "out none;\ndump esp;": `f:2: a file of policies: ` +
			`of setkey(8) it takes spdadd and spdupdate, and passes over flush and spdflush: "dump"`,
		rule + "out ipsec" + strings.Repeat(" esp/transport", 6) + " ah/transport;": `f:1: ` +
			`more than 6 transforms: "ah/transport"`,
		rule + "out ipsec" + strings.Repeat(" esp/transport", 6) + " esp/tunnel/192.0.2.1-192.0.2.2/use;": `f:1: ` +
			`more than 6 transforms: "esp/tunnel/192.0.2.1-192.0.2.2/use"`,
		rule + "in none;\n" + rule + "out\nipsec ah/transport esp/tunnel/192.0.2.1-192.0.2.2/use;": `f:3: ` +
			`a tunnel for packets that leave cannot be optional: "esp/tunnel/192.0.2.1-192.0.2.2/use"`,
		rule + "out none;\n" + rule + "out discard;": `f:2: there is a policy for these packets already`,
		rule + "in none;\n" + rule + "fwd discard;":  `f:2: there is a policy for these packets already`,
	} {
		h := newHost(t, engine.Options{})
		err := kernels.LoadPolicy(h.e, strings.NewReader(text), "f")
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
		if got := h.policies(); got != nil {
			t.Errorf("%q: policies %v", text, got)
		}
	}
}

func FuzzLoadPolicy(f *testing.F) {
	f.Add(
		"spdadd 10.0.0.0/8[any] ::1 tcp -P out prio high-1 ipsec esp/tunnel/192.0.2.1-192.0.2.2/unique:7 ah/transport//use;#\n;")
	f.Fuzz(func(t *testing.T, text string) {
		h := newHost(t, engine.Options{})
		if err := kernels.LoadPolicy(h.e, strings.NewReader(text), "f"); err != nil && h.policies() != nil {
			t.Errorf("%v, and policies all the same", err)
		}
	})
}
