package linux_test

import (
	"encoding/binary"
	"net/netip"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/kernel/linux/netlink"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

var ends = [2]netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")}

// request is a message about an ESP SA between ends, with keys if it adds one.
func request(t wire.MsgType, spi wire.SPI) []byte {
	d := wire.Linux()
	b := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: t, SAType: wire.SATypeESP, Seq: 1, PID: 2})
	if t != wire.MsgDump {
		b = d.AppendSA(b, wire.SA{SPI: spi, Encrypt: wire.EncNull, Auth: wire.AuthSHA1HMAC})
		b = d.AppendAddress(b, wire.ExtAddressSrc, pfkey.Host(ends[0]))
		b = d.AppendAddress(b, wire.ExtAddressDst, pfkey.Host(ends[1]))
	}
	if t == wire.MsgAdd {
		b = d.AppendKey(b, wire.ExtKeyAuth, wire.Key{Bits: 160, Data: make([]byte, 20)})
		b = d.AppendKey(b, wire.ExtKeyEncrypt, wire.Key{})
	}
	return d.Finish(b)
}

// BenchmarkKernel compares the bridge with what is below it, raw netlink, and with AF_KEY where the host has it: GET of
// an SA that is not there; ADD and DELETE, which need ESP; DUMP of 1000 SAs.
func BenchmarkKernel(b *testing.B) {
	host, _ := netlink.Look()
	for name, open := range map[string]func(testing.TB) *listener{"bridge": bridged, "af_key": afKey, "netlink": raw} {
		b.Run("get/"+name, func(b *testing.B) {
			l := inside(b, open)
			for b.Loop() {
				l.send(request(wire.MsgGet, 0x1000))
				l.drain()
			}
		})
		if !host.ESP {
			continue
		}
		b.Run("add+delete/"+name, func(b *testing.B) {
			l := inside(b, open)
			for b.Loop() {
				for _, t := range []wire.MsgType{wire.MsgAdd, wire.MsgDelete} {
					l.send(request(t, 0x1000))
					l.drain()
				}
			}
		})
		b.Run("dump/"+name, func(b *testing.B) {
			l := inside(b, open)
			const sas = 1000
			for spi := range wire.SPI(sas) {
				l.send(request(wire.MsgAdd, 0x1000+spi))
				l.drain()
			}
			for b.Loop() {
				l.send(request(wire.MsgDump, 0))
				if n := l.drain(); n != sas && name != "netlink" {
					b.Fatalf("%d messages", n)
				}
			}
		})
	}
}

// inside opens a listener in a network namespace of its own.
func inside(b *testing.B, open func(testing.TB) *listener) *listener {
	runtime.LockOSThread() // and never let go: the namespace ends with the thread
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		b.Skip(err)
	}
	return open(b)
}

// drain reads all there is, and says how many messages that was.
func (l *listener) drain() (n int) {
	for l.recv(buffer[:]) > 0 {
		n++
	}
	return n
}

var buffer [65536]byte

// raw does by netlink what requests ask for, and reads the answers.
func raw(t testing.TB) *listener {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_XFRM)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	c, d := netlink.Codec{Order: binary.NativeEndian}, wire.Linux()
	return &listener{
		send: func(m []byte) {
			h, _ := d.Header(m)
			k := sadb.Key{Dst: ends[1], SPI: 0x1000, Proto: 50}
			if x, ok := d.Find(m, wire.ExtSA); ok {
				v, _ := d.ParseSA(x.Raw)
				k.SPI = uint32(v.SPI)
			}
			var out []byte
			switch h.Type {
			case wire.MsgGet:
				out = c.AppendGetState(nil, k)
			case wire.MsgAdd:
				sa := transform.State{Limits: transform.NoLimits}
				sa.Config = transform.Config{Proto: 50, SPI: k.SPI, Src: ends[0], Dst: k.Dst, Auth: wire.AuthSHA1HMAC,
					AuthBits: 160, Encrypt: wire.EncNull, Keys: make([]byte, 20)}
				out = c.AppendState(nil, &sa, false, transform.By{})
			case wire.MsgDelete:
				out = c.AppendDelState(nil, k, transform.By{})
			case wire.MsgDump:
				out = c.AppendDumpStates(nil, 50, transform.Filter{})
			}
			if _, err := unix.Write(fd, out); err != nil {
				t.Error(err)
			}
		},
		recv: func(b []byte) int {
			n, err := unix.Read(fd, b)
			if err != nil {
				return 0
			}
			return n
		}}
}
