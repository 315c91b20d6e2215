package netbsd_test

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
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

var _ engine.PolicyTaker = (*kame.Kernel)(nil)

// system is a running NetBSD with one socket.
type system struct {
	t testing.TB
	e *engine.Engine
	k *kame.Kernel
	d *wire.Dialect
	s pfkey.Socket

	buf [4096]byte
}

func boot(t testing.TB) *system {
	t.Helper()
	e, err := kernels.New("netbsd", engine.Options{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
	if err != nil {
		t.Fatal(err)
	}
	s := &system{t: t, e: e, k: e.Kernel().(*kame.Kernel), d: e.Dialect()}
	s.s = s.open()
	return s
}

func (s *system) open() pfkey.Socket {
	s.t.Helper()
	socket, errno := s.e.Open(pfkey.Cred{Privileged: true}, 3, 0)
	if errno != wire.OK {
		s.t.Fatal(errno)
	}
	return socket
}

// read takes all messages that wait in a socket.
func (s *system) read(from pfkey.Socket) (msgs [][]byte) {
	for {
		n, _, errno := from.Recv(s.buf[:], 0)
		if errno != wire.OK {
			return msgs
		}
		msgs = append(msgs, slices.Clone(s.buf[:n]))
	}
}

// lines tells messages one a line.
func (s *system) lines(msgs [][]byte) (lines []string) {
	for _, m := range msgs {
		lines = append(lines, s.d.Line(m))
	}
	return lines
}

// ask sends a message and reads what comes of it on the socket.
func (s *system) ask(msg []byte) [][]byte {
	s.t.Helper()
	if errno := s.s.Send(msg, pfkey.Cred{Privileged: true}); errno != wire.OK {
		s.t.Fatalf("send: %v", errno)
	}
	return s.read(s.s)
}

// message is one of a type with extensions.
func (s *system) message(t wire.MsgType, st wire.SAType, exts ...[]byte) []byte {
	b := s.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: t, SAType: st, Seq: 7, PID: 8})
	for _, x := range exts {
		b = append(b, x...)
	}
	return s.d.Finish(b)
}

// ends are the address extensions from 192.0.2.1 to 192.0.2.last.
func (s *system) ends(last byte) []byte {
	b := s.d.AppendAddress(nil, wire.ExtAddressSrc, wire.Address{Proto: 255, PrefixLen: 32,
		Addr: netip.MustParseAddr("192.0.2.1")})
	return s.d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Proto: 255, PrefixLen: 32,
		Addr: netip.AddrFrom4([4]byte{192, 0, 2, last})})
}

// policy is an X_POLICY for packets that leave. It may have requests.
func (s *system) policy(t wire.PolicyType, requests ...wire.IPsecRequest) []byte {
	return s.d.AppendPolicy(nil, wire.Policy{Type: t, Direction: wire.KAMEDirOut, Requests: requests})
}

var espTransport = wire.IPsecRequest{Proto: 50, Mode: wire.ModeTransport, Level: wire.KAMELevelRequire}

// listed are the policies of a DUMP: their ids in its order.
func (s *system) listed() (ids []uint32) {
	s.t.Helper()
	for _, m := range s.ask(s.message(wire.KAMEMsgXSPDDump, wire.SATypeUnspec)) {
		if x, ok := s.d.Find(m, wire.KAMEExtXPolicy); ok {
			v, err := s.d.ParsePolicy(x.Raw)
			if err != nil {
				s.t.Fatal(err)
			}
			ids = append(ids, v.ID)
		}
	}
	return ids
}

func errnoOf(msgs [][]byte) int {
	if len(msgs) == 0 {
		return -1
	}
	return int(msgs[len(msgs)-1][2])
}

