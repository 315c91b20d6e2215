package linux_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/netns"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/kernel/linux/netlink"
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

// pids numbers clients, so that none takes the result of another's request for its own.
var pids atomic.Int32

func (b *bridge) newClient(t testing.TB) *pfkey.Client {
	t.Helper()
	cred := pfkey.Cred{PID: pids.Add(1), Privileged: true}
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

// aeads are the algorithms of -o aead=1, with the length of their salts.
var aeads = map[wire.AlgID]int{wire.EncAESCCM8: 3, wire.EncAESCCM12: 3, wire.EncAESCCM16: 3, wire.EncAESGCM8: 4,
	wire.EncAESGCM12: 4, wire.EncAESGCM16: 4, wire.EncNullAESGMAC: 4}

// With aead=1 REGISTER offers what the host has of AEADs, and what it offers can be added with every length of key
// (RFC 4106, RFC 4309, RFC 4543); others are the host's to refuse. Without it they are neither offered, taken nor
// shown.
func TestBridgeAEAD(t *testing.T) {
	b := newBridge(t, map[string]string{"aead": "1"}, "192.0.2.1")
	host, err := netlink.Look()
	if err != nil {
		t.Fatal(err)
	}
	plain := b.beside(t, nil)
	offered := func(c *pfkey.Client) (ids []wire.AlgID) {
		got, err := c.Register(t.Context(), wire.SATypeESP)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range got.Encrypt {
			if _, ok := aeads[a.ID]; ok {
				ids = append(ids, a.ID)
			}
		}
		return ids
	}
	have := offered(b.client)
	if diff := cmp.Diff(host.AEAD, have, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("offered (-host +REGISTER)\n%s", diff)
	}
	if ids := offered(plain.client); ids != nil {
		t.Errorf("without aead=1 %v are offered", ids)
	}
	sa := pfkey.SA{SAID: pfkey.SAID{Type: wire.SATypeESP, SPI: 0x1000,
		Src: pfkey.Host(netip.MustParseAddr("192.0.2.2")), Dst: pfkey.Host(netip.MustParseAddr("192.0.2.1"))}}
	key := []byte("0123456789abcdef0123456789abcdefSALT!")
	for id, salt := range aeads {
		sa.Encrypt = id
		for n := 1; n <= 37; n++ {
			sa.SPI++
			sa.EncryptKey = pfkey.NewKey(key[:n])
			want := unix.EINVAL
			switch size := n - salt; {
			case !slices.Contains(have, id):
				want = unix.ENOSYS
			case !host.ESP:
				want = unix.EPROTONOSUPPORT
			case size == 16 || size == 24 || size == 32:
				want = 0
			}
			err := b.client.Add(t.Context(), sa, 0)
			if want == 0 && err != nil || want != 0 && !errors.Is(err, want) {
				t.Errorf("algorithm %d, key of %d bytes: %v, want %v", id, n, err, want)
			}
			if err := plain.client.Update(t.Context(), sa, 0); !errors.Is(err, unix.ENOSYS) {
				t.Errorf("algorithm %d without aead=1: %v", id, err)
			}
			if want != 0 {
				continue
			}
			got, err := b.client.Get(t.Context(), sa.SAID)
			if err != nil || got.Encrypt != id || !bytes.Equal(got.EncryptKey.Data, key[:n]) ||
				got.State != wire.StateMature {
				t.Errorf("algorithm %d, key of %d bytes: %v, shown as %+v", id, n, err, got)
			}
			got, err = plain.client.Get(t.Context(), sa.SAID)
			if err != nil || got.Encrypt != 0 || len(got.EncryptKey.Data) != 0 || got.State != wire.StateMature {
				t.Errorf("algorithm %d without aead=1: %v, shown as %+v", id, err, got)
			}
		}
	}
}

// With sha256=128 the host truncates HMAC-SHA-256 as RFC 4868 has it, otherwise as AF_KEY does.
func TestBridgeSHA256(t *testing.T) {
	host, err := netlink.Look()
	if err != nil || !host.AH {
		t.Skip("no AH: ", err)
	}
	for _, bits := range []string{"96", "128"} {
		b := newBridge(t, map[string]string{"sha256": bits})
		sa := pfkey.SA{SAID: pfkey.SAID{Type: wire.SATypeAH, SPI: 0x1000,
			Src: pfkey.Host(netip.MustParseAddr("192.0.2.2")), Dst: pfkey.Host(netip.MustParseAddr("192.0.2.1"))},
			Auth: wire.AuthSHA256HMAC, AuthKey: pfkey.NewKey(make([]byte, 32))}
		if err := b.client.Add(t.Context(), sa, 0); err != nil {
			t.Fatal(err)
		}
		err := b.ns.Do(func() error {
			out, err := exec.Command("ip", "xfrm", "state").CombinedOutput()
			if want := fmt.Sprintf("auth-trunc hmac(sha256) 0x%064d %s\n", 0, bits); err == nil &&
				!strings.Contains(string(out), want) {
				t.Errorf("there is no %q in %s", want, out)
			}
			return err
		})
		if err != nil {
			t.Skip(err)
		}
	}
}

// beside is one more engine in the namespace, which is a foreign user of netlink to the first one.
func (b *bridge) beside(t testing.TB, tunables map[string]string) *bridge {
	t.Helper()
	other := &bridge{Engine: b.engine(t, tunables), ns: b.ns}
	other.client = other.newClient(t)
	return other
}

// usual are the errors that a request has because somebody else was faster, or because the host has no ESP.
var usual = []error{unix.EEXIST, unix.ENOENT, unix.ESRCH, unix.EPROTONOSUPPORT, unix.EBUSY}

// act does something by chance with one of few SAs and policies.
func act(ctx context.Context, c *pfkey.Client, r *rand.Rand) (err error) {
	host := func(n int) wire.Address { return pfkey.Host(netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})) }
	spi := wire.SPI(0x1000 + r.IntN(20))
	sa := pfkey.SA{SAID: pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: host(1), Dst: host(2)},
		Auth: wire.AuthSHA1HMAC, AuthKey: pfkey.NewKey(make([]byte, 20)),
		Encrypt: wire.EncAESCBC, EncryptKey: pfkey.NewKey(make([]byte, 16))}
	policy := pfkey.Policy{Direction: wire.KAMEDirOut, Src: host(1), Dst: host(2 + r.IntN(20)),
		Type: wire.KAMEPolicyDiscard}
	switch r.IntN(24) {
	case 0:
		err = c.Flush(ctx, wire.SATypeUnspec)
	case 1:
		err = c.FlushPolicies(ctx)
	case 2:
		for _, e := range c.Dump(ctx, wire.SATypeUnspec) {
			err = errors.Join(err, e)
		}
	case 3:
		for _, e := range c.DumpPolicies(ctx) {
			err = errors.Join(err, e)
		}
	case 4, 5:
		err = c.Delete(ctx, sa.SAID)
	case 6, 7:
		_, err = c.Get(ctx, sa.SAID)
	case 8, 9, 10:
		err = c.Update(ctx, sa, 0)
	case 11, 12:
		err = c.Add(ctx, sa, 0)
	case 13, 14:
		_, err = c.GetSPI(ctx, pfkey.GetSPIParams{Type: sa.Type, Src: sa.Src, Dst: sa.Dst, Min: spi, Max: spi})
	case 15, 16:
		err = c.DeletePolicy(ctx, policy)
	case 17:
		_, err = c.UpdatePolicy(ctx, policy)
	default:
		_, err = c.AddPolicy(ctx, policy)
	}
	if slices.ContainsFunc(usual, func(e error) bool { return errors.Is(err, e) }) {
		return nil
	}
	return err
}

