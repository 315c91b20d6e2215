package pfkey_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// overKernels runs a test on emulated kernels, with a client in process and with one at a socket.
func overKernels(t *testing.T, kernels []string, f func(t *testing.T, h *pfkeytest.Host, c *pfkey.Client),
	options ...pfkeytest.HostOption) {
	t.Helper()
	for _, kernel := range kernels {
		for _, way := range []string{"in process", "socket"} {
			t.Run(kernel+"/"+way, func(t *testing.T) {
				h := pfkeytest.New(t, append([]pfkeytest.HostOption{pfkeytest.Kernel(kernel)}, options...)...)
				c := h.Client()
				if way == "socket" {
					var err error
					if c, err = pfkey.Dial(t.Context(), h.Serve()); err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { c.Close() })
				}
				f(t, h, c)
			})
		}
	}
}

var (
	linux   = []string{"linux"}
	illumos = []string{"illumos"}
	all     = []string{"illumos", "linux"}
)

// next is the next event that is no *Other.
func next(t *testing.T, c *pfkey.Client) pfkey.Event {
	t.Helper()
	for e, err := range c.Watch(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if o, ok := e.(*pfkey.Other); !ok {
			return e
		} else if o.Err != nil {
			t.Fatal(o.Err)
		}
	}
	return nil
}

func samePolicy(want, got *pfkey.Policy) string {
	got.Current = nil // its times
	return cmp.Diff(want, got, cmp.Comparer(sameAddr))
}

// The life of policies.
func TestPolicies(t *testing.T) {
	overKernels(t, linux, func(t *testing.T, h *pfkeytest.Host, c *pfkey.Client) { checkPolicies(t, c) })
}

func checkPolicies(t *testing.T, c *pfkey.Client) {
	ctx := t.Context()
	dump := func() (ids []uint32) {
		t.Helper()
		for p, err := range c.DumpPolicies(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, p.ID)
		}
		return ids
	}
	if got := dump(); got != nil {
		t.Errorf("at first there are %v", got)
	}
	p := pfkey.Policy{
		Direction: wire.KAMEDirOut,
		Src:       pfkey.Prefix(netip.MustParsePrefix("192.0.2.0/24")),
		Dst:       pfkey.Prefix(netip.MustParsePrefix("198.51.100.0/24")),
		Type:      wire.KAMEPolicyIPsec, Priority: 0x80000000,
		Templates: []wire.IPsecRequest{
			{Proto: 51, Mode: wire.ModeTransport, Level: wire.KAMELevelRequire},
			{Proto: 50, Mode: wire.ModeTunnel, Level: wire.KAMELevelUnique, ReqID: 77,
				Src: wire.Sockaddr{Addr: netip.MustParseAddr("2001:db8::1")},
				Dst: wire.Sockaddr{Addr: netip.MustParseAddr("2001:db8::2")}},
		},
		Hard: &wire.Lifetime{AddTime: 100}, Soft: &wire.Lifetime{},
	}
	p.Src.Proto, p.Dst.Proto, p.Dst.Port = 6, 6, 80
	var err error
	if p.ID, err = c.AddPolicy(ctx, p); err != nil || p.ID == 0 {
		t.Fatalf("AddPolicy: %d %v", p.ID, err)
	}
	if _, err := c.AddPolicy(ctx, p); !errors.Is(err, unix.EEXIST) {
		t.Errorf("AddPolicy of what is there: %v", err)
	}
	got, err := c.GetPolicy(ctx, p.ID)
	if err != nil {
		t.Fatalf("GetPolicy: %v", err)
	}
	if diff := samePolicy(&p, got); diff != "" {
		t.Errorf("GetPolicy (-want +got)\n%s", diff)
	}
	p.Templates = p.Templates[1:]
	p.Priority = 7
	if id, err := c.UpdatePolicy(ctx, p); err != nil || id != p.ID {
		t.Errorf("UpdatePolicy: %d %v, want %d", id, err, p.ID)
	}
	in := p
	in.Direction = wire.KAMEDirIn
	if in.ID, err = c.SetPolicyIndex(ctx, in); err != nil {
		t.Errorf("SetPolicyIndex: %v", err)
	}
	if diff := cmp.Diff([]uint32{in.ID, p.ID}, dump()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for range c.DumpPolicies(ctx) {
		break // what is left of it must not be taken for something else
	}
	if got, err := c.GetPolicy(ctx, p.ID); err != nil {
		t.Errorf("GetPolicy: %v", err)
	} else if diff := samePolicy(&p, got); diff != "" {
		t.Errorf("after the update (-want +got)\n%s", diff)
	}
	if err := c.DeletePolicyID(ctx, in.ID); err != nil {
		t.Errorf("DeletePolicyID: %v", err)
	}
	if err := c.DeletePolicyID(ctx, in.ID); !errors.Is(err, unix.ENOENT) {
		t.Errorf("DeletePolicyID of what is gone: %v", err)
	}
	if err := c.DeletePolicy(ctx, p); err != nil {
		t.Errorf("DeletePolicy: %v", err)
	}
	if err := c.DeletePolicy(ctx, p); !errors.Is(err, unix.ENOENT) {
		t.Errorf("DeletePolicy of what is gone: %v", err)
	}
	if _, err := c.GetPolicy(ctx, p.ID); !errors.Is(err, unix.ENOENT) {
		t.Errorf("GetPolicy of what is gone: %v", err)
	}
	if _, err := c.AddPolicy(ctx, p); err != nil {
		t.Error(err)
	}
	if err := c.FlushPolicies(ctx); err != nil {
		t.Errorf("FlushPolicies: %v", err)
	}
	if got := dump(); got != nil {
		t.Errorf("after a flush there are %v", got)
	}
}

