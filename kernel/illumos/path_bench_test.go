package illumos_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/inturns"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/event"
	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// bench is an engine with one socket, for messages by the million.
type bench struct {
	*talk
	buf []byte
}

func newBench(t testing.TB) *bench { return &bench{newTalk(t, engine.Options{}), make([]byte, 4096)} }

// do sends a message about an SPI and reads the answer.
func (x *bench) do(msg []byte, spi uint32) {
	binary.BigEndian.PutUint32(msg[wire.HeaderLen+4:], spi)
	x.s.Send(msg, privileged)
	if _, _, errno := x.s.Recv(x.buf, 0); errno != wire.OK || x.buf[2] != 0 {
		x.t.Fatalf("SPI %d: %v, errno %d", spi, errno, x.buf[2])
	}
}

// fill adds n inbound SAs.
func (x *bench) fill(p *protection, n int) {
	m := x.addMessage(p, peer, me, wire.IllumosFlagXInbound)
	for i := range n {
		x.do(m, uint32(i+1))
	}
}

// gcm is AES-128-GCM with the salt behind the key.
var gcm = ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESGCM, Key: ipsec.NewKey(encryptKey),
	Salt: ipsec.NewKey([]byte("salt")), ICV: 16}

// protection is a pair of algorithms as a message names it, as a suite, and as Go's own crypto.
type protection struct {
	name          string
	auth, encrypt wire.AlgID
	authKey       []byte
	encryptKey    []byte
	suite         ipsec.Suite
	open, seal    func(size int) func() // bare: over a packet with so much payload
}

func aesBlock() cipher.Block {
	b, err := aes.NewCipher(encryptKey)
	if err != nil {
		panic(err) // the length is right
	}
	return b
}

// padded is the length of payload, padding and trailer.
func padded(size, align int) int { return (size + 2 + align - 1) / align * align }

func bareGCM(seal bool) func(size int) func() {
	return func(size int) func() {
		c, err := cipher.NewGCM(aesBlock())
		if err != nil {
			panic(err)
		}
		nonce, aad, plain := make([]byte, 12), make([]byte, 8), make([]byte, padded(size, 4))
		sealed := c.Seal(nil, nonce, plain, aad)
		out := make([]byte, 0, len(sealed))
		if seal {
			return func() { c.Seal(out, nonce, plain, aad) }
		}
		return func() {
			if _, err := c.Open(out, nonce, sealed, aad); err != nil {
				panic(err)
			}
		}
	}
}

func bareCBC(newHash func() hash.Hash, key []byte, seal bool) func(size int) func() {
	return func(size int) func() {
		b, iv := aesBlock(), make([]byte, 16)
		m := hmac.New(newHash, key)
		// SetIV is how cipher.NewCBCDecrypter is used again; it is in the concrete types only.
		type setter interface{ SetIV([]byte) }
		text, out := make([]byte, 8+16+padded(size, 16)), make([]byte, padded(size, 16))
		mode := cipher.NewCBCDecrypter(b, iv)
		if seal {
			mode = cipher.NewCBCEncrypter(b, iv)
		}
		sum := make([]byte, 0, 64)
		return func() {
			mode.(setter).SetIV(iv)
			if seal {
				mode.CryptBlocks(out, text[24:])
			}
			m.Reset()
			m.Write(text)
			sum = m.Sum(sum[:0])
			if !seal {
				mode.CryptBlocks(out, text[24:])
			}
		}
	}
}

var sha256Key = []byte("0123456789abcdef0123456789abcdef")

var protections = []protection{
	{"gcm", wire.AuthNone, wire.EncAESGCM16, nil, slices.Concat(encryptKey, []byte("salt")), gcm, bareGCM(false),
		bareGCM(true)},
	{"cbc-sha1", wire.AuthSHA1HMAC, wire.EncAESCBC, authKey, encryptKey,
		ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: ipsec.NewKey(encryptKey), MAC: ipsec.HMACSHA1,
			AuthKey: ipsec.NewKey(authKey)},
		bareCBC(sha1.New, authKey, false), bareCBC(sha1.New, authKey, true)},
	{"cbc-sha256", wire.AuthSHA256HMAC, wire.EncAESCBC, sha256Key, encryptKey,
		ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: ipsec.NewKey(encryptKey), MAC: ipsec.HMACSHA256,
			AuthKey: ipsec.NewKey(sha256Key)},
		bareCBC(sha256.New, sha256Key, false), bareCBC(sha256.New, sha256Key, true)},
}

