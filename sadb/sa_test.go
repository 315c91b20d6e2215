package sadb_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// packets makes n packets that a ledger has taken in.
func packets(l *packet.Ledger, n int) []*packet.Packet {
	ps := make([]*packet.Packet, n)
	for i := range ps {
		ps[i] = &packet.Packet{ID: uint64(i + 1)}
		l.Inject(ps[i])
	}
	return ps
}

// drain pops everything and returns the ids.
func drain(q packet.Queue) (ids []uint64) {
	for p := q.Pop(); p != nil; p = q.Pop() {
		ids = append(ids, p.ID)
	}
	return ids
}

func TestOfferKeepsTheNewest(t *testing.T) {
	for _, depth := range []int{1, 2, 4} {
		t.Run(fmt.Sprint(depth), func(t *testing.T) {
			var l packet.Ledger
			var s sadb.SA
			for i, p := range packets(&l, 6) {
				seen, evicted := s.Offer(p, depth)
				if seen != sadb.Larval {
					t.Fatalf("packet %d: seen %v, want LARVAL", p.ID, seen)
				}
				switch {
				case i < depth && evicted != nil:
					t.Errorf("packet %d evicted packet %d of a queue that had room", p.ID, evicted.ID)
				case i >= depth && (evicted == nil || evicted.ID != uint64(i+1-depth)):
					t.Errorf("packet %d evicted %v, want packet %d, the oldest", p.ID, evicted, i+1-depth)
				}
			}
			if got := l.Balance(); got.Held != uint64(depth) || got.InFlight != uint64(6-depth) {
				t.Errorf("ledger: %d held, %d in flight; want %d and the evicted %d", got.Held, got.InFlight, depth,
					6-depth)
			}
			from, held := s.Become(sadb.Mature)
			if ids := drain(held); from != sadb.Larval || len(ids) != depth || ids[0] != uint64(7-depth) {
				t.Errorf("Become: from %v with packets %v, want LARVAL with the last %d in order", from, ids, depth)
			}
		})
	}
}

func TestOfferHandsBack(t *testing.T) {
	for _, state := range []sadb.State{sadb.Mature, sadb.Dying, sadb.Dead, 5} {
		var l packet.Ledger
		var s sadb.SA
		s.Become(state)
		p := packets(&l, 1)[0]
		if seen, evicted := s.Offer(p, 1); seen != state || evicted != nil {
			t.Errorf("offer to %v: seen %v, evicted %v", state, seen, evicted)
		}
		if b := l.Balance(); b.Held != 0 {
			t.Errorf("%v holds a packet", state)
		}
	}
}

func TestBecomeTakesTheQueueAlong(t *testing.T) {
	for _, to := range []sadb.State{sadb.Mature, sadb.Dead} {
		var l packet.Ledger
		var s sadb.SA
		s.Offer(packets(&l, 1)[0], 1)
		from, held := s.Become(to)
		if from != sadb.Larval || s.State() != to || held.Len() != 1 {
			t.Errorf("to %v: from %v, now %v, %d packets taken", to, from, s.State(), held.Len())
		}
		s.Lock()
		s.HeldLocked(func(id uint64, _ int) { t.Errorf("%v still holds packet %d", to, id) })
		s.Unlock()
	}
}

func TestDeadStaysDead(t *testing.T) {
	var s sadb.SA
	s.Become(sadb.Dead)
	if from, _ := s.Become(sadb.Mature); from != sadb.Dead || s.State() != sadb.Dead {
		t.Errorf("from %v, now %v: a DEAD SA came back", from, s.State())
	}
}

// race lets packets arrive at a LARVAL SA while it leaves that state, many times, and says how many were stranded: put
// onto an SA that had left LARVAL and would never be emptied again. With forced, the first packet has seen LARVAL
// before, and goes on after.
func race(fault sadb.Fault, to sadb.State, rounds int, forced bool) (stranded int, b packet.Balance) {
	const arrivals = 4
	var l packet.Ledger
	for range rounds {
		var s sadb.SA
		var wg sync.WaitGroup
		start, looked, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
		for i := range arrivals {
			wg.Go(func() {
				p := &packet.Packet{ID: uint64(i)}
				l.Inject(p)
				<-start
				// A packet's way: it looks, and acts on what it has seen.
				if s.State() == sadb.Larval {
					if forced && i == 0 {
						close(looked)
						<-left
					}
					seen, evicted := fault.Offer(&s, p, 1)
					if evicted != nil {
						evicted.End(packet.Verdict{Kind: packet.Dropped, Reason: packet.LarvalReplaced})
					}
					if seen == sadb.Larval {
						return
					}
				}
				p.End(packet.Verdict{Kind: packet.Delivered})
			})
		}
		wg.Go(func() {
			<-start
			if forced {
				<-looked
			}
			defer close(left)
			held := fault.Take(&s)
			s.Lock()
			_, taken := fault.PromoteLocked(&s, to)
			s.Unlock()
			if fault == sadb.NoFault {
				held = taken
			}
			for p := held.Pop(); p != nil; p = held.Pop() {
				p.End(packet.Verdict{Kind: packet.Delivered})
			}
		})
		close(start)
		wg.Wait()
		s.Lock()
		s.HeldLocked(func(uint64, int) { stranded++ })
		s.Unlock()
	}
	return stranded, l.Balance()
}

