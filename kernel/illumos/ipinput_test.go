package illumos_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/packet"
)

// summed makes the checksum of an IPv4 header right.
func summed(pkt []byte) []byte {
	pkt[10], pkt[11] = 0, 0
	binary.BigEndian.PutUint16(pkt[10:], ^ip.Checksum(0, pkt[:int(pkt[0]&15)*4]))
	return pkt
}

// TestIPInput: what IP refuses never comes to IPsec, and has the counter that IP has for it.
func TestIPInput(t *testing.T) {
	plain := func() []byte { return udp(t, "192.0.2.2", "192.0.2.1", 7, 9) }
	plain6 := func() []byte { return udp(t, "2001:db8::2", "2001:db8::1", 7, 9) }
	changed := func(pkt []byte, at int, v ...byte) []byte {
		copy(pkt[at:], v)
		return summed(pkt)
	}
	options := func(o ...byte) []byte {
		for len(o)%4 != 0 {
			o = append(o, 0)
		}
		pkt := slices.Insert(plain(), 20, o...)
		pkt[0] += byte(len(o) / 4)
		pkt[3] += byte(len(o))
		return summed(pkt)
	}
	headers := func(pkt []byte, next byte, h ...byte) []byte {
		pkt = slices.Insert(pkt, 40, h...)
		pkt[40], pkt[6] = pkt[6], next
		pkt[5] += byte(len(h))
		return pkt
	}
	const hopByHop, routing, destination = 0, 43, 60
	none := []byte{0, 0, 1, 4, 0, 0, 0, 0}
	route := []byte{192, 0, 2, 10, 192, 0, 2, 2}
	broken := plain()
	broken[10] ^= 1
	for _, tt := range []struct {
		name    string
		pkt     []byte
		reason  packet.Reason
		counter string
	}{
		{"a packet", plain(), packet.NoReason, ""},
		{"nothing", nil, packet.BadHeader, "ipIfStatsInHdrErrors"},
		{"half a header", plain()[:19], packet.BadHeader, "ipIfStatsInHdrErrors"},
		{"version 5", changed(plain(), 0, 0x55), packet.BadHeader, "ipIfStatsInHdrErrors"},
		{"a header of 16 bytes", changed(plain(), 0, 0x44), packet.BadHeader, "ipIfStatsInHdrErrors"},
		{"a header beyond the packet", func() []byte { p := plain(); p[0] = 0x4f; return p }(), packet.BadHeader,
			"ipIfStatsInHdrErrors"},
		{"a wrong checksum", broken, packet.BadChecksum, "ipIfStatsInCksumErrs"},
		{"a length of 19", changed(plain(), 2, 0, 19), packet.BadHeader, "ipIfStatsInHdrErrors"},
		{"a length beyond it", changed(plain(), 2, 0, 29), packet.Truncated, "ipIfStatsInTruncatedPkts"},
		{"bytes behind it", append(plain(), 1, 2, 3), packet.NoReason, ""},
		{"from 127.0.0.1", changed(plain(), 12, 127, 0, 0, 1), packet.BadAddress, "ipIfStatsInAddrErrors"},
		{"to 127.0.0.1", changed(plain(), 16, 127, 0, 0, 1), packet.BadAddress, "ipIfStatsInAddrErrors"},
		{"to 0.0.0.0", changed(plain(), 16, 0, 0, 0, 0), packet.BadAddress, "ipIfStatsInAddrErrors"},
		{"to 0.0.0.0, a length of 19", changed(changed(plain(), 16, 0, 0, 0, 0), 2, 0, 19), packet.BadAddress,
			"ipIfStatsInAddrErrors"},
		{"a length beyond it, a header of 16 bytes", changed(changed(plain(), 2, 0, 29), 0, 0x44), packet.Truncated,
			"ipIfStatsInTruncatedPkts"},
		{"LSRR, hops to go", options(append([]byte{131, 11, 4}, route...)...), packet.SourceRoute,
			"ipIfStatsForwProhibits"},
		{"SSRR, hops to go", options(append([]byte{137, 11, 8}, route...)...), packet.SourceRoute,
			"ipIfStatsForwProhibits"},
		{"LSRR at its end", options(append([]byte{131, 11, 12}, route...)...), packet.NoReason, ""},
		{"an unknown option", options(0x5e, 4, 0, 0), packet.NoReason, ""},
		{"an option beyond the header", options(0x5e, 5, 0, 0), packet.BadOption, ""},
		{"LSRR with pointer 3", options(append([]byte{131, 11, 3}, route...)...), packet.BadOption, ""},
		{"record route", options(7, 7, 4, 0, 0, 0, 0), packet.NoReason, ""},
		{"timestamp", options(68, 8, 5, 0, 0, 0, 0, 0), packet.NoReason, ""},
		{"timestamp, overflown", options(68, 8, 9, 0xf0, 0, 0, 0, 0), packet.BadOption, ""},
		{"timestamp of an unknown kind", options(68, 8, 5, 7, 0, 0, 0, 0), packet.BadOption, ""},

		{"IPv6", plain6(), packet.NoReason, ""},
		{"IPv6, half a header", plain6()[:39], packet.BadHeader, "ipIfStatsInHdrErrors"},
		{"IPv6, a length beyond it", plain6()[:47], packet.Truncated, "ipIfStatsInTruncatedPkts"},
		{"from ::1", udp(t, "::1", "2001:db8::1", 7, 9), packet.BadAddress, "ipIfStatsInAddrErrors"},
		{"to ::", udp(t, "2001:db8::2", "::", 7, 9), packet.BadAddress, "ipIfStatsInAddrErrors"},
		{"to ::, a length beyond it", udp(t, "2001:db8::2", "::", 7, 9)[:47], packet.BadAddress,
			"ipIfStatsInAddrErrors"},
		{"hop-by-hop options", headers(plain6(), hopByHop, none...), packet.NoReason, ""},
		{"destination options", headers(plain6(), destination, none...), packet.NoReason, ""},
		{"hop-by-hop options behind others", headers(headers(plain6(), hopByHop, none...), destination, none...),
			packet.BadOption, ""},
		{"an unknown option to be skipped", headers(plain6(), destination, 0, 0, 0x1e, 4, 0, 0, 0, 0), packet.NoReason,
			""},
		{"an unknown option to be dropped", headers(plain6(), destination, 0, 0, 0x5e, 4, 0, 0, 0, 0), packet.BadOption,
			"ipIfStatsInHdrErrors"},
		{"an unknown option to be dropped, beyond its header", headers(plain6(), destination, 0, 0, 0x5e, 9, 0, 0, 0,
			0), packet.BadOption, "ipIfStatsInHdrErrors"},
		{"one byte of padding at the end", headers(plain6(), destination, 0, 0, 0x1e, 3, 0, 0, 0, 0), packet.NoReason,
			""},
		{"a home address", headers(plain6(), destination, 0, 0, 201, 4, 0, 0, 0, 0), packet.BadOption,
			"ipIfStatsInHdrErrors"},
		{"an option beyond its header", headers(plain6(), destination, 0, 0, 0x1e, 5, 0, 0, 0, 0),
			packet.BadOption, ""},
		{"options beyond the packet", headers(plain6(), destination, 0, 9, 1, 4, 0, 0, 0, 0), packet.Truncated,
			"ipIfStatsInTruncatedPkts"},
		{"a routing header at its end", headers(plain6(), routing, 0, 0, 0, 0, 0, 0, 0, 0), packet.NoReason, ""},
		{"a routing header, 1 to go", headers(plain6(), routing, 0, 0, 0, 1, 0, 0, 0, 0), packet.SourceRoute,
			"ipIfStatsInAddrErrors"},
		{"a routing header of type 2, 1 to go", headers(plain6(), routing, 0, 0, 2, 1, 0, 0, 0, 0), packet.SourceRoute,
			"ipIfStatsInAddrErrors"},
	} {
		h := newHost(t, engine.Options{})
		k := &talk{t, h.e, openSocket(t, h.e)}
		if v := k.inject(tt.pkt); v.Reason != tt.reason || v.Counter != tt.counter {
			t.Errorf("%s: %v %v %q, want %v %q", tt.name, v.Kind, v.Reason, v.Counter, tt.reason, tt.counter)
		}
		if b := h.e.Ledger().Balance(); tt.reason != packet.NoReason && b.Reasons[tt.reason.String()] != 1 {
			t.Errorf("%s: the ledger has %v", tt.name, b.Reasons)
		}
	}
}