// addMessage makes an SA without a replay window, so that one packet serves for all rounds.
func (x *bench) addMessage(p *protection, src, dst netip.Addr, flags uint32) []byte {
	d := x.e.Dialect()
	m := d.AppendSA(d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeESP, Seq: 1}),
		wire.SA{State: wire.StateMature, Auth: p.auth, Encrypt: p.encrypt, Flags: flags})
	m = d.AppendAddress(m, wire.ExtAddressSrc, pfkey.Host(src))
	m = d.AppendAddress(m, wire.ExtAddressDst, pfkey.Host(dst))
	if p.authKey != nil {
		m = d.AppendKey(m, wire.ExtKeyAuth, pfkey.NewKey(p.authKey))
	}
	return d.Finish(d.AppendKey(m, wire.ExtKeyEncrypt, pfkey.NewKey(p.encryptKey)))
}

// datagram is a plaintext packet with so many bytes behind its IP header.
func datagram(src, dst netip.Addr, size int) []byte {
	pkt := make([]byte, 20+size)
	pkt[0], pkt[8], pkt[9] = 0x45, 64, 17
	binary.BigEndian.PutUint16(pkt[2:], uint16(len(pkt)))
	copy(pkt[12:], src.AsSlice())
	copy(pkt[16:], dst.AsSlice())
	var sum uint32
	for i := 0; i < 20; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(pkt[i:]))
	}
	binary.BigEndian.PutUint16(pkt[10:], ^uint16(sum+sum>>16))
	return pkt
}

// sealedBy is what the peer makes of a datagram.
func sealedBy(tb testing.TB, p *protection, spi uint32, size int) []byte {
	far, err := p.suite.New()
	if err != nil {
		tb.Fatal(err)
	}
	pkt, err := far.SealTransport(nil, datagram(peer, me, size), ipsec.Ports{}, ipsec.Sealing{SPI: spi, Seq: 1,
		IV: make([]byte, far.IVLen())})
	if err != nil {
		tb.Fatal(err)
	}
	return pkt
}

// drive is what carries one packet after the other through the engine, and says which verdicts were wrong.
type drive struct {
	p     packet.Packet
	room  []byte
	want  packet.Kind
	wrong int
	done  func(*packet.Packet, packet.Verdict)
}

func newDrive(want packet.Kind, size int) *drive {
	d := &drive{room: make([]byte, 0, size+200), want: want}
	d.done = func(_ *packet.Packet, v packet.Verdict) {
		if v.Kind != d.want {
			d.wrong++
		}
	}
	return d
}

func (d *drive) packet(id int, data []byte) *packet.Packet {
	d.p = packet.Packet{ID: uint64(id), Data: data, Room: d.room, Done: d.done}
	return &d.p
}

const pathSPI = 0x4444

// inboundPath and outboundPath set an engine up and return what drives one packet through it.
func (x *bench) inboundPath(p *protection, size int) (*drive, func(i int)) {
	x.do(x.addMessage(p, peer, me, wire.IllumosFlagXInbound), pathSPI)
	pkt, d := sealedBy(x.t, p, pathSPI, size), newDrive(packet.Delivered, size)
	return d, func(i int) { x.e.Inbound(d.packet(i, pkt)) }
}

func (x *bench) outboundPath(p *protection, size int) (*drive, func(i int)) {
	x.do(x.addMessage(p, me, peer, wire.IllumosFlagXOutbound), pathSPI)
	k := x.e.Kernel().(*illumos.Kernel)
	espAuth := int(p.auth)
	if p.authKey == nil {
		espAuth = spd.NotUsed
	}
	if err := k.AddPolicy(nil, []spd.Rule{{Actions: []spd.Action{{AH: spd.NotUsed, ESP: int(p.encrypt),
		ESPAuth: espAuth}}}}); err != nil {
		x.t.Fatal(err)
	}
	pkt, d := datagram(me, peer, size), newDrive(packet.Transmitted, size)
	return d, func(i int) { x.e.Outbound(d.packet(i, pkt), "") }
}

