package wire_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/wire"
)

// hostings are those of the kernels whose programs can be compiled on Linux.
func hostings(t testing.TB) (all []*wire.Hosting) {
	t.Helper()
	for _, d := range wire.Dialects() {
		if d.Name == "illumos" {
			continue
		}
		h, err := wire.NewHosting(d, wire.Linux())
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
	return all
}

// everySockaddr is a message with a sockaddr in each place where the dialect has one.
func everySockaddr(d *wire.Dialect, errno wire.Errno) []byte {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::2")
	msg := d.AppendHeader(nil, wire.Header{
		Version: 2, Type: wire.MsgAdd, Errno: d.ErrnoNumber(errno), SAType: wire.SATypeESP, Seq: 7, PID: 8,
	})
	for t := range wire.ExtType(64) {
		if d.Role(t) == wire.RoleAddress {
			v := wire.Address{Proto: 255, PrefixLen: 64, Addr: v6, Port: 4500, Scope: 3, Flow: 9}
			if t%2 == 0 {
				v = wire.Address{PrefixLen: 32, Addr: v4, Port: 500}
			}
			msg = d.AppendAddress(msg, t, v)
		}
	}
	tunnel := func(src, dst netip.Addr) wire.IPsecRequest {
		return wire.IPsecRequest{
			Proto: 50, Mode: wire.ModeTunnel, Src: wire.Sockaddr{Addr: src}, Dst: wire.Sockaddr{Addr: dst},
		}
	}
	odd := tunnel(v4, v6)
	odd.Tail = make([]byte, 4)
	if _, has := d.ExtNumber(wire.KAMEExtXPolicy); !has {
		return d.Finish(msg)
	}
	msg = d.AppendPolicy(msg, wire.Policy{
		Type: wire.KAMEPolicyIPsec, Direction: wire.KAMEDirOut,
		Requests: []wire.IPsecRequest{tunnel(v6, v6), {Proto: 51, Mode: wire.ModeTransport}, odd},
	})
	ident := d.AppendIdentity(nil, wire.ExtIdentitySrc, wire.Identity{Type: 4, ID: 5, Name: "0123456789abcde"})
	sockaddr := d.AppendAddress(nil, wire.ExtAddressSrc, wire.Address{Addr: v4})[8:]
	msg = append(msg, append(ident[:16], sockaddr...)...)
	msg = d.AppendIdentity(msg, wire.ExtIdentityDst, wire.Identity{Type: 2, Name: "\x02\x00name"})
	return d.Finish(msg)
}

// wrapped is a message in an X_PROMISC.
func wrapped(d *wire.Dialect, msg []byte) []byte {
	return d.Finish(append(d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgXPromisc}), msg...))
}

// What a program of this machine writes is to the kernel what it would have written there, and the other way round.
func TestHosting(t *testing.T) {
	for _, kernel := range wire.Dialects() {
		h, err := wire.NewHosting(kernel, wire.Linux())
		if kernel.Name == "illumos" {
			if err == nil {
				t.Error("illumos' sockaddr_in6 is longer, and it is fine")
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		program := h.Program()
		if program.Name != kernel.Name || program.AFInet6 != wire.Linux().AFInet6 || program.SockaddrLen {
			t.Errorf("the program speaks %+v", program)
		}
		for _, errno := range []wire.Errno{wire.OK, wire.EINVAL, wire.EMSGSIZE, wire.EOPNOTSUPP, wire.ENOBUFS} {
			theirs, ours := everySockaddr(kernel, errno), everySockaddr(program, errno)
			for _, tt := range [][2][]byte{
				{theirs, ours},
				{wrapped(kernel, theirs), wrapped(program, ours)},
				{wrapped(kernel, wrapped(kernel, theirs)), wrapped(program, wrapped(program, ours))},
			} {
				got := bytes.Clone(tt[1])
				if h.ToKernel(got); !bytes.Equal(got, tt[0]) {
					t.Errorf("%s: %v: to the kernel\n got %x\nwant %x", kernel.Name, errno, got, tt[0])
				}
				got = bytes.Clone(tt[0])
				if h.ToProgram(got); !bytes.Equal(got, tt[1]) {
					t.Errorf("%s: %v: to the program\n got %x\nwant %x", kernel.Name, errno, got, tt[1])
				}
			}
		}
	}
}

// Each errno that a kernel can have has its own name on the other side.
func TestHostingErrnos(t *testing.T) {
	for _, h := range hostings(t) {
		kernel, _ := wire.ByName(h.Program().Name)
		for e := range wire.Errno(255) {
			if _, named := wire.ErrnoByName(e.String()); !named || e == wire.ENOTSUP {
				continue // the BSDs tell it from EOPNOTSUPP, Linux does not
			}
			n := kernel.ErrnoNumber(e)
			if back, ok := kernel.Errno(n); !ok || back != e {
				continue // the kernel has none of that name
			}
			msg := kernel.AppendHeader(nil, wire.Header{Version: 2, Errno: n})
			h.ToProgram(msg)
			if want := wire.Linux().ErrnoNumber(e); msg[2] != want {
				t.Errorf("%s: %v is %d, and to the program %d, want %d", kernel.Name, e, n, msg[2], want)
			}
		}
	}
}

// A family that is neither IPv4's nor IPv6's has no length to a kernel that wants one, and comes back as it was: that
// of the kernel's own IPv6 means something else here.
func TestHostingOtherFamilies(t *testing.T) {
	for _, h := range hostings(t) {
		kernel, _ := wire.ByName(h.Program().Name)
		if !kernel.SockaddrLen {
			continue
		}
		for _, family := range []uint16{0, 1, kernel.AFInet6, 99, 0x1002, 0xffff} {
			program := h.Program()
			msg := program.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgGet})
			msg = program.AppendAddress(msg, wire.ExtAddressSrc, wire.Address{Addr: netip.MustParseAddr("2001:db8::1")})
			program.Order.PutUint16(msg[24:], family)
			want := bytes.Clone(msg)
			h.ToKernel(msg)
			if family < 256 && (msg[24] != 0 || msg[25] != uint8(family)) {
				t.Errorf("%s: family %d is % x to the kernel", kernel.Name, family, msg[24:26])
			}
			if got, _ := kernel.AddressFamily(msg[16:]); family != 0x1002 && msg[24] != 0 && got == kernel.AFInet {
				t.Errorf("%s: family %d is IPv4 to the kernel", kernel.Name, family)
			}
			if h.ToProgram(msg); !bytes.Equal(msg, want) {
				t.Errorf("%s: family %d comes back % x", kernel.Name, family, msg[24:26])
			}
		}
	}
}

