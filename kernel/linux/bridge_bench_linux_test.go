package linux_test

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/netlink"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// race is the same thing by netlink alone and by PF_KEY in front of it, one after the other in one namespace.
type race struct {
	*bridge
	b      *testing.B
	fd     int // of netlink
	codec  netlink.Codec
	buf    []byte
	socket pfkey.Socket
	cred   pfkey.Cred
}

func newRace(b *testing.B) *race {
	r := &race{bridge: newBridge(b, nil), b: b, codec: netlink.Codec{Order: binary.NativeEndian},
		buf: make([]byte, 65536), cred: pfkey.Cred{PID: 7, Privileged: true}}
	err := r.ns.Do(func() (err error) {
		r.fd, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_XFRM)
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { unix.Close(r.fd) })
	r.client.Close() // nobody else hears
	r.open()
	b.Cleanup(func() { r.socket.Close() })
	return r
}

// open opens the socket of PF_KEY.
func (r *race) open() {
	var errno pfkey.Errno
	if r.socket, errno = r.Open(r.cred, 3, 2); errno != wire.OK {
		r.b.Fatal(errno)
	}
}

// raw makes a request of netlink and reads its answer, which ends with an acknowledgement if there is more than one
// message. It returns how many messages of data there were.
func (r *race) raw(msg []byte, list bool) (n int) {
	if _, err := unix.Write(r.fd, msg); err != nil {
		r.b.Fatal(err)
	}
	for {
		size, err := unix.Read(r.fd, r.buf)
		if err != nil {
			r.b.Fatal(err)
		}
		for m := range r.codec.Messages(r.buf[:size]) {
			if m.Type == 3 { // NLMSG_DONE
				return n
			}
			n++
		}
		if !list {
			return n
		}
	}
}

// pfkey makes a request of PF_KEY, reads what there is to read, and returns how many messages that were.
func (r *race) pfkey(msg []byte) (n int) {
	r.socket.Send(msg, r.cred)
	for {
		if _, _, errno := r.socket.Recv(r.buf, 0); errno != wire.OK {
			return n
		}
		n++
	}
}

// run lets both do it in turn, and reports how much longer PF_KEY takes.
func (r *race) run(raw, pfkey func(n uint32)) {
	var below, above time.Duration
	n := uint32(0)
	for r.b.Loop() {
		n++
		start := time.Now()
		raw(n)
		middle := time.Now()
		pfkey(n)
		below += middle.Sub(start)
		above += time.Since(middle)
	}
	r.b.ReportMetric(float64(below.Nanoseconds())/float64(n), "netlink-ns/op")
	r.b.ReportMetric(float64(above.Nanoseconds())/float64(n), "pfkey-ns/op")
	r.b.ReportMetric(float64(above)/float64(below), "times")
}

func outTo(n uint32) (spd.Selector, wire.Address) {
	dst := netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})
	return spd.Selector{Src: netip.MustParsePrefix("192.0.2.1/32"), Dst: netip.PrefixFrom(dst, 32)}, pfkey.Host(dst)
}

// BenchmarkBridge compares PF_KEY on this machine's kernel with netlink alone, in turn and without ESP. GET is one
// request; the result of SPDADD is news, for which the engine listens and looks three times.
func BenchmarkBridge(b *testing.B) {
	d := wire.Linux()
	ends := func(m []byte, dst wire.Address) []byte {
		m = d.AppendAddress(m, wire.ExtAddressSrc, pfkey.Host(netip.MustParseAddr("192.0.2.1")))
		return d.AppendAddress(m, wire.ExtAddressDst, dst)
	}
	head := func(t wire.MsgType, sa wire.SAType) []byte {
		return d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: t, SAType: sa, Seq: 1, PID: 7})
	}
	peer := netip.MustParseAddr("192.0.2.2")
	b.Run("get", func(b *testing.B) {
		r := newRace(b)
		get := d.Finish(ends(d.AppendSA(head(wire.MsgGet, wire.SATypeESP), wire.SA{SPI: 0x1000}), pfkey.Host(peer)))
		below := r.codec.AppendGetState(nil, sadb.Key{Dst: peer, SPI: 0x1000, Proto: 50})
		r.run(func(uint32) { r.raw(below, false) }, func(uint32) { r.pfkey(get) })
	})
	b.Run("getspi", func(b *testing.B) {
		r := newRace(b)
		getSPI := func(spi uint32) []byte {
			m := ends(head(wire.MsgGetSPI, wire.SATypeESP), pfkey.Host(peer))
			return d.Finish(d.AppendSPIRange(m, wire.SPIRange{Min: wire.SPI(spi), Max: wire.SPI(spi)}))
		}
		q := transform.SPIRequest{Proto: 50, Src: netip.MustParseAddr("192.0.2.1"), Dst: peer}
		r.run(func(n uint32) {
			q.Min = 0x10000 + n
			q.Max = q.Min
			r.raw(r.codec.AppendAllocSPI(nil, &q), false)
		}, func(n uint32) {
			r.pfkey(getSPI(0x80000000 + n))
		})
	})
	b.Run("spdadd", func(b *testing.B) {
		r := newRace(b)
		r.run(func(n uint32) {
			sel, _ := outTo(n)
			r.raw(r.codec.AppendPolicy(nil, &transform.Policy{Direction: transform.In, Selector: sel, Block: true,
				Limits: transform.NoLimits}, false, transform.By{}), false)
		}, func(n uint32) {
			_, dst := outTo(n)
			r.pfkey(d.Finish(d.AppendPolicy(ends(head(wire.KAMEMsgXSPDAdd, 0), dst),
				wire.Policy{Direction: wire.KAMEDirOut})))
		})
	})
	b.Run("spddump", func(b *testing.B) {
		const policies = 10_000
		r := newRace(b)
		for n := range uint32(policies) {
			sel, _ := outTo(n)
			r.raw(r.codec.AppendPolicy(nil, &transform.Policy{Direction: transform.Out, Selector: sel, Block: true,
				Limits: transform.NoLimits}, false, transform.By{}), false)
		}
		r.Status(1) // by now the engine has heard of them
		r.socket.Close()
		r.open() // and this one has not
		below, dump := r.codec.AppendDumpPolicies(nil), d.Finish(head(wire.KAMEMsgXSPDDump, 0))
		r.run(func(uint32) {
			if n := r.raw(below, true); n != policies {
				b.Fatalf("%d policies", n)
			}
		}, func(uint32) {
			if n := r.pfkey(dump); n != policies {
				b.Fatalf("%d messages", n)
			}
		})
	})
}
