package packetline_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/cmd/internal/packetline"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const (
	v4 = "45 00 %len% 12 34 00 00 40 %proto% 00 00 c0 00 02 02 c0 00 02 01"
	v6 = "60 00 00 00 %len% %proto% 40 20010db8000000000000000000000002 20010db8000000000000000000000001"
)

// ip4 and ip6 put a header in front of a hexadecimal payload.
func ip4(t testing.TB, proto, payload string) string {
	n := 20 + len(unhex(t, payload))
	return strings.NewReplacer("%len%", hex.EncodeToString([]byte{byte(n >> 8), byte(n)}), "%proto%",
		proto).Replace(v4) + payload
}

func ip6(t testing.TB, proto, payload string) string {
	n := len(unhex(t, payload))
	return strings.NewReplacer("%len%", hex.EncodeToString([]byte{byte(n >> 8), byte(n)}), "%proto%",
		proto).Replace(v6) + payload
}

func TestLine(t *testing.T) {
	const udp = "01f4 01f4 000c 0000 01020304"
	tests := []struct{ name, in, want string }{
		{"nothing", "", ""},
		{"not IP", "00 01 02", "not an IP packet, 3 bytes"},
		{"short header", "45 00", "not an IP packet, 2 bytes"},
		{"header length lies", "4f" + ip4(t, "11", udp)[2:], "not an IP packet, 32 bytes"},
		{"udp", ip4(t, "11", udp), "192.0.2.2 > 192.0.2.1 udp 500 > 500, 4 bytes"},
		{"udp6", ip6(t, "11", udp), "2001:db8::2 > 2001:db8::1 udp 500 > 500, 4 bytes"},
		{"udp cut", ip4(t, "11", "01f4"), "192.0.2.2 > 192.0.2.1 udp, 2 bytes"},
		{"echo request", ip4(t, "01", "08 00 0000 0007 0002 aa"),
			"192.0.2.2 > 192.0.2.1 icmp echo request id 7 seq 2, 1 bytes"},
		{"echo reply 6", ip6(t, "3a", "81 00 0000 0007 0002"),
			"2001:db8::2 > 2001:db8::1 icmp6 echo reply id 7 seq 2, 0 bytes"},
		{"icmp other", ip4(t, "01", "03 03 0000 0000 0000 aabb"), "192.0.2.2 > 192.0.2.1 icmp type 3 code 3, 2 bytes"},
		{"tcp syn", ip4(t, "06", "d431 0050 00000001 00000000 5002 ffff 0000 0000"),
			"192.0.2.2 > 192.0.2.1 tcp 54321 > 80 [S], 0 bytes"},
		{"esp", ip4(t, "32", "00001000 00000001 aabb"), "192.0.2.2 > 192.0.2.1 esp spi 0x1000 seq 1, 2 bytes"},
		{"esp cut", ip4(t, "32", "00001000"), "192.0.2.2 > 192.0.2.1 esp, 4 bytes"},
		{"esp in udp", ip4(t, "11", "1194 1194 0014 0000 00001000 00000001 aabbccdd"),
			"192.0.2.2 > 192.0.2.1 udp 4500 > 4500 esp spi 0x1000 seq 1, 4 bytes"},
		{"ike on 4500", ip4(t, "11", "1194 1194 0010 0000 00000000 00000001"),
			"192.0.2.2 > 192.0.2.1 udp 4500 > 4500, 8 bytes"},
		{"keepalive", ip4(t, "11", "1194 1194 0009 0000 ff"), "192.0.2.2 > 192.0.2.1 udp 4500 > 4500, 1 bytes"},
		{"ah", ip4(t, "33", "11 04 0000 00001000 00000001 000000000000000000000000"+udp),
			"192.0.2.2 > 192.0.2.1 ah spi 0x1000 seq 1 udp 500 > 500, 4 bytes"},
		{"ah length lies", ip4(t, "33", "11 ff 0000 00001000 00000001"),
			"192.0.2.2 > 192.0.2.1 ah spi 0x1000 seq 1, length 1028 of 12 bytes"},
		{"tunnel", ip4(t, "04", ip4(t, "11", udp)),
			"192.0.2.2 > 192.0.2.1 ipv4 192.0.2.2 > 192.0.2.1 udp 500 > 500, 4 bytes"},
		{"6 in 4", ip4(t, "29", ip6(t, "11", udp)),
			"192.0.2.2 > 192.0.2.1 ipv6 2001:db8::2 > 2001:db8::1 udp 500 > 500, 4 bytes"},
		{"hop-by-hop", ip6(t, "00", "11 00 0104 0000 0000"+udp), "2001:db8::2 > 2001:db8::1 udp 500 > 500, 4 bytes"},
		{"extension too long", ip6(t, "00", "11 05 0104 0000 0000"), "2001:db8::2 > 2001:db8::1 protocol 0, 8 bytes"},
		{"later fragment", ip6(t, "2c", "11 00 0008 00000001"+udp),
			"2001:db8::2 > 2001:db8::1 udp fragment at 8, 12 bytes"},
		{"first fragment", ip6(t, "2c", "11 00 0001 00000001"+udp),
			"2001:db8::2 > 2001:db8::1 udp 500 > 500, 4 bytes, more fragments"},
		{"unknown", ip4(t, "fd", "aabb"), "192.0.2.2 > 192.0.2.1 protocol 253, 2 bytes"},
		{"trailing link padding", ip4(t, "11", udp) + "000000000000", "192.0.2.2 > 192.0.2.1 udp 500 > 500, 4 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := packetline.Of(unhex(t, tt.in)); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func FuzzLine(f *testing.F) {
	f.Add(unhex(f, ip4(f, "11", "1194 1194 0014 0000 00001000 00000001 aabbccdd")))
	f.Add(unhex(f, ip6(f, "2c", "33 00 0001 00000001 11 04 0000 00001000 00000001")))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s := packetline.Of(b); strings.ContainsAny(s, "\n\r") || (s == "") != (len(b) == 0) {
			t.Errorf("%q", s)
		}
	})
}
