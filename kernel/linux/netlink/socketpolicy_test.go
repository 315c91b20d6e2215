package netlink_test

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/netlink"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
)

// The policy of a socket field by field, as <linux/xfrm.h> has it on 64 bits.
func TestSocketPolicy(t *testing.T) {
	zero := func(n int) string { return strings.Repeat("00", n) }
	for _, tt := range []struct {
		name   string
		policy transform.Policy
		want   []string
	}{
		{"discard, IPv4", transform.Policy{Direction: transform.Out, Block: true, Selector: all("0.0.0.0/0")}, []string{
			zero(16 + 16 + 8),               // selector: ends, ports
			"0200", zero(2 + 1 + 3 + 4 + 4), // AF_INET
			strings.Repeat("ff", 32), zero(32 + 32), // no limit in bytes and packets
			zero(8), "01", "01", zero(2 + 4), // out, block
		}},
		{"ESP, IPv6", transform.Policy{Direction: transform.In, Selector: all("::/0"),
			Templates: []transform.Template{{Proto: 50, V6: true, ReqID: 7}}}, []string{
			zero(16 + 16 + 8),
			"0a00", zero(2 + 1 + 3 + 4 + 4), // AF_INET6
			strings.Repeat("ff", 32), zero(32 + 32),
			zero(8), "00", "00", zero(2 + 4),
			zero(16 + 4), "32", zero(3), "0a00", zero(2 + 16), "07000000", zero(4), // ESP, AF_INET6, reqid
			strings.Repeat("ff", 12), // any algorithm
		}},
	} {
		got := netlink.Codec{Order: binary.LittleEndian}.AppendSocketPolicy([]byte("before"), &tt.policy)
		if want := hex.EncodeToString([]byte("before")) + strings.Join(tt.want, ""); hex.EncodeToString(got) != want {
			t.Errorf("%s:\n%x, want\n%s", tt.name, got, want)
		}
	}
}

func all(prefix string) spd.Selector {
	p := netip.MustParsePrefix(prefix)
	return spd.Selector{Src: p, Dst: p}
}
