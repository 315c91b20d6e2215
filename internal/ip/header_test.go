package ip_test

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pfkeyd/pfkeyd/internal/ip"
)

// unhex takes hex with blanks.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

const (
	udp4   = "4510001d 12340000 3d11 0000 c0000201 c0000202" + "03e8 07d0 0009 0000 61"
	addrs6 = "20010db8000000000000000000000001 20010db8000000000000000000000002"
	udp    = "03e8 07d0 0009 0000 61"

	hop     = "00 0502000001 00" // behind the next header's number: router alert
	routing = "02 00 00 00000000 20010db8000000000000000000000003"
	options = "00 010400000000"
)

// chain is an IPv6 datagram: pairs of a protocol number and what it names, without the byte that names the next.
func chain(parts ...string) []byte {
	var nexts, bodies []string
	for i := 0; i < len(parts); i += 2 {
		nexts, bodies = append(nexts, parts[i]), append(bodies, parts[i+1])
	}
	var b []byte
	for i, body := range bodies {
		if i+1 < len(bodies) {
			body = nexts[i+1] + body
		}
		b = append(b, unhex(body)...)
	}
	return slices.Concat(unhex("61000000"), []byte{0, uint8(len(b))}, unhex(nexts[0]), []byte{61}, unhex(addrs6), b)
}

func edit(pkt []byte, at int, to byte) []byte {
	pkt = slices.Clone(pkt)
	pkt[at] = to
	return pkt
}

func TestParse(t *testing.T) {
	v4 := ip.Header{Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("192.0.2.2"),
		Off: 20, NextOff: 9, End: 29, Proto: 17}
	v6 := ip.Header{Src: netip.MustParseAddr("2001:db8::1"), Dst: netip.MustParseAddr("2001:db8::2"),
		Off: 40, NextOff: 6, End: 49, Proto: 17, V6: true}
	with := func(h ip.Header, change func(h *ip.Header)) ip.Header {
		change(&h)
		return h
	}
	p4, p6 := unhex(udp4), chain("11", udp)
	for _, tt := range []struct {
		name     string
		pkt      []byte
		want     ip.Header
		problem  ip.Problem
		fragment bool
	}{
		{"IPv4", p4, v4, ip.Fine, false},
		{"IPv6", p6, v6, ip.Fine, false},
		{"padding of the link", append(slices.Clone(p4), 0, 0), v4, ip.Fine, false},
		{"options", edit(p4, 0, 0x46), with(v4, func(h *ip.Header) { h.Off = 24 }), ip.Fine, false},
		{"must not be fragmented", edit(p4, 6, 0x40), v4, ip.Fine, false},
		{"first fragment", edit(p4, 6, 0x20), with(v4, func(h *ip.Header) { h.More = true }), ip.Fine, true},
		{"last fragment", edit(p4, 7, 3), with(v4, func(h *ip.Header) { h.FragOff = 24 }), ip.Fine, true},
		{"fragment header", edit(p6, 6, 44), with(v6, func(h *ip.Header) { h.Proto = 44 }), ip.Fine, true},

		{"nothing", nil, ip.Header{}, ip.Short, false},
		{"19 bytes", p4[:19], ip.Header{}, ip.Short, false},
		{"39 bytes", p6[:39], ip.Header{}, ip.Short, false},
		{"version 5", edit(p4, 0, 0x55), ip.Header{}, ip.Version, false},
		{"header of 16 bytes", edit(p4, 0, 0x44), with(v4, func(h *ip.Header) { h.Off = 16 }), ip.HeaderLen, false},
		{"header longer than the datagram", edit(p4, 0, 0x48), with(v4, func(h *ip.Header) { h.Off = 32 }),
			ip.TotalLen, false},
		{"header of 16 bytes, longer than what is there", edit(p4[:28], 0, 0x44),
			with(v4, func(h *ip.Header) { h.Off = 16 }), ip.HeaderLen, false},
		{"longer than what is there", p4[:28], v4, ip.TotalLen, false},
		{"shorter than its header", edit(p4, 3, 19), with(v4, func(h *ip.Header) { h.End = 19 }), ip.TotalLen, false},
		{"IPv6 longer than what is there", p6[:48], v6, ip.TotalLen, false},
	} {
		h := ip.Header{Off: 1, FragOff: 8, More: true, V6: true}
		if p := h.Parse(tt.pkt); p != tt.problem {
			t.Errorf("%s: problem %d, want %d", tt.name, p, tt.problem)
		}
		if diff := cmp.Diff(tt.want, h, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.name, diff)
		}
		if h.Fragment() != tt.fragment {
			t.Errorf("%s: fragment %v", tt.name, h.Fragment())
		}
	}
}

