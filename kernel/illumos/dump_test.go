package illumos_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A DUMP is one thing: what happens before it is read to its end is told behind it, and does not show in it.
func TestDumpIsWhole(t *testing.T) {
	const n = 2000 // more than is made ahead of the reader
	k := newTalk(t, engine.Options{Tunables: map[string]string{"keysock:max_buf": "1048576"}})
	add := func(spi wire.SPI) []byte {
		sa := change(espSA, func(v *wire.SA) { v.SPI = spi })
		return message(wire.MsgAdd, wire.SATypeESP, sa, src("192.0.2.2"), dst("192.0.2.1"), authExt, encryptExt)
	}
	for i := range n {
		k.must(add(wire.SPI(0x1000 + i)))
	}
	reader := openSocket(t, k.e)
	if errno := reader.SetOption(pfkey.OptionRecvBuffer, 1<<20); errno != wire.OK {
		t.Fatal(errno)
	}
	for _, msg := range [][]byte{message(wire.MsgRegister, wire.SATypeESP), message(wire.MsgDump, 0)} {
		if errno := reader.Send(msg, pfkey.Cred{Privileged: true}); errno != wire.OK {
			t.Fatal(errno)
		}
	}
	k.e.Kernel().(*illumos.Kernel).AlgorithmsChanged()
	k.must(add(0x10))
	k.must(message(wire.MsgDelete, wire.SATypeESP, change(espSA, func(v *wire.SA) { v.SPI = 0x1000 }), src("192.0.2.2"),
		dst("192.0.2.1")))
	var types []wire.MsgType
	shown := 0
	for _, m := range messages(reader) {
		h, err := d.Header(m)
		if err != nil {
			t.Fatal(err)
		}
		if x, ok := d.Find(m, wire.ExtSA); ok && h.Type == wire.MsgDump {
			v, _ := d.ParseSA(x.Raw)
			if shown++; v.SPI == 0x10 {
				t.Error("the DUMP shows an SA that was added behind it")
			}
		}
		types = append(types, h.Type)
	}
	if shown != n {
		t.Errorf("the DUMP shows %d SAs, want %d", shown, n)
	}
	types = slices.Compact(types)
	if want := []wire.MsgType{wire.MsgRegister, wire.MsgDump, wire.MsgRegister, wire.MsgAdd,
		wire.MsgDelete}; !slices.Equal(types, want) {
		t.Errorf("messages in the order %v, want %v", types, want)
	}
}

// twin is one of two engines to which the same happens.
type twin struct {
	*talk
	sockets [3]pfkey.Socket // two that ask for DUMPs, and one that hears everything
	heard   [3][]string
}

func newTwin(t *testing.T, seed uint64, queue int) *twin {
	t.Helper()
	const most = 1 << 30
	k := newTalk(t, engine.Options{Rand: rand.NewChaCha8([32]byte{byte(seed)}),
		Tunables: map[string]string{"keysock:max_buf": fmt.Sprint(most)}})
	w := &twin{talk: k}
	for i := range w.sockets {
		w.sockets[i] = openSocket(t, k.e)
		if errno := w.sockets[i].SetOption(pfkey.OptionRecvBuffer, queue); errno != wire.OK {
			t.Fatal(errno)
		}
	}
	w.sockets[2].Send(message(wire.MsgXPromisc, 1), pfkey.Cred{Privileged: true})
	return w
}

// read takes so many messages from a socket.
func (w *twin) read(socket, n int) {
	buf := make([]byte, 4096)
	for ; n > 0; n-- {
		size, _, errno := w.sockets[socket].Recv(buf, 0)
		if errno != wire.OK {
			return
		}
		w.heard[socket] = append(w.heard[socket], string(buf[:size]))
	}
}

