package illumos_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

var (
	peer = netip.MustParseAddr("192.0.2.2")
	me   = netip.MustParseAddr("192.0.2.1")

	authKey    = []byte("0123456789abcdefghij")
	encryptKey = []byte("0123456789abcdef")

	privileged = pfkey.Cred{Privileged: true}
)

// host is an engine with a client, and the peer's side of its SAs.
type host struct {
	t      testing.TB
	e      *engine.Engine
	client *pfkey.Client
	far    *ipsec.Transform // AES-CBC-128 with HMAC-SHA1-96
}

func newHost(t testing.TB, o engine.Options) *host {
	t.Helper()
	o.Addrs = append(o.Addrs, me)
	e, err := kernels.New("illumos", o)
	if err != nil {
		t.Fatal(err)
	}
	cred := pfkey.Cred{Privileged: true, PID: 1}
	s, errno := e.Open(cred, 3, 2)
	if errno != wire.OK {
		t.Fatalf("open: %v", errno)
	}
	h := &host{t: t, e: e, client: pfkey.NewClientOn(s, e.Dialect(), cred)}
	t.Cleanup(func() { h.client.Close() })
	suite := ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: ipsec.NewKey(encryptKey), MAC: ipsec.HMACSHA1,
		AuthKey: ipsec.NewKey(authKey)}
	if h.far, err = suite.New(); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *host) id(spi wire.SPI) pfkey.SAID {
	return pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: pfkey.Host(peer), Dst: pfkey.Host(me)}
}

func (h *host) sa(spi wire.SPI) pfkey.SA {
	return pfkey.SA{SAID: h.id(spi), Replay: 32, Auth: wire.AuthSHA1HMAC, Encrypt: wire.EncAESCBC,
		AuthKey: pfkey.NewKey(authKey), EncryptKey: pfkey.NewKey(encryptKey), Hard: &wire.Lifetime{AddTime: 3600},
		Soft: &wire.Lifetime{AddTime: 3000}}
}

func (h *host) reserve(spi wire.SPI) error {
	_, err := h.client.GetSPI(context.Background(), pfkey.GetSPIParams{Type: wire.SATypeESP, Src: pfkey.Host(peer),
		Dst: pfkey.Host(me), Min: spi, Max: spi})
	return err
}

func (h *host) update(spi wire.SPI) error {
	return h.client.Update(context.Background(), h.sa(spi), 0)
}

func (h *host) delete(spi wire.SPI) error { return h.client.Delete(context.Background(), h.id(spi)) }

func (h *host) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// plain is the packet the peer protects.
var plain = slices.Concat([]byte{0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0xf6, 0xcb}, peer.AsSlice(), me.AsSlice(),
	[]byte{0, 7, 0, 9, 0, 8, 0, 0})

// sealed is a packet of the peer.
func (h *host) sealed(spi wire.SPI, seq uint32) []byte {
	pkt, err := h.far.SealTransport(nil, plain, ipsec.Ports{}, ipsec.Sealing{SPI: uint32(spi), Seq: uint64(seq),
		IV: make([]byte, 16)})
	if err != nil {
		h.t.Fatal(err)
	}
	return pkt
}

var packetIDs atomic.Uint64

// inject sends a packet of the peer and returns where its verdicts come; there is room for all of them.
func (h *host) inject(spi wire.SPI, seq uint32) <-chan packet.Verdict {
	verdicts := make(chan packet.Verdict, 4)
	h.e.Inbound(&packet.Packet{ID: packetIDs.Add(1), Data: h.sealed(spi, seq),
		Done: func(_ *packet.Packet, v packet.Verdict) { verdicts <- v }})
	return verdicts
}

// TestPacketsDoNotTakeTheControlLock holds it while packets go their ways, those for LARVAL SAs included.
func TestPacketsDoNotTakeTheControlLock(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.reserve(0x1001))
	h.must(h.client.Add(context.Background(), h.sa(0x2002), 0))
	finished := make(chan struct{})
	h.e.Do(func() {
		go func() {
			defer close(finished)
			for _, each := range []struct {
				spi  wire.SPI
				seq  uint32
				want packet.Kind
			}{{0x2002, 1, packet.Delivered}, {0x1001, 1, packet.Queued}, {0x1001, 2, packet.Queued},
				{0x2002, 1, packet.Dropped}, {0x3003, 1, packet.Dropped}} {
				if v := <-h.inject(each.spi, each.seq); v.Kind != each.want {
					t.Errorf("SPI %v: %v %v, want %v", each.spi, v.Kind, v.Reason, each.want)
				}
			}
		}()
		select {
		case <-finished:
		case <-time.After(10 * time.Second):
			t.Error("a packet waits for the control lock")
		}
	})
	<-finished
}

// ending is a way in which a LARVAL SA goes.
type ending struct {
	name     string
	do       func(h *host, spi wire.SPI) error
	promotes bool // the SA lives on
}

var endings = []ending{
	{"UPDATE", func(h *host, spi wire.SPI) error { return h.update(spi) }, true},
	{"DELETE", func(h *host, spi wire.SPI) error { return h.delete(spi) }, false},
	{"FLUSH", func(h *host, _ wire.SPI) error { return h.client.Flush(context.Background(), wire.SATypeUnspec) },
		false},
	{"expiry", func(h *host, _ wire.SPI) error { h.e.Advance(h.e.Now().Add(100 * time.Second)); return nil }, false},
}

