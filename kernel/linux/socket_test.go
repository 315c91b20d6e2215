package linux_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// seqs lists the sequence numbers of messages of one type, and fails on others.
func (h *host) seqs(msgs [][]byte, typ wire.MsgType) (all []int) {
	h.t.Helper()
	for _, m := range msgs {
		hdr, err := h.d().Header(m)
		if err != nil || hdr.Type != typ || hdr.Errno != 0 {
			h.t.Fatalf("%s", h.d().Line(m))
		}
		all = append(all, int(hdr.Seq))
	}
	return all
}

// TestPacedDump reads a long DUMP through a small buffer, while SAs come and go: each that was there at the beginning
// and still is comes once, and the last message says that it is the last.
func TestPacedDump(t *testing.T) {
	const n = 500
	h := newHost(t, engine.Options{})
	for i := range n {
		h.must(h.sa(association{spi: wire.SPI(0x1000 + i)}))
	}
	reader := h.open()
	if errno := reader.SetOption(pfkey.OptionRecvBuffer, 4096); errno != wire.OK {
		t.Fatal(errno)
	}
	reader.Send(h.bare(wire.MsgDump, 0), privileged)
	reader.Send(h.bare(wire.KAMEMsgXSPDDump, 0), privileged)
	seen := map[wire.SPI]int{}
	var seqs []int
	busy := 0
	buf := make([]byte, 4096)
	for round := 0; ; round++ {
		k, _, errno := reader.Recv(buf, 0)
		if errno != wire.OK {
			break
		}
		hdr, _ := h.d().Header(buf[:k])
		switch {
		case hdr.Type == wire.KAMEMsgXSPDDump && hdr.Errno == h.d().ErrnoNumber(wire.EBUSY):
			busy++
			continue
		case hdr.Type != wire.MsgDump:
			continue // what happens meanwhile is told too
		}
		sa, _ := h.d().Find(buf[:k], wire.ExtSA)
		v, _ := h.d().ParseSA(sa.Raw)
		seen[v.SPI]++
		seqs = append(seqs, int(hdr.Seq))
		if round == 10 { // one that is yet to come goes, and a new one comes
			h.send(h.sa(association{typ: wire.MsgDelete, spi: 0x1000 + 7}))
			h.send(h.sa(association{spi: 0x9000}))
		}
	}
	if busy != 1 {
		t.Errorf("%d answers that it is busy, want 1", busy)
	}
	for i := range n {
		if spi, want := wire.SPI(0x1000+i), 1; seen[spi] != want && i != 7 || i == 7 && seen[spi] != 0 {
			t.Errorf("SPI %v came %d times", spi, seen[spi])
		}
	}
	if seen[0x9000] != 0 {
		t.Error("an SA that was added meanwhile came too")
	}
	for i, seq := range seqs[:len(seqs)-1] {
		if seq != i+1 {
			t.Fatalf("message %d has number %d", i, seq)
		}
	}
	if seqs[len(seqs)-1] != 0 {
		t.Errorf("the last message has number %d", seqs[len(seqs)-1])
	}
	// It is over: the next one is answered.
	reader.Send(h.bare(wire.KAMEMsgXSPDDump, 0), privileged)
	if got := read(reader); len(got) != 1 || got[0][2] != h.d().ErrnoNumber(wire.ENOENT) {
		t.Errorf("the next dump: %d messages", len(got))
	}
}

// TestInterruptedDump: a dump ends with its socket, and FLUSH during one ends it with what was shown.
func TestInterruptedDump(t *testing.T) {
	h := newHost(t, engine.Options{})
	for i := range 100 {
		h.must(h.sa(association{spi: wire.SPI(0x1000 + i)}))
	}
	reader := h.open()
	reader.SetOption(pfkey.OptionRecvBuffer, 4096)
	reader.Send(h.bare(wire.MsgDump, 0), privileged)
	reader.Close()
	reader = h.open()
	reader.SetOption(pfkey.OptionRecvBuffer, 4096)
	reader.Send(h.bare(wire.MsgDump, 0), privileged)
	h.send(h.bare(wire.MsgFlush, 0))
	var seqs []int
	for _, m := range read(reader) {
		if hdr, _ := h.d().Header(m); hdr.Type == wire.MsgDump {
			seqs = append(seqs, int(hdr.Seq))
		}
	}
	if len(seqs) == 0 || len(seqs) == 100 || seqs[len(seqs)-1] != 0 {
		t.Errorf("numbers %v", seqs)
	}
}

