package racelab

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Arrivals is packets that arrive on threads of their own while one thread promotes, deletes, flushes and expires the
// SAs they are for.
type Arrivals struct {
	Variant  string
	Packets  int
	Threads  int            // that packets arrive on; at least 1
	Seed     uint64         // of what is done to which SA
	Progress func(sent int) // nil, or told now and then from several goroutines
}

// An ArrivalsResult is the state at rest, when everything has happened.
type ArrivalsResult struct {
	Variant string `json:"variant"`
	Packets int    `json:"packets"`
	// What key management and time have done.
	Reserved int `json:"reserved"`
	Promoted int `json:"promoted"`
	Deleted  int `json:"deleted"`
	Flushed  int `json:"flushes"`
	Aged     int `json:"passes"`
	// Stranded is how often a packet was seen on an SA that had left LARVAL.
	Stranded uint64         `json:"stranded"`
	Ledger   packet.Balance `json:"ledger"`
	// Wrong says what does not add up; "" if nothing does not.
	Wrong string `json:"wrong,omitempty"`
}

// slots is how many SAs there are at a time.
const slots = 64

// Run plays it. The error is ctx's, or says what could not be set up.
func (a Arrivals) Run(ctx context.Context) (*ArrivalsResult, error) {
	if !slices.Contains(Variants(), a.Variant) {
		return nil, fmt.Errorf("racelab: unknown variant %q", a.Variant)
	}
	c, err := newCrowd(a)
	if err != nil {
		return nil, fmt.Errorf("racelab: %w", err)
	}
	var arriving sync.WaitGroup
	var sent atomic.Int64
	for i := range max(a.Threads, 1) {
		arriving.Go(func() { c.arrive(ctx, rand.New(rand.NewPCG(a.Seed, uint64(i+1))), &sent) })
	}
	over := make(chan struct{})
	go func() { // ends with the packets
		arriving.Wait()
		close(over)
	}()
	c.manage(rand.New(rand.NewPCG(a.Seed, 0)), over)
	<-over
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return c.rest(int(sent.Load())), nil
}

// crowd is an engine with its SAs and packets for them.
type crowd struct {
	Arrivals
	e        *engine.Engine
	packets  [slots][]byte
	messages [slots]struct{ getSPI, update, brief, delete []byte }
	flush    []byte
	stranded atomic.Uint64
	res      ArrivalsResult
}

func newCrowd(a Arrivals) (*crowd, error) {
	c := &crowd{Arrivals: a, res: ArrivalsResult{Variant: a.Variant}}
	var err error
	if c.e, err = kernels.New("illumos", engine.Options{Addrs: []netip.Addr{near},
		Fault: faultOf(a.Variant)}); err != nil {
		return nil, err
	}
	for i := range c.packets {
		if c.packets[i], err = seal(slotSPI(i), 1); err != nil {
			return nil, err
		}
		m := &c.messages[i]
		m.getSPI, m.delete = getSPIMessage(slotSPI(i)), deleteMessage(slotSPI(i))
		// Without a replay window one packet serves for all.
		m.update, m.brief = updateMessage(slotSPI(i), true, 0), updateMessage(slotSPI(i), false, 0)
	}
	c.flush = message(wire.MsgFlush, nil)
	return c, nil
}

func slotSPI(i int) wire.SPI { return spi + wire.SPI(i) }

func (c *crowd) find(i int) (*sadb.SA, bool) {
	return c.e.Kernel().(*illumos.Kernel).FindInbound(sadb.Key{Dst: near, SPI: uint32(slotSPI(i)),
		Proto: uint8(ipsec.ESP)})
}

// holdsLate says whether packets wait on an SA that is not LARVAL: with the SA's lock held there are none, by the
// second race rule.
func holdsLate(s *sadb.SA) (late bool) {
	s.Lock()
	defer s.Unlock()
	if s.State() != sadb.Larval {
		s.HeldLocked(func(uint64, int) { late = true })
	}
	return late
}

// arrive is one thread of packets. Now and then it looks at the SA that the packet was for.
func (c *crowd) arrive(ctx context.Context, r *rand.Rand, sent *atomic.Int64) {
	const batch = 4096
	for ctx.Err() == nil {
		first := sent.Add(batch) - batch
		n := min(batch, int64(c.Packets)-first)
		if n < batch {
			sent.Add(max(n, 0) - batch)
		}
		for j := range n {
			i := r.IntN(slots)
			s, ok := c.find(i)
			c.e.Inbound(&packet.Packet{ID: uint64(first + j + 1), Data: c.packets[i]})
			if ok && j%4 == 0 && holdsLate(s) {
				c.stranded.Add(1)
			}
		}
		if n < batch {
			return
		}
		if c.Progress != nil {
			c.Progress(int(first + n))
		}
	}
}

// manage does what key management and time do, until over is closed.
func (c *crowd) manage(r *rand.Rand, over <-chan struct{}) {
	sock, errno := c.e.Open(cred, 3, wire.Version)
	if errno != wire.OK {
		panic("racelab: " + errno.String()) // a new engine refuses nobody
	}
	defer sock.Close()
	buf := make([]byte, 4096)
	do := func(msg []byte, n *int) {
		sock.Send(msg, cred)
		*n++
		for {
			if _, _, errno := sock.Recv(buf, 0); errno != wire.OK {
				return
			}
		}
	}
	for {
		select {
		case <-over:
			return
		default:
		}
		i := r.IntN(slots)
		m := &c.messages[i]
		s, ok := c.find(i)
		switch dice := r.IntN(1000); {
		case dice == 0:
			do(c.flush, &c.res.Flushed)
		case dice == 1:
			c.e.Advance(c.e.Now().Add(larvalTime))
			c.res.Aged++
		case !ok:
			do(m.getSPI, &c.res.Reserved)
		case s.State() == sadb.Larval && dice < 300:
			do(m.brief, &c.res.Promoted)
		case s.State() == sadb.Larval && dice < 800:
			do(m.update, &c.res.Promoted)
		case dice < 900:
			do(m.delete, &c.res.Deleted)
		}
	}
}

// rest looks at what is left when nothing moves, and closes the engine.
func (c *crowd) rest(sent int) *ArrivalsResult {
	held := uint64(0)
	for i := range slots {
		if s, ok := c.find(i); ok {
			if holdsLate(s) {
				c.stranded.Add(1)
			}
			s.Lock()
			s.HeldLocked(func(uint64, int) { held++ })
			s.Unlock()
		}
	}
	res := &c.res
	before := c.e.Ledger().Balance()
	c.e.Close()
	res.Packets, res.Stranded, res.Ledger = sent, c.stranded.Load(), c.e.Ledger().Balance()
	b := res.Ledger
	switch {
	case res.Stranded != 0:
		res.Wrong = fmt.Sprintf("packets were seen %d times on an SA that had left LARVAL", res.Stranded)
	case before.Injected != uint64(sent) || before.InFlight != 0 || before.Held != held ||
		before.Injected != before.Ended+before.Held:
		res.Wrong = fmt.Sprintf("%d arrived; ledger: %d injected, %d ended, %d held, %d in flight; LARVAL SAs hold %d",
			sent,
			before.Injected, before.Ended, before.Held, before.InFlight, held)
	case b.Held != 0 || b.InFlight != 0 || b.Ended != b.Injected:
		res.Wrong = fmt.Sprintf("after the end: %d injected, %d ended, %d held, %d in flight", b.Injected, b.Ended,
			b.Held, b.InFlight)
	}
	return res
}