// BenchmarkPath drives packets through the engine, and beside each runs Go's own crypto over as many bytes: both in one
// run, so that they are compared under the same load.
func BenchmarkPath(b *testing.B) {
	for i := range protections {
		p := &protections[i]
		for _, size := range []int{64, 1400} {
			for _, way := range []struct {
				name string
				path func(*bench, *protection, int) (*drive, func(int))
				bare func(int) func()
			}{{"in", (*bench).inboundPath, p.open}, {"out", (*bench).outboundPath, p.seal}} {
				b.Run(fmt.Sprintf("%s/%d/%s", p.name, size, way.name), func(b *testing.B) {
					d, one := way.path(newBench(b), p, size)
					n := 0
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for b.Loop() {
						one(n)
						n++
					}
					if d.wrong > 0 {
						b.Fatalf("%d of %d packets ended otherwise", d.wrong, n)
					}
				})
				b.Run(fmt.Sprintf("%s/%d/%s-bare", p.name, size, way.name), func(b *testing.B) {
					f := way.bare(size)
					b.SetBytes(int64(size))
					b.ReportAllocs()
					for b.Loop() {
						f()
					}
				})
			}
		}
	}
}

// TestPathAllocatesNothing holds what the benchmark shows: with room, a packet that goes straight through allocates
// nothing.
func TestPathAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("a sync.Pool forgets at random under the race detector")
	}
	for i := range protections {
		p := &protections[i]
		for name, path := range map[string]func(*bench, *protection, int) (*drive, func(int)){
			"in": (*bench).inboundPath, "out": (*bench).outboundPath,
		} {
			d, one := path(newBench(t), p, 1400)
			if n := testing.AllocsPerRun(200, func() { one(1) }); n != 0 {
				t.Errorf("%s %s: %v allocations", p.name, name, n)
			}
			if d.wrong > 0 {
				t.Errorf("%s %s: %d packets ended otherwise", p.name, name, d.wrong)
			}
		}
	}
}

// crowdOfSAs adds n inbound SAs and returns packets for some of them.
func (x *bench) crowdOfSAs(n, packets, size int) [][]byte {
	p := &protections[0]
	x.fill(p, n)
	pkts := make([][]byte, packets)
	for i := range pkts {
		pkts[i] = sealedBy(x.t, p, uint32(i*max(n/packets, 1)%n+1), size)
	}
	return pkts
}

// BenchmarkCores drives packets of many SAs on one core and on two, each SA on one of them, as network cards spread
// flows. The time is that of one packet of all that go through.
func BenchmarkCores(b *testing.B) {
	for _, cores := range []int{1, 2} {
		if cores > runtime.NumCPU() {
			continue
		}
		b.Run(fmt.Sprint(cores), func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
			x := newBench(b)
			const size = 1400
			pkts := x.crowdOfSAs(1000, 1000, size)
			var core atomic.Int64
			b.SetBytes(size)
			b.ResetTimer()
			var wrong atomic.Int64
			b.RunParallel(func(pb *testing.PB) {
				d, part := newDrive(packet.Delivered, size), len(pkts)/cores
				own := pkts[(int(core.Add(1))-1)%cores*part:][:part]
				for i := 0; pb.Next(); i++ {
					x.e.Inbound(d.packet(i, own[i%part]))
				}
				wrong.Add(int64(d.wrong))
			})
			if wrong.Load() > 0 {
				b.Fatalf("%d packets ended otherwise", wrong.Load())
			}
		})
	}
}

// while runs f over and over on another core until the returned function is called.
func while(f func()) (stop func()) {
	var wg sync.WaitGroup
	var over atomic.Bool
	wg.Go(func() {
		for !over.Load() {
			f()
		}
	})
	return func() {
		over.Store(true)
		wg.Wait()
	}
}

// BenchmarkMillion drives packets on one core over a million SAs, alone, and while DUMPs and ADDs are made on another.
func BenchmarkMillion(b *testing.B) {
	x := newBench(b)
	const n, size = 1_000_000, 1400
	pkts := x.crowdOfSAs(n, 4096, size)
	dr := x.e.Dialect()
	dump := dr.Finish(dr.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgDump, Seq: 1}))
	other, _ := x.e.Open(privileged, 3, 2)
	third, _ := x.e.Open(privileged, 3, 2)
	spi := uint32(n)
	floods := []struct {
		name string
		f    func()
	}{
		{"alone", nil},
		{"dump", func() {
			other.Send(dump, privileged)
			buf := make([]byte, 4096)
			for {
				if _, _, errno := other.Recv(buf, 0); errno != wire.OK {
					return
				}
			}
		}},
		{"add", func() {
			spi++
			m := x.addMessage(&protections[0], peer, me, wire.IllumosFlagXInbound)
			binary.BigEndian.PutUint32(m[wire.HeaderLen+4:], spi)
			third.Send(m, privileged)
			buf := make([]byte, 4096)
			third.Recv(buf, 0)
			other.Recv(buf, 0)
		}},
	}
	for _, flood := range floods {
		b.Run(flood.name, func(b *testing.B) {
			d, i := newDrive(packet.Delivered, size), 0
			stop := func() {}
			if flood.f != nil {
				stop = while(flood.f)
			}
			b.SetBytes(size)
			const batch = 32
			// of batches: their median tells the time of a packet that nobody took the core from
			var took []time.Duration
			begin := time.Now()
			for b.Loop() {
				i++
				x.e.Inbound(d.packet(i, pkts[i%len(pkts)]))
				if i%batch == 0 {
					now := time.Now()
					took = append(took, now.Sub(begin))
					begin = now
				}
			}
			stop()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2])/batch, "p50-ns")
			b.ReportMetric(float64(took[len(took)/10])/batch, "p10-ns")
			if d.wrong > 0 {
				b.Fatalf("%d packets ended otherwise", d.wrong)
			}
		})
	}
}

