package linux_test

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
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
