package spd_test

import (
	"encoding/hex"
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/spd"
)

func flow(src, dst string, proto uint8, sport, dport uint16) spd.Flow {
	return spd.Flow{Src: netip.MustParseAddr(src), Dst: netip.MustParseAddr(dst), Proto: proto, SrcPort: sport,
		DstPort: dport}
}

func TestSelector(t *testing.T) {
	f := flow("192.0.2.1", "198.51.100.7", 17, 1000, 53)
	prefix := netip.MustParsePrefix
	for _, test := range []struct {
		name string
		s    spd.Selector
		want bool
	}{
		{"anything", spd.Selector{}, true},
		{"source", spd.Selector{Src: prefix("192.0.2.0/24")}, true},
		{"other source", spd.Selector{Src: prefix("192.0.3.0/24")}, false},
		{"destination", spd.Selector{Dst: prefix("198.51.100.7/32")}, true},
		{"other destination", spd.Selector{Dst: prefix("198.51.100.8/32")}, false},
		{"protocol", spd.Selector{Proto: 17}, true},
		{"other protocol", spd.Selector{Proto: 6}, false},
		{"ports", spd.Selector{SrcPort: 1000, DstPort: 53}, true},
		{"other source port", spd.Selector{SrcPort: 53}, false},
		{"other destination port", spd.Selector{DstPort: 1000}, false},
		{"other family", spd.Selector{Dst: prefix("::/0")}, false},
		{"own family", spd.Selector{Dst: prefix("0.0.0.0/0")}, true},
	} {
		if got := test.s.Matches(f); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
	if (spd.Selector{Src: prefix("198.51.100.7/32"), SrcPort: 53}).Matches(f) ||
		!(spd.Selector{Src: prefix("198.51.100.7/32"), SrcPort: 53}).Matches(f.Reversed()) {
		t.Error("a reversed flow is not the flow of the answers")
	}
}

func TestParseFlow(t *testing.T) {
	const udp = "03e80035000c0000"
	ip4 := "4500002000010000401100" + "00" + "c0000201" + "c6336407"
	ip6 := func(next string) string {
		return "600000000010" + next + "40" + "20010db8000000000000000000000001" + "20010db8000000000000000000000002"
	}
	for _, test := range []struct {
		name, pkt string
		want      spd.Flow
		bad       bool
	}{
		{name: "udp", pkt: ip4 + udp, want: flow("192.0.2.1", "198.51.100.7", 17, 1000, 53)},
		{name: "udp cut", pkt: ip4 + "03e8", want: flow("192.0.2.1", "198.51.100.7", 17, 0, 0)},
		{name: "later fragment", pkt: "4500002000010010401100" + "00" + "c0000201" + "c6336407" + udp,
			want: flow("192.0.2.1", "198.51.100.7", 17, 0, 0)},
		{name: "options", pkt: "4600002000010000401100" + "00" + "c0000201" + "c6336407" + "01010101" + udp,
			want: flow("192.0.2.1", "198.51.100.7", 17, 1000, 53)},
		{name: "icmp", pkt: "4500002000010000400100" + "00" + "c0000201" + "c6336407" + udp,
			want: flow("192.0.2.1", "198.51.100.7", 1, 0, 0)},
		{name: "ipv6 udp", pkt: ip6("11") + udp, want: flow("2001:db8::1", "2001:db8::2", 17, 1000, 53)},
		{name: "ipv6 options", pkt: ip6("3c") + "1100000000000000" + udp, want: flow("2001:db8::1", "2001:db8::2", 17,
			1000, 53)},
		{name: "ipv6 first fragment", pkt: ip6("2c") + "1100000100000000" + udp,
			want: flow("2001:db8::1", "2001:db8::2", 17, 1000, 53)},
		{name: "ipv6 later fragment", pkt: ip6("2c") + "1100010000000000" + udp,
			want: flow("2001:db8::1", "2001:db8::2", 17, 0, 0)},
		{name: "ipv6 header that runs past the end", pkt: ip6("3c") + "11ff000000000000",
			want: flow("2001:db8::1", "2001:db8::2", 60, 0, 0)},
		{name: "empty", pkt: "", bad: true},
		{name: "ipv4 cut", pkt: "4500002000010000401100", bad: true},
		{name: "ipv4 with a short header", pkt: "44" + ip4[2:], bad: true},
		{name: "ipv6 cut", pkt: ip6("11")[:78], bad: true},
		{name: "version 5", pkt: "55" + ip4[2:], bad: true},
	} {
		pkt, err := hex.DecodeString(test.pkt)
		if err != nil {
			t.Fatal(test.name, err)
		}
		got, err := spd.ParseFlow(pkt)
		if got != test.want || (err != nil) != test.bad {
			t.Errorf("%s: %+v, %v; want %+v, error %v", test.name, got, err, test.want, test.bad)
		}
	}
}

func FuzzParseFlow(f *testing.F) {
	f.Add([]byte{0x45})
	f.Fuzz(func(t *testing.T, pkt []byte) {
		if got, err := spd.ParseFlow(pkt); err == nil && (!got.Src.IsValid() || got.Src.Is4() != got.Dst.Is4()) {
			t.Errorf("%+v", got)
		}
	})
}