// BenchmarkRequestUnderGarbage is the time of a GET, alone and while bad packets of every kind come in on another core:
// they take no lock that a request needs.
func BenchmarkRequestUnderGarbage(b *testing.B) {
	x := newBench(b)
	x.fill(&protections[1], 1000)
	x.do(x.addMessage(&protections[0], peer, me, wire.IllumosFlagXInbound), pathSPI)
	good := sealedBy(b, &protections[0], pathSPI, 1400)
	spoilt := slices.Clone(good)
	spoilt[len(spoilt)-1] ^= 1
	unknown := slices.Clone(good)
	binary.BigEndian.PutUint32(unknown[20:], 0x7777)
	garbage := [][]byte{spoilt, unknown, good[:30], good[:3], {}, good[:22]}
	request := message(wire.MsgGet, wire.SATypeESP, assoc(espSA), src(peer.String()), dst(me.String()))
	for _, flood := range []bool{false, true} {
		b.Run(map[bool]string{false: "alone", true: "flood"}[flood], func(b *testing.B) {
			stop := func() {}
			var sent atomic.Int64
			if flood {
				d, i := newDrive(packet.Dropped, 1400), 0
				stop = while(func() {
					i++
					x.e.Inbound(d.packet(i, garbage[i%len(garbage)]))
					sent.Store(int64(i))
				})
			}
			took := make([]time.Duration, 0, 1<<16)
			for b.Loop() {
				begin := time.Now()
				x.do(request, 500)
				if d := time.Since(begin); len(took) < cap(took) {
					took = append(took, d)
				}
			}
			elapsed := b.Elapsed()
			stop()
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
			b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
			b.ReportMetric(float64(sent.Load())/elapsed.Seconds(), "garbage/s")
		})
	}
}

// BenchmarkEvents is what the feed of events costs packets and requests: engines without a history, with one that
// nobody reads, with a reader who makes what the control port tells of it, and with one who does not read.
func BenchmarkEvents(b *testing.B) {
	begin := func(b *testing.B, variant string) *bench {
		x := newBench(b)
		if variant == "none" {
			return x
		}
		x.e.KeepEvents()
		if variant == "kept" {
			return x
		}
		r := x.e.Events(engine.EventOptions{})
		b.Cleanup(r.Close)
		if variant == "reader" {
			go func() { // ends with the reader
				var list []event.Event
				for more := true; more || r.Wait(context.Background()); {
					if list, more = r.Next(list[:0]); !more {
						time.Sleep(5 * time.Millisecond) // as the control port does, to tell of many at once
					}
					for i := range list {
						if text, err := json.Marshal(&list[i]); err != nil || len(text) == 0 {
							panic(err)
						}
					}
				}
			}()
		}
		return x
	}
	for kind, prepare := range map[string]func(*bench) func(i int){
		"packet": func(x *bench) func(int) {
			_, one := x.inboundPath(&protections[0], 64)
			return one
		},
		"request": func(x *bench) func(int) {
			d := wire.Illumos()
			m := d.Finish(d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgFlush, SAType: wire.SATypeAH}))
			return func(int) {
				x.s.Send(m, privileged)
				x.s.Recv(x.buf, 0)
			}
		},
	} {
		b.Run(kind, func(b *testing.B) {
			var ways []inturns.Way
			for _, name := range []string{"none", "kept", "reader", "stalled"} {
				one, n := prepare(begin(b, name)), 0
				ways = append(ways, inturns.Way{Name: name, Do: func() {
					for range 100 {
						n++
						one(n)
					}
				}})
			}
			inturns.Compare(b, 200*time.Millisecond, ways...)
		})
	}
}
