package illumos_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// These tests are for what the recordings leave open: where two things are wrong with a message and the order of the
// checks decides, and values that are all the same there.

var d = wire.Illumos()

type ext func(b []byte) []byte

func message(typ wire.MsgType, satype wire.SAType, exts ...ext) []byte {
	b := d.AppendHeader(nil, wire.Header{Version: 2, Type: typ, SAType: satype, Seq: 7, PID: 1234})
	for _, e := range exts {
		b = e(b)
	}
	return d.Finish(b)
}

func withSeq(seq wire.Seq, msg []byte) []byte {
	h, _ := d.Header(msg)
	h.Seq = seq
	d.PutHeader(msg, h)
	return msg
}

func address(t wire.ExtType, a string) ext { return addressOf(t, a, 0, 0, 0) }

func addressOf(t wire.ExtType, a string, port uint16, proto, prefix uint8) ext {
	return func(b []byte) []byte {
		return d.AppendAddress(b, t, wire.Address{Addr: netip.MustParseAddr(a), Port: port, Proto: proto,
			PrefixLen: prefix})
	}
}

func src(a string) ext { return address(wire.ExtAddressSrc, a) }
func dst(a string) ext { return address(wire.ExtAddressDst, a) }

// badFamily is an address of a family that nobody has.
func badFamily(t wire.ExtType) ext {
	return func(b []byte) []byte {
		n := len(b)
		b = address(t, "192.0.2.9")(b)
		d.Order.PutUint16(b[n+8:], 99)
		return b
	}
}

func assoc(v wire.SA) ext { return func(b []byte) []byte { return d.AppendSA(b, v) } }

func lifetime(t wire.ExtType, v wire.Lifetime) ext {
	return func(b []byte) []byte { return d.AppendLifetime(b, t, v) }
}

func key(t wire.ExtType, data []byte, ivBits uint16) ext {
	return func(b []byte) []byte {
		return d.AppendKey(b, t, wire.Key{Bits: uint16(len(data) * 8), Reserved: ivBits, Data: data})
	}
}

func empty(t wire.ExtType) ext {
	return func(b []byte) []byte { return append(d.AppendExtHeader(b, t, 16), make([]byte, 12)...) }
}

func cookie(proto uint32, c uint64) ext {
	return func(b []byte) []byte { return d.AppendKMCookie(b, wire.KMCookie{Protocol: proto, Cookie: c}) }
}

func identity(t wire.ExtType, name string) ext {
	return func(b []byte) []byte {
		return d.AppendIdentity(b, t, wire.Identity{Type: wire.IdentFQDN, Name: name})
	}
}

func replayValue(n uint32) ext {
	return func(b []byte) []byte { return d.AppendReplayValue(b, wire.ReplayValue{Replay32: n}) }
}

var (
	espSA = wire.SA{SPI: 0x1001, Replay: 32, State: wire.StateMature, Auth: wire.AuthSHA1HMAC,
		Encrypt: wire.EncAESCBC}
	ahSA = wire.SA{SPI: 0x1001, Replay: 32, State: wire.StateMature, Auth: wire.AuthSHA1HMAC}

	authExt    = key(wire.ExtKeyAuth, authKey, 0)
	encryptExt = key(wire.ExtKeyEncrypt, encryptKey, 0)
)

// change is an SA with something else in it.
func change(v wire.SA, f func(*wire.SA)) ext {
	f(&v)
	return assoc(v)
}

// talk is an engine with one socket.
type talk struct {
	t testing.TB
	e *engine.Engine
	s pfkey.Socket
}

