package ipsec_test

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

var (
	v4a, v4b = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	v6a, v6b = netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
)

// ip4 makes an IPv4 datagram from v4a to v4b; options must be a multiple of 4 bytes.
func ip4(proto uint8, options, payload []byte) []byte {
	b := make([]byte, 20, 20+len(options)+len(payload))
	b[0] = 0x45 + byte(len(options)/4)
	b[1] = 0x10
	binary.BigEndian.PutUint16(b[2:], uint16(cap(b)))
	b[4], b[5], b[6] = 0x12, 0x34, 0x40
	b[8], b[9] = 61, proto
	copy(b[12:], v4a.AsSlice())
	copy(b[16:], v4b.AsSlice())
	b = append(b, options...)
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
	return append(b, payload...)
}

// ext is an IPv6 extension header without its first two bytes.
type ext struct {
	typ  uint8
	body []byte // 6, 14, 22, ... bytes
}

// ip6 makes an IPv6 datagram from v6a to v6b.
func ip6(proto uint8, payload []byte, exts ...ext) []byte {
	b := make([]byte, 40)
	b[0], b[1], b[2], b[3] = 0x61, 0x01, 0x23, 0x45
	b[7] = 61
	copy(b[8:], v6a.AsSlice())
	copy(b[24:], v6b.AsSlice())
	next := 6
	for _, e := range exts {
		b[next] = e.typ
		next = len(b)
		b = append(append(b, 0, byte((len(e.body)+2)/8-1)), e.body...)
	}
	b[next] = proto
	b = append(b, payload...)
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

func udp(src, dst uint16, payload []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, src)
	b = binary.BigEndian.AppendUint16(b, dst)
	b = binary.BigEndian.AppendUint16(b, uint16(8+len(payload)))
	return append(append(b, 0, 0), payload...)
}

// edit changes bytes of a packet: pairs of offset and value.
func edit(pkt []byte, pairs ...int) []byte {
	for i := 0; i < len(pairs); i += 2 {
		pkt[pairs[i]] = byte(pairs[i+1])
	}
	return pkt
}