// A MIGRATE that is done has no answer with our numbers, and one that is refused has.
func TestMigrate(t *testing.T) {
	overKernels(t, linux, func(t *testing.T, h *pfkeytest.Host, c *pfkey.Client) { checkMigrate(t, c) })
}

func checkMigrate(t *testing.T, c *pfkey.Client) {
	ctx := t.Context()
	request := func(src, dst string) wire.IPsecRequest {
		return wire.IPsecRequest{Proto: 50, Mode: wire.ModeTunnel, Level: wire.KAMELevelUnique, ReqID: 5,
			Src: wire.Sockaddr{Addr: netip.MustParseAddr(src)}, Dst: wire.Sockaddr{Addr: netip.MustParseAddr(dst)}}
	}
	p := pfkey.Policy{
		Direction: wire.KAMEDirOut, Type: wire.KAMEPolicyIPsec,
		Templates: []wire.IPsecRequest{request("192.0.2.1", "192.0.2.2")},
		Src:       pfkey.Prefix(netip.MustParsePrefix("10.1.0.0/16")),
		Dst:       pfkey.Prefix(netip.MustParsePrefix("10.2.0.0/16")),
	}
	move := pfkey.Move{From: p.Templates[0], To: request("192.0.2.1", "192.0.2.99")}
	if err := c.Migrate(ctx, p, move); !errors.Is(err, unix.ENOENT) {
		t.Errorf("Migrate without a policy: %v", err)
	}
	if err := c.Migrate(ctx, p); !errors.Is(err, unix.EINVAL) {
		t.Errorf("Migrate without a move: %v", err)
	}
	id, err := c.AddPolicy(ctx, p)
	if err != nil {
		t.Fatal(err)
	}
	sa := sampleSA(0x1234)
	sa.SA2 = &wire.SA2{Mode: wire.ModeTunnel, ReqID: 5}
	if err := c.Add(ctx, sa, 0); err != nil {
		t.Fatal(err)
	}
	p.Extra = c.Dialect().AppendKMAddress(nil, wire.KMAddress{Local: move.To.Src, Remote: move.To.Dst})
	if err := c.Migrate(ctx, p, move); err != nil {
		t.Fatalf("Migrate: %v", err)
	}
	got, err := c.GetPolicy(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]wire.IPsecRequest{move.To}, got.Templates, cmp.Comparer(sameAddr)); diff != "" {
		t.Errorf("templates (-want +got)\n%s", diff)
	}
	sa.Dst = pfkey.Host(move.To.Dst.Addr)
	if _, err := c.Get(ctx, sa.SAID); err != nil {
		t.Errorf("the SA has not moved: %v", err)
	}
}