func newTalk(t testing.TB, o engine.Options) *talk {
	t.Helper()
	if o.Addrs == nil {
		o.Addrs = []netip.Addr{me, netip.MustParseAddr("192.0.2.5"), netip.MustParseAddr("2001:db8::1")}
	}
	e, err := newEngine(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return &talk{t, e, openSocket(t, e)}
}

func newEngine(o engine.Options) (*engine.Engine, error) { return kernels.New("illumos", o) }

func openSocket(t testing.TB, e *engine.Engine) pfkey.Socket {
	t.Helper()
	s, errno := e.Open(pfkey.Cred{Privileged: true, PID: 1234}, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	t.Cleanup(s.Close)
	return s
}

// messages are those that wait on a socket.
func messages(s pfkey.Socket) (all [][]byte) {
	buf := make([]byte, 1<<16)
	for {
		n, _, errno := s.Recv(buf, 0)
		if errno != wire.OK {
			return all
		}
		all = append(all, slices.Clone(buf[:n]))
	}
}

// ask sends a message and returns what came back.
func (k *talk) ask(msg []byte) [][]byte {
	k.t.Helper()
	if errno := k.s.Send(msg, pfkey.Cred{Privileged: true, PID: 1234}); errno != wire.OK {
		k.t.Fatalf("send: %v", errno)
	}
	return messages(k.s)
}

// outcome is the errno and the diagnostic of a message.
func outcome(msg []byte) string {
	h, err := d.Header(msg)
	if err != nil {
		return err.Error()
	}
	if h.Errno == 0 {
		return "ok"
	}
	e, _ := d.Errno(h.Errno)
	if h.Reserved == 0 {
		return e.String()
	}
	return e.String() + " " + d.DiagnosticName(h.Reserved)
}

// must sends a message that is to succeed, and returns the first answer.
func (k *talk) must(msg []byte) []byte {
	k.t.Helper()
	got := k.ask(msg)
	if len(got) == 0 || outcome(got[0]) != "ok" {
		k.t.Fatalf("%s: %d answers, %s", d.Line(msg), len(got), outcome(slices.Concat(got...)))
	}
	return got[0]
}

func (k *talk) inject(pkt []byte) (last packet.Verdict) {
	k.e.Inbound(&packet.Packet{ID: packetIDs.Add(1), Data: pkt, Done: func(_ *packet.Packet, v packet.Verdict) {
		last = v
	}})
	return last
}

func (k *talk) send(pkt []byte, tunnel string) (all []packet.Verdict) {
	k.e.Outbound(&packet.Packet{ID: packetIDs.Add(1), Data: pkt, Done: func(_ *packet.Packet, v packet.Verdict) {
		all = append(all, v)
	}}, tunnel)
	return all
}

// Of two things that are wrong with a message, the one that is looked at first is told.
func TestOrderOfChecks(t *testing.T) {
	const (
		esp = wire.SATypeESP
		ah  = wire.SATypeAH
	)
	tooLarge := []ext{lifetime(wire.ExtLifetimeHard, wire.Lifetime{Allocations: 1, Bytes: 1, AddTime: 1, UseTime: 1}),
		lifetime(wire.ExtLifetimeSoft, wire.Lifetime{Allocations: 2, Bytes: 2, AddTime: 2, UseTime: 2})}
	loc, rem := wire.IllumosExtXAddressNattLoc, wire.IllumosExtXAddressNattRem
	innerSrc, innerDst := wire.IllumosExtXAddressInnerSrc, wire.IllumosExtXAddressInnerDst
	for _, tt := range []struct {
		want string
		msg  []byte
	}{
		// ESP ADD, in the order of its list.
		{"EINVAL BAD_SASTATE", message(wire.MsgAdd, esp, src("192.0.2.2"), dst("192.0.2.1"), encryptExt,
			change(espSA, func(s *wire.SA) { s.State, s.Encrypt = 0, 0 }))},
		{"EINVAL BAD_EALG", message(wire.MsgAdd, esp, src("192.0.2.2"), dst("192.0.2.1"), encryptExt,
			change(espSA, func(s *wire.SA) { s.Encrypt, s.Flags = 0, 1 }))},
		{"EINVAL BAD_SAFLAGS", message(wire.MsgAdd, esp, append(tooLarge, src("192.0.2.2"), dst("192.0.2.1"),
			encryptExt, change(espSA, func(s *wire.SA) { s.Flags = 1 }))...)},
		{"EINVAL ALLOC_HSERR", message(wire.MsgAdd, esp, append(tooLarge, src("192.0.2.2"), dst("192.0.2.1"),
			encryptExt, assoc(espSA))...)},
		{"EINVAL MISSING_NATT_LOC", message(wire.MsgAdd, esp, src("192.0.2.2"), dst("192.0.2.1"), encryptExt,
			change(espSA, func(s *wire.SA) { s.Flags = wire.IllumosFlagXNattLoc | wire.IllumosFlagXNattRem }))},
		{"EINVAL MISSING_NATT_REM", message(wire.MsgAdd, esp, src("192.0.2.2"), dst("192.0.2.1"), encryptExt,
			lifetime(wire.ExtLifetimeCurrent, wire.Lifetime{}),
			change(espSA, func(s *wire.SA) { s.Flags = wire.IllumosFlagXNattRem }))},
		{"EOPNOTSUPP", message(wire.MsgAdd, esp, src("192.0.2.2"), dst("192.0.2.1"), encryptExt, assoc(espSA),
			empty(wire.ExtSensitivity), lifetime(wire.ExtLifetimeCurrent, wire.Lifetime{}))},
		{"EINVAL BAD_LABEL", message(wire.MsgAdd, esp, src("192.0.2.2"), dst("192.0.2.1"), encryptExt, assoc(espSA),
			empty(wire.ExtSensitivity), key(wire.ExtKeyAuth, []byte{1}, 0))},
		{"EINVAL BAD_EKEYBITS", message(wire.MsgAdd, esp, src("192.0.2.2"), dst("192.0.2.1"),
			change(espSA, func(s *wire.SA) { s.Encrypt, s.Auth = wire.EncDESCBC, 0 }),
			// weak, but the IV is taken for a part of the key
			key(wire.ExtKeyEncrypt, []byte{1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2}, 64))},
		{"EOPNOTSUPP", message(wire.MsgAdd, ah, src("192.0.2.2"), dst("192.0.2.1"), authExt, assoc(ahSA),
			empty(wire.ExtSensitivity))},
		{"EINVAL ADDTIME_HSERR", message(wire.MsgAdd, ah, src("192.0.2.2"), dst("192.0.2.1"), authExt, assoc(ahSA),
			lifetime(wire.ExtLifetimeHard, wire.Lifetime{AddTime: 10, UseTime: 10}),
			lifetime(wire.ExtLifetimeSoft, wire.Lifetime{AddTime: 10, UseTime: 10}),
			lifetime(wire.IllumosExtXLifetimeIdle, wire.Lifetime{AddTime: 11, UseTime: 11}))},

		// The checks that ESP and AH have in common.
		{"EINVAL EKEY_PRESENT", message(wire.MsgAdd, ah, encryptExt, empty(wire.ExtProposal))},
		{"EINVAL PROP_PRESENT", message(wire.MsgAdd, ah, empty(wire.ExtProposal), empty(wire.ExtSupportedAuth))},
		{"EINVAL SUPP_PRESENT", message(wire.MsgAdd, ah, empty(wire.ExtSupportedEncrypt))},

		// Addresses.
		{"EINVAL BAD_SRC", message(wire.MsgAdd, esp, src("224.0.0.1"), badFamily(wire.ExtAddressDst))},
		{"EINVAL BAD_DST", message(wire.MsgAdd, esp, src("192.0.2.2"), dst("0.0.0.0"), address(loc, "192.0.2.1"))},
		{"EINVAL MALFORMED_NATT_LOC", message(wire.MsgAdd, esp, src("192.0.2.2"), dst("192.0.2.1"),
			address(loc, "192.0.2.1"), address(innerSrc, "10.0.0.1"))},
		{"EINVAL BAD_NATT_LOC_AF", message(wire.MsgAdd, esp, src("192.0.2.2"), dst("192.0.2.1"),
			address(loc, "2001:db8::9"), badFamily(rem))},
		{"EINVAL MISSING_INNER_DST", message(wire.MsgAdd, esp, src("192.0.2.2"), dst("192.0.2.1"),
			badFamily(innerSrc))},
		{"EINVAL PREFIX_INNER_DST", message(wire.MsgAdd, esp, src("192.0.2.2"), dst("192.0.2.1"),
			addressOf(innerSrc, "10.0.0.1", 0, 0, 33), addressOf(innerDst, "10.0.0.2", 0, 0, 33))},
		{"EINVAL DUAL_PORT_SETS", message(wire.MsgAdd, esp, addressOf(wire.ExtAddressSrc, "192.0.2.2", 7, 17, 0),
			dst("192.0.2.1"),
			addressOf(innerSrc, "10.0.0.1", 7, 17, 0), address(innerDst, "10.0.0.2"))},
		{"EINVAL PROTO_MISMATCH", message(wire.MsgAdd, esp, addressOf(wire.ExtAddressSrc, "::", 0, 17, 0),
			addressOf(wire.ExtAddressDst, "192.0.2.1", 0, 6, 0))},
		{"EINVAL AF_MISMATCH", message(wire.MsgAdd, esp, addressOf(wire.ExtAddressSrc, "2001:db8::2", 0, 17, 0),
			addressOf(wire.ExtAddressDst, "192.0.2.1", 0, 17, 0))},

		// What must be there, in the kernel's order and not the message's.
		{"EINVAL MISSING_SRC", message(wire.MsgGetSPI, esp)},
		{"EINVAL MISSING_DST", message(wire.MsgGetSPI, esp, src("192.0.2.2"))},
		{"EINVAL MISSING_RANGE", message(wire.MsgGetSPI, esp, src("192.0.2.2"), dst("192.0.2.1"))},
		{"EINVAL MISSING_DST", message(wire.MsgUpdate, esp, assoc(espSA))},
		{"EINVAL MISSING_SRC", message(wire.MsgUpdate, esp, dst("192.0.2.1"))},
		{"EINVAL MISSING_SA", message(wire.MsgUpdate, esp, dst("192.0.2.1"), src("192.0.2.2"))},

		// X_INVERSE_ACQUIRE.
		{"EINVAL MISSING_SRC", message(wire.IllumosMsgXInverseAcquire, 0, address(innerDst, "10.0.0.1"))},
		{"EINVAL MISSING_DST", message(wire.IllumosMsgXInverseAcquire, 0, src("192.0.2.2"),
			address(innerDst, "10.0.0.1"))},
		{"EINVAL MISSING_INNER_SRC", message(wire.IllumosMsgXInverseAcquire, 0, src("192.0.2.2"), dst("192.0.2.1"),
			address(innerDst, "10.0.0.1"))},
		{"EINVAL BAD_SRC", message(wire.IllumosMsgXInverseAcquire, 0, badFamily(wire.ExtAddressSrc),
			badFamily(wire.ExtAddressDst))},
		{"EINVAL BAD_DST", message(wire.IllumosMsgXInverseAcquire, 0, src("192.0.2.2"), badFamily(wire.ExtAddressDst))},
		{"EINVAL MALFORMED_INNER_SRC", message(wire.IllumosMsgXInverseAcquire, 0, src("192.0.2.1"), dst("192.0.2.2"),
			badFamily(innerSrc), badFamily(innerDst))},
		{"EINVAL MALFORMED_INNER_DST", message(wire.IllumosMsgXInverseAcquire, 0, src("192.0.2.1"), dst("192.0.2.2"),
			address(innerSrc, "10.0.0.1"), badFamily(innerDst))},
	} {
		k := newTalk(t, engine.Options{})
		got := k.ask(tt.msg)
		if len(got) != 1 || outcome(got[0]) != tt.want {
			t.Errorf("%s:\n%d answers, %s, want %s", d.Line(tt.msg), len(got), outcome(slices.Concat(got...)), tt.want)
		}
	}
}

// Opening looks at the type, then the protocol, then the privilege.
func TestOrderOfOpen(t *testing.T) {
	e := newTalk(t, engine.Options{}).e
	for _, tt := range []struct {
		typ, proto int
		privileged bool
		want       wire.Errno
	}{
		{1, 9, false, wire.ESOCKTNOSUPPORT}, {3, 9, false, wire.EPROTONOSUPPORT}, {3, 2, false, wire.EPERM},
		{3, 2, true, wire.OK},
	} {
		s, errno := e.Open(pfkey.Cred{Privileged: tt.privileged}, tt.typ, tt.proto)
		if errno != tt.want {
			t.Errorf("type %d, protocol %d: %v, want %v", tt.typ, tt.proto, errno, tt.want)
		}
		if s != nil {
			s.Close()
		}
	}
}

// A DEAD SA, still there: its label is looked at first.
func TestOrderOfUpdate(t *testing.T) {
	k := newTalk(t, engine.Options{})
	add := []ext{src("192.0.2.2"), dst("192.0.2.1"), assoc(ahSA)}
	k.must(message(wire.MsgAdd, wire.SATypeAH,
		append(add, authExt, lifetime(wire.ExtLifetimeHard, wire.Lifetime{AddTime: 1}))...))
	k.e.MoveClock(k.e.Now().Add(8 * time.Second))
	k.e.Age()
	messages(k.s)
	for _, tt := range []struct {
		want string
		msg  []byte
	}{
		{"EINVAL BAD_LABEL", message(wire.MsgUpdate, wire.SATypeAH, append(add, empty(wire.ExtSensitivity))...)},
		{"ESRCH", message(wire.MsgUpdate, wire.SATypeAH, add...)},
	} {
		if got := k.ask(tt.msg); len(got) != 1 || outcome(got[0]) != tt.want {
			t.Errorf("%s, want %s", outcome(slices.Concat(got...)), tt.want)
		}
	}
}

// An extended REGISTER of a socket that has registered for a type is EBUSY; the original goes on with a message that it
// has freed.
func TestExtendedRegisterTwice(t *testing.T) {
	k := newTalk(t, engine.Options{})
	k.must(message(wire.MsgRegister, wire.SATypeESP))
	got := k.ask(message(wire.MsgRegister, wire.SATypeUnspec, func(b []byte) []byte {
		return d.AppendEReg(b, wire.EReg{Types: []wire.SAType{wire.SATypeAH}})
	}))
	if len(got) != 1 || outcome(got[0]) != "EBUSY" {
		t.Errorf("%d answers, %s", len(got), outcome(slices.Concat(got...)))
	}
}

// An ADD that fails takes the packets of the ACQUIRE it answers along, and none where there is no such ACQUIRE.
func TestFailedAnswer(t *testing.T) {
	k := newPoliced(t, engine.Options{}, "{raddr 192.0.2.2 dir out} ipsec {encr_algs aes encr_auth_algs sha1}")
	add := message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.1"), dst("192.0.2.2"), assoc(espSA), authExt, encryptExt)
	k.must(slices.Clone(add))
	if got := k.ask(withSeq(0x80000005, slices.Clone(add))); len(got) != 1 || outcome(got[0]) != "EEXIST" {
		t.Errorf("no such ACQUIRE: %s", outcome(slices.Concat(got...)))
	}
	k.must(message(wire.MsgDelete, wire.SATypeESP, src("192.0.2.1"), dst("192.0.2.2"), assoc(espSA)))
	other := message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.5"), dst("192.0.2.2"), assoc(espSA), authExt, encryptExt)
	k.must(other)
	var verdicts []packet.Verdict
	k.e.Outbound(&packet.Packet{ID: 1, Data: udp(t, "192.0.2.1", "192.0.2.2", 7, 9),
		Done: func(_ *packet.Packet, v packet.Verdict) { verdicts = append(verdicts, v) }}, "")
	acquire := messages(k.s)
	if len(acquire) != 1 {
		t.Fatalf("%d messages", len(acquire))
	}
	h, _ := d.Header(acquire[0])
	if got := k.ask(withSeq(h.Seq, slices.Clone(add))); len(got) != 1 || outcome(got[0]) != "EEXIST" {
		t.Errorf("%s", outcome(slices.Concat(got...)))
	}
	if len(verdicts) != 2 || verdicts[1].Counter != "sadb_acquire_timeout" {
		t.Errorf("%v", verdicts)
	}
}

// find returns the bytes of an extension, without those that say how long it is.
func find(t testing.TB, msg []byte, typ wire.ExtType) []byte {
	t.Helper()
	x, ok := d.Find(msg, typ)
	if !ok {
		t.Fatalf("no %s in %s", d.ExtName(typ), d.Line(msg))
	}
	return x.Raw
}

func get(satype wire.SAType, source, destination string, v wire.SA) []byte {
	return message(wire.MsgGet, satype, src(source), dst(destination), assoc(v))
}

// body is a message without its header.
func body(msg []byte) string { return fmt.Sprintf("%x", msg[wire.HeaderLen:]) }

// An SA with an unspecified source is in both tables. Both of it have everything.
func TestCopies(t *testing.T) {
	k := newTalk(t, engine.Options{})
	gcm := change(espSA, func(s *wire.SA) {
		s.Auth, s.Encrypt, s.Flags = 0, wire.EncAESGCM16,
			wire.IllumosFlagXTunnel|wire.IllumosFlagXInbound|wire.IllumosFlagXOutbound|
				wire.IllumosFlagXNattLoc|wire.IllumosFlagXNattRem
	})
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.5"), dst("192.0.2.1"), gcm,
		key(wire.ExtKeyEncrypt, slices.Concat(encryptKey, []byte("salt")), 0),
		addressOf(wire.IllumosExtXAddressInnerSrc, "10.0.0.0", 0, 0, 8), addressOf(wire.IllumosExtXAddressInnerDst,
			"10.9.0.0", 0, 0, 16),
		addressOf(wire.IllumosExtXAddressNattLoc, "198.51.100.1", 4500, 17, 0),
		addressOf(wire.IllumosExtXAddressNattRem, "198.51.100.2", 4501, 17, 0),
		cookie(1, 77), identity(wire.ExtIdentitySrc, "src.example"), identity(wire.ExtIdentityDst, "dst.example"),
		replayValue(5),
		lifetime(wire.ExtLifetimeHard, wire.Lifetime{Allocations: 9, Bytes: 1000, AddTime: 500, UseTime: 400}),
		lifetime(wire.ExtLifetimeSoft, wire.Lifetime{Allocations: 8, Bytes: 900, AddTime: 300, UseTime: 200}),
		lifetime(wire.IllumosExtXLifetimeIdle, wire.Lifetime{AddTime: 50, UseTime: 40})))
	out := k.must(get(wire.SATypeESP, "192.0.2.5", "192.0.2.1", espSA))
	in := k.must(message(wire.MsgGet, wire.SATypeESP, src("192.0.2.5"), dst("192.0.2.1"),
		change(espSA, func(s *wire.SA) { s.Flags = wire.IllumosFlagXInbound })))
	if d := cmp.Diff(body(out), body(in)); d != "" {
		t.Errorf("outbound and inbound copy (-out +in):\n%s", d)
	}
	for _, typ := range []wire.ExtType{wire.IllumosExtXAddressNattLoc, wire.IllumosExtXAddressInnerSrc,
		wire.IllumosExtXKMCookie, wire.ExtIdentitySrc, wire.ExtIdentityDst,
		wire.IllumosExtXLifetimeIdle, wire.IllumosExtXReplayValue} {
		find(t, in, typ)
	}
	salted, err := d.ParseKey(find(t, in, wire.ExtKeyEncrypt))
	if err != nil || salted.Reserved != 32 {
		t.Errorf("inbound copy: %d bits of salt (%v)", salted.Reserved, err)
	}

	// Each copy has its limits in force, not only in its books: the outbound one alone hears of the idle limit, the
	// soft and the hard one.
	var states []string
	for range 70 {
		k.e.Advance(k.e.Now().Add(8 * time.Second))
		for _, m := range messages(k.s) {
			x, _ := d.ParseSA(find(t, m, wire.ExtSA))
			states = append(states, d.StateName(x.State))
		}
	}
	if want := slices.Index(states, "dying"); want < 1 || states[0] != "mature" || states[len(states)-1] != "dead" {
		t.Errorf("EXPIREs: %v", states)
	}
}