// Where each walk ends: what stands there, the offset of that, and of the byte that names it.
func TestWalk(t *testing.T) {
	type end struct {
		proto        uint8
		off, nextOff int
		whole        bool
	}
	first, atomic, later := "00 0001 00000001", "00 0000 00000001", "00 0009 00000001"
	for _, tt := range []struct {
		name                 string
		pkt                  []byte
		walk, all, transport end
	}{
		{"IPv4", unhex(udp4),
			end{17, 20, 9, true}, end{17, 20, 9, true}, end{17, 20, 9, true}},
		{"IPv6", chain("11", udp),
			end{17, 40, 6, true}, end{17, 40, 6, true}, end{17, 40, 6, true}},
		{"hop-by-hop, options", chain("00", hop, "3c", options, "11", udp),
			end{17, 56, 48, true}, end{17, 56, 48, true}, end{17, 56, 48, true}},
		{"options on both sides of a routing header", chain("3c", options, "2b", routing, "3c", options, "11", udp),
			end{17, 80, 72, true}, end{17, 80, 72, true}, end{60, 72, 48, true}},
		{"hop-by-hop in the second place", chain("3c", options, "00", hop, "11", udp),
			end{17, 56, 48, true}, end{17, 56, 48, true}, end{17, 56, 48, true}},
		{"first fragment", chain("00", hop, "2c", first, "3c", options, "11", udp),
			end{44, 48, 40, true}, end{17, 64, 56, true}, end{44, 48, 40, true}},
		{"whole, with a fragment header", chain("2c", atomic, "11", udp),
			end{44, 40, 6, true}, end{17, 48, 40, true}, end{44, 40, 6, true}},
		{"later fragment", chain("2c", later, "3c", options),
			end{44, 40, 6, true}, end{60, 48, 40, true}, end{44, 40, 6, true}},
		{"fragment header cut", chain("2c", "11 00 0000 000000"),
			end{44, 40, 6, true}, end{44, 40, 6, false}, end{44, 40, 6, true}},
		{"header cut", chain("00", hop, "3c", "11 00 01040000 00"),
			end{60, 48, 40, false}, end{60, 48, 40, false}, end{60, 48, 40, false}},
		{"header beyond the packet", chain("2b", "11 02 00 00 00000000"),
			end{43, 40, 6, false}, end{43, 40, 6, false}, end{43, 40, 6, false}},
	} {
		for name, way := range map[string]struct {
			walk func(*ip.Header, []byte) bool
			want end
		}{
			"Walk":          {(*ip.Header).Walk, tt.walk},
			"WalkAll":       {(*ip.Header).WalkAll, tt.all},
			"WalkTransport": {(*ip.Header).WalkTransport, tt.transport},
		} {
			var h ip.Header
			if p := h.Parse(tt.pkt); p != ip.Fine {
				t.Fatalf("%s: problem %d", tt.name, p)
			}
			whole := way.walk(&h, tt.pkt)
			if late := tt.name == "hop-by-hop in the second place"; h.LateHopByHop != late {
				t.Errorf("%s, %s: late hop-by-hop options %v, want %v", tt.name, name, h.LateHopByHop, late)
			}
			if got := (end{h.Proto, h.Off, h.NextOff, whole}); got != way.want {
				t.Errorf("%s, %s: %v, want %v", tt.name, name, got, way.want)
			}
			if h.FragOff != 0 && h.FragOff != 8 || h.FragOff == 8 && (name != "WalkAll" || !h.More) {
				t.Errorf("%s, %s: fragment at %d, more %v", tt.name, name, h.FragOff, h.More)
			}
		}
	}
}

func TestTOS(t *testing.T) {
	p4, p6 := unhex(udp4), chain("11", udp)
	ip.SetLength(p4)
	if ip.TOS(p4) != 0x10 || ip.TOS(p6) != 0x10 || ip.TOS(nil) != 0 || ip.TOS(p6[:39]) != 0 {
		t.Error("TOS reads wrong")
	}
	ip.SetTOS(p4, 0xab)
	ip.SetTOS(p6, 0xab)
	want := edit(unhex(udp4), 1, 0xab)
	ip.SetLength(want)
	if diff := cmp.Diff(want, p4); diff != "" || ip.Checksum(0, p4[:20]) != 0xffff {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(edit(edit(chain("11", udp), 0, 0x6a), 1, 0xb0), p6); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, b := range [][]byte{nil, {0x45}, p6[:39], edit(p4, 0, 0x4f), edit(p4, 0, 0x40)} {
		ip.SetTOS(b, 1) // must not panic
	}
}

// The sum of 16-bit words, one after the other.
func TestChecksum(t *testing.T) {
	b := make([]byte, 300)
	for i := range b {
		b[i] = byte(i*i + 7*i)
	}
	for n := range b {
		for _, start := range []uint32{0, 1, 0xffff, 0xffffffff} {
			want := uint64(start)
			for i, x := range b[:n] {
				want += uint64(x) << (8 * (1 - i%2))
			}
			for want > 0xffff {
				want = want>>16 + want&0xffff
			}
			if got := ip.Checksum(start, b[:n]); got != uint16(want) {
				t.Fatalf("%d bytes on top of %#x: %#x, want %#x", n, start, got, want)
			}
		}
	}
	if ip.Checksum(0, make([]byte, 40)) != 0 {
		t.Error("the sum of nothing is not 0")
	}
}

// FuzzHeader: no walk leaves the packet, and none gets stuck.
func FuzzHeader(f *testing.F) {
	f.Add(unhex(udp4))
	f.Add(chain("00", hop, "2b", routing, "3c", options, "2c", "00 0001 00000001", "11", udp))
	f.Fuzz(func(t *testing.T, pkt []byte) {
		for _, walk := range []func(*ip.Header, []byte) bool{
			(*ip.Header).Walk, (*ip.Header).WalkAll, (*ip.Header).WalkTransport,
		} {
			var h ip.Header
			if p := h.Parse(pkt); p != ip.Fine {
				continue
			}
			off := h.Off
			walk(&h, pkt[:h.End])
			if h.Off < off || h.Off > h.End || h.NextOff >= h.Off || pkt[h.NextOff] != h.Proto {
				t.Errorf("%+v", h)
			}
		}
	})
}