// TestPolicyFile: a file of policies is taken whole or not at all, and what is wrong is named with file and line.
func TestPolicyFile(t *testing.T) {
	s := boot(t)
	const file = `spdflush;
spdadd 192.0.2.1 192.0.2.2 any -P out ipsec esp/transport//require;
spdadd 10.0.0.0/8 10.1.0.0/16[80] tcp -P in prio high
	ipsec esp/tunnel/192.0.2.2-192.0.2.1/unique ah/transport//use;
`
	if err := kernels.LoadPolicy(s.e, strings.NewReader(file), "ipsec.conf"); err != nil {
		t.Fatal(err)
	}
	if got := len(s.read(s.s)); got != 2 {
		t.Errorf("%d messages, want one for each policy", got)
	}
	// Packets that come in are listed first, and none has a priority here.
	want := []string{
		"X_SPDDUMP unspec seq=1 pid=8 src=10.0.0.0/8,proto:tcp dst=10.1.0.0/16,port:80,proto:tcp " +
			"policy=ipsec,in,id:2,esp/tunnel/192.0.2.2-192.0.2.1/unique:16385,ah/transport//use",
		"X_SPDDUMP unspec seq=0 pid=8 src=192.0.2.1,proto:any dst=192.0.2.2,proto:any " +
			"policy=ipsec,out,id:1,esp/transport//require",
	}
	if diff := cmp.Diff(want, s.lines(s.ask(s.message(wire.KAMEMsgXSPDDump, wire.SATypeUnspec)))); diff != "" {
		t.Errorf("policies (-want +got):\n%s", diff)
	}
	for text, want := range map[string]string{
		"spdadd 192.0.2.1 192.0.2.9 any -P out none;\nspdadd 192.0.2.1 192.0.2.2 any -P out none;": "more:2: " +
			"there is a policy for these packets already",
		"spdadd 192.0.2.1 192.0.2.9 any -P out none;\n\nspdadd 192.0.2.1 192.0.2.3 any -P fwd none;": "more:3: " +
			"netbsd refuses it: EINVAL",
	} {
		if err := kernels.LoadPolicy(s.e, strings.NewReader(text), "more"); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if got := s.listed(); len(got) != 2 {
		t.Errorf("policies %v after files that were refused", got)
	}
	if err := kernels.LoadPolicy(s.e, strings.NewReader("spdupdate 192.0.2.1 192.0.2.2 any -P out none;"),
		"more"); err != nil {
		t.Error(err)
	}
	s.read(s.s)
	if got := s.listed(); !slices.Equal(got, []uint32{2, 3}) {
		t.Errorf("policies %v after one was replaced", got)
	}
	if st := s.e.Status(0); st.PolicyCount != 2 || st.Policies[0].Wants[0] !=
		"esp/tunnel/192.0.2.2-192.0.2.1/unique:16385" || st.Policies[1].Action != "pass" {
		t.Errorf("status: %+v", st.Policies)
	}
}

// TestKernelPolicy: programs see what the kernel has made for itself, and cannot remove it.
func TestKernelPolicy(t *testing.T) {
	s := boot(t)
	msg := s.message(wire.KAMEMsgXSPDAdd, wire.SATypeUnspec, s.policy(wire.KAMEPolicyIPsec, espTransport), s.ends(2))
	if errno := s.k.KernelPolicy(slices.Clone(msg)); errno != wire.OK {
		t.Fatal(errno)
	}
	if errno := s.k.KernelPolicy(slices.Clone(msg)); errno != wire.EINVAL {
		t.Errorf("the same again: %v", errno)
	}
	if errno := s.k.KernelPolicy(msg[:20]); errno != wire.EINVAL {
		t.Errorf("a piece of it: %v", errno)
	}
	s.read(s.s)
	none, named := s.policy(wire.KAMEPolicyNone), s.d.AppendPolicy(nil, wire.Policy{ID: 1})
	for _, test := range []struct {
		name string
		msg  []byte
		want wire.Errno
		left []uint32
	}{
		{"SPDADD", s.message(wire.KAMEMsgXSPDAdd, 0, none, s.ends(2)), wire.EEXIST, []uint32{1}},
		{"SPDUPDATE", s.message(wire.KAMEMsgXSPDUpdate, 0, none, s.ends(2)), wire.OK, []uint32{1, 2}},
		{"SPDDELETE2", s.message(wire.KAMEMsgXSPDDelete2, 0, named), wire.EINVAL, []uint32{1, 2}},
		{"SPDDELETE", s.message(wire.KAMEMsgXSPDDelete, 0, none, s.ends(2)), wire.OK, []uint32{1}},
		{"SPDDELETE again", s.message(wire.KAMEMsgXSPDDelete, 0, none, s.ends(2)), wire.EINVAL, []uint32{1}},
		{"SPDFLUSH", s.message(wire.KAMEMsgXSPDFlush, 0), wire.OK, []uint32{1}},
	} {
		if got := errnoOf(s.ask(test.msg)); got != int(s.d.ErrnoNumber(test.want)) {
			t.Errorf("%s: errno %d, want %v", test.name, got, test.want)
		}
		if got := s.listed(); !slices.Equal(got, test.left) {
			t.Errorf("%s leaves %v, want %v", test.name, got, test.left)
		}
	}
}

// TestRequestBehindTheMessage: addresses of a request that say they go on behind the message are zeros there, not what
// happens to lie in memory.
func TestRequestBehindTheMessage(t *testing.T) {
	s := boot(t)
	x := s.policy(wire.KAMEPolicyIPsec)
	request := []byte{24, 0, 50, 0, 2, 2, 0, 0, 28, 99, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}
	x = append(x, request...)
	binary.NativeEndian.PutUint16(x, uint16(len(x)/8))
	if s.d.Order.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the request is written in little endian")
	}
	if got := errnoOf(s.ask(s.message(wire.KAMEMsgXSPDAdd, 0, s.ends(2), x))); got != 0 {
		t.Fatalf("errno %d", got)
	}
	got := s.ask(s.message(wire.KAMEMsgXSPDGet, 0, s.d.AppendPolicy(nil, wire.Policy{ID: 1})))
	shown, _ := s.d.Find(got[0], wire.KAMEExtXPolicy)
	want := append(slices.Clone(request[8:]), make([]byte, 12+4)...)
	if diff := cmp.Diff(want, shown.Raw[24:]); diff != "" {
		t.Errorf("the addresses (-want +got):\n%s", diff)
	}
}