// Two associations that are paired live and die together.
func TestPairs(t *testing.T) {
	overKernels(t, illumos, func(t *testing.T, h *pfkeytest.Host, c *pfkey.Client) {
		ctx := t.Context()
		pair := func() (in, out pfkey.SA) {
			t.Helper()
			out = sampleSA(0x2000) // from the host's own address
			in = sampleSA(0x1000)
			in.Src, in.Dst = out.Dst, out.Src
			in.Flags, out.Flags = wire.IllumosFlagXInbound, wire.IllumosFlagXOutbound
			if err := c.Add(ctx, out, 0); err != nil {
				t.Fatal(err)
			}
			in.Extra = c.Dialect().AppendPair(nil, wire.Pair{SPI: out.SPI})
			if err := c.Add(ctx, in, 0); err != nil {
				t.Fatal(err)
			}
			return in, out
		}
		in, out := pair()
		change := pfkey.SA{SAID: in.SAID, Hard: &wire.Lifetime{AddTime: 5000}, Soft: &wire.Lifetime{AddTime: 4000}}
		if err := c.UpdatePair(ctx, change); err != nil {
			t.Errorf("UpdatePair: %v", err)
		}
		for _, sa := range []pfkey.SA{in, out} {
			if got, err := c.Get(ctx, sa.SAID); err != nil || got.Hard == nil || got.Hard.AddTime != 5000 {
				t.Errorf("after UpdatePair: %v %v", got, err)
			}
		}
		if err := c.DeletePair(ctx, in.SAID); err != nil {
			t.Errorf("DeletePair: %v", err)
		}
		for _, sa := range []pfkey.SA{in, out} {
			if _, err := c.Get(ctx, sa.SAID); !errors.Is(err, unix.ESRCH) {
				t.Errorf("after DeletePair: %v", err)
			}
		}
		alone := sampleSA(0x3000)
		if err := c.Add(ctx, alone, 0); err != nil {
			t.Fatal(err)
		}
		err := c.DeletePair(ctx, alone.SAID)
		if op := (*pfkey.OpError)(nil); !errors.As(err, &op) || op.Diagnostic != "PAIR_SA_NOTFOUND" ||
			!errors.Is(err, unix.ESRCH) {
			t.Errorf("DeletePair of one that is alone: %v", err)
		}

		pair()
		if err := c.DeletePairState(ctx, wire.SATypeESP, out.Src, out.Dst, wire.StateMature); err != nil {
			t.Errorf("DeletePairState: %v", err)
		}
		for sa, err := range c.Dump(ctx, wire.SATypeUnspec) {
			t.Errorf("left after DeletePairState: %v %v", sa, err)
		}
		if err := c.DeletePairState(ctx, wire.SATypeESP, wire.Address{}, out.Dst, wire.StateMature); !errors.Is(err,
			unix.EINVAL) {
			t.Errorf("DeletePairState from nowhere: %v", err)
		}
	})
}

func TestRegisterExtended(t *testing.T) {
	overKernels(t, illumos, func(t *testing.T, h *pfkeytest.Host, c *pfkey.Client) {
		ctx := t.Context()
		algs, err := c.RegisterExtended(ctx, wire.SATypeESP, wire.SATypeRSVP, wire.SATypeAH)
		if !errors.Is(err, unix.EINVAL) {
			t.Errorf("a type that the kernel does not know: %v", err)
		}
		if len(algs) != 2 || len(algs[wire.SATypeESP].Encrypt) == 0 || len(algs[wire.SATypeAH].Auth) == 0 ||
			algs[wire.SATypeAH].Encrypt != nil {
			t.Errorf("algorithms %v", algs)
		}
		if algs, err = c.RegisterExtended(ctx, wire.SATypeESP); !errors.Is(err, unix.EBUSY) || len(algs) != 0 {
			t.Errorf("twice: %v %v", algs, err)
		}
		other := h.Client()
		if algs, err := other.RegisterExtended(ctx, wire.SATypeAH); err != nil || len(algs) != 1 {
			t.Errorf("of another: %v %v", algs, err)
		}
	})
}

const ipsecconf = "{raddr 192.0.2.2 dir out} ipsec {encr_algs aes encr_auth_algs sha1}"

