package linux_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestStatus reads what an engine tells of its SAs, its unanswered ACQUIREs and its sockets.
func TestStatus(t *testing.T) {
	h := newHost(t, engine.Options{})
	added := h.e.Now().Unix()
	h.must(h.sa(association{spi: 0x1000, soft: &wire.Lifetime{}, hard: &wire.Lifetime{AddTime: 100}}))
	h.e.Advance(h.e.Now().Add(5 * time.Second))
	if v := h.inbound(h.sealed(0x1000, 1)); v.Counter != "" {
		t.Fatal(v.Counter)
	}
	h.must(h.sa(association{satype: wire.SATypeAH, spi: 0x2000, src: me, dst: peer}))
	h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)}))
	h.outbound(datagram(me, peer))
	seq := h.seqs(read(h.s), wire.MsgAcquire)
	h.send(h.bare(wire.MsgXPromisc, 1))
	st := h.e.Status(0)
	want := []status.SA{ // newest first
		{Type: "esp", SPI: "0x0", Src: "192.0.2.1", Dst: "192.0.2.2", State: "larval", Direction: "outbound",
			Added: added + 5, Expires: added + 35},
		{Type: "ah", SPI: "0x2000", Src: "192.0.2.1", Dst: "192.0.2.2", State: "mature", Direction: "outbound",
			Auth: "hmac-sha1", Encrypt: "none", Added: added + 5},
		{Type: "esp", SPI: "0x1000", Src: "192.0.2.2", Dst: "192.0.2.1", State: "mature", Direction: "inbound",
			Auth: "hmac-sha1", Encrypt: "aes-cbc",
			Bytes: 8, Packets: 1, Added: added, Used: added + 5, Expires: added + 100},
	}
	if diff := cmp.Diff(want, st.SAs); diff != "" {
		t.Errorf("SAs (-want +got):\n%s", diff)
	}
	acquires := []status.Acquire{{Type: "esp", Seq: uint32(seq[0]), Src: "192.0.2.1", Dst: "192.0.2.2",
		Expires: added + 35}}
	if diff := cmp.Diff(acquires, st.Acquires); diff != "" {
		t.Errorf("ACQUIREs (-want +got):\n%s", diff)
	}
	if s := st.Sockets[0]; !cmp.Equal(s.Registered, []string{"esp"}) || !cmp.Equal(s.Flags, []string{"promisc"}) {
		t.Errorf("socket: registered %q, flags %q", s.Registered, s.Flags)
	}
	if limited := h.e.Status(2); len(limited.SAs) != 2 || limited.SACount != 3 {
		t.Errorf("of at most 2: %d SAs, and that there are %d", len(limited.SAs), limited.SACount)
	}
}