// families are the places where [wire.Dialect.Fields] tells of a sockaddr, and what else it tells, but for the families
// themselves.
func families(d *wire.Dialect, msg []byte) (at []int, rest []string) {
	for f := range d.Fields(msg, wire.FormatOptions{ShowKeys: true}) {
		switch f.Name[strings.LastIndexByte(f.Name, ' ')+1:] { // "source family" is one, too
		case "family", "length":
			at = append(at, f.Offset)
		case "errno", "data", "extra", "identity", "padding":
		default:
			rest = append(rest, fmt.Sprintf("%d %s %s %s", f.Offset, f.Extension, f.Name, f.Value))
		}
	}
	return at, rest
}

// Wherever a recorded message has a sockaddr, a program finds one of its own, and everything else is as it was.
func TestHostingRecordings(t *testing.T) {
	for _, kernel := range little() {
		h, err := wire.NewHosting(kernel, wire.Linux())
		if err != nil {
			continue // illumos
		}
		sockaddrs := 0
		for _, m := range recordings(t, kernel) {
			msg := bytes.Clone(m.msg)
			h.ToProgram(msg)
			at, rest := families(h.Program(), msg)
			wantAt, wantRest := families(kernel, m.msg)
			if kernel.Validate(m.msg) == nil && (!slices.Equal(at, wantAt) || !slices.Equal(rest, wantRest)) {
				t.Errorf("%s: to the program\n got %v %q\nwant %v %q", m.name, at, rest, wantAt, wantRest)
			}
			sockaddrs += len(at)
			if h.ToKernel(msg); !bytes.Equal(msg, m.msg) {
				t.Errorf("%s: there and back\n got %x\nwant %x", m.name, msg, m.msg)
			}
		}
		if sockaddrs < 500 {
			t.Errorf("%s: only %d sockaddrs", kernel.Name, sockaddrs)
		}
	}
}

// FuzzHosting translates anything in both directions, and back.
func FuzzHosting(f *testing.F) {
	for n, h := range hostings(f) {
		kernel, _ := wire.ByName(h.Program().Name)
		for _, d := range []*wire.Dialect{kernel, h.Program()} {
			msg := everySockaddr(d, wire.EMSGSIZE)
			f.Add(uint8(n), msg)
			f.Add(uint8(n), wrapped(d, msg))
			f.Add(uint8(n), msg[:len(msg)-9])
		}
		for _, s := range samples(f) {
			f.Add(uint8(n), s.msg)
		}
	}
	all := hostings(f)
	f.Fuzz(func(t *testing.T, n uint8, msg []byte) {
		h := all[int(n)%len(all)]
		got := bytes.Clone(msg)
		h.ToKernel(got)
		if h.ToProgram(got); !bytes.Equal(got, msg) {
			t.Fatalf("to the kernel and back\n got %x\nwant %x", got, msg)
		}
		h.ToProgram(got)
		if h.ToKernel(got); !bytes.Equal(got, msg) {
			t.Fatalf("to the program and back\n got %x\nwant %x", got, msg)
		}
	})
}
