//go:build unix

package racelab

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Free is the race on real threads through real sockets: nothing is held back, and no window is wider than the code
// makes it unless Window says so.
//
// Each trial is one Quick Mode. The responder reserves an SPI and sends message 2; the initiator answers with message 3
// and sends Packets right behind it, as fast as it can, since it has its keys; the responder takes Delay from message 3
// to its UPDATE. Messages go through UDP on the loopback interface, requests and packets through the engine's own Unix
// sockets.
type Free struct {
	Variant string
	Delay   time.Duration // how long key management computes
	Trials  int           // at least 1
	Packets int           // that the initiator sends in each; at least 1
	// Window is how long a packet that has seen LARVAL is busy before it is stored, beside what the code takes.
	Window time.Duration
	Now    func() time.Time // reads the machine's clock
}

// A FreeResult counts trials.
type FreeResult struct {
	Variant string        `json:"variant"`
	Delay   time.Duration `json:"delay_ns"`
	Trials  int           `json:"trials"`
	Window  time.Duration `json:"window_ns,omitempty"` // by how much the window was widened
	Packets int           `json:"packets"`             // in each trial
	Early   int           `json:"early"`               // trials whose first packet came before the UPDATE, and waited
	// of these, those whose last packet came after it: the UPDATE met the packets
	Astride int `json:"astride"`
	Hits    int `json:"hits"`     // trials in which a packet was stranded or lost
	Strands int `json:"stranded"` // in which one was stranded
	Losses  int `json:"lost"`     // in which one was lost
	// The rate of hits, and between what it lies with 95 % confidence (Wilson's score interval).
	Rate float64 `json:"rate"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

// Wilson is the score interval of 95 % for hits in n trials, which holds for rates near 0 too.
func Wilson(hits, n int) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	const z = 1.959964
	p, m := float64(hits)/float64(n), float64(n)
	centre := p + z*z/(2*m)
	half := z * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	d := 1 + z*z/m
	return max(0, (centre-half)/d), min(1, (centre+half)/d)
}

// Run makes an engine and plays the trials. With an error comes what was counted until then.
func (f Free) Run(ctx context.Context) (res FreeResult, err error) {
	f.Packets = max(f.Packets, 1)
	res = FreeResult{Variant: f.Variant, Delay: f.Delay, Window: f.Window, Packets: f.Packets}
	if !slices.Contains(Variants(), f.Variant) {
		return res, fmt.Errorf("racelab: unknown variant %q", f.Variant)
	}
	m, err := newMachine(ctx, f)
	if err != nil {
		return res, fmt.Errorf("racelab: %w", err)
	}
	defer m.close()
	defer res.sum()
	for res.Trials < f.Trials {
		if err := ctx.Err(); err != nil {
			return res, err
		}
		ends, err := m.trial(ctx, spi+wire.SPI(res.Trials), f.Packets, f.Delay)
		if err != nil {
			return res, fmt.Errorf("racelab: %s, trial %d: %w", f.Variant, res.Trials+1, err)
		}
		res.add(ends)
	}
	return res, nil
}

// sum makes rates of what was counted.
func (r *FreeResult) sum() {
	if r.Trials > 0 {
		r.Rate = float64(r.Hits) / float64(r.Trials)
	}
	r.Low, r.High = Wilson(r.Hits, r.Trials)
}

// end is the first and the last verdict of a packet; they are the same if it did not wait.
type end struct{ first, last packetport.Verdict }

func (r *FreeResult) add(ends []end) {
	r.Trials++
	if ends[0].first.Kind == packet.Queued {
		r.Early++
	}
	if ends[0].first.Kind == packet.Queued && ends[len(ends)-1].first.Kind == packet.Delivered {
		r.Astride++
	}
	queued, replaced := 0, 0
	var stranded, lost bool
	for _, e := range ends {
		if e.first.Kind == packet.Queued {
			queued++
		}
		if e.last.Kind != packet.Dropped {
			continue
		}
		switch e.last.Reason {
		case packet.LarvalGone.String(): // by the DELETE that follows the UPDATE
			stranded = true
		case packet.LarvalReplaced.String():
			replaced++
		default:
			lost = true
		}
	}
	// Of the packets that waited, the last one goes on at the UPDATE. If all had to make room, the last did for one
	// that did not wait itself.
	lost = lost || queued > 0 && replaced == queued
	if stranded {
		r.Strands++
	}
	if lost {
		r.Losses++
	}
	if stranded || lost {
		r.Hits++
	}
}

// machine is an engine behind its sockets, with both ends of Quick Mode.
type machine struct {
	now       func() time.Time
	keys      *pfkey.Client      // of the responder
	wire      *packetport.Client // of the initiator
	initiator *net.UDPConn
	responder *net.UDPConn
	closers   []func()
}

func (m *machine) close() {
	for _, f := range slices.Backward(m.closers) {
		f()
	}
}

func newMachine(ctx context.Context, f Free) (m *machine, err error) {
	m = &machine{now: f.Now}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	e, err := kernels.New("illumos", engine.Options{Addrs: []netip.Addr{near}, Clock: f.Now, Fault: faultOf(f.Variant),
		Step: f.widened()})
	if err != nil {
		return m, err
	}
	m.closers = append(m.closers, e.Close)
	dir, err := os.MkdirTemp("", "racelab")
	if err != nil {
		return m, err
	}
	m.closers = append(m.closers, func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "s")
	messages, err := pfkey.Listen(path)
	if err != nil {
		return m, err
	}
	packets, err := pfkey.Listen(packetport.Path(path))
	if err != nil {
		messages.Close()
		return m, err
	}
	ps := pfkey.NewServer(e, pfkey.ServerOptions{})
	pp := packetport.NewServer(e, packetport.ServerOptions{Name: e.Name()})
	var serving sync.WaitGroup
	serving.Go(func() { _ = ps.Serve(context.Background(), messages) })
	serving.Go(func() { _ = pp.Serve(context.Background(), packets) })
	m.closers = append(m.closers, func() {
		ps.Close()
		pp.Close()
		serving.Wait()
	})
	if m.keys, err = pfkey.Dial(ctx, e.Name()+":"+path); err != nil {
		return m, err
	}
	m.closers = append(m.closers, func() { m.keys.Close() })
	if m.wire, err = packetport.Dial(ctx, packetport.Path(path)); err != nil {
		return m, err
	}
	m.closers = append(m.closers, func() { m.wire.Close() })
	for _, c := range []**net.UDPConn{&m.initiator, &m.responder} {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return m, err
		}
		*c = conn
		m.closers = append(m.closers, func() { conn.Close() })
	}
	return m, nil
}

// widened is what a packet does in the window; nil if it is as wide as the code makes it.
func (f Free) widened() func(string, *packet.Packet) {
	if f.Window == 0 {
		return nil
	}
	return func(point string, _ *packet.Packet) {
		if point == "store" {
			for until := f.Now().Add(f.Window); f.Now().Before(until); { // busy, as other work there would be
			}
		}
	}
}

// trial is one Quick Mode. When it returns the SA is gone, and all packets have ended.
func (m *machine) trial(ctx context.Context, spi wire.SPI, n int, delay time.Duration) (ends []end, err error) {
	packets := make([][]byte, n)
	ends = make([]end, n)
	for i := range packets {
		if packets[i], err = seal(spi, uint64(i+1)); err != nil {
			return ends, err
		}
	}
	id := pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: pfkey.Host(far), Dst: pfkey.Host(near)}
	if _, err := m.keys.GetSPI(ctx, pfkey.GetSPIParams{Type: wire.SATypeESP, Src: id.Src, Dst: id.Dst, Min: spi,
		Max: spi}); err != nil {
		return ends, err
	}
	var wg sync.WaitGroup
	var failed [2]error
	seen := make(chan struct{}) // every packet has a verdict
	wg.Go(func() {
		failed[0] = m.initiate(ctx, packets, ends, seen)
	})
	wg.Go(func() {
		failed[1] = m.respond(ctx, id, delay, seen)
	})
	wg.Wait()
	return ends, errors.Join(failed[:]...)
}

// patience bounds what a trial may wait for, so that one that went wrong is told instead of waited for.
const patience = 10 * time.Second

func (m *machine) initiate(ctx context.Context, packets [][]byte, ends []end, seen chan<- struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := m.exchange(ctx, packets, ends, func() { close(seen) })
	if err != nil {
		err = fmt.Errorf("initiator: %w", err)
	}
	return err
}

func (m *machine) exchange(ctx context.Context, packets [][]byte, ends []end, seen func()) error {
	answered, ended := 0, 0
	told := false
	defer func() {
		if !told {
			seen() // the responder must not wait for what has failed
		}
	}()
	var message [16]byte
	m.initiator.SetReadDeadline(m.now().Add(patience))
	if _, err := m.initiator.Read(message[:]); err != nil {
		return err
	}
	if _, err := m.initiator.WriteTo([]byte("message 3"), m.responder.LocalAddr()); err != nil {
		return err
	}
	for i, p := range packets {
		if err := m.wire.InjectAs(ctx, uint64(i+1), p, packetport.Inbound, ""); err != nil {
			return err
		}
	}
	for ended < len(packets) {
		v, err := m.wire.Recv(ctx)
		if err != nil {
			return err
		}
		if v.ID < 1 || v.ID > uint64(len(ends)) {
			return fmt.Errorf("a verdict of packet %d", v.ID)
		}
		e := &ends[v.ID-1]
		if e.first.ID == 0 {
			e.first = v
			answered++
		}
		if v.Final() {
			e.last = v
			ended++
		}
		if answered == len(packets) && !told {
			told = true
			seen()
		}
	}
	return nil
}

func (m *machine) respond(ctx context.Context, id pfkey.SAID, delay time.Duration, seen <-chan struct{}) error {
	if _, err := m.responder.WriteTo([]byte("message 2"), m.initiator.LocalAddr()); err != nil {
		return err
	}
	sa := pfkey.SA{SAID: id, Replay: 32, Encrypt: wire.EncAESGCM16,
		EncryptKey: pfkey.NewKey(slices.Concat(encryptKey, salt)),
		Hard:       &wire.Lifetime{AddTime: 28800}}
	var message [16]byte
	m.responder.SetReadDeadline(m.now().Add(patience))
	if _, err := m.responder.Read(message[:]); err != nil {
		return fmt.Errorf("responder: %w", err)
	}
	for until := m.now().Add(delay); m.now().Before(until); { // it computes, and does not sleep
	}
	if err := m.keys.Update(ctx, sa, 0); err != nil {
		return err
	}
	<-seen
	return m.keys.Delete(ctx, id)
}