// The two copies of an SA count their own sequence numbers, and GET shows those of the table that it looks in first.
func TestCopiesCount(t *testing.T) {
	h := newHost(t, engine.Options{})
	k := &talk{t, h.e, openSocket(t, h.e)}
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"),
		change(espSA, func(s *wire.SA) { s.Flags = wire.IllumosFlagXInbound | wire.IllumosFlagXOutbound }), authExt,
		encryptExt))
	if v := k.inject(h.sealed(0x1001, 9)); v.Kind != packet.Delivered {
		t.Fatal(v)
	}
	out := k.must(get(wire.SATypeESP, "192.0.2.2", "192.0.2.1", espSA))
	if _, ok := d.Find(out, wire.IllumosExtXReplayValue); ok {
		t.Error("the outbound copy has counted a packet that came in")
	}
	in := k.must(message(wire.MsgGet, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"),
		change(espSA, func(s *wire.SA) { s.Flags = wire.IllumosFlagXInbound })))
	if v, err := d.ParseReplayValue(find(t, in, wire.IllumosExtXReplayValue)); err != nil || v.Replay32 != 9 {
		t.Errorf("the inbound copy shows %d (%v)", v.Replay32, err)
	}
}

// What only proposals show: the tunables of lifetimes.
func TestProposedLifetimes(t *testing.T) {
	tunables := map[string]string{"default_soft_bytes": "11", "default_hard_bytes": "12", "default_soft_addtime": "13",
		"default_hard_addtime": "14",
		"default_soft_usetime": "15", "default_hard_usetime": "16", "ipsecah:default_hard_usetime": "17"}
	for _, tt := range []struct {
		algs    string
		hardUse uint64
	}{{"encr_algs aes encr_auth_algs sha1", 16}, {"auth_algs sha1", 17}} {
		k := newPoliced(t, engine.Options{Tunables: tunables}, "{raddr 192.0.2.2} ipsec {"+tt.algs+"}")
		k.e.Outbound(&packet.Packet{Data: udp(t, "192.0.2.1", "192.0.2.2", 7, 9)}, "")
		v, err := d.ParseProposal(find(t, messages(k.s)[0], wire.ExtProposal))
		if err != nil {
			t.Fatal(err)
		}
		c := v.Combs[0]
		got := []uint64{c.SoftBytes, c.HardBytes, c.SoftAddTime, c.HardAddTime, c.SoftUseTime, c.HardUseTime}
		want := []uint64{11, 12, 13, 14, 15, tt.hardUse}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s, regular (-want +got):\n%s", tt.algs, d)
		}
		k = newPoliced(t, engine.Options{Tunables: tunables}, "{raddr 192.0.2.2} ipsec {"+tt.algs+"}")
		k.extend()
		k.e.Outbound(&packet.Packet{Data: udp(t, "192.0.2.1", "192.0.2.2", 7, 9)}, "")
		e, err := d.ParseEProp(find(t, messages(k.s)[0], wire.IllumosExtXEProp))
		if err != nil {
			t.Fatal(err)
		}
		x := e.Combs[0]
		if d := cmp.Diff(want, []uint64{x.SoftBytes, x.HardBytes, x.SoftAddTime, x.HardAddTime, x.SoftUseTime,
			x.HardUseTime}); d != "" {
			t.Errorf("%s, extended (-want +got):\n%s", tt.algs, d)
		}
	}
}