func TestOptionsAndTunables(t *testing.T) {
	h := newHost(t, engine.Options{Tunables: map[string]string{"net/core/rmem_default": "5000",
		"net.core.xfrm_acq_expires": "2"}})
	get := func(o pfkey.Option) int {
		t.Helper()
		v, errno := h.s.GetOption(o)
		if errno != wire.OK {
			t.Fatal(errno)
		}
		return v
	}
	if got := get(pfkey.OptionRecvBuffer); got != 5000 {
		t.Errorf("SO_RCVBUF %d at first", got)
	}
	for set, want := range map[int]int{1: 2304, 4096: 8192, -1: 425984, 1 << 30: 425984} {
		if errno := h.s.SetOption(pfkey.OptionRecvBuffer, set); errno != wire.OK ||
			get(pfkey.OptionRecvBuffer) != want {
			t.Errorf("SO_RCVBUF %d became %d, want %d (%v)", set, get(pfkey.OptionRecvBuffer), want, errno)
		}
	}
	if got := get(pfkey.OptionType); got != 3 {
		t.Errorf("SO_TYPE %d", got)
	}
	if _, errno := h.s.GetOption(pfkey.OptionUnknown); errno != wire.ENOPROTOOPT {
		t.Errorf("an unknown option: %v", errno)
	}
	h.must(h.bare(wire.MsgRegister, wire.SATypeAH))
	h.must(h.getSPI(0x1000))
	start := h.e.Now()
	h.e.Advance(start.Add(2*time.Second - time.Millisecond))
	if got := read(h.s); len(got) != 0 {
		t.Errorf("EXPIRE too early")
	}
	h.e.Advance(start.Add(2 * time.Second))
	if diff := cmp.Diff([]int{0}, h.seqs(read(h.s), wire.MsgExpire)); diff != "" {
		t.Error(diff)
	}
	for _, tt := range [][2]string{{"net.core.nothing", "1"}, {"net.core.rmem_default", "1"},
		{"net.core.xfrm_acq_expires", "soon"}, {"net.core.rmem_max", "0x10000"}} {
		if _, err := kernels.New("linux", engine.Options{Tunables: map[string]string{tt[0]: tt[1]}}); err == nil {
			t.Errorf("%s=%s is accepted", tt[0], tt[1])
		}
	}
	padded := newHost(t, engine.Options{Tunables: map[string]string{"net.core.rmem_default": "03000"}})
	if got, _ := padded.s.GetOption(pfkey.OptionRecvBuffer); got != 3000 {
		t.Errorf("rmem_default=03000 is %d, want a decimal number", got)
	}
	for _, test := range []struct {
		name  string
		value int
		want  wire.Errno
	}{{"net/core/xfrm_acq_expires", 1, wire.OK}, {"net/core/xfrm_acq_expires", -1, wire.EINVAL},
		{"net/core/what", 1, wire.ENOENT}} {
		if got := h.k.Sysctl(test.name, test.value); got != test.want {
			t.Errorf("sysctl %s=%d: %v, want %v", test.name, test.value, got, test.want)
		}
	}
	if _, err := kernels.New("linux", engine.Options{Fault: "larval-unlocked"}); err == nil {
		t.Error("a fault of the larval queue is accepted")
	}
}

// TestLifetimesOfYears lets long limits pass in no time, and none that no clock can show does harm.
func TestLifetimesOfYears(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
	h.must(h.sa(association{spi: 1, soft: &wire.Lifetime{AddTime: 1 << 27}, hard: &wire.Lifetime{AddTime: 1 << 28}}))
	h.must(h.sa(association{spi: 2, hard: &wire.Lifetime{AddTime: 1 << 62}}))
	h.must(h.sa(association{spi: 3, hard: &wire.Lifetime{AddTime: 3 << 62}}))
	start := h.e.Now()
	h.e.Advance(start.Add(10 * 365 * 24 * time.Hour))
	got := h.seqs(read(h.s), wire.MsgExpire)
	if len(got) != 3 {
		t.Errorf(
			"%d EXPIREs, want soft and hard of the first, and hard of the last, whose limit is negative in the original", len(got))
	}
	if st := h.e.Status(0); st.SACount != 1 {
		t.Errorf("%d SAs", st.SACount)
	}
}

// TestDumpOfWhatCannotBeSaid: a policy with a mode that PF_KEY has no number for ends a SPDDUMP. The message that was
// held back comes as the last one, with the negative error in its byte, and behind it the error.
func TestDumpOfWhatCannotBeSaid(t *testing.T) {
	h := newHost(t, engine.Options{})
	const routeOptimization = 2
	if errno := h.k.AddOutputPolicy(linux.OutputPolicy{Src: me, Dst: peer, Proto: protoESP,
		Mode: routeOptimization}); errno != wire.OK {
		t.Fatal(errno)
	}
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: third, req: transport(protoESP)}))
	h.send(h.bare(wire.KAMEMsgXSPDDump, 0))
	got := read(h.s)
	if len(got) != 2 {
		t.Fatalf("%d messages, want 2", len(got))
	}
	einval := h.d().ErrnoNumber(wire.EINVAL)
	if first := got[0]; first[2] != -einval || first[8] != 0 || len(first) <= wire.HeaderLen {
		t.Errorf("held back: %s", h.d().Line(first))
	}
	if last := got[1]; last[2] != einval || len(last) != wire.HeaderLen {
		t.Errorf("at the end: %s", h.d().Line(last))
	}
}