func TestParseInbound(t *testing.T) {
	esp := append(unhex("00001000 00000007"), sequence(0, 24)...)
	ah := append(unhex("11040000 00001000 00000007"), sequence(0, 24)...)
	hop := ext{0, unhex("050200000100")} // router alert
	dest := ext{60, unhex("010400000000")}
	route := ext{43, append(unhex("000000000000"), v6a.AsSlice()...)}
	tests := []struct {
		name string
		pkt  []byte
		want ipsec.Inbound
		err  error
	}{
		{"esp4", ip4(50, nil, esp), ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 50, SPI: 0x1000, Seq: 7, Off: 20, End: 52,
			NextOff: 9}, nil},
		{"esp4 with options", ip4(50, unhex("94040000 01010100"), esp),
			ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 50, SPI: 0x1000, Seq: 7, Off: 28, End: 60, NextOff: 9}, nil},
		{"esp4 with link padding", append(ip4(50, nil, esp), 0, 0, 0, 0),
			ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 50, SPI: 0x1000, Seq: 7, Off: 20, End: 52, NextOff: 9}, nil},
		{"ah4", ip4(51, nil, ah), ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 51, SPI: 0x1000, Seq: 7, Off: 20, End: 56,
			NextOff: 9}, nil},
		{"esp6", ip6(50, esp), ipsec.Inbound{Src: v6a, Dst: v6b, Proto: 50, SPI: 0x1000, Seq: 7, Off: 40, End: 72,
			NextOff: 6}, nil},
		{"ah6 behind extension headers", ip6(51, ah, hop, dest, route),
			ipsec.Inbound{Src: v6a, Dst: v6b, Proto: 51, SPI: 0x1000, Seq: 7, Off: 80, End: 116, NextOff: 56}, nil},
		{"esp in udp, to 4500", ip4(17, nil, udp(999, 4500, esp)),
			ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 50, SPI: 0x1000, Seq: 7, Off: 28, End: 60, NextOff: 9, UDPOff: 20,
				SrcPort: 999, DstPort: 4500}, nil},
		{"esp in udp, from 4500, IPv6", ip6(17, udp(4500, 999, esp), hop),
			ipsec.Inbound{Src: v6a, Dst: v6b, Proto: 50, SPI: 0x1000, Seq: 7, Off: 56, End: 88, NextOff: 40, UDPOff: 48,
				SrcPort: 4500, DstPort: 999}, nil},
		{"udp datagram ends before the ip datagram", ip4(17, nil, append(udp(4500, 4500, esp), 1, 2, 3)),
			ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 50, SPI: 0x1000, Seq: 7, Off: 28, End: 60, NextOff: 9, UDPOff: 20,
				SrcPort: 4500, DstPort: 4500}, nil},

		{"empty", nil, ipsec.Inbound{}, ipsec.ErrShort},
		{"version 5", edit(ip4(50, nil, esp), 0, 0x55), ipsec.Inbound{}, ipsec.ErrVersion},
		{"19 bytes", ip4(50, nil, esp)[:19], ipsec.Inbound{}, ipsec.ErrShort},
		{"header of 16 bytes", edit(ip4(50, nil, esp), 0, 0x44), ipsec.Inbound{}, ipsec.ErrHeaderLen},
		{"header longer than the packet", edit(ip4(50, nil, nil), 0, 0x4f), ipsec.Inbound{}, ipsec.ErrTotalLen},
		{"total length beyond the data", ip4(50, nil, esp)[:51], ipsec.Inbound{}, ipsec.ErrTotalLen},
		{"total length inside the header", edit(ip4(50, nil, esp), 3, 19), ipsec.Inbound{}, ipsec.ErrTotalLen},
		{"first fragment", edit(ip4(50, nil, esp), 6, 0x20),
			ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 50, Off: 20, End: 52, NextOff: 9}, ipsec.ErrFragment},
		{"later fragment", edit(ip4(50, nil, esp), 7, 1),
			ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 50, Off: 20, End: 52, NextOff: 9}, ipsec.ErrFragment},
		{"fragment header", ip6(50, esp, hop, ext{44, make([]byte, 6)}),
			ipsec.Inbound{Src: v6a, Dst: v6b, Proto: 44, Off: 48, End: 88, NextOff: 40}, ipsec.ErrFragment},
		{"tcp", ip4(6, nil, esp), ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 6, Off: 20, End: 52, NextOff: 9},
			ipsec.ErrProtocol},
		{"no next header", ip6(59, nil), ipsec.Inbound{Src: v6a, Dst: v6b, Proto: 59, Off: 40, End: 40, NextOff: 6},
			ipsec.ErrProtocol},
		{"7 bytes of esp", ip4(50, nil, esp[:7]), ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 50, Off: 20, End: 27,
			NextOff: 9}, ipsec.ErrShort},
		{"11 bytes of ah", ip4(51, nil, ah[:11]), ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 51, Off: 20, End: 31,
			NextOff: 9}, ipsec.ErrShort},
		{"39 bytes of IPv6", ip6(50, esp)[:39], ipsec.Inbound{}, ipsec.ErrShort},
		{"payload length beyond the data", ip6(50, esp)[:71], ipsec.Inbound{}, ipsec.ErrTotalLen},
		{"extension header beyond the packet", edit(ip6(50, nil, dest), 41, 1),
			ipsec.Inbound{Src: v6a, Dst: v6b, Proto: 60, Off: 40, End: 48, NextOff: 6}, ipsec.ErrExtension},
		{"extension header cut", ip6(60, unhex("3200")),
			ipsec.Inbound{Src: v6a, Dst: v6b, Proto: 60, Off: 40, End: 42, NextOff: 6}, ipsec.ErrExtension},
		{"hop-by-hop in second place", ip6(50, esp, dest, hop),
			ipsec.Inbound{Src: v6a, Dst: v6b, Proto: 0, Off: 48, End: 88, NextOff: 40}, ipsec.ErrExtension},
		{"keepalive", ip4(17, nil, udp(999, 4500, []byte{0xff})),
			ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 17, Off: 28, End: 29, NextOff: 9, UDPOff: 20, SrcPort: 999,
				DstPort: 4500}, ipsec.ErrKeepalive},
		{"ike", ip4(17, nil, udp(4500, 4500, make([]byte, 28))),
			ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 17, Off: 28, End: 56, NextOff: 9, UDPOff: 20, SrcPort: 4500,
				DstPort: 4500}, ipsec.ErrNonESP},
		{"one other byte", ip4(17, nil, udp(4500, 4500, []byte{0xfe})),
			ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 17, Off: 28, End: 29, NextOff: 9, UDPOff: 20, SrcPort: 4500,
				DstPort: 4500}, ipsec.ErrShort},
		{"empty udp", ip4(17, nil, udp(4500, 4500, nil)),
			ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 17, Off: 28, End: 28, NextOff: 9, UDPOff: 20, SrcPort: 4500,
				DstPort: 4500}, ipsec.ErrShort},
		{"only a spi in udp", ip4(17, nil, udp(4500, 4500, esp[:4])),
			ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 50, Off: 28, End: 32, NextOff: 9, UDPOff: 20, SrcPort: 4500,
				DstPort: 4500}, ipsec.ErrShort},
		{"udp length beyond the data", edit(ip4(17, nil, udp(4500, 4500, esp)), 25, 41),
			ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 17, Off: 20, End: 60, NextOff: 9, SrcPort: 4500, DstPort: 4500},
			ipsec.ErrTotalLen},
		{"udp length 7", edit(ip4(17, nil, udp(4500, 4500, esp)), 25, 7),
			ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 17, Off: 20, End: 60, NextOff: 9, SrcPort: 4500, DstPort: 4500},
			ipsec.ErrTotalLen},
		{"udp of other ports", ip4(17, nil, udp(53, 5353, esp)),
			ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 17, Off: 20, End: 60, NextOff: 9, SrcPort: 53, DstPort: 5353},
			ipsec.ErrProtocol},
		{"7 bytes of udp", ip4(17, nil, udp(4500, 4500, nil)[:7]),
			ipsec.Inbound{Src: v4a, Dst: v4b, Proto: 17, Off: 20, End: 27, NextOff: 9}, ipsec.ErrShort},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := bytes.Clone(tt.pkt)
			got, err := ipsec.ParseInbound(tt.pkt)
			if err != tt.err {
				t.Errorf("%v, want %v", err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if !bytes.Equal(before, tt.pkt) {
				t.Error("the packet was changed")
			}
		})
	}
}