// Packets of a tunnel-mode SA: only inner addresses of the SA pass, and what goes out has a header that says how long
// it is.
func TestTunnelMode(t *testing.T) {
	k := newPoliced(t, engine.Options{},
		tunnels+"{tunnel ip.tun0 negotiate tunnel laddr 10.0.0.0/8} ipsec {encr_algs aes encr_auth_algs sha1}\n"+
			"{tunnel tun6 negotiate tunnel} ipsec {encr_algs aes encr_auth_algs sha1}")
	inner := []ext{addressOf(wire.IllumosExtXAddressInnerSrc, "10.0.0.0", 0, 0, 8),
		addressOf(wire.IllumosExtXAddressInnerDst, "10.9.0.0", 0, 0, 16)}
	k.must(message(wire.MsgAdd, wire.SATypeESP, append(inner, src("192.0.2.1"), dst("192.0.2.2"), assoc(espSA), authExt,
		encryptExt)...))
	k.must(message(wire.MsgAdd, wire.SATypeESP, append(inner, src("2001:db8::1"), dst("2001:db8::2"), assoc(espSA),
		authExt, encryptExt)...))
	back := []ext{addressOf(wire.IllumosExtXAddressInnerSrc, "10.9.0.0", 0, 0, 16),
		addressOf(wire.IllumosExtXAddressInnerDst, "10.0.0.0", 0, 0, 8)}
	k.must(message(wire.MsgAdd, wire.SATypeESP, append(back, src("192.0.2.2"), dst("192.0.2.1"), assoc(espSA), authExt,
		encryptExt)...))
	suite := ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: ipsec.NewKey(encryptKey), MAC: ipsec.HMACSHA1,
		AuthKey: ipsec.NewKey(authKey)}
	far, err := suite.New()
	if err != nil {
		t.Fatal(err)
	}
	for _, tunnel := range []string{"ip.tun0", "tun6"} {
		plain := udp(t, "10.0.0.1", "10.9.0.1", 7, 9)
		v := k.send(plain, tunnel)
		if len(v) != 1 || v[0].Kind != packet.Transmitted {
			t.Fatalf("%s: %v", tunnel, v)
		}
		in, err := ipsec.ParseInbound(v[0].Inner)
		if err != nil || in.End != len(v[0].Inner) {
			t.Fatalf("%s: the packet that goes out is %d bytes and says %d (%v)", tunnel, len(v[0].Inner), in.End, err)
		}
		opened, err := far.OpenESP(nil, in.ESP(v[0].Inner), 0)
		if err != nil || !strings.HasPrefix(string(opened), string(plain)) {
			t.Errorf("%s: opened %x (%v), want %x", tunnel, opened, err, plain)
		}
	}
	if v := k.send(udp(t, "10.0.0.1", "10.8.0.1", 7, 9), "ip.tun0"); v[0].Kind != packet.Held {
		t.Errorf("an inner destination that is not the SA's: %v", v[0].Kind)
	}
	for _, tt := range []struct {
		src, dst string
		want     string
	}{{"10.9.0.1", "10.0.0.1", ""}, {"10.8.0.1", "10.0.0.1", "spd_esp_innermismatch"},
		{"10.9.0.1", "11.0.0.1", "spd_esp_innermismatch"}} {
		inner := udp(t, tt.src, tt.dst, 7, 9)
		pkt, err := far.SealTunnel(nil, inner, &ipsec.Outer{Src: peer, Dst: me}, ipsec.Ports{},
			ipsec.Sealing{SPI: 0x1001, Seq: packetIDs.Add(1), IV: make([]byte, 16)})
		if err != nil {
			t.Fatal(err)
		}
		v := k.inject(pkt)
		if v.Counter != tt.want || tt.want == "" && !slices.Equal(v.Inner, inner) {
			t.Errorf("%s to %s: %v %q %x", tt.src, tt.dst, v.Kind, v.Counter, v.Inner)
		}
	}
	// What is no packet of a tunnel is none of the interface's business, whatever the SA's mode.
	plain := udp(t, "192.0.2.2", "192.0.2.1", 7, 9)
	pkt, err := far.SealTransport(nil, plain, ipsec.Ports{}, ipsec.Sealing{SPI: 0x1001, Seq: packetIDs.Add(1),
		IV: make([]byte, 16)})
	if err != nil {
		t.Fatal(err)
	}
	// The checksum is new.
	if v := k.inject(pkt); v.Kind != packet.Delivered || !slices.Equal(v.Inner[12:], plain[12:]) {
		t.Errorf("transport mode: %v %q %x", v.Kind, v.Counter, v.Inner)
	}
}