func TestInverseAcquire(t *testing.T) {
	overKernels(t, illumos, func(t *testing.T, h *pfkeytest.Host, c *pfkey.Client) {
		a, err := c.InverseAcquire(t.Context(), pfkey.Acquire{Src: src, Dst: dst})
		if err != nil {
			t.Fatal(err)
		}
		if a.Src.Addr != src.Addr || a.Dst.Addr != dst.Addr || a.PID != c.PID() || a.Extended == nil ||
			len(a.Extended.Combs) != 1 {
			t.Errorf("%+v", a)
		} else if algs := a.Extended.Combs[0].Algs; len(algs) != 2 || algs[1].Alg != wire.EncAESCBC {
			t.Errorf("algorithms %v", algs)
		}
		if _, err := c.InverseAcquire(t.Context(), pfkey.Acquire{Src: dst, Dst: src}); !errors.Is(err, unix.ENOENT) {
			t.Errorf("the other way: %v", err)
		}
	}, pfkeytest.Policy(ipsecconf))
}

// A program asks for an association: who is promiscuous hears it on illumos, and Linux refuses.
func TestAcquire(t *testing.T) {
	overKernels(t, all, func(t *testing.T, h *pfkeytest.Host, c *pfkey.Client) {
		ctx := t.Context()
		listener := h.Client()
		if err := listener.Promisc(ctx, true); err != nil {
			t.Fatal(err)
		}
		want := pfkey.Acquire{Type: wire.SATypeESP, Src: src, Dst: dst, Proposal: &wire.Proposal{Replay: 32,
			Combs: []wire.Comb{{Auth: 3, AuthMinBits: 160, AuthMaxBits: 160}}}}
		seq, err := c.Acquire(ctx, want)
		if c.Dialect().Name == "linux" {
			if !errors.Is(err, unix.EOPNOTSUPP) || !errors.Is(err, errors.ErrUnsupported) {
				t.Errorf("Acquire: %v", err)
			}
			return
		}
		if err != nil || seq == 0 {
			t.Fatalf("Acquire: %d %v", seq, err)
		}
		got, ok := next(t, listener).(*pfkey.Acquire)
		if !ok || got.Seq != seq {
			t.Fatalf("heard %+v", got)
		}
		want.Seq, want.PID = seq, c.PID()
		if diff := cmp.Diff(&want, got, cmp.Comparer(sameAddr)); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		want.Type = wire.SATypeUnspec
		if _, err := c.Acquire(ctx, want); !errors.Is(err, unix.EINVAL) {
			t.Errorf("Acquire without a type: %v", err)
		}
	})
}

// A promiscuous client hears what goes on, and its own requests are answered as ever.
func TestPromisc(t *testing.T) {
	overKernels(t, all, func(t *testing.T, h *pfkeytest.Host, c *pfkey.Client) { checkPromisc(t, c, h.Client()) })
}

func checkPromisc(t *testing.T, c, other *pfkey.Client) {
	ctx := t.Context()
	check := func() {
		t.Helper()
		if _, err := c.Get(ctx, sampleSA(0x9999).SAID); !errors.Is(err, unix.ESRCH) {
			t.Errorf("Get of nothing: %v", err)
		}
		for n := range 4 {
			var got []wire.SPI
			for sa, err := range c.Dump(ctx, wire.SATypeESP) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, sa.SPI)
			}
			if slices.Sort(got); len(got) != n || len(slices.Compact(got)) != n {
				t.Errorf("the dump of %d shows %v", n, got)
			}
			sa := sampleSA(0x1000 + wire.SPI(n))
			if err := c.Add(ctx, sa, 0); err != nil {
				t.Errorf("Add: %v", err)
			}
			if err := c.Add(ctx, sa, 0); !errors.Is(err, unix.EEXIST) {
				t.Errorf("Add of what is there: %v", err)
			}
			if got, err := c.Get(ctx, sa.SAID); err != nil || got.SPI != sa.SPI || got.Current == nil {
				t.Errorf("Get: %v %v", got, err)
			}
		}
		for range c.Dump(ctx, wire.SATypeESP) {
			break
		}
		if err := c.Flush(ctx, wire.SATypeUnspec); err != nil {
			t.Errorf("Flush: %v", err)
		}
		if err := c.Delete(ctx, sampleSA(0x1000).SAID); !errors.Is(err, unix.ESRCH) {
			t.Errorf("Delete after a flush: %v", err)
		}
	}
	check()
	for _, on := range []bool{true, true, false, false} {
		if err := c.Promisc(ctx, on); err != nil {
			t.Fatalf("Promisc %v: %v", on, err)
		}
		check()
		if !on {
			continue
		}
		if _, err := other.Get(ctx, sampleSA(0x7777).SAID); !errors.Is(err, unix.ESRCH) {
			t.Fatal(err)
		}
		for e, err := range c.Watch(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if o, ok := e.(*pfkey.Other); ok && o.Type == wire.MsgGet && o.PID == other.PID() && o.Errno != 0 {
				break // the answer to somebody else alone
			}
		}
	}
}

