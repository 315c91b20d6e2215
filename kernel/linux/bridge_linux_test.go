package linux_test

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/netns"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// bridge is an engine of this machine's kernel, in a network namespace of its own.
type bridge struct {
	*engine.Engine
	ns     *netns.Namespace
	client *pfkey.Client
}

// newBridge skips where no network namespace can be made, or the kernel has no XFRM. addrs are the host's.
func newBridge(t testing.TB, tunables map[string]string, addrs ...string) *bridge {
	t.Helper()
	ns, err := netns.New()
	if errors.Is(err, os.ErrPermission) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	for _, a := range addrs {
		if err := ns.AddAddr(netip.MustParseAddr(a)); err != nil {
			t.Skip(err)
		}
	}
	b := &bridge{ns: ns}
	b.Engine = b.engine(t, tunables)
	b.client = b.newClient(t)
	return b
}

// engine makes an engine in the namespace.
func (b *bridge) engine(t testing.TB, tunables map[string]string) (e *engine.Engine) {
	t.Helper()
	err := b.ns.Do(func() (err error) {
		o := engine.Options{Clock: time.Now, Tunables: tunables}
		e, err = engine.New(pfkey.XFRMKernel, o, func(e *engine.Engine) (engine.Kernel, error) {
			return linux.NewBridge(e, o)
		})
		return err
	})
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func (b *bridge) newClient(t testing.TB) *pfkey.Client {
	t.Helper()
	cred := pfkey.Cred{PID: 1, Privileged: true}
	s, errno := b.Open(cred, 3, 2) // SOCK_RAW, PF_KEY_V2
	if errno != wire.OK {
		t.Fatal(errno)
	}
	c := pfkey.NewClientOn(s, b.Dialect(), cred)
	t.Cleanup(func() { c.Close() })
	return c
}

// What goes to an address of this machine is inbound, also to one that it has got only now.
func TestBridgeDirections(t *testing.T) {
	b := newBridge(t, nil, "192.0.2.1", "2001:db8::1")
	for _, to := range []string{"192.0.2.1", "2001:db8::1", "127.0.0.9", "192.0.2.2", "2001:db8::2"} {
		dst := netip.MustParseAddr(to)
		src := netip.MustParseAddr("192.0.2.7")
		if dst.Is6() {
			src = netip.MustParseAddr("2001:db8::7")
		}
		_, err := b.client.GetSPI(t.Context(), pfkey.GetSPIParams{Type: wire.SATypeESP, Src: pfkey.Host(src),
			Dst: pfkey.Host(dst)})
		if err != nil {
			t.Fatal(err)
		}
	}
	directions := func() map[string]string {
		all := map[string]string{}
		for _, sa := range b.Status(0).SAs {
			all[sa.Dst] = sa.Direction
		}
		return all
	}
	want := map[string]string{"192.0.2.1": "inbound", "2001:db8::1": "inbound", "127.0.0.9": "inbound",
		"192.0.2.2": "outbound", "2001:db8::2": "outbound"}
	if diff := cmp.Diff(want, directions()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if err := b.ns.AddAddr(netip.MustParseAddr("192.0.2.2")); err != nil {
		t.Fatal(err)
	}
	want["192.0.2.2"] = "inbound"
	if diff := cmp.Diff(want, directions()); diff != "" {
		t.Errorf("with one more address (-want +got)\n%s", diff)
	}
}
