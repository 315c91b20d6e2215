package linux_test

import (
	"net/netip"
	"runtime"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemoryOfDumps: what waits of a DUMP takes about as much memory as it has bytes.
func TestMemoryOfDumps(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.sa(association{spi: 0x1000}))
	before := heap()
	for range 20 {
		deaf := h.open()
		for range 500 {
			deaf.Send(h.bare(wire.MsgDump, 0), privileged)
		}
	}
	taken, bytes := heap()-before, int64(0)
	for _, s := range h.e.Status(1).Sockets {
		bytes += int64(s.Bytes)
	}
	if bytes < 500_000 || taken > 10*bytes {
		t.Errorf("%d bytes of messages take %d bytes of memory", bytes, taken)
	}
}

// TestPacketsLeaveLittleToDo: however many packets lack an SA while the control lock is held, what they leave to do is
// bounded.
func TestPacketsLeaveLittleToDo(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)}))
	pkt := datagram(me, peer)
	h.e.Do(func() {
		send := func(n int) {
			for range n {
				h.e.Outbound(&packet.Packet{Data: pkt}, "")
			}
		}
		send(70_000)
		before := heap()
		send(100_000)
		if taken := heap() - before; taken > 1_000_000 {
			t.Errorf("100000 more packets leave %d bytes", taken)
		}
	})
	if n := len(h.seqs(read(h.s), wire.MsgAcquire)); n != 1 {
		t.Errorf("%d ACQUIREs", n)
	}
}

// TestStatusListsSomeAcquires: as many as SAs, and their number.
func TestStatusListsSomeAcquires(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
	for _, dst := range []string{"192.0.2.2", "192.0.2.3", "192.0.2.4"} {
		dst := netip.MustParseAddr(dst)
		h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: dst, req: transport(protoESP)}))
		h.outbound(datagram(me, dst))
	}
	for limit, want := range map[int]int{0: 3, 2: 2, 5: 3} {
		if st := h.e.Status(limit); len(st.Acquires) != want || st.AcquireCount != 3 {
			t.Errorf("limit %d: %d ACQUIREs of %d are listed, want %d of 3", limit, len(st.Acquires), st.AcquireCount,
				want)
		}
	}
}
