package netlink_test

import (
	"net/netip"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/leak"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/netlink"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// These tests stand on the kernel of this machine, in network namespaces of their own. They are skipped where none can
// be made. What needs ESP is played from recordings, see .ci/xfrm.

func TestMain(m *testing.M) { os.Exit(leak.Run(m, "/netlink.")) }

// inNamespace runs f in a network namespace of its own, whose interface lo is up.
func inNamespace(t testing.TB, f func()) {
	t.Helper()
	done, refused := make(chan struct{}), false
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never let go: the namespace ends with the thread
		if refused = unix.Unshare(unix.CLONE_NEWNET) != nil; refused {
			return
		}
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(s)
		if r, err := unix.NewIfreq("lo"); err != nil {
			t.Error(err)
		} else if r.SetUint16(unix.IFF_UP); unix.IoctlIfreq(s, unix.SIOCSIFFLAGS, r) != nil {
			t.Error("interface lo is down")
		}
		f()
	}()
	<-done
	if refused {
		t.Skip("no network namespace can be made here")
	}
}

// user is one user of netlink, who notes what there is to hear.
type user struct {
	*netlink.Transforms
	e     *engine.Engine
	heard []event
	told  chan struct{} // something has been heard
}

// event is what a manager has been told.
type event struct {
	what   string
	by     transform.By
	policy transform.Policy
	state  transform.State
	seq    uint32 // of an ACQUIRE
}

func (u *user) note(e event) {
	u.heard = append(u.heard, e)
	select {
	case u.told <- struct{}{}:
	default:
	}
}

var changes = map[transform.Change]string{transform.Added: "added", transform.Updated: "updated",
	transform.Deleted: "deleted", transform.DeletedByID: "deleted by id"}

func (u *user) StateChanged(c transform.Change, s *transform.State, by transform.By) {
	u.note(event{what: "state " + changes[c], state: *s, by: by})
}
func (u *user) StatesFlushed(_ uint8, by transform.By) { u.note(event{what: "states flushed", by: by}) }
func (u *user) PolicyChanged(c transform.Change, p *transform.Policy, by transform.By) {
	u.note(event{what: "policy " + changes[c], policy: *p, by: by})
}
func (u *user) PoliciesFlushed(by transform.By) { u.note(event{what: "policies flushed", by: by}) }
func (u *user) Expired(s *transform.State, hard bool) {
	u.note(event{what: map[bool]string{true: "hard expiry", false: "soft expiry"}[hard], state: *s})
}
func (u *user) Acquire(a *transform.Acquisition) bool {
	u.note(event{what: "acquire", seq: a.Seq, policy: transform.Policy{ID: a.PolicyID},
		state: transform.State{Config: transform.Config{Proto: a.Proto, Src: a.Src, Dst: a.Dst}}})
	return true
}
func (u *user) NewMapping(*transform.Mapping) {}
func (u *user) Migrated(*transform.Migration) { u.note(event{what: "migrated"}) }

// bare is a kernel that has nothing to say.
type bare struct{}

func (bare) Dialect() *wire.Dialect { return wire.Linux() }
func (bare) Open(*engine.Socket, pfkey.Cred, int, int) (engine.Endpoint, pfkey.Errno) {
	return nil, wire.EPERM
}
func (bare) Describe(*status.Engine, int) {}
func (bare) Stop()                        {}

// newUser is one in the namespace of the calling thread.
func newUser(t testing.TB) *user {
	t.Helper()
	u := &user{told: make(chan struct{}, 1)}
	var err error
	u.e, err = engine.New("host", engine.Options{Clock: time.Now}, func(e *engine.Engine) (engine.Kernel, error) {
		u.Transforms, err = netlink.New(e, wire.Linux(), netlink.Options{})
		return bare{}, err
	})
	if err != nil {
		t.Fatal(err)
	}
	u.Serve(u)
	return u
}

// take returns what has been heard since.
func (u *user) take() (all []event) {
	all, u.heard = u.heard, nil
	return all
}

// whats are the names of events.
func whats(all []event) (names []string) {
	for _, e := range all {
		names = append(names, e.what)
	}
	return names
}

func selects(dst string) spd.Selector {
	return spd.Selector{Src: netip.MustParsePrefix("127.0.0.1/32"), Dst: netip.MustParsePrefix(dst)}
}

func rule(dst string, reqID uint32) *transform.Policy {
	return &transform.Policy{Direction: transform.Out, Selector: selects(dst), Priority: 7, Limits: transform.NoLimits,
		Templates: []transform.Template{{Proto: 50, ReqID: reqID}}}
}