// However slowly a DUMP is read, and whatever happens meanwhile, it shows the same: what was there when it was asked
// for.
func TestDumpShowsOneMoment(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			whole, pieces := newTwin(t, seed, 1<<30), newTwin(t, seed, []int{0, 8192, 40000, 60000}[seed%4])
			both := func(msg []byte) {
				for _, w := range []*twin{whole, pieces} {
					w.s.Send(msg, pfkey.Cred{Privileged: true})
					messages(w.s)
				}
			}
			for i := range wire.SPI(pairs) {
				both(message(wire.MsgAdd, wire.SATypeESP, src("192.0.2.2"), dst("192.0.2.1"), change(espSA,
					func(s *wire.SA) { s.SPI = 0x2000 + i }), authExt, encryptExt))
				exts := []ext{src("192.0.2.1"), dst("192.0.2.2"), change(espSA,
					func(s *wire.SA) { s.SPI = 0x3000 + i }), authExt, encryptExt}
				if i%2 == 0 { // the others may become pairs later
					exts = append(exts, func(b []byte) []byte { return d.AppendPair(b, wire.Pair{SPI: 0x2000 + i}) })
				}
				both(message(wire.MsgAdd, wire.SATypeESP, exts...))
			}
			for range 700 {
				both(aChange(r))
			}
			for range 300 {
				switch n := r.IntN(20); {
				case n == 0:
					dump := message(wire.MsgDump, []wire.SAType{0, wire.SATypeAH, wire.SATypeESP, 200}[r.IntN(4)])
					if r.IntN(4) == 0 {
						dump = message(wire.MsgDump, 0,
							func(b []byte) []byte { return d.AppendEDump(b, wire.EDump{Timeout: 40}) })
					}
					reader := r.IntN(2)
					for _, w := range []*twin{whole, pieces} {
						w.sockets[reader].Send(dump, pfkey.Cred{Privileged: true})
					}
					if r.IntN(2) == 0 { // then there is a little room
						pieces.read(r.IntN(3), 1+r.IntN(20))
					}
				case n == 1:
					by := time.Duration(r.IntN(30)) * time.Second
					for _, w := range []*twin{whole, pieces} {
						w.e.Advance(w.e.Now().Add(by))
					}
				case n < 5:
					pkt := sealedFor(t, r)
					for _, w := range []*twin{whole, pieces} {
						w.inject(slices.Clone(pkt))
					}
				case n < 9:
					pieces.read(r.IntN(3), r.IntN(60))
				default:
					both(aChange(r))
				}
			}
			for socket := range whole.sockets {
				whole.read(socket, 1<<30)
				pieces.read(socket, 1<<30)
				all, some := whole.heard[socket], pieces.heard[socket]
				i := 0
				for _, m := range all { // some are lost where there is no room, but none of a DUMP
					if i < len(some) && some[i] == m {
						i++
					} else if m[1] == byte(wire.MsgDump) {
						t.Fatalf("after %d of %d messages: a message of a DUMP is another one or missing", i, len(some))
					}
				}
				if i < len(some) {
					t.Fatalf("message %d is not one that there should be", i)
				}
			}
		})
	}
}

// pairs is how many pairs of SAs there are at first, with SPIs from 0x2000 coming in and from 0x3000 going out.
const pairs = 60