// The port that a NAT has given the peer is followed from the number that was stored, but not by who is behind the NAT
// itself.
func TestRenumber(t *testing.T) {
	for _, tt := range []struct {
		name   string
		flags  uint32
		stored uint16
		from   uint16
		want   uint16 // of the paired SA after it
	}{
		{"another port", wire.IllumosFlagXNattRem, 4501, 5555, 5555},
		{"the same port", wire.IllumosFlagXNattRem, 4501, 4501, 4501},
		{"port 0 is 4500", wire.IllumosFlagXNattRem, 0, 4500, 0},
		{"port 0 and another", wire.IllumosFlagXNattRem, 0, 4501, 4501},
		{"on the wire port 0 says nothing", wire.IllumosFlagXNattRem, 4501, 0, 4501},
		{"behind the NAT", wire.IllumosFlagXNattRem | wire.IllumosFlagXNatted, 4501, 5555, 4501},
	} {
		t.Run(tt.name, func(t *testing.T) {
			k := newTalk(t, engine.Options{})
			rem := addressOf(wire.IllumosExtXAddressNattRem, "203.0.113.2", tt.stored, 17, 0)
			in := change(espSA, func(s *wire.SA) { s.Flags |= tt.flags })
			out := change(espSA, func(s *wire.SA) { s.SPI, s.Flags = 0x1002, s.Flags|tt.flags })
			k.must(message(wire.MsgAdd, wire.SATypeESP, in, src("192.0.2.2"), dst("192.0.2.1"), rem, authExt,
				encryptExt))
			k.must(message(wire.MsgAdd, wire.SATypeESP, out, src("192.0.2.1"), dst("192.0.2.2"), rem, authExt,
				encryptExt,
				func(b []byte) []byte { return d.AppendPair(b, wire.Pair{SPI: espSA.SPI}) }))
			suite := ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: ipsec.NewKey(encryptKey),
				MAC: ipsec.HMACSHA1, AuthKey: ipsec.NewKey(authKey)}
			far, err := suite.New()
			if err != nil {
				t.Fatal(err)
			}
			pkt, err := far.SealTransport(nil, udp(t, "192.0.2.2", "192.0.2.1", 7, 9), ipsec.Ports{Src: 9999,
				Dst: 4500},
				ipsec.Sealing{SPI: uint32(espSA.SPI), Seq: 1, IV: make([]byte, 16)})
			if err != nil {
				t.Fatal(err)
			}
			binary.BigEndian.PutUint16(pkt[20:], tt.from)
			if v := k.inject(pkt); v.Kind != packet.Delivered {
				t.Fatalf("%v %q", v.Kind, v.Counter)
			}
			got := k.must(message(wire.MsgGet, wire.SATypeESP, out, src("192.0.2.1"), dst("192.0.2.2")))
			x, ok := d.Find(got, wire.IllumosExtXAddressNattRem)
			if !ok {
				t.Fatal("no NAT-T address")
			}
			if a, err := d.ParseAddress(x.Raw); err != nil || a.Port != tt.want {
				t.Errorf("port %d (%v), want %d", a.Port, err, tt.want)
			}
		})
	}
}

