package packet_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/packet"
)

// TestConservation moves packets through a queue on many goroutines, and wants injected = ended + held + in flight at
// every reading, and all of them ended at rest.
func TestConservation(t *testing.T) {
	const workers, each = 8, 2000
	var l packet.Ledger
	var watched atomic.Uint64
	defer l.Watch(func(*packet.Packet, packet.Verdict) { watched.Add(1) })()

	// What an SA is: a lock, and packets that wait under it.
	var mu sync.Mutex
	var queue packet.Queue
	take := func() *packet.Packet {
		mu.Lock()
		defer mu.Unlock()
		return queue.Pop()
	}
	var heard atomic.Uint64
	var wrong atomic.Uint64
	done := func(p *packet.Packet, v packet.Verdict) {
		if v.Kind.Final() {
			heard.Add(1)
		}
		if string(p.Data) != "packet" {
			wrong.Add(1)
		}
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if b := l.Balance(); b.InFlight > b.Injected || b.Ended > b.Injected || b.Held > b.Injected {
				wrong.Add(1)
			}
		}
	})
	var ws sync.WaitGroup
	for w := range workers {
		ws.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(w)))
			for i := range each {
				p := &packet.Packet{ID: uint64(w*each + i), Data: []byte("packet"), Done: done}
				l.Inject(p)
				switch r.IntN(4) {
				case 0:
					p.End(packet.Verdict{Kind: packet.Delivered})
				case 1:
					p.End(packet.Verdict{Kind: packet.Dropped, Reason: packet.NoSA})
				default:
					kind := packet.Queued
					if r.IntN(2) == 0 {
						kind = packet.Held
					}
					mu.Lock()
					queue.Push(p, kind, 1<<30)
					mu.Unlock()
					p.Report()
				}
				if r.IntN(2) == 0 {
					if p := take(); p != nil {
						p.End(packet.Verdict{Kind: packet.Dropped, Reason: packet.LarvalReplaced})
					}
				}
			}
		})
	}
	ws.Wait()
	held := uint64(queue.Len())
	if b := l.Balance(); b.Held != held || b.InFlight != 0 || b.Injected != workers*each ||
		b.Ended != workers*each-held {
		t.Errorf("at rest, %d in the queue: %+v", held, b)
	}
	for p := take(); p != nil; p = take() {
		p.End(packet.Verdict{Kind: packet.Delivered})
	}
	close(stop)
	readers.Wait()
	b := l.Balance()
	if b.Held != 0 || b.InFlight != 0 || b.Ended != workers*each {
		t.Errorf("at the end: %+v", b)
	}
	if b.Verdicts["delivered"]+b.Verdicts["dropped"] != b.Ended ||
		b.Reasons["no-sa"]+b.Reasons["larval-replaced"] != b.Verdicts["dropped"] {
		t.Errorf("verdicts and reasons do not add up: %+v", b)
	}
	if heard.Load() != workers*each || watched.Load() != workers*each || wrong.Load() != 0 {
		t.Errorf("Done heard %d final verdicts, the watcher %d, of %d; %d faults", heard.Load(), watched.Load(),
			workers*each, wrong.Load())
	}
}