func walked(u *user) (all []transform.Policy) {
	w := u.WalkPolicies()
	w.Each(func(p *transform.Policy) bool {
		all = append(all, *p)
		return true
	})
	return all
}

func wants(t *testing.T, what string, got, want wire.Errno) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestPolicies(t *testing.T) {
	inNamespace(t, func() {
		u := newUser(t)
		defer u.Close()
		me := transform.By{Seq: 77, PID: 88}
		wants(t, "add", u.AddPolicy(rule("127.0.0.2/32", 5), false, me), wire.OK)
		got := u.take()
		if len(got) != 1 || got[0].what != "policy added" || got[0].by != me {
			t.Fatalf("heard %+v", got)
		}
		p := got[0].policy
		want := *rule("127.0.0.2/32", 5)
		want.ID, want.AddTime, want.References = p.ID, p.AddTime, 2
		if d := cmp.Diff(want, p, equal...); d != "" {
			t.Errorf("what was added (-want +got):\n%s", d)
		}
		wants(t, "the same again", u.AddPolicy(rule("127.0.0.2/32", 5), false, me), wire.EEXIST)
		wants(t, "replace", u.AddPolicy(rule("127.0.0.2/32", 6), true, me), wire.OK)
		wants(t, "another", u.AddPolicy(rule("127.0.0.3/32", 0), false, me), wire.OK)
		if got := whats(u.take()); !slices.Equal(got, []string{"policy updated", "policy added"}) {
			t.Errorf("heard %q", got)
		}
		if all := walked(u); len(all) != 2 || all[0].Selector != selects("127.0.0.3/32") || all[1].ID != p.ID ||
			all[1].References != 2 { // its list, and the timer that every new one has
			t.Errorf("there are %+v", all)
		}
		if u.ReqIDUsed(5) || !u.ReqIDUsed(6) {
			t.Error("the request id of a replaced template")
		}
		var one transform.Policy
		wants(t, "get", u.GetPolicy(p.ID, &one), wire.OK)
		if one.Templates[0].ReqID != 6 || one.Templates[0].Auth != 0 {
			t.Errorf("got %+v", one)
		}
		wants(t, "id 0", u.GetPolicy(0, &one), wire.ENOENT)
		wants(t, "an id of no direction", u.GetPolicy(7, &one), wire.EINVAL)
		wants(t, "an id that is free", u.DeletePolicyID(0x7ffffff9, me), wire.ENOENT)
		wants(t, "delete by id", u.DeletePolicyID(p.ID, me), wire.OK)
		wants(t, "delete", u.DeletePolicy(transform.Out, selects("127.0.0.3/32"), me), wire.OK)
		wants(t, "delete again", u.DeletePolicy(transform.Out, selects("127.0.0.3/32"), me), wire.ENOENT)
		u.FlushPolicies(me) // nobody hears of a flush that found none
		if got := u.take(); !slices.Equal(whats(got), []string{"policy deleted by id", "policy deleted"}) ||
			got[0].policy.References != 0 || got[1].by != me {
			t.Errorf("heard %+v", got)
		}
		wants(t, "one more", u.AddPolicy(rule("127.0.0.2/32", 5), false, me), wire.OK)
		u.FlushPolicies(me)
		if got := whats(u.take()); !slices.Equal(got, []string{"policy added", "policies flushed"}) ||
			u.ReqIDUsed(5) {
			t.Errorf("heard %q", got)
		}
	})
}

// What a walk comes to after a rest is shown as it is then.
func TestWalkShowsWhatIsNow(t *testing.T) {
	inNamespace(t, func() {
		u := newUser(t)
		defer u.Close()
		send := sender(t)
		for _, dst := range []string{"127.0.0.2/32", "127.0.0.3/32"} {
			p := rule(dst, 0)
			p.Templates = nil
			wants(t, "add", u.AddPolicy(p, false, transform.By{}), wire.OK)
		}
		w := u.WalkPolicies()
		w.Each(func(p *transform.Policy) bool { return p.Selector == selects("127.0.0.3/32") })
		send(9)
		w.Each(func(p *transform.Policy) bool {
			if p.Selector != selects("127.0.0.2/32") || p.UseTime == 0 {
				t.Errorf("%v used at %d", p.Selector, p.UseTime)
			}
			return true
		})
	})
}

