package linux_test

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/packet"
)

// withExtension puts an extension header of 8 bytes before the upper layer of an IPv6 packet.
func withExtension(pkt []byte, header uint8, options string) []byte {
	b := append([]byte(nil), pkt[:40]...)
	b = append(append(b, pkt[6], 0), options...)
	b = append(b, pkt[40:]...)
	b[6] = header
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

// TestExtensionHeadersHidePorts: the policy of what comes in takes the first extension header for the ports, as far as
// the kernel has looked at it.
func TestExtensionHeadersHidePorts(t *testing.T) {
	const hopByHop, dstOpts = 0, 60
	const padding = "\x01\x04\x00\x00\x00\x00" // with the upper layer's number before it 0x1100 and 0x0104
	h := newHost(t, engine.Options{Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::1")}})
	text := `spdadd 2001:db8::2[4352] 2001:db8::1[260] udp -P in discard;
spdadd 2001:db8::2[7] 2001:db8::/32[9] udp -P fwd discard;
`
	if err := kernels.LoadPolicy(h.e, strings.NewReader(text), "ports"); err != nil {
		t.Fatal(err)
	}
	own, other := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::9")
	to := func(dst netip.Addr) []byte {
		return udpPacket(netip.AddrPortFrom(netip.MustParseAddr("2001:db8::2"), 7), netip.AddrPortFrom(dst, 9), nil)
	}
	for _, tt := range []struct {
		name string
		pkt  []byte
		want string // the counter, if it is dropped
	}{
		{"without", to(own), ""},
		{"hop by hop", withExtension(to(own), hopByHop, padding), "XfrmInPolBlock"},
		{"destination", withExtension(to(own), dstOpts, padding), "XfrmInPolBlock"},
		{"both", withExtension(withExtension(to(own), dstOpts, padding), hopByHop, padding), ""}, // 0x3c00
		{"forwarded, without", to(other), "XfrmInPolBlock"},
		{"forwarded, hop by hop", withExtension(to(other), hopByHop, padding), ""},
		{"forwarded, destination", withExtension(to(other), dstOpts, padding), "XfrmInPolBlock"},
		{"forwarded, both", withExtension(withExtension(to(other), dstOpts, padding), hopByHop, padding),
			"XfrmInPolBlock"},
	} {
		var v packet.Verdict
		h.e.Inbound(&packet.Packet{Data: tt.pkt, Done: func(_ *packet.Packet, end packet.Verdict) { v = end }})
		if v.Counter != tt.want || (v.Kind == packet.Dropped) != (tt.want != "") {
			t.Errorf("%s: %v %q, want the counter %q", tt.name, v.Kind, v.Counter, tt.want)
		}
	}
}
