package sadb_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// call is one operation on an SA and on the index it is in, and answer what it returned.
type call struct {
	op     string // offer, look, promote, kill, insert, remove, find
	packet uint64
}

type answer struct {
	state sadb.State // that was seen, or left
	held  uint64     // the packet that was evicted, or taken along; 0: none
	ok    bool       // found, or was there
}

// model is the SA and the index as they look to somebody who does one thing at a time.
type model struct {
	state  sadb.State
	held   uint64 // one packet fits
	linked bool
}

// step is the whole specification.
func (m model) step(c call) (model, answer) {
	switch c.op {
	case "look":
		return m, answer{state: m.state}
	case "offer":
		if m.state != sadb.Larval {
			return m, answer{state: m.state}
		}
		a := answer{state: sadb.Larval, held: m.held}
		m.held = c.packet
		return m, a
	case "promote", "kill":
		a := answer{state: m.state}
		if m.state == sadb.Dead {
			return m, a
		}
		a.held, m.held = m.held, 0
		if m.state = sadb.Mature; c.op == "kill" {
			m.state = sadb.Dead
		}
		return m, a
	case "insert":
		m.linked = true
		return m, answer{ok: true}
	case "remove":
		a := answer{ok: m.linked}
		m.linked = false
		return m, a
	case "find":
		return m, answer{ok: m.linked}
	}
	panic(c.op)
}

var specification = porcupine.Model{
	Init: func() any { return model{linked: true} },
	Step: func(state, input, output any) (bool, any) {
		next, want := state.(model).step(input.(call))
		return want == output.(answer), next
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v -> %+v", input, output) },
}

// history is an SA in an index, with all that was done to it. Its clock counts.
type history struct {
	fault  sadb.Fault
	sa     *sadb.SA
	index  sadb.Index[*sadb.SA]
	key    sadb.Key
	ledger packet.Ledger
	ticks  atomic.Int64
	// between, if set, runs once where a faulty UPDATE is in two parts.
	between func()

	mu  sync.Mutex
	ops []porcupine.Operation
}

func newHistory(fault sadb.Fault) *history {
	h := &history{fault: fault, sa: new(sadb.SA), key: sadb.Key{SPI: 1, Proto: 50}}
	h.index.Insert(h.key, h.sa)
	return h
}

// do performs an operation and notes it.
func (h *history) do(client int, c call) answer {
	begin := h.ticks.Add(1)
	a := h.perform(c)
	end := h.ticks.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: c, Call: begin, Output: a, Return: end})
	return a
}

func (h *history) perform(c call) (a answer) {
	switch c.op {
	case "look":
		a.state = h.sa.State()
	case "offer":
		p := &packet.Packet{ID: c.packet}
		h.ledger.Inject(p)
		seen, evicted := h.fault.Offer(h.sa, p, 1)
		if a.state = seen; evicted != nil {
			a.held = evicted.ID
		}
	case "promote":
		return h.promote()
	case "kill":
		from, held := h.sa.Become(sadb.Dead)
		return answer{state: from, held: only(held)}
	case "insert":
		if _, ok := h.index.Find(h.key, nil); !ok { // a kernel looks first; only one of them writes
			h.index.Insert(h.key, h.sa)
		}
		a.ok = true
	case "remove":
		a.ok = h.index.Remove(h.key, h.sa)
	case "find":
		_, a.ok = h.index.Find(h.key, nil)
	}
	return a
}

// promote is what an UPDATE does in each variant.
func (h *history) promote() (a answer) {
	pause := func() {
		if f := h.between; f != nil {
			h.between = nil
			f()
		}
	}
	if h.fault == sadb.LarvalUnlocked {
		held := h.fault.Take(h.sa)
		a.held = only(held)
		pause()
	}
	h.sa.Lock()
	from, held := h.fault.PromoteLocked(h.sa, sadb.Mature)
	h.sa.Unlock()
	a.state = from
	switch h.fault {
	case sadb.NoFault:
		a.held = only(held)
	case sadb.LarvalWindow:
		pause()
		held = h.fault.Take(h.sa)
		a.held = only(held)
	}
	return a
}

// only is the id of the one packet in a queue, 0 if there is none.
func only(q packet.Queue) (id uint64) {
	for p := q.Pop(); p != nil; p = q.Pop() {
		id = id<<32 | p.ID // two would be no packet's id
	}
	return id
}

func (h *history) check(t *testing.T) porcupine.CheckResult {
	t.Helper()
	res := porcupine.CheckOperationsTimeout(specification, h.ops, 10*time.Second)
	if res == porcupine.Unknown {
		t.Fatalf("a history of %d operations is too long to check", len(h.ops))
	}
	return res
}

// concurrently lets packets arrive on three threads while a fourth promotes and kills, and a fifth links other SAs and
// this one. With careless, packets offer themselves without a look.
func (h *history) concurrently(seed uint64, careless bool) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for client := range 3 {
		wg.Go(func() {
			<-start
			for i := range 3 {
				h.do(client, call{op: "find"})
				if careless || h.do(client, call{op: "look"}).state == sadb.Larval {
					h.do(client, call{op: "offer", packet: uint64(1 + 3*client + i)})
				}
			}
		})
	}
	wg.Go(func() {
		<-start
		h.do(3, call{op: "look"})
		h.do(3, call{op: "promote"})
		h.do(3, call{op: "kill"})
	})
	wg.Go(func() {
		r := rand.New(rand.NewPCG(seed, 0))
		<-start
		for i := range 4 {
			op := "remove"
			if i%2 == 1 {
				op = "insert"
			}
			h.do(4, call{op: op})
			for range r.IntN(80) { // the table grows
				h.index.Insert(sadb.Key{SPI: r.Uint32(), Proto: 50}, new(sadb.SA))
			}
		}
	})
	close(start)
	wg.Wait()
}

// TestLinearizable: whatever packets and key management do at the same time, it is as if they had done it one after the
// other.
func TestLinearizable(t *testing.T) {
	rounds := 500
	if testing.Short() {
		rounds = 50
	}
	for seed := range rounds {
		h := newHistory(sadb.NoFault)
		h.concurrently(uint64(seed), seed%2 == 0)
		if h.check(t) != porcupine.Ok {
			t.Fatalf("round %d: no order of these explains them:\n%+v", seed, h.ops)
		}
	}
}

// TestNotLinearizable shows that the checker notices each fault, in one order that is forced.
func TestNotLinearizable(t *testing.T) {
	for _, fault := range []sadb.Fault{sadb.LarvalUnlocked, sadb.LarvalWindow} {
		t.Run(fault.String(), func(t *testing.T) {
			h := newHistory(fault)
			h.do(0, call{op: "offer", packet: 1})
			h.between = func() { h.do(1, call{op: "offer", packet: 2}) }
			h.do(2, call{op: "promote"})
			h.do(0, call{op: "offer", packet: 3})
			h.do(2, call{op: "kill"})
			if h.check(t) != porcupine.Illegal {
				t.Errorf("it went unnoticed:\n%+v", h.ops)
			}
		})
	}
	t.Run("the same without a fault", func(t *testing.T) {
		h := newHistory(sadb.NoFault)
		h.do(0, call{op: "offer", packet: 1})
		h.do(2, call{op: "promote"})
		h.do(0, call{op: "offer", packet: 3})
		h.do(2, call{op: "kill"})
		if h.check(t) != porcupine.Ok {
			t.Errorf("refused:\n%+v", h.ops)
		}
	})
}