// Other users of netlink change everything at every moment. Every request is answered, and in the end all engines show
// what there is.
func TestBridgeAmidChange(t *testing.T) {
	const rounds = 500
	b := newBridge(t, nil)
	engines := []*bridge{b, b.beside(t, nil), b.beside(t, map[string]string{"aead": "1"})}
	type user struct {
		engine int
		client *pfkey.Client
		chance *rand.Rand
	}
	var users []*user
	for i := range 2 * len(engines) {
		e := i % len(engines)
		users = append(users, &user{e, engines[e].newClient(t), rand.New(rand.NewPCG(7, uint64(i)))})
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := range rounds { // in each of which all read what they have heard: a queue that is full loses answers
		var round sync.WaitGroup
		for _, u := range users {
			round.Go(func() {
				if err := act(ctx, u.client, u.chance); err != nil {
					t.Errorf("round %d, engine %d: %v", n, u.engine, err)
				}
			})
		}
		if round.Wait(); t.Failed() {
			return
		}
	}
	shown := func(e *bridge) (all []string) {
		c := e.newClient(t) // the other one has heard too much to have room for an answer
		for sa, err := range c.Dump(ctx, wire.SATypeUnspec) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprint(sa.SPI, sa.Dst, sa.State, sa.Auth))
		}
		for p, err := range c.DumpPolicies(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, fmt.Sprint(p.ID, p.Dst, p.Type))
		}
		return all
	}
	want := shown(engines[0])
	for i, e := range append(engines, b.beside(t, nil)) {
		if diff := cmp.Diff(want, shown(e)); diff != "" {
			t.Errorf("engine %d (-the first +this one)\n%s", i, diff)
		}
		if st := e.Status(0); st.SACount+st.PolicyCount != len(want) {
			t.Errorf("engine %d: %d SAs and %d policies, want %d together", i, st.SACount, st.PolicyCount, len(want))
		}
	}
}

// The namespace has gone from where it had its name, and whoever is in it goes on.
func TestBridgeOutlivesName(t *testing.T) {
	b := newBridge(t, nil)
	b.ns.Close()
	discard := pfkey.Policy{Direction: wire.KAMEDirOut, Src: pfkey.Host(netip.MustParseAddr("192.0.2.1")),
		Dst: pfkey.Host(netip.MustParseAddr("192.0.2.2")), Type: wire.KAMEPolicyDiscard}
	id, err := b.client.AddPolicy(t.Context(), discard)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := b.client.GetPolicy(t.Context(), id); err != nil || p.Dst.Addr != discard.Dst.Addr {
		t.Errorf("%+v, %v", p, err)
	}
	b.Status(0)
}
