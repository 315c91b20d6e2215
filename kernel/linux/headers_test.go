package linux_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestTransformBehindExtensionHeaders: ESP and IPCOMP of transport mode stand behind what routers look at, and behind
// destination options unless a routing header comes before those.
func TestTransformBehindExtensionHeaders(t *testing.T) {
	const hopByHop, routing, dstOpts = 0, 43, 60
	src, dst := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	for _, own := range []uint8{protoESP, protoComp} {
		h := newHost(t, engine.Options{Addrs: []netip.Addr{src}})
		satype := wire.SATypeESP
		if own == protoComp {
			satype = wire.SATypeIPComp
		}
		h.must(h.sa(association{satype: satype, spi: 0x1000, src: src, dst: dst}))
		h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: src, dst: dst, req: transport(uint16(own))}))
		for _, tt := range []struct{ headers, kept []uint8 }{
			{nil, nil},
			{[]uint8{dstOpts}, []uint8{dstOpts}},
			{[]uint8{hopByHop, dstOpts}, []uint8{hopByHop, dstOpts}},
			{[]uint8{routing, dstOpts}, []uint8{routing}},
			{[]uint8{dstOpts, routing, dstOpts}, []uint8{dstOpts, routing}},
		} {
			plain := udpPacket(netip.AddrPortFrom(src, 40000), netip.AddrPortFrom(dst, 9), make([]byte, 200))
			pkt := slices.Clone(plain[:40])
			at := 6 // of the number of the next header
			for _, header := range tt.headers {
				pkt[at], at = header, len(pkt)
				pkt = append(pkt, plain[6], 0, 1, 4, 0, 0, 0, 0)
			}
			pkt = append(pkt, plain[40:]...)
			binary.BigEndian.PutUint16(pkt[4:], uint16(len(pkt)-40))
			v := h.outbound(pkt)
			if v.Kind != packet.Transmitted {
				t.Errorf("%d behind %v: %v %q", own, tt.headers, v.Kind, v.Counter)
				continue
			}
			var chain []uint8
			next, off := v.Inner[6], 40
			for next == hopByHop || next == routing || next == dstOpts {
				chain = append(chain, next)
				next, off = v.Inner[off], off+8
			}
			if !slices.Equal(chain, tt.kept) || next != own {
				t.Errorf("%d behind %v: %v and then %d, want %v", own, tt.headers, chain, next, tt.kept)
			}
		}
	}
}

// TestLateHopByHop: behind hop-by-hop options that are not the first header no transform is opened, though nobody else
// minds them in a packet for another host. Each row is what the packet has between its IPv6 header and the UDP
// datagram, from the outside in.
func TestLateHopByHop(t *testing.T) {
	const hopByHop, udp, fragment, dstOpts = 0, 17, 44, 60
	from, other := netip.MustParseAddr("2001:db8::2"), netip.MustParseAddr("2001:db8::3")
	h := newHost(t, engine.Options{})
	h.must(h.sa(association{spi: 0x1000, src: from, dst: other}))
	h.must(h.sa(association{spi: 0x2000, src: from, dst: other, natt: 2, sport: ipsec.NATTPort, dport: ipsec.NATTPort}))
	plain := udpPacket(netip.AddrPortFrom(from, 7), netip.AddrPortFrom(other, 9), make([]byte, 200))
	var seq uint64
	esp := func(spi uint32, payload []byte, next uint8) []byte {
		seq++
		b, err := h.far.SealESP(nil, payload, next, ipsec.Sealing{SPI: spi, Seq: seq, IV: make([]byte, 16)})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, tt := range []struct {
		headers []uint8
		counter string
	}{
		{[]uint8{hopByHop, protoESP}, ""},
		{[]uint8{hopByHop, dstOpts, protoESP}, ""},
		{[]uint8{dstOpts, hopByHop, protoESP}, "XfrmInHdrError"},
		{[]uint8{hopByHop, hopByHop, protoESP}, "XfrmInHdrError"},
		{[]uint8{dstOpts, hopByHop, fragment, protoESP}, "XfrmInHdrError"}, // it is met before the fragment
		{[]uint8{hopByHop, udp}, ""},
		{[]uint8{dstOpts, udp}, ""},
		{[]uint8{dstOpts, hopByHop, udp}, "XfrmInHdrError"},
		{[]uint8{protoESP, dstOpts, protoESP}, ""},
		{[]uint8{protoESP, hopByHop, protoESP}, ""}, // the first that is left
		{[]uint8{protoESP, dstOpts, hopByHop, protoESP}, "XfrmInHdrError"},
		{[]uint8{dstOpts, protoESP, hopByHop, protoESP}, "XfrmInHdrError"},
		{[]uint8{dstOpts, hopByHop}, ""},
		{[]uint8{protoESP, dstOpts, hopByHop}, ""},
	} {
		b, next := plain[40:], uint8(udp)
		for _, header := range slices.Backward(tt.headers) {
			switch header {
			case protoESP:
				b = esp(0x1000, b, next)
			case udp:
				b = udpPacket(netip.AddrPortFrom(from, ipsec.NATTPort), netip.AddrPortFrom(other, ipsec.NATTPort),
					esp(0x2000, b, next))[40:]
			case fragment: // the first
				b = append([]byte{next, 0, 0, 1, 0, 0, 0, 7}, b...)
			default:
				b = append([]byte{next, 0, 1, 4, 0, 0, 0, 0}, b...)
			}
			next = header
		}
		pkt := slices.Concat(plain[:40], b)
		pkt[6] = next
		binary.BigEndian.PutUint16(pkt[4:], uint16(len(b)))
		if v := h.inbound(pkt); v.Counter != tt.counter || (v.Kind == packet.Delivered) != (tt.counter == "") {
			t.Errorf("%v: %v %v %q, want %q", tt.headers, v.Kind, v.Reason, v.Counter, tt.counter)
		}
	}
}
