package linux_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// echo is an X_PROMISC of so many bytes, which everybody hears and which changes nothing.
func (h *host) echo(n int) []byte {
	b := h.bare(wire.MsgXPromisc, 0)
	if ext := n - wire.HeaderLen; ext > 0 {
		b = h.d().AppendExtHeader(b, wire.KAMEExtXKMPrivate, ext)
		b = append(b, make([]byte, ext-4)...)
	}
	return h.d().Finish(b)
}

// TestRoom counts how many messages of a kind get into the smallest receive buffer there is, 2304 bytes, before the
// first one is lost. The one that crosses the limit still gets in, so that it takes four that count 768 bytes, but two
// that count 1280.
func TestRoom(t *testing.T) {
	me6, peer6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	echoes := func(n int) func(*host, pfkey.Socket) {
		return func(h *host, _ pfkey.Socket) {
			for range 5 {
				h.send(h.echo(n))
			}
		}
	}
	promiscuous := func(n int) func(*host, pfkey.Socket) {
		return func(h *host, listener pfkey.Socket) {
			listener.Send(h.bare(wire.MsgXPromisc, 1), privileged)
			read(listener)
			echoes(n)(h, listener)
		}
	}
	policies := func(req []wire.IPsecRequest) func(*host, pfkey.Socket) {
		return func(h *host, _ pfkey.Socket) {
			src := third
			for range 5 {
				h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{src: src, dst: me, req: req}))
				src = src.Next()
			}
		}
	}
	for _, test := range []struct {
		name string
		send func(h *host, listener pfkey.Socket)
		want int
	}{
		{"a bare message", echoes(16), 4},
		// What the kernel makes has 16 bytes to spare, what a program has made has not: so these two are on both sides
		// of a step.
		{"a program's of 192 bytes", echoes(192), 4},
		{"a program's of 200 bytes", echoes(200), 2},
		// A promiscuous socket hears it three times: as it was sent, as the copy of the answer, and as the answer.
		{"a program's of 192 bytes, three times", promiscuous(192), 4},
		{"a program's of 200 bytes, three times", promiscuous(200), 2},
		{"REGISTER", func(h *host, listener pfkey.Socket) {
			listener.Send(h.bare(wire.MsgRegister, wire.SATypeAH), privileged)
			read(listener)
			for range 5 {
				h.send(h.bare(wire.MsgRegister, 0))
			}
		}, 4},
		{"ADD", func(h *host, _ pfkey.Socket) {
			for i := range 5 {
				h.must(h.sa(association{spi: wire.SPI(0x1000 + i)}))
			}
		}, 2},
		{"EXPIRE", func(h *host, listener pfkey.Socket) {
			for i := range 5 {
				h.must(h.sa(association{spi: wire.SPI(0x1000 + i), hard: &wire.Lifetime{AddTime: 1}}))
			}
			listener.Send(h.bare(wire.MsgRegister, wire.SATypeAH), privileged)
			read(listener)
			h.e.Advance(h.e.Now().Add(time.Second))
		}, 2},
		{"SPDADD without a request", policies(nil), 4},
		{"SPDADD", policies(transport(protoESP)), 2}, // as if the request had addresses
		{"SPDADD with a tunnel", policies(tunnel(protoESP, peer, me)), 2},
		{"MIGRATE", func(h *host, listener pfkey.Socket) {
			h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me6, dst: peer6, req: transport(protoESP)}))
			read(listener)
			for range 5 {
				h.must(h.migrate(policy{out: true, src: me6, dst: peer6}, moving(transport(protoESP)[0], me6, peer6,
					me6, peer6)))
			}
		}, 2},
		// One that proposes every algorithm is larger than the whole buffer.
		{"ACQUIRE", func(h *host, listener pfkey.Socket) {
			listener.Send(h.bare(wire.MsgRegister, wire.SATypeAH), privileged)
			for i, dst := 0, third; i < 3; i, dst = i+1, dst.Next() {
				if errno := h.k.AddOutputPolicy(linux.OutputPolicy{Src: me, Dst: dst,
					Proto: protoESP}); errno != wire.OK {
					h.t.Fatal(errno)
				}
			}
			read(listener)
			for i, dst := 0, third; i < 3; i, dst = i+1, dst.Next() {
				h.outbound(datagram(me, dst))
			}
		}, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHost(t, engine.Options{})
			listener := h.open()
			if errno := listener.SetOption(pfkey.OptionRecvBuffer, 1); errno != wire.OK {
				t.Fatal(errno)
			}
			test.send(h, listener)
			if got := len(read(listener)); got != test.want {
				t.Errorf("%d messages fit, want %d", got, test.want)
			}
		})
	}
}

// TestDumpOfNothingWithoutRoom: that nothing is to be shown is found out, and said, even where a message of a DUMP
// would have no room.
func TestDumpOfNothingWithoutRoom(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.sa(association{spi: 0x1000}))
	if errno := h.s.SetOption(pfkey.OptionRecvBuffer, 1); errno != wire.OK {
		t.Fatal(errno)
	}
	for range 3 { // 2304 bytes: more than two thirds, but not too many for one more
		h.send(h.echo(16))
	}
	h.send(h.bare(wire.MsgDump, wire.SATypeAH))
	got := read(h.s)
	if len(got) != 4 || got[3][1] != byte(wire.MsgDump) || got[3][2] != h.d().ErrnoNumber(wire.ENOENT) {
		t.Errorf("%d messages, want three and that there is no such SA", len(got))
	}
}

// TestAcquireWithoutRoom: an ACQUIRE that nobody has room for leaves nothing behind, so that the next packet asks
// again. A promiscuous socket, which is shown it, does not count.
func TestAcquireWithoutRoom(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)}))
	h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
	h.open().Send(h.bare(wire.MsgXPromisc, 1), privileged)
	h.drain()
	if errno := h.s.SetOption(pfkey.OptionRecvBuffer, 1); errno != wire.OK {
		t.Fatal(errno)
	}
	for range 4 {
		h.send(h.echo(16))
	}
	h.outbound(datagram(me, peer))
	if n := h.e.Status(0).SACount; n != 0 {
		t.Errorf("%d SAs, though nobody has heard of the lack", n)
	}
	h.drain()
	h.outbound(datagram(me, peer))
	if got := h.seqs(read(h.s), wire.MsgAcquire); len(got) != 1 {
		t.Errorf("%d ACQUIREs, want 1", len(got))
	}
	if n := h.e.Status(0).SACount; n != 1 {
		t.Errorf("%d SAs, want a LARVAL one", n)
	}
}