// datagram is a UDP datagram in IPv4.
func datagram(from, to netip.AddrPort, payload []byte) []byte {
	b := []byte{0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0}
	binary.BigEndian.PutUint16(b[2:], uint16(20+8+len(payload)))
	b = append(append(b, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	sum = sum>>16 + sum&0xffff
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum+sum>>16))
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	b = binary.BigEndian.AppendUint16(b, 0)
	return append(b, payload...)
}

func port(a netip.Addr, p uint16) netip.AddrPort { return netip.AddrPortFrom(a, p) }

// What a kernel says by itself comes as what it is: a packet asks for keys, and the keys grow old.
func TestWatch(t *testing.T) {
	for _, kernel := range all {
		t.Run(kernel, func(t *testing.T) {
			ctx := t.Context()
			policy := ipsecconf
			if kernel == "linux" {
				policy = "spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;"
			}
			h := pfkeytest.New(t, pfkeytest.Kernel(kernel), pfkeytest.Policy(policy))
			c := h.Client()
			if _, err := c.Register(ctx, wire.SATypeESP); err != nil {
				t.Fatal(err)
			}
			h.InjectOutbound(datagram(port(src.Addr, 1000), port(dst.Addr, 2000), []byte("hello")))
			a, ok := next(t, c).(*pfkey.Acquire)
			if !ok || a.Type != wire.SATypeESP || a.Seq == 0 || a.PID != 0 || a.Err != nil || a.Src.Addr != src.Addr ||
				a.Dst.Addr != dst.Addr || a.Proposal == nil {
				t.Fatalf("want an ACQUIRE, got %+v", a)
			}
			switch kernel {
			case "linux":
				if a.Policy == nil || a.Policy.Direction != wire.KAMEDirOut {
					t.Errorf("policy %+v", a.Policy)
				} else if p, err := c.GetPolicy(ctx, a.Policy.ID); err != nil || p.Dst.Addr != dst.Addr {
					t.Errorf("the policy behind it: %+v %v", p, err)
				}
			case "illumos":
				if len(a.Proposal.Combs) != 1 || a.Proposal.Combs[0].Encrypt != wire.EncAESCBC ||
					a.Dst.Port != 2000 || a.Src.Proto != 17 {
					t.Errorf("proposal %+v, for %+v", a.Proposal, a.Dst)
				}
			}
			sa := sampleSA(0x1234)
			if err := c.Add(ctx, sa, a.Seq); err != nil {
				t.Fatal(err)
			}
			h.Advance(2 * time.Hour)
			soft, ok := next(t, c).(*pfkey.Expire)
			// illumos lets two ends differ
			if !ok || soft.Limit != pfkey.LimitSoft || soft.SPI != sa.SPI || soft.Type != wire.SATypeESP ||
				sa.Soft.AddTime-soft.Soft.AddTime > 23 ||
				soft.Current == nil || soft.Dst.Addr != dst.Addr {
				t.Errorf("soft: %+v", soft)
			}
			hard, ok := next(t, c).(*pfkey.Expire)
			if !ok || hard.Limit != pfkey.LimitHard || hard.SPI != sa.SPI || hard.Hard.AddTime != sa.Hard.AddTime ||
				hard.Soft != nil {
				t.Errorf("hard: %+v", hard)
			}

			// The end of ctx is the end, and a second Watch goes on where the first was left.
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			n := 0
			for e, err := range c.Watch(ctx) {
				n++
				if e != nil || !errors.Is(err, context.Canceled) {
					t.Errorf("%v %v", e, err)
				}
			}
			if n != 1 {
				t.Errorf("%d times the end", n)
			}
		})
	}
}

