package illumos_test

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"testing"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// bench is an engine with one socket and the messages to send to it, built once.
type bench struct {
	b        testing.TB
	e        *engine.Engine
	s        pfkey.Socket
	add, get []byte
	buf      []byte
}

var privileged = pfkey.Cred{Privileged: true}

func newBench(b testing.TB) *bench {
	e, err := kernel.New("illumos", engine.Options{Addrs: append(engine.Options{}.Addrs, me)})
	if err != nil {
		b.Fatal(err)
	}
	s, _ := e.Open(privileged, 3, 2)
	x := &bench{b: b, e: e, s: s, buf: make([]byte, 4096)}
	d := e.Dialect()
	addresses := func(m []byte) []byte {
		m = d.AppendAddress(m, wire.ExtAddressSrc, pfkey.Host(peer))
		return d.AppendAddress(m, wire.ExtAddressDst, pfkey.Host(me))
	}
	hdr := wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeESP, Seq: 1, PID: 1}
	sa := wire.SA{Replay: 32, State: wire.StateMature, Auth: wire.AuthSHA1HMAC, Encrypt: wire.IllumosEncAESCBC, Flags: wire.IllumosFlagXInbound}
	x.add = addresses(d.AppendSA(d.AppendHeader(nil, hdr), sa))
	x.add = d.AppendKey(x.add, wire.ExtKeyAuth, pfkey.NewKey(authKey))
	x.add = d.Finish(d.AppendKey(x.add, wire.ExtKeyEncrypt, pfkey.NewKey(encryptKey)))
	hdr.Type = wire.MsgGet
	x.get = d.Finish(addresses(d.AppendSA(d.AppendHeader(nil, hdr), sa)))
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

func (x *bench) fill(n int) {
	for i := range n {
		x.do(x.add, uint32(i+1))
	}
}

var sizes = []int{1_000, 1_000_000}

// BenchmarkAdd adds to a database that has so many SAs already. What it adds stays: compare the sizes with a fixed number of turns (-benchtime 10000x).
func BenchmarkAdd(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x := newBench(b)
			x.fill(n)
			spi := uint32(n)
			b.ReportAllocs()
			for b.Loop() {
				spi++
				x.do(x.add, spi)
			}
		})
	}
}

func BenchmarkGet(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			x := newBench(b)
			x.fill(n)
			spi := uint32(0)
			b.ReportAllocs()
			for b.Loop() {
				spi = spi*1664525 + 1013904223 // all over the database
				x.do(x.get, spi%uint32(n)+1)
			}
		})
	}
}

// BenchmarkDump reports the time for each SA, and what an SA that does nothing takes of memory.
func BenchmarkDump(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			before := memory()
			x := newBench(b)
			x.fill(n)
			size := float64(memory()-before) / float64(n)
			d := x.e.Dialect()
			dump := d.Finish(d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgDump, Seq: 1}))
			for b.Loop() {
				x.s.Send(dump, privileged)
				got := 0
				for {
					if _, _, errno := x.s.Recv(x.buf, 0); errno != wire.OK {
						break
					}
					got++
				}
				if got != n+1 {
					b.Fatalf("%d messages, want %d and the end", got, n)
				}
			}
			b.ReportMetric(size, "bytes/SA")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/SA")
		})
	}
}

func memory() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// gcm is AES-128-GCM with the salt behind the key.
var gcm = ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: ipsec.NewKey(encryptKey), Salt: ipsec.NewKey([]byte("salt")), ICV: 16}