// TestAcquireFromProgram: the original panics when a program asks for an SA that nobody has. Here all who have
// registered hear of it, twice.
func TestAcquireFromProgram(t *testing.T) {
	s := boot(t)
	other := s.open()
	other.Send(s.message(wire.MsgRegister, wire.SATypeESP), pfkey.Cred{Privileged: true})
	s.read(other)
	proposal := s.d.AppendProposal(nil, wire.Proposal{Replay: 32})
	for _, want := range [][2]uint32{{1, 7}, {7, 0}} { // the second one is held back
		s.ask(s.message(wire.MsgAcquire, wire.SATypeESP, s.ends(2), proposal))
		var seqs [2]uint32
		for i, m := range s.read(other) {
			h, _ := s.d.Header(m)
			seqs[i] = uint32(h.Seq)
		}
		if seqs != want {
			t.Errorf("ACQUIREs with numbers %v, want %v", seqs, want)
		}
	}
	if st := s.e.Status(0); st.AcquireCount != 1 || st.Acquires[0].Dst != "192.0.2.2" {
		t.Errorf("status: %+v", st.Acquires)
	}
	s.e.Advance(s.e.Now().Add(21 * time.Second))
	if st := s.e.Status(0); st.AcquireCount != 0 {
		t.Errorf("records after 21 seconds: %+v", st.Acquires)
	}
}