// A NAT has given the peer another port.
func TestNewMapping(t *testing.T) {
	h := pfkeytest.New(t, pfkeytest.Kernel("linux"))
	c := h.Client()
	d := c.Dialect()
	if _, err := c.Register(t.Context(), wire.SATypeESP); err != nil {
		t.Fatal(err)
	}
	sa := sampleSA(0x1234)
	sa.Src, sa.Dst = dst, src
	sa.Extra = d.AppendNATTType(nil, wire.NATTType{Type: wire.KAMENATTESP})
	sa.Extra = d.AppendNATTPort(sa.Extra, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: 4500})
	sa.Extra = d.AppendNATTPort(sa.Extra, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: 4500})
	if err := c.Add(t.Context(), sa, 7); err != nil {
		t.Fatal(err)
	}
	suite := ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: ipsec.NewKey(sa.EncryptKey.Data),
		MAC: ipsec.HMACSHA1, AuthKey: ipsec.NewKey(sa.AuthKey.Data)}
	transform, err := suite.New()
	if err != nil {
		t.Fatal(err)
	}
	plain := datagram(port(dst.Addr, 1000), port(src.Addr, 2000), []byte("hello"))
	esp, err := transform.SealTransport(nil, plain, ipsec.Ports{}, ipsec.Sealing{SPI: 0x1234, Seq: 1,
		IV: make([]byte, 16)})
	if err != nil {
		t.Fatal(err)
	}
	h.Inject(datagram(port(dst.Addr, 40000), port(src.Addr, 4500), esp[20:])).Expect(packet.Delivered)
	want := &pfkey.NewMapping{Type: wire.SATypeESP, SPI: 0x1234, Seq: 7, Old: port(dst.Addr, 4500),
		New: port(dst.Addr, 40000)}
	got := next(t, c)
	if diff := cmp.Diff(pfkey.Event(want), got,
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// A message that a kernel should not have sent ends nothing, and says what is wrong with it.
func TestWatchMalformed(t *testing.T) {
	for _, d := range wire.Dialects() {
		e := kernelLike(d)
		c := transports[0].dial(t, e)
		defer c.Close()
		header := func(typ wire.MsgType) []byte {
			return d.AppendHeader(nil, wire.Header{Version: 2, Type: typ, SAType: 3, Seq: 5})
		}
		esp := d.AppendSA(header(wire.MsgExpire), wire.SA{SPI: 0x1234, State: wire.StateDying})
		for _, tt := range []struct {
			msg  []byte
			want string
		}{
			{d.Finish(header(wire.MsgAcquire)), "between whom"},
			{d.Finish(d.AppendAddress(header(wire.MsgAcquire), wire.ExtAddressSrc, src)), "between whom"},
			{d.Finish(header(wire.MsgExpire)), "no SA extension"},
			{d.Finish(bytes.Clone(esp)), "which limit"},
			{append(d.Finish(bytes.Clone(esp)), 1), "length"},
			{[]byte("short"), "too short"},
		} {
			if d.Name == "openbsd" && tt.want == "between whom" {
				continue // its flows need not say
			}
			e.all()[0].deliver(tt.msg)
			for ev, err := range c.Watch(t.Context()) {
				if o, ok := ev.(*pfkey.Other); err != nil || !ok || o.Err == nil ||
					!strings.Contains(o.Err.Error(), tt.want) || !bytes.Equal(o.Raw, tt.msg) {
					t.Errorf("%s: %x: %v %v, want %q", d.Name, tt.msg, ev, err, tt.want)
				}
				break
			}
		}
	}
	// The last of a NEW_MAPPING's ports is missing.
	d := wire.Linux()
	msg := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.KAMEMsgXNATTNewMapping, SAType: 3})
	msg = d.AppendSA(msg, wire.SA{SPI: 1})
	msg = d.AppendAddress(d.AppendAddress(msg, wire.ExtAddressSrc, src), wire.ExtAddressDst, dst)
	msg = d.AppendNATTPort(msg, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: 1})
	if e, err := pfkey.ParseEvent(d, d.Finish(msg)); err == nil || !strings.Contains(err.Error(), "X_NAT_T_DPORT") {
		t.Errorf("%v %v", e, err)
	}
}

