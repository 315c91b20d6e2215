package linux_test

import (
	"encoding/binary"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// carrying is an IP packet with so many bytes of payload, from the peer.
func carrying(size int) []byte {
	inner := append(append([]byte(nil), plain[:20]...), make([]byte, size)...)
	binary.BigEndian.PutUint16(inner[2:], uint16(len(inner)))
	return inner
}

// BenchmarkInbound1400 and BenchmarkInbound64 drive ESP packets of so many bytes of payload through the engine: lookup,
// limits, cipher, counters, the inner packet put together, and the policy asked.
func BenchmarkInbound1400(b *testing.B) { benchmarkInbound(b, 1400) }
func BenchmarkInbound64(b *testing.B)   { benchmarkInbound(b, 64) }

func benchmarkInbound(b *testing.B, size int) {
	h := newHost(b, engine.Options{})
	const spi = 0x4444
	h.must(h.sa(association{spi: spi})) // without a replay window, so that one packet serves for all rounds
	pkt, err := h.far.SealTransport(nil, carrying(size), ipsec.Ports{}, ipsec.Sealing{SPI: spi, Seq: 1,
		IV: make([]byte, 16)})
	if err != nil {
		b.Fatal(err)
	}
	driveAll(b, pkt, size, packet.Delivered, h.e.Inbound)
}

// BenchmarkOutbound1400 and BenchmarkOutbound64 are the other way: policy, the SA for its template, and the cipher.
func BenchmarkOutbound1400(b *testing.B) { benchmarkOutbound(b, 1400) }
func BenchmarkOutbound64(b *testing.B)   { benchmarkOutbound(b, 64) }

func benchmarkOutbound(b *testing.B, size int) {
	h := newHost(b, engine.Options{})
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)}))
	h.must(h.sa(association{spi: 0x5555, src: me, dst: peer}))
	pkt := carrying(size)
	copy(pkt[12:], me.AsSlice())
	copy(pkt[16:], peer.AsSlice())
	driveAll(b, pkt, size, packet.Transmitted, func(p *packet.Packet) { h.e.Outbound(p, "") })
}

func driveAll(b *testing.B, pkt []byte, size int, want packet.Kind, way func(*packet.Packet)) {
	var p packet.Packet
	room := make([]byte, 0, len(pkt)+200)
	good, n := 0, 0
	done := func(_ *packet.Packet, v packet.Verdict) {
		if v.Kind == want {
			good++
		}
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		p = packet.Packet{ID: uint64(n), Data: pkt, Room: room, Done: done}
		way(&p)
		n++
	}
	if good != n {
		b.Fatalf("%d of %d packets as wanted", good, n)
	}
}

// BenchmarkHandshake is what one exchange of IKE asks of the kernel: GETSPI, UPDATE with keys, DELETE.
func BenchmarkHandshake(b *testing.B) {
	h := newHost(b, engine.Options{})
	const spi = 0x4444
	buf := make([]byte, 4096)
	ms := [][]byte{h.getSPI(spi), h.sa(association{typ: wire.MsgUpdate, spi: spi}),
		h.sa(association{typ: wire.MsgDelete, spi: spi})}
	b.ReportAllocs()
	for b.Loop() {
		for _, m := range ms {
			if e := h.s.Send(m, privileged); e != 0 {
				b.Fatal(e)
			}
			n, _, e := h.s.Recv(buf, 0)
			if e != 0 || buf[2] != 0 {
				b.Fatal(e, buf[:n])
			}
		}
	}
}
