package linux_test

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
	b        *testing.B
	e        *engine.Engine
	s        pfkey.Socket
	add, get []byte
	buf      []byte
}

var privileged = pfkey.Cred{Privileged: true}

func newBench(b *testing.B) *bench {
	e, err := kernel.New("linux", engine.Options{Addrs: append(engine.Options{}.Addrs, me)})
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
	sa := wire.SA{Auth: wire.AuthSHA1HMAC, Encrypt: wire.LinuxEncAESCBC}
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

// BenchmarkAdd adds to a database that has so many SAs already, all between the same two addresses.
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
				if got != n {
					b.Fatalf("%d messages, want %d", got, n)
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

// payload1400 is an IP packet with so many bytes of payload, from the peer.
func payload1400() []byte {
	inner := append(append([]byte(nil), plain[:20]...), make([]byte, 1400)...)
	binary.BigEndian.PutUint16(inner[2:], uint16(len(inner)))
	return inner
}

// BenchmarkInbound1400 drives ESP packets of 1400 bytes of payload through the engine: lookup, limits, cipher, counters, the inner packet put
// together, and the policy asked.
func BenchmarkInbound1400(b *testing.B) {
	x := newBench(b)
	const spi = 0x4444
	x.do(x.add, spi) // without a replay window, so that one packet serves for all rounds
	far, err := suite.New()
	if err != nil {
		b.Fatal(err)
	}
	pkt, err := far.SealTransport(nil, payload1400(), ipsec.Ports{}, ipsec.Sealing{SPI: spi, Seq: 1, IV: make([]byte, 16)})
	if err != nil {
		b.Fatal(err)
	}
	x.packets(pkt, ipsec.Delivered, x.e.Inbound)
}

// BenchmarkOutbound1400 is the other way: policy, the SA for its template, and the cipher.
func BenchmarkOutbound1400(b *testing.B) {
	x := newBench(b)
	h := &host{t: b, e: x.e, s: x.s}
	h.send(h.policy(wire.LinuxMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)}))
	h.drain()
	d := x.e.Dialect()
	m := d.AppendSA(d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeESP}), wire.SA{Auth: wire.AuthSHA1HMAC, Encrypt: wire.LinuxEncAESCBC})
	m = d.AppendAddress(d.AppendAddress(m, wire.ExtAddressSrc, pfkey.Host(me)), wire.ExtAddressDst, pfkey.Host(peer))
	m = d.AppendKey(d.AppendKey(m, wire.ExtKeyAuth, pfkey.NewKey(authKey)), wire.ExtKeyEncrypt, pfkey.NewKey(encryptKey))
	x.do(d.Finish(m), 0x5555)
	pkt := payload1400()
	copy(pkt[12:], me.AsSlice())
	copy(pkt[16:], peer.AsSlice())
	x.packets(pkt, ipsec.Transmitted, func(p *ipsec.Packet) { x.e.Outbound(p, "") })
}

func (x *bench) packets(pkt []byte, want ipsec.Kind, drive func(*ipsec.Packet)) {
	b := x.b
	var p ipsec.Packet
	room := make([]byte, 0, len(pkt)+200)
	good, n := 0, 0
	done := func(_ *ipsec.Packet, v ipsec.Verdict) {
		if v.Kind == want {
			good++
		}
	}
	b.SetBytes(1400)
	b.ReportAllocs()
	for b.Loop() {
		p = ipsec.Packet{ID: uint64(n), Data: pkt, Room: room, Done: done}
		drive(&p)
		n++
	}
	if good != n {
		b.Fatalf("%d of %d packets as wanted", good, n)
	}
}