// aChange is a message that changes one of some SAs, makes it or ends it, mostly.
func aChange(r *rand.Rand) []byte {
	satype := []wire.SAType{wire.SATypeESP, wire.SATypeAH}[r.IntN(2)]
	spi := wire.SPI(r.Uint32N(4)<<24 | 0x1000 | r.Uint32N(128))
	from, to := src([]string{"192.0.2.2", "0.0.0.0", "192.0.2.5"}[r.IntN(3)]), dst("192.0.2.1")
	if r.IntN(3) == 0 {
		from, to = src("192.0.2.1"), dst([]string{"192.0.2.2", "192.0.2.3"}[r.IntN(2)])
	}
	v := wire.SA{SPI: spi, Replay: 32, State: wire.StateMature, Auth: wire.AuthSHA1HMAC}
	exts := []ext{from, to, authExt}
	if satype == wire.SATypeESP {
		v.Encrypt = wire.EncAESCBC
		exts = append(exts, encryptExt)
	}
	limits := []ext{lifetime(wire.ExtLifetimeHard, wire.Lifetime{AddTime: 40 + uint64(r.IntN(400)), Bytes: 200}),
		lifetime(wire.ExtLifetimeSoft, wire.Lifetime{AddTime: 30, Bytes: 90})}
	pair := func(b []byte) []byte {
		return d.AppendPair(b, wire.Pair{SPI: wire.SPI(r.Uint32N(4)<<24 | 0x1000 | r.Uint32N(128))})
	}
	if r.IntN(4) == 0 { // one of a pair
		to, from, spi := "192.0.2.1", "192.0.2.2", 0x2000+wire.SPI(r.Uint32N(pairs))
		if r.IntN(2) == 0 {
			to, from, spi = from, to, spi+0x1000
		}
		typ := []wire.MsgType{wire.MsgUpdate, wire.IllumosMsgXUpdatePair, wire.MsgDelete,
			wire.IllumosMsgXDelPair}[r.IntN(4)]
		exts := []ext{src(from), dst(to), assoc(wire.SA{SPI: spi, State: wire.StateMature})}
		switch {
		case typ == wire.MsgDelete || typ == wire.IllumosMsgXDelPair:
		case r.IntN(3) == 0:
			exts = append(exts, func(b []byte) []byte { return d.AppendPair(b, wire.Pair{SPI: spi ^ 0x1000}) })
		default:
			exts = append(exts, limits...)
		}
		return message(typ, wire.SATypeESP, exts...)
	}
	switch n := r.IntN(24); {
	case n < 12:
		if n < 4 {
			exts = append(exts, limits...)
		} else if n < 6 {
			exts = append(exts, pair)
		}
		return message(wire.MsgAdd, satype, append(exts, assoc(v))...)
	case n < 14:
		return message(wire.MsgGetSPI, satype, from, to,
			func(b []byte) []byte { return d.AppendSPIRange(b, wire.SPIRange{Min: spi, Max: spi}) })
	case n < 16:
		return message(wire.MsgUpdate, satype, append(exts, assoc(v))...) // of a LARVAL
	case n < 19:
		return message([]wire.MsgType{wire.MsgUpdate, wire.IllumosMsgXUpdatePair}[r.IntN(2)], satype, append(limits,
			from, to, assoc(wire.SA{SPI: spi, State: wire.StateMature}))...)
	case n == 19:
		return message(wire.MsgUpdate, satype, from, to, assoc(wire.SA{SPI: spi, State: wire.StateMature}), pair)
	case n < 23:
		return message([]wire.MsgType{wire.MsgDelete, wire.IllumosMsgXDelPair}[r.IntN(2)], satype, from, to,
			assoc(wire.SA{SPI: spi}))
	}
	if r.IntN(30) == 0 {
		return message(wire.MsgFlush, satype)
	}
	return message(wire.MsgDelete, satype, to, identity(wire.ExtIdentitySrc,
		"nobody.example")) // a purge that ends none
}

var farESP = func() *ipsec.Transform {
	suite := ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: ipsec.NewKey(encryptKey), MAC: ipsec.HMACSHA1,
		AuthKey: ipsec.NewKey(authKey)}
	t, err := suite.New()
	if err != nil {
		panic(err)
	}
	return t
}()

// sealedFor is a packet for one of the SAs of aChange.
func sealedFor(t *testing.T, r *rand.Rand) []byte {
	t.Helper()
	pkt, err := farESP.SealTransport(nil, plain, ipsec.Ports{}, ipsec.Sealing{
		SPI: r.Uint32N(4)<<24 | 0x1000 | r.Uint32N(128), Seq: 1 + uint64(r.IntN(1000)), IV: make([]byte, 16)})
	if err != nil {
		t.Fatal(err)
	}
	return pkt
}