// An SA is chosen for a packet only if it gives what the policy wants, be it made for just this flow or not.
func TestChoice(t *testing.T) {
	const flow = "{raddr 192.0.2.2 dir out} ipsec {encr_algs aes encr_auth_algs sha1 sa unique}"
	from, to := addressOf(wire.ExtAddressSrc, "192.0.2.1", 7, 17, 0), addressOf(wire.ExtAddressDst, "192.0.2.2", 9, 17,
		0)
	for _, tt := range []struct {
		name, policy string
		sa           []ext
		want         packet.Kind
	}{
		{"this flow", flow, []ext{from, to, assoc(espSA), authExt, encryptExt}, packet.Transmitted},
		{"another flow", flow, []ext{addressOf(wire.ExtAddressSrc, "192.0.2.1", 8, 17, 0), to, assoc(espSA), authExt,
			encryptExt}, packet.Held},
		{"another source", flow, []ext{addressOf(wire.ExtAddressSrc, "192.0.2.5", 7, 17, 0), to, assoc(espSA), authExt,
			encryptExt}, packet.Held},
		{"another algorithm", flow,
			[]ext{from, to, change(espSA, func(s *wire.SA) { s.Auth = wire.AuthMD5HMAC }),
				key(wire.ExtKeyAuth, authKey[:16], 0), encryptExt}, packet.Held},
		{"this cookie", "{raddr 192.0.2.2} ipsec {encr_algs aes km_proto ike km_cookie 7}",
			[]ext{from, to, assoc(espSA), authExt, encryptExt, cookie(1, 7)}, packet.Transmitted},
		{"another cookie", "{raddr 192.0.2.2} ipsec {encr_algs aes km_proto ike km_cookie 7}",
			[]ext{from, to, assoc(espSA), authExt, encryptExt, cookie(1, 8)}, packet.Held},
		{"another protocol", "{raddr 192.0.2.2} ipsec {encr_algs aes km_proto ike km_cookie 7}",
			[]ext{from, to, assoc(espSA), authExt, encryptExt, cookie(3, 7)}, packet.Held},
	} {
		k := newPoliced(t, engine.Options{}, tt.policy)
		k.must(message(wire.MsgAdd, wire.SATypeESP, tt.sa...))
		if v := k.send(udp(t, "192.0.2.1", "192.0.2.2", 7, 9), ""); len(v) != 1 || v[0].Kind != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, v, tt.want)
		}
	}
}

// Packets that are none of IPsec's business, and some that are no good.
func TestStrayPackets(t *testing.T) {
	h := newHost(t, engine.Options{})
	k := &talk{t, h.e, openSocket(t, h.e)}
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), assoc(espSA), authExt, encryptExt))
	k.must(message(wire.MsgAdd, wire.SATypeAH, src("192.0.2.2"), dst("192.0.2.1"), assoc(ahSA), authExt))
	stray := udp(t, "192.0.2.2", "192.0.2.1", 7, 9)
	if v := k.inject(stray); v.Kind != packet.Delivered || !slices.Equal(v.Inner, stray) {
		t.Errorf("a packet without IPsec: %v %x", v.Kind, v.Inner)
	}
	fragment := h.sealed(0x1001, 1)
	fragment[6] = 0x20
	summed(fragment)
	if v := k.inject(fragment); v.Reason != packet.Fragment {
		t.Errorf("a fragment: %v", v.Reason)
	}
	// AH that claims to be longer than the packet: the sequence number is looked at first.
	ah := summed(slices.Concat([]byte{0x45, 0, 0, 44, 0, 1, 0, 0, 64, 51, 0, 0}, peer.AsSlice(), me.AsSlice(),
		[]byte{17, 200, 0, 0, 0, 0, 0x10, 1, 0, 0, 0, 0}, make([]byte, 12)))
	if v := k.inject(ah); v.Counter != "ah_early_replay" {
		t.Errorf("AH, number 0, too long: %v %q", v.Reason, v.Counter)
	}
	ah[31] = 1
	if v := k.inject(ah); v.Counter != "ah_nomem" {
		t.Errorf("AH, too long: %v %q", v.Reason, v.Counter)
	}
}

// An SA behind a NAT takes only packets that come in UDP, and looks at that first.
func TestNATOnly(t *testing.T) {
	h := newHost(t, engine.Options{})
	k := &talk{t, h.e, openSocket(t, h.e)}
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"),
		change(espSA, func(s *wire.SA) { s.Flags = wire.IllumosFlagXNattRem }), authExt, encryptExt,
		addressOf(wire.IllumosExtXAddressNattRem, "198.51.100.2", 4501, 17, 0)))
	if v := k.inject(h.sealed(0x1001, 0)); v.Counter != "esp_no_sa" {
		t.Errorf("%v %q", v.Reason, v.Counter)
	}
}

// A keepalive comes from the port that key management named.
func TestKeepalivePorts(t *testing.T) {
	k := newTalk(t, engine.Options{})
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.1"), dst("192.0.2.2"),
		change(espSA, func(s *wire.SA) { s.Flags = wire.IllumosFlagXNattLoc | wire.IllumosFlagXNattRem }), authExt,
		encryptExt,
		addressOf(wire.IllumosExtXAddressNattLoc, "198.51.100.1", 4502, 17, 0),
		addressOf(wire.IllumosExtXAddressNattRem, "198.51.100.2", 4501, 17, 0)))
	var sent [][]byte
	defer k.e.Ledger().Watch(func(_ *packet.Packet, v packet.Verdict) { sent = append(sent, v.Inner) })()
	k.e.Advance(k.e.Now().Add(8 * time.Second))
	if len(sent) != 1 {
		t.Fatalf("%d packets", len(sent))
	}
	if got := binary.BigEndian.Uint32(sent[0][20:]); got != 4502<<16|4501 {
		t.Errorf("from port %d to port %d", got>>16, got&0xffff)
	}
}

// Two packets reach the hard limit before it is noticed: one EXPIRE.
func TestOneExpire(t *testing.T) {
	h := newHost(t, engine.Options{})
	k := &talk{t, h.e, openSocket(t, h.e)}
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), assoc(espSA), authExt, encryptExt,
		lifetime(wire.ExtLifetimeHard, wire.Lifetime{Bytes: 10})))
	first, second := h.sealed(0x1001, 1), h.sealed(0x1001, 2)
	h.e.Do(func() {
		k.inject(first)
		k.inject(second)
	})
	if got := messages(k.s); len(got) != 1 || got[0][1] != byte(wire.MsgExpire) {
		t.Errorf("%d messages", len(got))
	}
}

// The idle limit in force is the shorter one of an UPDATE; its EXPIRE shows both.
func TestIdleLimits(t *testing.T) {
	k := newTalk(t, engine.Options{})
	id := []ext{src("192.0.2.2"), dst("192.0.2.1"), assoc(ahSA)}
	k.must(message(wire.MsgAdd, wire.SATypeAH, append(id, authExt)...))
	k.must(message(wire.MsgUpdate, wire.SATypeAH,
		append(id, lifetime(wire.IllumosExtXLifetimeIdle, wire.Lifetime{AddTime: 100, UseTime: 50}))...))
	k.e.Advance(k.e.Now().Add(48 * time.Second))
	if got := messages(k.s); len(got) != 0 {
		t.Errorf("after 48 s: %s", d.Line(got[0]))
	}
	k.e.Advance(k.e.Now().Add(8 * time.Second))
	got := messages(k.s)
	if len(got) != 1 {
		t.Fatalf("after 56 s: %d messages", len(got))
	}
	if v, err := d.ParseLifetime(find(t, got[0], wire.IllumosExtXLifetimeIdle)); err != nil ||
		v != (wire.Lifetime{AddTime: 100, UseTime: 50}) {
		t.Errorf("%+v (%v)", v, err)
	}
}