// What goes while a walk rests is passed over, also if it has come again since.
func TestWalkGoesOn(t *testing.T) {
	inNamespace(t, func() {
		u := newUser(t)
		defer u.Close()
		for _, dst := range []string{"127.0.0.4/32", "127.0.0.3/32", "127.0.0.2/32"} {
			wants(t, "add", u.AddPolicy(rule(dst, 0), false, transform.By{}), wire.OK)
		}
		w := u.WalkPolicies()
		var got []spd.Selector
		one := func(p *transform.Policy) bool {
			if len(got) == 1 {
				return false
			}
			got = append(got, p.Selector)
			return true
		}
		if w.Each(one) {
			t.Fatal("the walk has come to its end")
		}
		wants(t, "delete", u.DeletePolicy(transform.Out, selects("127.0.0.3/32"), transform.By{}), wire.OK)
		wants(t, "add", u.AddPolicy(rule("127.0.0.3/32", 0), false, transform.By{}), wire.OK)
		done := w.Each(func(p *transform.Policy) bool {
			got = append(got, p.Selector)
			return true
		})
		want := []spd.Selector{selects("127.0.0.2/32"), selects("127.0.0.4/32")}
		if !done || !slices.Equal(got, want) {
			t.Errorf("%v, done %v, want %v", got, done, want)
		}
	})
}

func TestLarvals(t *testing.T) {
	inNamespace(t, func() {
		u := newUser(t)
		defer u.Close()
		host, err := netlink.Look()
		if err != nil {
			t.Fatal(err)
		}
		q := transform.SPIRequest{Proto: 50, Src: addr("127.0.0.2"), Dst: addr("127.0.0.1"), Min: 0x1000, Max: 0x1000}
		var s transform.State
		wants(t, "alloc", u.AllocSPI(&q, &s), wire.OK)
		if s.SPI != 0x1000 || s.Phase != sadb.Larval || s.Limits.Hard.AddTime != 30 {
			t.Errorf("got %+v", s)
		}
		q.Src = addr("127.0.0.9")
		wants(t, "taken", u.AllocSPI(&q, &s), wire.ENOENT)
		q.Src, q.Min = addr("127.0.0.8"), 0x1001
		wants(t, "a range that makes no sense", u.AllocSPI(&q, &s), wire.EINVAL)
		var got []uint32
		walk := func(f transform.Filter) {
			w := u.Walk(transform.AnyProto, f)
			w.Each(func(s *transform.State) bool {
				if s.Phase != sadb.Larval {
					t.Errorf("%+v", s)
				}
				got = append(got, s.SPI)
				return true
			})
			w.Close()
		}
		if walk(transform.Filter{}); !slices.Equal(got, []uint32{0, 0, 0x1000}) {
			t.Errorf("there are %x: one without an SPI is left by each that was refused", got)
		}
		if got = nil; true {
			walk(transform.Filter{V4: true, Src: transform.Raw(addr("127.0.0.2")), SrcBits: 32})
		}
		if !slices.Equal(got, []uint32{0x1000}) {
			t.Errorf("through the filter go %x", got)
		}
		wants(t, "get", u.Get(s.Key(), &s), wire.OK)
		wants(t, "get nothing", u.Get(sadb.Key{Dst: addr("::1"), SPI: 9, Proto: 50}, &s), wire.ESRCH)
		wants(t, "of any protocol", u.Get(sadb.Key{Dst: addr("::1"), SPI: 9, Proto: transform.AnyProto}, &s),
			wire.ESRCH)

		sa := func(proto uint8) *transform.State {
			return &transform.State{Limits: transform.NoLimits, Config: transform.Config{Proto: proto, SPI: 0x1000,
				Src: addr("127.0.0.2"), Dst: addr("127.0.0.1"), Auth: wire.AuthSHA1HMAC, AuthBits: 160,
				Encrypt: wire.EncNull, Keys: make([]byte, 20)}}
		}
		want := wire.OK
		if !host.ESP {
			want = wire.EPROTONOSUPPORT
		}
		wants(t, "update", u.Update(sa(50), transform.By{Seq: 1}), want)
		wants(t, "an SA of any protocol", u.Add(sa(transform.AnyProto), transform.By{}), wire.EPROTONOSUPPORT)
		wants(t, "delete", u.Delete(sa(50).Key(), transform.By{Seq: 2}), wire.OK)
		wants(t, "delete again", u.Delete(sa(50).Key(), transform.By{Seq: 3}), wire.ESRCH)
		u.Flush(transform.AnyProto, transform.By{Seq: 4})
		heard := u.take()
		if host.ESP {
			heard = heard[1:]
		}
		if got := whats(heard); !slices.Equal(got, []string{"state deleted", "states flushed"}) ||
			heard[0].state.Phase != sadb.Dead || heard[0].by.Seq != 2 || heard[1].by.Seq != 4 {
			t.Errorf("heard %+v", heard)
		}
	})
}