// What a DUMP that nobody reads costs others is the same however many SAs there are: the rest is made when it is read.
// Nobody can tell, though its reader has room for more.
func TestDumpIsMadeAsItIsRead(t *testing.T) {
	const n = 3000
	k := newTalk(t, engine.Options{})
	in, out := []ext{src("192.0.2.2"), dst("192.0.2.1")}, []ext{src("192.0.2.1"), dst("192.0.2.2")}
	other := change(espSA, func(s *wire.SA) { s.SPI = 0x1002 })
	k.must(message(wire.MsgAdd, wire.SATypeESP, append(in, assoc(espSA), authExt, encryptExt)...))
	k.must(message(wire.MsgAdd, wire.SATypeESP, append(out, other, authExt, encryptExt)...))
	last := []ext{src("2001:db8::2"), dst("2001:db8::1"), change(espSA,
		func(s *wire.SA) { s.SPI = 0xff000001 })} // in the last bucket of all
	k.must(message(wire.MsgAdd, wire.SATypeESP, append(last, authExt, encryptExt)...))
	for i := range n - 2 {
		k.must(message(wire.MsgAdd, wire.SATypeAH, append(in, change(ahSA,
			func(s *wire.SA) { s.SPI = wire.SPI(i + 1) }), authExt)...))
	}
	// So much room that the last message of the first 32 KB, which are made at once, is the one that fills it.
	size := len(k.must(message(wire.MsgGet, wire.SATypeAH, append(in, change(ahSA,
		func(s *wire.SA) { s.SPI = 1 }))...)))
	reader := openSocket(t, k.e)
	if errno := reader.SetOption(pfkey.OptionRecvBuffer, (32<<10/size+1)*size); errno != wire.OK {
		t.Fatal(errno)
	}
	reader.Send(message(wire.MsgDump, 0), pfkey.Cred{Privileged: true})
	if _, _, errno := reader.Recv(make([]byte, 4096), 0); errno != wire.OK {
		t.Fatal(errno)
	}
	before := k.e.Status(1).Sockets[1].Queued
	k.must(message(wire.MsgDelete, wire.SATypeESP, last...))
	k.must(message(wire.MsgUpdate, wire.SATypeESP, append(out, other,
		func(b []byte) []byte { return d.AppendPair(b, wire.Pair{SPI: espSA.SPI}) })...))
	for i := range n - 2 { // and they go, whichever it is that the DUMP comes to next
		spi := change(ahSA, func(s *wire.SA) { s.SPI = wire.SPI(i + 1) })
		k.must(message(wire.MsgGet, wire.SATypeAH, append(in, spi)...))
		k.must(message(wire.MsgDelete, wire.SATypeAH, append(in, spi)...))
	}
	if after := k.e.Status(1).Sockets[1].Queued; after > n/4 {
		t.Errorf("%d messages of the DUMP are made, and %d once others have asked for something", before, after)
	}
	shown := 1
	for _, m := range messages(reader) {
		if _, paired := d.Find(m, wire.IllumosExtXPair); m[1] != byte(wire.MsgDump) || paired {
			t.Fatalf("message %d: %v, paired %v", shown, d.MsgType(m[1]), paired)
		}
		shown++
	}
	if shown != n+2 {
		t.Errorf("%d messages of the DUMP, want %d", shown, n+2)
	}
}

// The answer to a DUMP that is refused comes behind one that is still being read, like every other.
func TestRefusedDumpWaits(t *testing.T) {
	const n = 300 // more than is made ahead of the reader
	k := newTalk(t, engine.Options{})
	for i := range wire.SPI(n) {
		k.must(message(wire.MsgAdd, wire.SATypeESP, change(espSA, func(v *wire.SA) { v.SPI = 0x1000 + i }),
			src("192.0.2.2"), dst("192.0.2.1"), authExt, encryptExt))
	}
	reader := openSocket(t, k.e)
	for _, satype := range []wire.SAType{0, 200} {
		if errno := reader.Send(message(wire.MsgDump, satype), pfkey.Cred{Privileged: true}); errno != wire.OK {
			t.Fatal(errno)
		}
	}
	all := messages(reader)
	for i, m := range all {
		if h, err := d.Header(m); err != nil || (h.Errno != 0) != (i == n+1) {
			t.Errorf("message %d of %d: %+v, %v", i, len(all), h, err)
		}
	}
	if len(all) != n+2 {
		t.Errorf("%d messages, want %d, the end and the refusal", len(all), n)
	}
}

// A DUMP goes on to its end also where each message is so long that few of them are enough to read.
func TestDumpOfLongMessages(t *testing.T) {
	const n = 8
	k := newTalk(t, engine.Options{})
	for i := range wire.SPI(n) {
		k.must(message(wire.MsgAdd, wire.SATypeESP, change(espSA, func(v *wire.SA) { v.SPI = 0x1000 + i }),
			src("192.0.2.2"), dst("192.0.2.1"), authExt, encryptExt,
			identity(wire.ExtIdentitySrc, strings.Repeat("n", 20000))))
	}
	reader := openSocket(t, k.e)
	reader.Send(message(wire.MsgDump, 0), pfkey.Cred{Privileged: true})
	if all := messages(reader); len(all) != n+1 {
		t.Errorf("%d messages, want %d and the end", len(all), n)
	}
}