// Passes of the ager come in steps of its interval from the start on.
func TestPassesFromStart(t *testing.T) {
	start := time.Date(2014, 1, 1, 0, 0, 3, 0, time.UTC)
	k := newTalk(t, engine.Options{Start: start})
	k.must(message(wire.MsgGetSPI, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), func(b []byte) []byte {
		return d.AppendSPIRange(b, wire.SPIRange{Min: 1, Max: 1})
	}))
	if next, ok := k.e.Next(); !ok || !next.Equal(start.Add(96*time.Second)) {
		t.Errorf("next pass %v, %v after the start", ok, next.Sub(start))
	}
}

// A DES key is mended in its parity; in place of a weak first key of three stands zero, where the original has memory
// it never wrote.
func TestWeakFirstKey(t *testing.T) {
	k := newTalk(t, engine.Options{})
	three := slices.Concat([]byte{1, 1, 1, 1, 1, 1, 1, 1}, []byte("second k"), []byte("third ke"))
	sa := change(espSA, func(s *wire.SA) { s.Encrypt, s.Auth = wire.Enc3DESCBC, 0 })
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), sa,
		key(wire.ExtKeyEncrypt, three, 0)))
	raw := find(t, k.must(get(wire.SATypeESP, "192.0.2.2", "192.0.2.1", espSA)), wire.ExtKeyEncrypt)
	if !slices.Equal(raw[8:16], make([]byte, 8)) {
		t.Errorf("the first key: %x", raw[8:16])
	}
	if raw[16]&0xfe != 's'&0xfe {
		t.Errorf("the second key: %x", raw[16:24])
	}
}

// X_INVERSE_ACQUIRE looks for the rule of the flow that it describes: of the system going out, of a tunnel coming in.
func TestInverse(t *testing.T) {
	k := newPoliced(t, engine.Options{}, tunnels+`
		{laddr 192.0.2.1 raddr 192.0.2.2} ipsec {auth_algs sha1}
		{tunnel ip.tun0 negotiate tunnel laddr 10.0.0.0/8 lport 7 rport 9 ulp udp} ipsec {encr_algs aes}
		{tunnel tun6 negotiate tunnel laddr 10.0.0.0/8 dir out} ipsec {encr_algs aes}`)
	isrc, idst := wire.IllumosExtXAddressInnerSrc, wire.IllumosExtXAddressInnerDst
	outer := []ext{addressOf(wire.ExtAddressSrc, "192.0.2.1", 0, 4, 0), addressOf(wire.ExtAddressDst, "192.0.2.2", 0, 4,
		0)}
	for _, tt := range []struct {
		name, want string
		exts       []ext
	}{
		{"system", "ok", []ext{src("192.0.2.1"), dst("192.0.2.2")}},
		{"another source", "ENOENT", []ext{src("192.0.2.5"), dst("192.0.2.2")}},
		{"tunnel", "ok", append(outer, addressOf(isrc, "10.0.0.1", 7, 17, 32), addressOf(idst, "10.9.0.1", 9, 17, 32))},
		{"tunnel, another port", "ENOENT", append(outer, addressOf(isrc, "10.0.0.1", 8, 17, 32),
			addressOf(idst, "10.9.0.1", 9, 17, 32))},
		{"tunnel, another remote port", "ENOENT", append(outer, addressOf(isrc, "10.0.0.1", 7, 17, 32),
			addressOf(idst, "10.9.0.1", 8, 17, 32))},
		{"tunnel, another protocol", "ENOENT", append(outer, addressOf(isrc, "10.0.0.1", 7, 6, 32),
			addressOf(idst, "10.9.0.1", 9, 6, 32))},
		{"a rule for packets that go out only", "ENOENT", []ext{addressOf(wire.ExtAddressSrc, "2001:db8::1", 0, 4, 0),
			addressOf(wire.ExtAddressDst, "2001:db8::2", 0, 4, 0),
			addressOf(isrc, "10.0.0.1", 0, 0, 32), addressOf(idst, "10.9.0.1", 0, 0, 32)}},
	} {
		got := k.ask(message(wire.IllumosMsgXInverseAcquire, 0, slices.Clone(tt.exts)...))
		if len(got) != 1 || outcome(got[0]) != tt.want {
			t.Errorf("%s: %d answers, %s, want %s", tt.name, len(got), outcome(slices.Concat(got...)), tt.want)
		}
	}
}

// An IDLE SA keeps packets; taken over by this node, it delivers them.
func TestIdleTakenOver(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.e.Kernel().(*illumos.Kernel).SetCluster(true)
	k := &talk{t, h.e, openSocket(t, h.e)}
	elsewhere := change(espSA, func(s *wire.SA) { s.State = wire.IllumosStateXActiveElsewhere })
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), elsewhere, authExt, encryptExt,
		lifetime(wire.ExtLifetimeHard, wire.Lifetime{AddTime: 1000}), lifetime(wire.IllumosExtXLifetimeIdle,
			wire.Lifetime{AddTime: 8})))
	k.e.Advance(k.e.Now().Add(16 * time.Second))
	verdicts := h.inject(0x1001, 1)
	if v := <-verdicts; v.Kind != packet.Queued {
		t.Fatalf("%v %q", v.Kind, v.Counter)
	}
	k.must(message(wire.MsgUpdate, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"),
		change(espSA, func(s *wire.SA) { s.State = wire.IllumosStateXActive })))
	if v := <-verdicts; v.Kind != packet.Delivered || !slices.Equal(v.Inner[12:], plain[12:]) {
		t.Errorf("%v %x, want %x", v.Kind, v.Inner, plain)
	}
}

func TestStatus(t *testing.T) {
	start := time.Unix(1_400_000_000, 0)
	k := newPoliced(t, engine.Options{Start: start},
		"{raddr 192.0.2.9 dir out} ipsec {encr_algs aes encr_auth_algs sha1}")
	k.must(message(wire.MsgXPromisc, 1))
	other, errno := k.e.Open(pfkey.Cred{Privileged: true, PID: 77}, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	for _, msg := range [][]byte{message(wire.MsgXPromisc, 1), message(wire.MsgRegister, 0)} {
		// the second fails, and extends the socket
		if errno := other.Send(msg, pfkey.Cred{Privileged: true}); errno != wire.OK {
			t.Fatal(errno)
		}
	}
	messages(other)
	if errno := other.SetOption(pfkey.OptionUseLoopback, 0); errno != wire.OK {
		t.Fatal(errno)
	}
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.1"), dst("192.0.2.2"), assoc(espSA), authExt, encryptExt,
		lifetime(wire.ExtLifetimeHard, wire.Lifetime{AddTime: 1000})))
	k.must(message(wire.MsgGetSPI, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), func(b []byte) []byte {
		return d.AppendSPIRange(b, wire.SPIRange{Min: 0x2002, Max: 0x2002})
	}))
	h := newHost(t, engine.Options{}) // for its keys
	early := h.sealed(0x2002, 1)
	k.e.Inbound(&packet.Packet{ID: 41, Data: early})
	outbound := udp(t, "192.0.2.1", "192.0.2.9", 7, 9)
	k.e.Outbound(&packet.Packet{ID: 42, Data: outbound}, "")
	messages(k.s)
	st := k.e.Status(0)
	want := status.Engine{
		SACount: 2,
		SAs: []status.SA{
			{Type: "esp", SPI: "0x1001", Src: "192.0.2.1", Dst: "192.0.2.2", State: "mature", Direction: "outbound",
				Auth: "hmac-sha1", Encrypt: "aes-cbc",
				Added: 1_400_000_000, Expires: 1_400_001_000},
			{Type: "esp", SPI: "0x2002", Src: "192.0.2.2", Dst: "192.0.2.1", State: "larval", Direction: "inbound",
				Expires: 1_400_000_090,
				Held:    []status.Packet{{ID: 41, Bytes: len(early)}}},
		},
		Acquires: []status.Acquire{{Type: "esp", Seq: 0xfffffffe, Src: "192.0.2.1", Dst: "192.0.2.9",
			Expires: 1_400_000_015,
			Held:    []status.Packet{{ID: 42, Bytes: len(outbound)}}}},
		Sockets: []status.Socket{{Number: 1, PID: 1234, Registered: []string{"ah", "esp"},
			Flags: []string{"promisc"}}, {Number: 2, PID: 77, Flags: []string{"promisc", "extended", "no-loopback"}}},
	}
	got := status.Engine{SACount: st.SACount, SAs: st.SAs, Acquires: st.Acquires, Sockets: st.Sockets}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("status (-want +got):\n%s", d)
	}
}