// Which limit an EXPIRE is about.
func TestExpireLimit(t *testing.T) {
	d := wire.Illumos()
	for _, tt := range []struct {
		state wire.State
		shows []wire.ExtType
		want  pfkey.Limit
	}{
		{wire.StateDying, []wire.ExtType{wire.ExtLifetimeSoft}, pfkey.LimitSoft},
		{wire.StateDead, []wire.ExtType{wire.ExtLifetimeHard}, pfkey.LimitHard},
		{wire.StateDying, []wire.ExtType{wire.ExtLifetimeHard}, pfkey.LimitHard},
		{wire.StateDying, []wire.ExtType{wire.ExtLifetimeHard, wire.ExtLifetimeSoft}, pfkey.LimitSoft},
		{wire.StateDead, []wire.ExtType{wire.ExtLifetimeHard, wire.ExtLifetimeSoft}, pfkey.LimitHard},
		{wire.StateMature, []wire.ExtType{wire.IllumosExtXLifetimeIdle}, pfkey.LimitIdle},
	} {
		msg := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgExpire, SAType: 3})
		msg = d.AppendSA(msg, wire.SA{SPI: 1, State: tt.state})
		for _, x := range tt.shows {
			msg = d.AppendLifetime(msg, x, wire.Lifetime{AddTime: 9})
		}
		e, err := pfkey.ParseEvent(d, d.Finish(msg))
		if x, ok := e.(*pfkey.Expire); err != nil || !ok || x.Limit != tt.want {
			t.Errorf("%s showing %v: %v %v, want %v", tt.state, tt.shows, e, err, tt.want)
		}
	}
	if got := fmt.Sprint(pfkey.LimitSoft, pfkey.LimitHard, pfkey.LimitIdle,
		pfkey.Limit(9)); got != "soft hard idle unknown(0x9)" {
		t.Errorf("names %s", got)
	}
}

// The errno of an ACQUIRE means something only if a program has sent it, and then nothing else need be there (RFC 2367
// section 3.1.6).
func TestAcquireErrno(t *testing.T) {
	for _, d := range wire.Dialects() {
		header := wire.Header{Version: 2, Type: wire.MsgAcquire, SAType: wire.SATypeESP,
			Errno: d.ErrnoNumber(wire.ETIMEDOUT), Seq: 7}
		msg := appendAcquire(d, header)
		if e, err := pfkey.ParseEvent(d, msg); err != nil || e.(*pfkey.Acquire).Err != nil {
			t.Errorf("%s: of the kernel: %v %v", d.Name, e, err)
		}
		header.PID = 9
		if e, err := pfkey.ParseEvent(d, appendAcquire(d, header)); err != nil ||
			!errors.Is(e.(*pfkey.Acquire).Err, unix.ETIMEDOUT) {
			t.Errorf("%s: of a program: %v %v", d.Name, e, err)
		}
		if e, err := pfkey.ParseEvent(d, d.Finish(d.AppendHeader(nil, header))); err != nil ||
			!errors.Is(e.(*pfkey.Acquire).Err, unix.ETIMEDOUT) || e.(*pfkey.Acquire).Seq != 7 {
			t.Errorf("%s: bare: %v %v", d.Name, e, err)
		}
	}
}

func appendAcquire(d *wire.Dialect, h wire.Header) []byte {
	return d.Finish(pfkey.Acquire{Src: src, Dst: dst}.AppendExtensions(d, d.AppendHeader(nil, h)))
}