// Where netlink looks at things in another order than AF_KEY, the answer is AF_KEY's.
func TestOrderOfChecks(t *testing.T) {
	inNamespace(t, func() {
		u := newUser(t)
		defer u.Close()
		host, err := netlink.Look()
		if err != nil {
			t.Fatal(err)
		}
		config := transform.Config{Proto: 51, SPI: 0x1000, Src: addr("127.0.0.2"), Dst: addr("127.0.0.1"),
			Sel: &transform.Selector{V6: true}}
		wants(t, "AH without an algorithm, for flows of the other family",
			u.Add(&transform.State{Limits: transform.NoLimits, Config: config}, transform.By{}), wire.EPROTONOSUPPORT)
		config.Proto, config.SPI, config.Sel, config.Compress = 108, 0x10000, nil, wire.CompDeflate
		want := wire.ESRCH
		if !host.IPComp {
			want = wire.EPROTONOSUPPORT
		}
		wants(t, "IPCOMP with an SPI that netlink does not take",
			u.Update(&transform.State{Limits: transform.NoLimits, Config: config}, transform.By{}), want)
		if len(u.take()) != 0 {
			t.Error("something was heard of it")
		}
	})
}

// What another user of netlink does is heard as our own acts are, by whoever listens.
func TestForeignUser(t *testing.T) {
	inNamespace(t, func() {
		u, other := newUser(t), newUser(t)
		defer u.e.Do(u.Close)
		defer other.Close()
		u.e.Do(u.Listen)
		he := transform.By{Seq: 5, PID: 6}
		wants(t, "add", other.AddPolicy(rule("127.0.0.2/32", 9), false, he), wire.OK)
		<-u.told
		u.e.Do(func() {
			got := u.take()
			if len(got) != 1 || got[0].what != "policy added" || got[0].by != he ||
				got[0].policy.Templates[0].Auth != every || !u.ReqIDUsed(9) {
				t.Errorf("heard %+v", got)
			}
		})
		late := newUser(t) // one that has just been started
		defer late.Close()
		if !late.ReqIDUsed(9) || len(walked(late)) != 1 || len(late.take()) != 0 {
			t.Error("one that starts does not find what is there")
		}
	})
}

// sender has packets on lo meet policies, and returns what sends one to a port of 127.0.0.2.
func sender(t *testing.T) func(port int) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/net/ipv4/conf/lo/disable_xfrm", []byte("0"), 0); err != nil {
		t.Skip(err)
	}
	return func(port int) {
		s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(s)
		_ = unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
		_ = unix.Sendto(s, []byte("x"), unix.MSG_DONTWAIT, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 2}})
	}
}

// A packet that is missing an SA asks for one, while somebody wants to hear of that; if those give up, the SA is shown
// as DEAD.
func TestAcquire(t *testing.T) {
	inNamespace(t, func() {
		u := newUser(t)
		defer u.Close()
		send := sender(t)
		larvals := func() (all []transform.State) {
			w := u.Walk(50, transform.Filter{})
			w.Each(func(s *transform.State) bool {
				all = append(all, *s)
				return true
			})
			return all
		}
		wants(t, "add", u.AddPolicy(rule("127.0.0.2/32", 0), false, transform.By{}), wire.OK)
		u.take()
		send(9)
		if u.Hear(); len(u.take()) != 0 || len(larvals()) != 0 {
			t.Error("nobody wants to hear, and is asked")
		}
		u.Ask(true)
		send(9)
		u.Hear()
		got := u.take()
		if len(got) != 1 || got[0].what != "acquire" || got[0].state.Dst != addr("127.0.0.2") ||
			got[0].state.Src != addr("127.0.0.1") || got[0].state.Proto != 50 || got[0].seq == 0 {
			t.Fatalf("heard %+v", got)
		}
		u.GiveUp(got[0].seq + 1)
		if all := larvals(); len(all) != 1 || all[0].Phase != sadb.Larval || all[0].MsgSeq != got[0].seq {
			t.Errorf("there are %+v", all)
		}
		u.GiveUp(got[0].seq)
		if all := larvals(); len(all) != 1 || all[0].Phase != sadb.Dead {
			t.Errorf("when key management gave up, there are %+v", all)
		}
		u.Ask(false)
		u.Flush(transform.AnyProto, transform.By{})
		u.take()
		send(10)
		if u.Hear(); len(u.take()) != 0 {
			t.Error("nobody wants to hear any more, and is asked")
		}
	})
}

