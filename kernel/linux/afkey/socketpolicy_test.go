package afkey_test

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/afkey"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// What a key daemon sets on its sockets, and everything that is wrong with it.
func TestSocketPolicy(t *testing.T) {
	little := wire.Linux().WithOrder(binary.LittleEndian)
	const none = "\x00\x00\x00\x00\x00\x00\x00\x00"       // the id and the priority, which sockets' policies have not
	const esp = "\x10\x00\x32\x00\x01\x02\x00\x00" + none // a request: transport, require
	any6 := netip.MustParsePrefix("::/0")
	any4 := netip.MustParsePrefix("0.0.0.0/0")
	out := func(p transform.Policy) transform.Policy {
		p.Direction, p.Selector.Src, p.Selector.Dst = transform.Out, any4, any4
		return p
	}
	for _, tt := range []struct {
		name, value string
		v6          bool
		want        transform.Policy
		errno       wire.Errno
	}{
		{name: "bypass", value: "\x02\x00\x12\x00\x04\x00\x02\x00" + none, want: out(transform.Policy{})},
		{name: "discard", value: "\x02\x00\x12\x00\x00\x00\x02\x00" + none, want: out(transform.Policy{Block: true})},
		{name: "esp", value: "\x04\x00\x12\x00\x02\x00\x02\x00" + none + esp,
			want: out(transform.Policy{Templates: []transform.Template{{Proto: 50}}})},
		{name: "in, IPv6", value: "\x02\x00\x12\x00\x04\x00\x01\x00" + none, v6: true, want: transform.Policy{
			Direction: transform.In, Selector: spd.Selector{Src: any6, Dst: any6}}},
		{name: "a length that nobody reads", value: "\x00\x00\x12\x00\x04\x00\x02\x00" + none,
			want: out(transform.Policy{})},
		{name: "behind the end", value: "\x02\x00\x12\x00\x02\x00\x02\x00" + none + esp,
			want: out(transform.Policy{})},

		{name: "cut", value: "\x02\x00\x12\x00\x04\x00\x02\x00", errno: wire.EINVAL},
		{name: "longer than it is", value: "\x03\x00\x12\x00\x04\x00\x02\x00" + none, errno: wire.EINVAL},
		{name: "shorter than it is", value: "\x01\x00\x12\x00\x02\x00\x02\x00" + none, errno: wire.EINVAL},
		{name: "a kind of policy", value: "\x02\x00\x12\x00\x05\x00\x02\x00" + none, errno: wire.EINVAL},
		{name: "any direction", value: "\x02\x00\x12\x00\x04\x00\x00\x00" + none, errno: wire.EINVAL},
		{name: "forward", value: "\x02\x00\x12\x00\x04\x00\x03\x00" + none, errno: wire.EINVAL},
		{name: "a request of TCP", value: "\x04\x00\x12\x00\x02\x00\x02\x00" + none +
			"\x10\x00\x06\x00\x01\x02\x00\x00" + none, errno: wire.EINVAL},
		{name: "unique, the kernel chooses", value: "\x04\x00\x12\x00\x02\x00\x02\x00" + none +
			"\x10\x00\x32\x00\x01\x03\x00\x00" + none, errno: wire.ENOBUFS},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, errno := afkey.SocketPolicy(little, []byte(tt.value), tt.v6)
			if errno != tt.errno {
				t.Errorf("errno %v, want %v", errno, tt.errno)
			}
			if diff := cmp.Diff(tt.want, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
				cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); errno == wire.OK && diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