// What a dialect does not have is an error that names it, and nothing is sent.
func TestUnsupported(t *testing.T) {
	sent := 0
	trace := pfkey.WithTrace(func(bool, []byte) { sent++ })
	ctx := t.Context()
	dial := func(kernel string) *pfkey.Client { return pfkeytest.New(t, pfkeytest.Kernel(kernel)).Client(trace) }
	i, l := dial("illumos"), dial("linux")
	var p pfkey.Policy
	last := func(c *pfkey.Client) (err error) {
		for _, err = range c.DumpPolicies(ctx) {
		}
		return err
	}
	second := func(_ any, err error) error { return err }
	for _, tt := range []struct {
		name string
		err  error
	}{
		{"X_SPDADD", second(i.AddPolicy(ctx, p))},
		{"X_SPDUPDATE", second(i.UpdatePolicy(ctx, p))},
		{"X_SPDSETIDX", second(i.SetPolicyIndex(ctx, p))},
		{"X_SPDDELETE", i.DeletePolicy(ctx, p)},
		{"X_SPDDELETE2", i.DeletePolicyID(ctx, 1)},
		{"X_SPDGET", second(i.GetPolicy(ctx, 1))},
		{"X_SPDDUMP", last(i)},
		{"X_SPDFLUSH", i.FlushPolicies(ctx)},
		{"X_MIGRATE", i.Migrate(ctx, p)},
		{"X_SA2", i.Add(ctx, pfkey.SA{SA2: new(wire.SA2)}, 0)},
		{"X_UPDATEPAIR", l.UpdatePair(ctx, pfkey.SA{})},
		{"X_DELPAIR", l.DeletePair(ctx, pfkey.SAID{})},
		{"X_DELPAIR_STATE", l.DeletePairState(ctx, wire.SATypeESP, src, dst, wire.StateMature)},
		{"X_INVERSE_ACQUIRE", second(l.InverseAcquire(ctx, pfkey.Acquire{}))},
		{"X_PAIR", l.Add(ctx, pfkey.SA{Extra: l.Dialect().AppendPair(nil, wire.Pair{SPI: 1})}, 0)},
		{"X_EREG", second(l.RegisterExtended(ctx, wire.SATypeESP))},
	} {
		var op *pfkey.OpError
		if !errors.Is(tt.err, errors.ErrUnsupported) || !errors.As(tt.err, &op) || op.Op != pfkey.OpSend ||
			!strings.Contains(fmt.Sprint(tt.err), "has no "+tt.name+":") {
			t.Errorf("%s: %v", tt.name, tt.err)
		}
	}
	if sent != 0 {
		t.Errorf("%d messages were sent or received", sent)
	}
}

// A client is not deceived: an answer that does not come, or that comes to nobody, is waited for, and the fence behind
// a silent request is no answer to it.
func TestFence(t *testing.T) {
	for _, script := range []string{"drop GET", "pid 99 GET", "seq 1 GET"} {
		h := pfkeytest.New(t, pfkeytest.Hostile(script))
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := h.Client().Acquire(ctx, pfkey.Acquire{Type: wire.SATypeESP, Src: src, Dst: dst}); !errors.Is(err,
			context.DeadlineExceeded) {
			t.Errorf("%s: %v", script, err)
		}
		cancel()
	}
	h := pfkeytest.New(t, pfkeytest.Kernel("linux"), pfkeytest.Hostile("refuse ENOMEM GET"))
	if err := h.Client().DeletePolicyID(t.Context(), 8); !errors.Is(err, unix.ENOMEM) {
		t.Errorf("refused: %v", err)
	}
}

// Printing an event shows no key.
func TestEventsHideKeys(t *testing.T) {
	d := wire.Linux()
	msg := d.Finish(sampleSA(1).AppendExtensions(d, d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd})))
	e, err := pfkey.ParseEvent(d, msg)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []any{e, *e.(*pfkey.Other)} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			if s := fmt.Sprintf(verb, v); strings.Contains(s, secret) ||
				strings.Contains(s, fmt.Sprintf("%x", secret)) ||
				strings.Contains(s, strings.Trim(fmt.Sprint([]byte(secret)), "[]")) {
				t.Errorf("%s shows a key: %s", verb, s)
			}
		}
	}
}

func TestPrefix(t *testing.T) {
	for _, tt := range []struct{ in, want string }{{"192.0.2.77/24", "192.0.2.0/24"},
		{"2001:db8::1/128", "2001:db8::1/128"}, {"0.0.0.0/0", "0.0.0.0/0"}} {
		a := pfkey.Prefix(netip.MustParsePrefix(tt.in))
		if got := fmt.Sprintf("%s/%d", a.Addr, a.PrefixLen); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.in, got, tt.want)
		}
	}
}