// TestAcquiresAreBounded: records of ACQUIREs take no more memory than 2^16 of them need.
func TestAcquiresAreBounded(t *testing.T) {
	s := boot(t)
	if testing.Short() {
		t.Skip("it sends 2^16 messages")
	}
	const most = 1 << 16
	proposal := s.d.AppendProposal(nil, wire.Proposal{})
	for i := range most + 10 {
		var exts []byte
		for _, x := range []wire.ExtType{wire.ExtAddressSrc, wire.ExtAddressDst} {
			exts = s.d.AppendAddress(exts, x, wire.Address{PrefixLen: 32,
				Addr: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})})
		}
		s.ask(s.message(wire.MsgAcquire, wire.SATypeESP, exts, proposal))
	}
	if got := s.e.Status(1).AcquireCount; got != most {
		t.Errorf("%d records, want %d", got, most)
	}
}

// TestLooks: packets are compared with policies from the first one on, and for ever.
func TestLooks(t *testing.T) {
	s := boot(t)
	const enabled, used = "net.inet.ipsec.enabled", "net.inet.ipsec.used"
	shows := func(want int64) {
		t.Helper()
		if got, errno := s.k.Sysctl(used); got != want || errno != wire.OK {
			t.Errorf("%s is %d (%v), want %d", used, got, errno, want)
		}
	}
	shows(0)
	s.ask(s.message(wire.KAMEMsgXSPDAdd, 0, s.policy(wire.KAMEPolicyNone), s.ends(2)))
	shows(1)
	if errno := s.k.SetSysctl(enabled, 0); errno != wire.EBUSY {
		t.Errorf("disabled with a policy: %v", errno)
	}
	s.ask(s.message(wire.KAMEMsgXSPDFlush, 0))
	for value, want := range map[int64]wire.Errno{0: wire.OK, -1: wire.EINVAL, 3: wire.EINVAL} {
		if errno := s.k.SetSysctl(enabled, value); errno != want {
			t.Errorf("enabled %d: %v, want %v", value, errno, want)
		}
	}
	shows(1)
}

// TestLooksFromTheBeginning: a tunable that is set before the engine runs says the same as one that is set later.
func TestLooksFromTheBeginning(t *testing.T) {
	for value, want := range map[string]int64{"0": 0, "1": 0, "2": 1} {
		e, err := kernels.New("netbsd", engine.Options{Tunables: map[string]string{"net.inet.ipsec.enabled": value}})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		if got, errno := e.Kernel().(*kame.Kernel).Sysctl("net.inet.ipsec.used"); got != want || errno != wire.OK {
			t.Errorf("enabled %s: used is %d (%v), want %d", value, got, errno, want)
		}
	}
}

// TestPoliciesExpireInOrder: those of one second are told in the order of a DUMP.
func TestPoliciesExpireInOrder(t *testing.T) {
	s := boot(t)
	s.ask(s.message(wire.MsgRegister, wire.SATypeESP))
	hard := s.d.AppendLifetime(nil, wire.ExtLifetimeHard, wire.Lifetime{AddTime: 3})
	for _, dir := range []wire.Direction{wire.KAMEDirOut, wire.KAMEDirIn} {
		for last := range byte(2) {
			x := s.d.AppendPolicy(nil, wire.Policy{Type: wire.KAMEPolicyNone, Direction: dir})
			s.ask(s.message(wire.KAMEMsgXSPDAdd, 0, x, s.ends(2+last), hard))
		}
	}
	s.e.Advance(s.e.Now().Add(3 * time.Second))
	if msgs := s.read(s.s); len(msgs) != 0 {
		t.Errorf("after 3 seconds: %q", s.lines(msgs))
	}
	s.e.Advance(s.e.Now().Add(time.Second))
	var got []string
	for _, m := range s.read(s.s) {
		x, _ := s.d.Find(m, wire.KAMEExtXPolicy)
		v, _ := s.d.ParsePolicy(x.Raw)
		got = append(got, fmt.Sprint(v.ID))
	}
	if diff := cmp.Diff([]string{"3", "4", "1", "2"}, got); diff != "" {
		t.Errorf("policies that expire (-want +got):\n%s", diff)
	}
}