// conserve lets packets arrive on several threads while LARVAL SAs end in one way, and then in a forced order: one
// packet has seen LARVAL, the SA ends, and the packet goes on. It returns what is wrong at rest: a ledger that does not
// add up, or a packet on an SA that is not LARVAL.
func conserve(t testing.TB, fault sadb.Fault, end ending, rounds int) error {
	var forced atomic.Pointer[func()]
	h := newHost(t, engine.Options{Fault: fault.String(), Step: func(point string, _ *packet.Packet) {
		if f := forced.Load(); point == "store" && f != nil && forced.CompareAndSwap(f, nil) {
			(*f)()
		}
	}})
	for i := range rounds {
		spi := wire.SPI(0x1000 + i)
		if err := h.reserve(spi); err != nil {
			return err
		}
		pkts := make([][]byte, 4)
		for j := range pkts {
			pkts[j] = h.sealed(spi, uint32(j+1))
		}
		start := make(chan struct{})
		var wg sync.WaitGroup
		for _, data := range pkts {
			wg.Go(func() {
				<-start
				h.e.Inbound(&packet.Packet{ID: packetIDs.Add(1), Data: data})
			})
		}
		wg.Go(func() {
			<-start
			if err := end.do(h, spi); err != nil {
				t.Errorf("%s: %v", end.name, err)
			}
		})
		close(start)
		wg.Wait()
	}
	spi := wire.SPI(0xf000)
	if err := h.reserve(spi); err != nil {
		return err
	}
	f := func() {
		if err := end.do(h, spi); err != nil {
			t.Errorf("%s: %v", end.name, err)
		}
	}
	forced.Store(&f)
	h.inject(spi, 1)
	if err := atRest(h.e); err != nil {
		return err
	}
	if !end.promotes {
		return nil
	}
	// An SA that is there all the while loses no packet: what does not come out has made room for a newer one.
	for reason, n := range h.e.Ledger().Balance().Reasons {
		if reason != packet.LarvalReplaced.String() {
			return fmt.Errorf("%d packets were dropped: %s", n, reason)
		}
	}
	return nil
}

// atRest checks that what the ledger says is held really waits on a LARVAL SA.
func atRest(e *engine.Engine) error {
	st := e.Status(0)
	var held uint64
	for _, s := range st.SAs {
		if s.State != "larval" && len(s.Held) > 0 {
			return fmt.Errorf("SA %s is %s and holds %d packets: nobody will ever take them", s.SPI, s.State,
				len(s.Held))
		}
		held += uint64(len(s.Held))
	}
	b := st.Ledger
	if b.InFlight != 0 || b.Held != held || b.Injected != b.Ended+b.Held {
		return fmt.Errorf("ledger: %d injected, %d ended, %d held, %d in flight; SAs hold %d", b.Injected, b.Ended,
			b.Held, b.InFlight, held)
	}
	return nil
}

func TestArrivalAgainstEveryEnding(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	for _, end := range endings {
		t.Run(end.name, func(t *testing.T) {
			if err := conserve(t, sadb.NoFault, end, rounds); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestArrivalFault shows that the test above notices the defect of Solaris until 2008.
func TestArrivalFault(t *testing.T) {
	if err := conserve(t, sadb.LarvalUnlocked, endings[0], 10); err == nil {
		t.Errorf("%s: larval-unlocked went unnoticed", endings[0].name)
	} else {
		t.Log(err)
	}
}

// TestArrivalAgainstNewSA: packets for an SA that an ADD is making, into both tables, find none or one that opens them;
// none is left waiting on it.
func TestArrivalAgainstNewSA(t *testing.T) {
	h := newHost(t, engine.Options{})
	for i := range 200 {
		spi := wire.SPI(0x9000 + i)
		sa := h.sa(spi)
		sa.Flags = wire.IllumosFlagXInbound | wire.IllumosFlagXOutbound
		pkts := [][]byte{h.sealed(spi, 1), h.sealed(spi, 2), h.sealed(spi, 3)}
		var wg sync.WaitGroup
		start := make(chan struct{})
		for _, data := range pkts {
			wg.Go(func() {
				<-start
				h.e.Inbound(&packet.Packet{ID: packetIDs.Add(1), Data: data})
			})
		}
		wg.Go(func() {
			<-start
			if err := h.client.Add(context.Background(), sa, 0); err != nil {
				t.Error(err)
			}
		})
		close(start)
		wg.Wait()
		if b := h.e.Ledger().Balance(); b.Held != 0 || b.InFlight != 0 {
			t.Fatalf("round %d: ledger %+v", i, b)
		}
	}
}

// TestHeldUntilShutdown: what still waits when the engine stops ends with that reason.
func TestHeldUntilShutdown(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.reserve(0x1001))
	verdicts := h.inject(0x1001, 1)
	h.e.Close()
	if v := <-verdicts; v.Kind != packet.Queued {
		t.Errorf("first verdict %v, want queued", v.Kind)
	}
	if v := <-verdicts; v.Kind != packet.Dropped || v.Reason != packet.Shutdown {
		t.Errorf("final verdict %v %v, want dropped shutdown", v.Kind, v.Reason)
	}
	if err := atRest(h.e); err != nil {
		t.Error(err)
	}
	if _, errno := h.e.Open(pfkey.Cred{Privileged: true}, 3, 2); errno != wire.ENETDOWN {
		t.Errorf("open after the end: %v", errno)
	}
}