func TestRace(t *testing.T) {
	for _, to := range []sadb.State{sadb.Mature, sadb.Dead} {
		stranded, b := race(sadb.NoFault, to, 2000, false)
		if stranded != 0 || b.Held != 0 || b.InFlight != 0 || b.Injected != b.Ended {
			t.Errorf("to %v: %d stranded; ledger %+v", to, stranded, b)
		}
	}
}

// TestRaceFault shows that the test above can fail.
func TestRaceFault(t *testing.T) {
	stranded, b := race(sadb.LarvalUnlocked, sadb.Mature, 1, true)
	if stranded != 1 || b.Held != 1 {
		t.Errorf("larval-unlocked stranded %d packets, the ledger holds %d; want 1", stranded, b.Held)
	}
	if stranded, b := race(sadb.NoFault, sadb.Mature, 1, true); stranded != 0 || b.Held != 0 {
		t.Errorf("without the fault %d packets were stranded in that order", stranded)
	}
}

func TestFaultNames(t *testing.T) {
	for _, f := range []sadb.Fault{sadb.NoFault, sadb.LarvalUnlocked, sadb.LarvalWindow} {
		if got, err := sadb.FaultByName(f.String()); err != nil || got != f {
			t.Errorf("%q: %v, %v", f, got, err)
		}
	}
	_, err := sadb.FaultByName("larval-locked")
	if err == nil || !strings.Contains(err.Error(), "larval-unlocked, larval-window") {
		t.Errorf("an unknown fault: %v, want the known ones", err)
	}
	want := []string{sadb.LarvalUnlocked.String(), sadb.LarvalWindow.String()}
	names := sadb.FaultNames()
	if !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
	names[0] = "somebody else's"
	if got := sadb.FaultNames(); !slices.Equal(got, want) {
		t.Errorf("then names %q, want %q", got, want)
	}
}

func TestNoAllocation(t *testing.T) {
	var l packet.Ledger
	p := packets(&l, 1)[0]
	s := new(sadb.SA)
	if n := testing.AllocsPerRun(100, func() {
		s.Offer(p, 1)
		_, held := s.Become(sadb.Larval)
		if held.Len() != 0 {
			t.Fatal("LARVAL to LARVAL took the queue")
		}
		_, held = s.Become(sadb.Mature)
		held.Pop()
		s.Become(sadb.Larval)
	}); n != 0 {
		t.Errorf("Offer and Become allocate %v times", n)
	}
}

// TestOfferWithoutMemory: where no more bytes may be held the newcomer comes back, and the one that waits goes on
// waiting.
func TestOfferWithoutMemory(t *testing.T) {
	var l packet.Ledger
	l.LimitHeld(256 + 100)
	pkt := func(id uint64, bytes int) *packet.Packet {
		p := &packet.Packet{ID: id, Data: make([]byte, bytes)}
		l.Inject(p)
		return p
	}
	a, b := new(sadb.SA), new(sadb.SA)
	first := pkt(1, 100)
	if seen, out := a.Offer(first, 1); seen != sadb.Larval || out != nil {
		t.Fatalf("%v, %v", seen, out)
	}
	for _, p := range []*packet.Packet{pkt(2, 0), pkt(3, 1000)} {
		for _, s := range []*sadb.SA{a, b} {
			if s == a && p.ID == 2 {
				continue // it is smaller, and would be taken
			}
			if seen, out := s.Offer(p, 1); seen != sadb.Larval || out != p {
				t.Errorf("packet %d: %v, %v; want it back", p.ID, seen, out)
			}
		}
	}
	_, held := a.Become(sadb.Mature)
	if p := held.Pop(); p != first {
		t.Errorf("the first did not wait on: %v", p)
	}
	if n := l.Balance().HeldBytes; n != 0 {
		t.Errorf("%d bytes are held", n)
	}
	if seen, out := b.Offer(pkt(4, 50), 1); seen != sadb.Larval || out != nil {
		t.Errorf("there is room again: %v, %v", seen, out)
	}
}

func BenchmarkOfferBecome(b *testing.B) {
	var l packet.Ledger
	p := &packet.Packet{ID: 1}
	l.Inject(p)
	s := new(sadb.SA)
	b.ReportAllocs()
	for b.Loop() {
		s.Offer(p, 1)
		_, held := s.Become(sadb.Mature)
		held.Pop()
		s.Become(sadb.Larval) // a fresh SA, without paying for it
	}
}
