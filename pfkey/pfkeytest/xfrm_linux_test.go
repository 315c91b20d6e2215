package pfkeytest_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

func init() { morePrograms["shielded"] = shielded }

// newXFRM is a host with this machine's own kernel.
func newXFRM(t *testing.T, options ...pfkeytest.HostOption) *pfkeytest.Host {
	t.Helper()
	return pfkeytest.New(t, append([]pfkeytest.HostOption{pfkeytest.Kernel("xfrm")}, options...)...)
}

// What is done on a host with this machine's kernel is there, and on no other host.
func TestXFRM(t *testing.T) {
	const policy = "spdadd 192.0.2.1/32 192.0.2.2/32 any -P out discard;"
	host, other := newXFRM(t, pfkeytest.Policy(policy)), newXFRM(t)
	spi := larval(t, host.Client())
	if r := host.ExpectRequest(wire.MsgGetSPI); r.SendErrno != wire.OK {
		t.Errorf("%v", r)
	}
	sas, policies := host.SAs(), host.Policies()
	if len(sas) != 1 || sas[0].SPI != spi || len(policies) != 1 || policies[0].Dst.Addr != peer {
		t.Errorf("there are %+v and %+v", sas, policies)
	}
	if st := host.Engine().Status(0); len(st.SAs) != 1 || st.SAs[0].Direction != "inbound" {
		t.Errorf("an SA to the host's own address is %+v", st.SAs)
	}
	if len(other.SAs()) != 0 || len(other.Policies()) != 0 {
		t.Error("another host has them, too")
	}
	if d := time.Since(host.Now()).Abs(); d > time.Hour {
		t.Errorf("the clock is %v off", d)
	}
}

// The example is a test as well.
func TestXFRMExample(t *testing.T) { testOwnKernel(t) }

// A program is in the host's network: policies that it adds catch its own packets, but for the socket that it exempts.
func TestXFRMStart(t *testing.T) {
	host := newXFRM(t, pfkeytest.Addr("192.0.2.9"))
	program := host.Start(t, command("shielded"))
	if err := program.Wait(t.Context()); err != nil {
		t.Errorf("it ends with %v", err)
	}
	if p := host.Policies(); len(p) != 1 || p[0].Type != wire.KAMEPolicyDiscard {
		t.Errorf("it leaves the policies %v", p)
	}
}

// shielded is the program.
func shielded(c *pfkey.Client) error {
	all := wire.Address{Addr: netip.IPv4Unspecified(), Proto: 255}
	_, err := c.AddPolicy(context.Background(), pfkey.Policy{Direction: wire.KAMEDirOut, Src: all, Dst: all,
		Type: wire.KAMEPolicyDiscard})
	if err != nil {
		return err
	}
	for _, name := range []string{"disable_xfrm", "disable_policy"} { // or packets to this host go past policies
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/lo/"+name, []byte("0"), 0); err != nil {
			return err
		}
	}
	for _, exempt := range []bool{false, true} {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		if err != nil {
			return err
		}
		defer unix.Close(s)
		want := unix.EPERM
		if exempt {
			const ipIPsecPolicy = 16
			v := wire.Linux().AppendPolicy(nil, wire.Policy{Type: wire.KAMEPolicyBypass, Direction: wire.KAMEDirOut})
			if err := unix.SetsockoptString(s, unix.IPPROTO_IP, ipIPsecPolicy, string(v)); err != nil {
				return err
			}
			want = 0
		}
		// The address is the host's, and nobody's outside.
		if err := unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 9}}); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
		err = unix.Sendto(s, []byte("x"), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{192, 0, 2, 9}})
		if want == 0 && err != nil || want != 0 && !errors.Is(err, want) {
			return fmt.Errorf("exempt %v: %v", exempt, err)
		}
	}
	return nil
}

// What only an emulated kernel has is refused with the reason.
func TestXFRMRefuses(t *testing.T) {
	newXFRM(t) // or the test is skipped
	for name, option := range map[string]pfkeytest.HostOption{
		"Start": pfkeytest.Start(time.Unix(1, 0)), "Fault": pfkeytest.Fault("larval-unlocked"),
		"Step": pfkeytest.Step(func(string, *packet.Packet) {}),
	} {
		h, err := pfkeytest.NewHost(pfkeytest.Kernel("xfrm"), option)
		if err == nil {
			h.Close()
		}
		if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "this machine's") {
			t.Errorf("option %s: %v", name, err)
		}
	}
	for _, option := range []pfkeytest.HostOption{pfkeytest.Option("aead=2"), pfkeytest.Option("sha256=100"),
		pfkeytest.Policy("spdadd"), pfkeytest.Hostile("lie a bit"), pfkeytest.Addr("192.0.2.1", "192.0.2.1")} {
		if h, err := pfkeytest.NewHost(pfkeytest.Kernel("xfrm"), option); err == nil {
			h.Close()
			t.Error("nonsense is taken")
		}
	}
	for name, f := range map[string]func(t pfkeytest.TB, h *pfkeytest.Host){
		"Advance":        func(_ pfkeytest.TB, h *pfkeytest.Host) { h.Advance(time.Hour) },
		"Inject":         func(_ pfkeytest.TB, h *pfkeytest.Host) { h.Inject(datagram("x")) },
		"InjectOutbound": func(_ pfkeytest.TB, h *pfkeytest.Host) { h.InjectOutbound(datagram("x")) },
		"Cable":          func(t pfkeytest.TB, h *pfkeytest.Host) { pfkeytest.Cable(h, pfkeytest.New(t)) },
		"UDPEncap": func(t pfkeytest.TB, h *pfkeytest.Host) {
			h.Start(t, command("register"), pfkeytest.UDPEncap())
		},
	} {
		r := &recorder{TB: t}
		h := pfkeytest.New(r, pfkeytest.Kernel("xfrm"))
		f(r, h)
		h.Close()
		if len(r.failures) != 1 || !strings.Contains(r.failures[0], name+": ") {
			t.Errorf("%s: the test fails with %q", name, r.failures)
		}
	}
}

// Who cannot make a network namespace is told what is missing, and the test is skipped.
func TestXFRMSkips(t *testing.T) {
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestXFRM$", "-test.v")
	if os.Geteuid() == 0 {
		const nobody = 65534
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.CombinedOutput()
	if cmd.Process == nil {
		t.Skip("nobody else can be had here: ", err)
	}
	for _, want := range []string{"--- SKIP: TestXFRM", "operation not permitted", "unshare --user --map-root-user"} {
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%v: %s", err, out)
			break
		}
	}
}