// TestQueuedBeforeFinal lets the one who queues report while another ends the packet. Whatever the order, Done hears
// Queued first.
func TestQueuedBeforeFinal(t *testing.T) {
	var l packet.Ledger
	for i := range 3000 {
		var got []packet.Kind // Done is called by one goroutine at a time
		p := &packet.Packet{ID: uint64(i), Done: func(_ *packet.Packet, v packet.Verdict) { got = append(got, v.Kind) }}
		l.Inject(p)
		var q packet.Queue
		q.Push(p, packet.Queued, 1)
		var wg sync.WaitGroup
		wg.Go(p.Report)
		wg.Go(func() {
			q.Pop().End(packet.Verdict{Kind: packet.Delivered})
		})
		wg.Wait()
		if diff := cmp.Diff([]packet.Kind{packet.Queued, packet.Delivered}, got); diff != "" {
			t.Fatalf("round %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestReportAfterEnd(t *testing.T) {
	var l packet.Ledger
	var got []packet.Kind
	p := &packet.Packet{Done: func(_ *packet.Packet, v packet.Verdict) { got = append(got, v.Kind) }}
	l.Inject(p)
	var q packet.Queue
	q.Push(p, packet.Held, 1)
	p.Report()
	p.Report()
	q.Pop()
	q.Push(p, packet.Queued, 1)
	q.Pop()
	p.End(packet.Verdict{Kind: packet.Dropped, Reason: packet.Shutdown})
	p.Report()
	if diff := cmp.Diff([]packet.Kind{packet.Held, packet.Queued, packet.Dropped}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestQueue(t *testing.T) {
	var l packet.Ledger
	ids := func(q *packet.Queue) (ids []uint64) {
		for p := range q.All {
			ids = append(ids, p.ID)
		}
		return ids
	}
	var q packet.Queue
	if q.Pop() != nil || q.Len() != 0 {
		t.Fatal("the zero queue is not empty")
	}
	for id := range uint64(4) {
		p := &packet.Packet{ID: id}
		l.Inject(p)
		q.Push(p, packet.Queued, 4)
	}
	for range q.All {
		break // an early end is allowed
	}
	if got := q.Pop(); got.ID != 0 {
		t.Errorf("popped %d first", got.ID)
	}
	moved := q
	q = packet.Queue{}
	if diff := cmp.Diff([]uint64{1, 2, 3}, ids(&moved)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if b := l.Balance(); b.Held != 3 || b.InFlight != 1 {
		t.Errorf("three wait and one is on its way: %+v", b)
	}
	for want := uint64(1); want <= 3; want++ {
		if p := moved.Pop(); p == nil || p.ID != want || moved.Len() != int(3-want) {
			t.Fatalf("popped %v, want %d", p, want)
		}
	}
	p := &packet.Packet{ID: 9}
	l.Inject(p)
	moved.Push(p, packet.Held, 2) // an emptied queue goes on
	if moved.Pop() != p || moved.Pop() != nil {
		t.Error("an emptied queue does not go on")
	}
}

func TestSecondEndPanics(t *testing.T) {
	var l packet.Ledger
	p := &packet.Packet{}
	l.Inject(p)
	p.End(packet.Verdict{Kind: packet.Delivered})
	defer func() {
		if recover() == nil {
			t.Error("a second End did not panic")
		}
		if b := l.Balance(); b.Ended != 1 {
			t.Errorf("ended %d times", b.Ended)
		}
	}()
	p.End(packet.Verdict{Kind: packet.Delivered})
}

func TestWatchers(t *testing.T) {
	var l packet.Ledger
	var first, second []uint64
	end := func(id uint64) {
		p := &packet.Packet{ID: id}
		l.Inject(p)
		p.End(packet.Verdict{Kind: packet.Dropped, Reason: packet.BadICV})
	}
	end(1)
	stopFirst := l.Watch(func(p *packet.Packet, v packet.Verdict) {
		if v.Reason == packet.BadICV {
			first = append(first, p.ID)
		}
	})
	end(2)
	stopSecond := l.Watch(func(p *packet.Packet, _ packet.Verdict) { second = append(second, p.ID) })
	end(3)
	stopFirst()
	stopFirst()
	end(4)
	stopSecond()
	end(5)
	if !slices.Equal(first, []uint64{2, 3}) || !slices.Equal(second, []uint64{3, 4}) {
		t.Errorf("watchers heard %v and %v", first, second)
	}
}

// TestWatchersComeAndGo starts and stops watchers while packets end; one that is never stopped misses none.
func TestWatchersComeAndGo(t *testing.T) {
	var l packet.Ledger
	var all atomic.Uint64
	l.Watch(func(*packet.Packet, packet.Verdict) { all.Add(1) })
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 500 {
				stop := l.Watch(func(*packet.Packet, packet.Verdict) {})
				p := &packet.Packet{ID: uint64(w*500 + i)}
				l.Inject(p)
				p.End(packet.Verdict{Kind: packet.Delivered})
				stop()
			}
		})
	}
	wg.Wait()
	if all.Load() != 2000 {
		t.Errorf("heard %d of 2000", all.Load())
	}
}

func TestRegistry(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range packet.Reasons() {
		name := r.String()
		if name == "" || seen[name] {
			t.Errorf("reason %d has the name %q", r, name)
		}
		seen[name] = true
		if got, ok := packet.ReasonByName(name); !ok || got != r {
			t.Errorf("ReasonByName(%q) = %d, %v", name, got, ok)
		}
	}
	if _, ok := packet.ReasonByName("no such reason"); ok {
		t.Error("found a reason that does not exist")
	}
	for _, k := range []packet.Kind{packet.Delivered, packet.Transmitted, packet.Queued, packet.Held, packet.Dropped,
		packet.Sent} {
		if got, ok := packet.KindByName(k.String()); !ok || got != k {
			t.Errorf("KindByName(%q) = %d, %v", k, got, ok)
		}
	}
	if _, ok := packet.KindByName(""); ok {
		t.Error("found a kind without a name")
	}
	if k, r := packet.Kind(99).String(), packet.Reason(200).String(); k != "unknown(0x63)" || r != "unknown(0xc8)" {
		t.Errorf("what is neither is called %q and %q", k, r)
	}
}

// push puts a packet of so many bytes into q.
func push(l *packet.Ledger, q *packet.Queue, id uint64, bytes, depth int) (p, out *packet.Packet) {
	p = &packet.Packet{ID: id, Data: make([]byte, bytes)}
	l.Inject(p)
	return p, q.Push(p, packet.Queued, depth)
}

// TestHeldLimit: what the queues of an engine hold together has a limit. A packet over it comes back, and nothing has
// changed.
func TestHeldLimit(t *testing.T) {
	const w = 256
	var l packet.Ledger
	l.LimitHeld(2*w + 300)
	var a, b packet.Queue
	want := func(what string, held uint64, bytes int64) {
		t.Helper()
		if got := l.Balance(); got.Held != held || got.HeldBytes != bytes || got.HeldLimit != 2*w+300 {
			t.Errorf("%s: %d packets and %d of %d bytes are held, want %d and %d", what, got.Held, got.HeldBytes,
				got.HeldLimit, held, bytes)
		}
	}
	first, out := push(&l, &a, 1, 100, 1)
	if out != nil {
		t.Errorf("the first: packet %d is out", out.ID)
	}
	if _, out = push(&l, &b, 2, 200, 2); out != nil {
		t.Errorf("the second fits exactly: packet %d is out", out.ID)
	}
	want("full", 2, 2*w+300)
	if p, out := push(&l, &b, 3, 0, 2); out != p || b.Len() != 1 {
		t.Error("a third, of no bytes, found room")
	}
	if p, out := push(&l, &a, 4, 101, 1); out != p || a.Len() != 1 {
		t.Error("a larger one took the place of the first")
	}
	want("as full as it was", 2, 2*w+300)
	fifth, out := push(&l, &a, 5, 100, 1)
	if out != first {
		t.Error("one as large did not take the place of the first")
	}
	want("as full again", 2, 2*w+300)
	if a.Pop() != fifth {
		t.Error("the fifth is not there")
	}
	want("one has gone", 1, w+200)
	if _, out = push(&l, &a, 6, 40, 1); out != nil {
		t.Error("there is room again, and it is not used")
	}
	if _, out = push(&l, &b, 7, 60, 2); out == nil || out.ID != 7 {
		t.Error("the seventh found room")
	}
	b.Pop()
	a.Pop()
	want("empty", 0, 0)

	// Where it is opened, and what has been made of it, wait with it.
	p := &packet.Packet{Data: make([]byte, 10), Room: make([]byte, 0, 20), Made: make([]byte, 5, 30)}
	l.Inject(p)
	a.Push(p, packet.Held, 1)
	want("a room", 1, w+60)
	a.Pop()
	want("empty again", 0, 0)
}

// TestHeldLimitOnManyThreads: there is never more than the limit, and at the end everything has been given back.
func TestHeldLimitOnManyThreads(t *testing.T) {
	const most = 10 * (256 + 100)
	var l packet.Ledger
	l.LimitHeld(most)
	var ws sync.WaitGroup
	var refused, replaced, over atomic.Uint64
	for w := range 4 {
		ws.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(w)))
			var q packet.Queue
			for i := range 5000 {
				switch p, out := push(&l, &q, uint64(i), r.IntN(200), 5); {
				case out == p:
					refused.Add(1)
				case out != nil:
					replaced.Add(1)
				}
				if n := l.Balance().HeldBytes; n < 0 || n > most {
					over.Add(1)
				}
				if r.IntN(3) == 0 {
					q.Pop()
				}
			}
			for q.Pop() != nil {
			}
		})
	}
	ws.Wait()
	if b := l.Balance(); b.Held != 0 || b.HeldBytes != 0 || over.Load() != 0 {
		t.Errorf("%d packets and %d bytes are held; %d times it was more than %d, or less than nothing", b.Held,
			b.HeldBytes, over.Load(), most)
	}
	if replaced.Load() == 0 {
		t.Error("no packet was replaced")
	}
}
