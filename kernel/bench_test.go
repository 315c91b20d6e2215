package kernel_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"runtime"
	"testing"

	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// benched are the kernels, each with the SA extension of an ADD, how many messages a DUMP has behind those of the SAs,
// and how many have room in a socket; 0: all.
var benched = []struct {
	name      string
	sa        wire.SA
	end, room int
}{
	{"illumos", wire.SA{Replay: 32, State: wire.StateMature, Auth: wire.AuthSHA1HMAC, Encrypt: wire.EncAESCBC,
		Flags: wire.IllumosFlagXInbound}, 1, 0},
	{"linux", wire.SA{Auth: wire.AuthSHA1HMAC, Encrypt: wire.EncAESCBC}, 0, 0},
	{"netbsd", wire.SA{Auth: wire.AuthSHA1HMAC, Encrypt: wire.EncAESCBC}, 0, 0},
	{"freebsd", wire.SA{Auth: wire.AuthSHA1HMAC, Encrypt: wire.EncAESCBC}, 0, 0},
	{"openbsd", wire.SA{State: wire.StateMature, Auth: wire.AuthSHA1HMAC, Encrypt: wire.EncAESCBC}, 0, 31},
}

var privileged = pfkey.Cred{PID: 1, Privileged: true}

// bench is an engine with one socket and the messages to send to it, built once.
type bench struct {
	b        *testing.B
	s        pfkey.Socket
	buf      []byte
	add, get []byte
	dump     []byte
	dumped   int // messages that answer dump
}

// newBench makes an engine that has n SAs already, all between the same two addresses.
func newBench(b *testing.B, name string, sa wire.SA, n int) *bench {
	peer, me := netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("192.0.2.1")
	e, err := kernel.New(name, kernel.Options{Addrs: []netip.Addr{me}})
	if err != nil {
		b.Fatal(err)
	}
	x := &bench{b: b, buf: make([]byte, 4096)}
	x.s, _ = e.Open(privileged, 3, 2)
	d := e.Dialect()
	message := func(t wire.MsgType) []byte {
		m := d.AppendSA(d.AppendHeader(nil, wire.Header{Version: 2, Type: t, SAType: wire.SATypeESP, Seq: 1, PID: 1}),
			sa)
		return d.AppendAddress(d.AppendAddress(m, wire.ExtAddressSrc, pfkey.Host(peer)), wire.ExtAddressDst,
			pfkey.Host(me))
	}
	x.add = d.AppendKey(message(wire.MsgAdd), wire.ExtKeyAuth, pfkey.NewKey([]byte("0123456789abcdefghij")))
	x.add = d.Finish(d.AppendKey(x.add, wire.ExtKeyEncrypt, pfkey.NewKey([]byte("0123456789abcdef"))))
	x.get = d.Finish(message(wire.MsgGet))
	x.dump = d.Finish(d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgDump, Seq: 1, PID: 1}))
	for i := range n {
		x.do(x.add, uint32(i+1))
	}
	return x
}

// do sends a message about an SPI and reads the answer.
func (x *bench) do(msg []byte, spi uint32) {
	binary.BigEndian.PutUint32(msg[wire.HeaderLen+4:], spi)
	x.s.Send(msg, privileged)
	if _, _, errno := x.s.Recv(x.buf, 0); errno != wire.OK || x.buf[2] != 0 {
		x.b.Fatalf("SPI %d: %v, errno %d", spi, errno, x.buf[2])
	}
}

// each runs a benchmark on each kernel with few SAs and with many; fill makes the engine.
func each(b *testing.B, f func(b *testing.B, n int, fill func() *bench)) {
	for _, k := range benched {
		for _, n := range []int{1_000, 1_000_000} {
			b.Run(fmt.Sprintf("%s/%d", k.name, n), func(b *testing.B) {
				f(b, n, func() *bench {
					x := newBench(b, k.name, k.sa, n)
					if x.dumped = n + k.end; k.room != 0 {
						x.dumped = min(x.dumped, k.room)
					}
					return x
				})
			})
		}
	}
}

// BenchmarkAdd adds to a database that has so many SAs already. What it adds stays: compare the sizes with a fixed
// number of turns (-benchtime 10000x).
func BenchmarkAdd(b *testing.B) {
	each(b, func(b *testing.B, n int, fill func() *bench) {
		x := fill()
		spi := uint32(n)
		b.ReportAllocs()
		for b.Loop() {
			spi++
			x.do(x.add, spi)
		}
	})
}

func BenchmarkGet(b *testing.B) {
	each(b, func(b *testing.B, n int, fill func() *bench) {
		x := fill()
		spi := uint32(0)
		b.ReportAllocs()
		for b.Loop() {
			spi = spi*1664525 + 1013904223 // all over the database
			x.do(x.get, spi%uint32(n)+1)
		}
	})
}

// BenchmarkDump reports the time for each SA, and what an SA that does nothing takes of memory.
func BenchmarkDump(b *testing.B) {
	each(b, func(b *testing.B, n int, fill func() *bench) {
		before := memory()
		x := fill()
		size := float64(memory()-before) / float64(n)
		for b.Loop() {
			x.s.Send(x.dump, privileged)
			got := 0
			for {
				if _, _, errno := x.s.Recv(x.buf, 0); errno != wire.OK {
					break
				}
				got++
			}
			if got != x.dumped {
				b.Fatalf("%d messages of %d SAs, want %d", got, n, x.dumped)
			}
		}
		b.ReportMetric(size, "bytes/SA")
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/SA")
	})
}

func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