// The policy calls refuse what makes no sense, and name it.
func TestPolicyCalls(t *testing.T) {
	k := newTalk(t, engine.Options{}).e.Kernel().(*illumos.Kernel)
	a, six := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for _, tt := range []struct {
		err  error
		want string
	}{
		{k.AddPolicy([]spd.Tunnel{{Name: "t", Src: a, Dst: a}}, nil), "<nil>"},
		{k.AddPolicy([]spd.Tunnel{{Name: "t", Src: a}}, nil), `illumos: there is a tunnel "t" already`},
		{k.AddPolicy([]spd.Tunnel{{Name: "u", Src: a, Dst: six}}, nil),
			`illumos: tunnel "u": its two addresses must be of one family`},
		{k.AddPolicy([]spd.Tunnel{{Src: a, Dst: a}}, nil), "illumos: a tunnel needs a name"},
		{k.AddPolicy(nil, []spd.Rule{{Src: netip.PrefixFrom(a, 32), Dst: netip.PrefixFrom(six, 128)}}),
			"illumos: a rule needs an action"},
		{k.AddPolicy(nil, []spd.Rule{{Src: netip.PrefixFrom(a, 32), Dst: netip.PrefixFrom(six, 128),
			Actions: []spd.Action{{}}}}),
			"illumos: rule from 192.0.2.1/32 to 2001:db8::1/128: two address families"},
		{k.AddPolicy(nil, []spd.Rule{{Tunnel: "v", Actions: []spd.Action{{}}}}), `illumos: there is no tunnel "v"`},
	} {
		if fmt.Sprint(tt.err) != tt.want {
			t.Errorf("%v, want %s", tt.err, tt.want)
		}
	}
}

// Of a cookie only 32 bits count, whatever the protocol, but the echo has it as it was sent.
func TestCookieEcho(t *testing.T) {
	k := newTalk(t, engine.Options{})
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), assoc(espSA), authExt, encryptExt))
	for _, proto := range []uint32{wire.IllumosKMPIKE, 3} {
		for _, sent := range [][]byte{
			message(wire.MsgDelete, wire.SATypeESP, dst("192.0.2.2"), cookie(proto, 1<<40|5)),
			message(wire.MsgUpdate, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), assoc(espSA), cookie(proto,
				1<<40|5)),
		} {
			if got := k.must(sent); !slices.Equal(got, sent) {
				t.Errorf("protocol %d: %x\nechoed as\n%x", proto, sent, got)
			}
		}
	}
}

// X_INVERSE_ACQUIRE is told of a policy as a whole: the last window that an alternative names, flows of their own if
// any wants them, and no inner addresses for a second header between the packet's own ones.
func TestInverseOfAlternatives(t *testing.T) {
	k := newTalk(t, engine.Options{})
	esp := spd.Action{AH: spd.NotUsed, ESP: 12, ESPAuth: 3}
	first, second, third := esp, esp, esp
	first.Type, first.Replay, first.SelfEncap = spd.Bypass, 99, true
	second.Replay, second.Unique = 16, true
	third.Replay = 48
	if err := k.e.Kernel().(*illumos.Kernel).AddPolicy(nil, []spd.Rule{{Dir: spd.Out,
		Actions: []spd.Action{first, second, third}}}); err != nil {
		t.Fatal(err)
	}
	got := k.must(message(wire.IllumosMsgXInverseAcquire, wire.SATypeESP,
		addressOf(wire.ExtAddressSrc, "192.0.2.1", 7, 17, 0), addressOf(wire.ExtAddressDst, "192.0.2.2", 9, 17, 0)))
	x, ok := d.Find(got, wire.IllumosExtXEProp)
	if !ok || x.Raw[4] != 48 {
		t.Errorf("window %d (%v), want 48", x.Raw[4], ok)
	}
	if x, _ = d.Find(got, wire.ExtAddressSrc); binary.BigEndian.Uint16(x.Raw[10:]) != 7 {
		t.Errorf("source %x, want port 7", x.Raw)
	}
	if _, inner := d.Find(got, wire.IllumosExtXAddressInnerSrc); inner {
		t.Error("inner addresses")
	}
}

// An IPv4 address of NAT traversal is told as an IPv6 one beside such addresses, with what lies behind it in the
// original's SA.
func TestNATAddressesBetweenIPv6(t *testing.T) {
	k := newTalk(t, engine.Options{})
	k.must(message(wire.MsgAdd, wire.SATypeESP, src("2001:db8::2"), dst("2001:db8::1"),
		change(espSA,
			func(s *wire.SA) { s.Flags = wire.IllumosFlagXNattLoc | wire.IllumosFlagXNattRem }), authExt, encryptExt,
		addressOf(wire.IllumosExtXAddressNattLoc, "203.0.113.1", 4500, 17,
			0), addressOf(wire.IllumosExtXAddressNattRem, "203.0.113.2", 4501, 17, 0)))
	got := k.must(message(wire.MsgGet, wire.SATypeESP, src("2001:db8::2"), dst("2001:db8::1"), assoc(espSA)))
	loc, rem := []byte{203, 0, 113, 1}, []byte{203, 0, 113, 2}
	zero, rawKey := make([]byte, 4), make([]byte, 4)
	d.Order.PutUint32(rawKey, 1)
	for typ, want := range map[wire.ExtType][]byte{
		wire.IllumosExtXAddressNattLoc: slices.Concat(loc, rem, zero, rawKey),
		wire.IllumosExtXAddressNattRem: slices.Concat(rem, zero, rawKey, zero),
	} {
		x, ok := d.Find(got, typ)
		if !ok || len(x.Raw) != 40 || !slices.Equal(x.Raw[16:32], want) {
			t.Errorf("%v: %x, want the address %x", typ, x.Raw, want)
		}
	}
}