// More news than its queue holds is lost, and found again: what was told agrees with what there is.
func TestOverrun(t *testing.T) {
	inNamespace(t, func() {
		u, other := newUser(t), newUser(t)
		defer u.Close()
		defer other.Close()
		wants(t, "add", u.AddPolicy(rule("10.0.0.0/32", 1), false, transform.By{Seq: 1}), wire.OK)
		wants(t, "add", u.AddPolicy(rule("10.0.0.1/32", 1), false, transform.By{Seq: 1}), wire.OK)
		u.take()
		const flood = 15000
		add := func(n int) *transform.Policy {
			p := rule("10.0.0.0/32", 2)
			p.Selector.Dst = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 1, byte(n >> 8), byte(n)}), 32)
			return p
		}
		for n := range flood {
			if errno := other.AddPolicy(add(n), false, transform.By{Seq: 2}); errno != wire.OK {
				t.Fatalf("policy %d: %v", n, errno)
			}
		}
		wants(t, "delete", other.DeletePolicy(transform.Out, selects("10.0.0.1/32"), transform.By{}), wire.OK)
		u.Hear()
		there := map[spd.Selector]bool{selects("10.0.0.0/32"): true, selects("10.0.0.1/32"): true}
		for _, e := range u.take() {
			if e.what == "policy added" && there[e.policy.Selector] {
				t.Errorf("%v is told twice", e.policy.Selector)
			}
			there[e.policy.Selector] = e.what == "policy added"
		}
		n := 0
		for _, is := range there {
			if is {
				n++
			}
		}
		if all := walked(u); n != len(all) || n != flood+1 {
			t.Errorf("told of %d policies, there are %d, want %d", n, len(all), flood+1)
		}
		if u.Counters()["NetlinkOverruns"] == 0 {
			t.Error("nothing was lost: the flood is too small to show anything")
		}
		me := transform.By{Seq: 3}
		wants(t, "add", u.AddPolicy(rule("10.0.0.2/32", 0), false, me), wire.OK)
		if got := u.take(); len(got) != 1 || got[0].by != me {
			t.Errorf("heard %+v", got)
		}
	})
}

// When it is closed, whatever is asked is refused, and nobody hangs.
func TestClosed(t *testing.T) {
	inNamespace(t, func() {
		u := newUser(t)
		u.Close()
		u.Close()
		var s transform.State
		wants(t, "get", u.Get(sadb.Key{Dst: addr("127.0.0.1"), SPI: 1, Proto: 50}, &s), wire.ENETDOWN)
		wants(t, "add", u.AddPolicy(rule("127.0.0.2/32", 0), false, transform.By{}), wire.ENETDOWN)
		u.Ask(true)
		u.Hear()
		if len(walked(u)) != 0 || len(u.take()) != 0 {
			t.Error("something is heard")
		}
	})
}

// A long list is not taken anew for each rest, and what goes or comes meanwhile is treated as with a short one.
func TestWalkLong(t *testing.T) {
	inNamespace(t, func() {
		u := newUser(t)
		defer u.Close()
		const many = 2100
		to := func(n int) string { return netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)}).String() + "/32" }
		for n := range many {
			wants(t, "add", u.AddPolicy(rule(to(n), 0), false, transform.By{}), wire.OK)
		}
		w, shown := u.WalkPolicies(), map[spd.Selector]int{}
		for rests := 0; ; rests++ {
			n := 0
			if w.Each(func(p *transform.Policy) bool {
				if n == 100 {
					return false
				}
				n++
				shown[p.Selector]++
				return true
			}) {
				break
			}
			wants(t, "delete", u.DeletePolicy(transform.Out, selects(to(rests)), transform.By{}), wire.OK)
			wants(t, "add", u.AddPolicy(rule(to(many+rests), 0), false, transform.By{}), wire.OK)
		}
		const deleted = 20 // of those that come last, one a rest
		if len(shown) != many-deleted {
			t.Errorf("%d are shown, want %d", len(shown), many-deleted)
		}
		for s, n := range shown {
			if n != 1 {
				t.Errorf("%v is shown %d times", s.Dst, n)
			}
		}
	})
}
