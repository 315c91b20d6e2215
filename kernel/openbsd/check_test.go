package openbsd_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestWhichErrorComesFirst: of a request that has two faults, which one is told.
func TestWhichErrorComesFirst(t *testing.T) {
	h := boot(t)
	half := h.d.AppendFlowProtocol(nil, wire.OpenBSDExtXFlowType, wire.FlowProtocol{Value: 1, Direction: 1})
	h.must(h.add(association{spi: 0x1000}))
	update := h.about(wire.MsgUpdate, association{spi: 1, more: half})
	for name, c := range map[string]struct {
		msg  []byte
		want string
	}{
		"ADD of one that is there, half a flow":  {h.add(association{spi: 0x1000, more: half}), "send: EINVAL"},
		"UPDATE of one that is not, half a flow": {update, "send: EINVAL"},
	} {
		if got := h.says(c.msg); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// TestKeysOfTCP: a key for TCP signatures has 80 bytes at most.
func TestKeysOfTCP(t *testing.T) {
	h := boot(t)
	for n, want := range map[int]string{1: "OK", 80: "OK", 81: "send: EINVAL"} {
		key := h.d.AppendKey(nil, wire.ExtKeyAuth, wire.Key{Bits: uint16(8 * n), Data: make([]byte, n)})
		msg := h.add(association{spi: wire.SPI(0x1000 + n), satype: wire.SATypeTCPSig, sa: &wire.SA{}, noKeys: true,
			more: key})
		if got := h.says(msg); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
}

// TestEmptyProposal: a proposal without combinations is looked at as any other.
func TestEmptyProposal(t *testing.T) {
	h := boot(t)
	msg := h.bare(wire.MsgAcquire, wire.SATypeESP)
	msg = h.d.Finish(h.d.AppendProposal(msg, wire.Proposal{}))
	if got := h.says(msg); got != "OK" {
		t.Fatal(got)
	}
	h.find(msg, wire.ExtProposal)[6] = 1 // reserved
	if got := h.says(msg); got != "send: EINVAL" {
		t.Error(got)
	}
}

// TestCallsInOrder: what a call says first.
func TestCallsInOrder(t *testing.T) {
	h := boot(t)
	if errno := h.s.(pfkey.Caller).Call(pfkey.Call(99)); errno != wire.EOPNOTSUPP {
		t.Errorf("a call that is none: %v", errno)
	}
	for range 1023 {
		h.open()
	}
	if _, errno := h.e.Open(pfkey.Cred{}, 3, 2); errno != wire.EACCES {
		t.Errorf("socket of a user, where there is no room: %v", errno)
	}
	if errno := h.s.(pfkey.Caller).Call(pfkey.CallShutdown); errno != wire.OK {
		t.Fatal(errno)
	}
	for _, n := range []int{16, 9000} {
		if errno := h.s.Send(make([]byte, n), superuser); errno != wire.EPIPE {
			t.Errorf("%d bytes after a shutdown: %v", n, errno)
		}
	}
}

// TestNumbersAreDecimal: a knob is written as sysctl(8) writes it.
func TestNumbersAreDecimal(t *testing.T) {
	const knob = "net.inet.ip.ipsec-invalid-life"
	h := bootWith(t, engine.Options{Tunables: map[string]string{knob: "010"}})
	if v, _ := h.k.Sysctl(knob); v != 10 {
		t.Errorf("010 is %d", v)
	}
}

// TestOtherDomain: a request may be about another routing domain than its sender's, and an SA says so where what comes
// out of its packets has another.
func TestOtherDomain(t *testing.T) {
	h := boot(t)
	h.k.AddRDomains(2)
	domains := func(in, after uint16) []byte { return h.d.AppendRDomain(nil, wire.RDomain{Domain: in, After: after}) }
	h.must(h.add(association{spi: 0x1000, more: domains(2, 1)}))
	if got := h.says(h.about(wire.MsgGet, association{spi: 0x1000})); got != "ESRCH" {
		t.Errorf("in the first: %s", got)
	}
	got, err := h.d.ParseRDomain(h.find(h.must(h.about(wire.MsgGet, association{spi: 0x1000, more: domains(2, 0)})),
		wire.OpenBSDExtXRDomain))
	if want := (wire.RDomain{Domain: 2, After: 1}); got != want || err != nil {
		t.Errorf("%+v, %v", got, err)
	}
	if got := h.says(h.add(association{spi: 0x1001, more: domains(3, 0)})); got != "send: EINVAL" {
		t.Errorf("a domain that is none: %s", got)
	}
	if got := h.says(h.add(association{spi: 0x1001, more: domains(0, 3)})); got != "send: EINVAL" {
		t.Errorf("a domain behind it that is none: %s", got)
	}
}

// TestLarvalInItsDomain: an SPI is reserved in the routing domain of its socket.
func TestLarvalInItsDomain(t *testing.T) {
	h := boot(t)
	h.k.AddRDomains(1)
	h.k.EnterRDomain(superuser.PID, 1)
	first, second := h.s, h.open()
	h.s = second
	h.must(h.getSPI(wire.SATypeESP, 0x1000, 0x1000))
	got := h.must(h.about(wire.MsgGet, association{spi: 0x1000}))
	if h.find(got, wire.OpenBSDExtXRDomain) != nil {
		t.Error("its two domains differ")
	}
	h.s = first
	if got := h.says(h.about(wire.MsgGet, association{spi: 0x1000})); got != "ESRCH" {
		t.Errorf("in the other domain: %s", got)
	}
}

// TestNewestIsUsed: of several SAs to one peer packets take the newest that is there.
func TestNewestIsUsed(t *testing.T) {
	h := boot(t)
	h.must(h.requireESP(here, there))
	use := func() wire.SPI {
		v := h.out(datagram(t, here, there))
		if v.Kind != packet.Transmitted {
			t.Fatal(fateOf(v))
		}
		return wire.SPI(binary.BigEndian.Uint32(v.Inner[20:]))
	}
	sa := func(spi wire.SPI) association { return association{spi: spi, src: here, dst: there} }
	for spi := range wire.SPI(4) {
		h.must(h.add(sa(spi + 1)))
	}
	for _, c := range []struct {
		what string
		msg  []byte
		want wire.SPI
	}{
		{"nothing", h.bare(wire.MsgFlush, wire.SATypeAH), 4},
		{"the last but one goes", h.about(wire.MsgDelete, sa(3)), 4},
		{"the newest goes", h.about(wire.MsgDelete, sa(4)), 2},
		{"the oldest is updated", h.about(wire.MsgUpdate, association{spi: 1, src: here, dst: there, noKeys: true}), 1},
		{"that goes", h.about(wire.MsgDelete, sa(1)), 2},
		{"it comes again", h.add(sa(3)), 3},
		{"the oldest goes", h.about(wire.MsgDelete, sa(2)), 3},
	} {
		h.must(c.msg)
		if got := use(); got != c.want {
			t.Errorf("%s: SPI %d is used, want %d", c.what, got, c.want)
		}
	}
}

// TestOrderOfDump: it is not that of the SPIs, and another after each boot.
func TestOrderOfDump(t *testing.T) {
	var orders [][]wire.SPI
	for seed := range uint64(2) {
		h := bootWith(t, engine.Options{Rand: rand.NewChaCha8([32]byte{byte(seed)})})
		var order []wire.SPI
		for spi := range wire.SPI(20) {
			h.must(h.add(association{spi: 0x1000 + spi}))
		}
		h.s.Send(h.bare(wire.MsgDump, wire.SATypeUnspec), superuser)
		for _, msg := range takeAll(h.s) {
			order = append(order, h.spi(msg))
		}
		if len(order) != 20 || slices.IsSorted(order) {
			t.Errorf("%v", order)
		}
		orders = append(orders, order)
	}
	if cmp.Equal(orders[0], orders[1]) {
		t.Error("both boots have one order")
	}
}

// TestExpiresInBothDomains: an EXPIRE of an SA with two routing domains is told in both.
func TestExpiresInBothDomains(t *testing.T) {
	h := boot(t)
	h.k.AddRDomains(2)
	h.k.EnterRDomain(superuser.PID, 2)
	second := h.open()
	h.k.EnterRDomain(superuser.PID, 1)
	third := h.open()
	h.must(h.add(association{spi: 0x1000, hard: &wire.Lifetime{AddTime: 3},
		more: h.d.AppendRDomain(nil, wire.RDomain{Domain: 0, After: 2})}))
	h.later(4 * time.Second)
	var got []string
	for _, s := range []pfkey.Socket{h.s, second, third} {
		got = append(got, fmt.Sprint(h.types(takeAll(s))))
	}
	if diff := cmp.Diff([]string{"[EXPIRE]", "[EXPIRE]", "[]"}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestScopes: addresses of two scopes are two.
func TestScopes(t *testing.T) {
	h := boot(t)
	local := netip.MustParseAddr("fe80::1")
	dst := func(scope uint32) []byte {
		b := h.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgAdd, SAType: wire.SATypeIPIP,
			PID: uint32(superuser.PID)})
		b = h.d.AppendSA(b, wire.SA{SPI: 0x1000, State: wire.StateMature})
		return h.d.Finish(h.d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: local, Scope: scope}))
	}
	for _, c := range []struct {
		scope uint32
		want  string
	}{{1, "OK"}, {1, "EEXIST"}, {0, "OK"}, {2, "OK"}} {
		if got := h.says(dst(c.scope)); got != c.want {
			t.Errorf("scope %d: %s, want %s", c.scope, got, c.want)
		}
	}
}
