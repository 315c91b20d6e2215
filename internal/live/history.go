package live

import (
	"encoding/json"
	"sort"
	"sync"
	"time"

	"github.com/pfkeyd/pfkeyd/kernel/event"
)

// The bounds of a history, of packets and of all else.
const (
	maxEvents = 5000
	maxBytes  = 8 << 20
)

// history is the last events that were put in. Packets have a part of their own: many of them do not drive out the
// rest. Events are numbered from 1, and what a reader does not get shows as a gap in the numbers. It is safe for
// concurrent use.
type history struct {
	mu    sync.Mutex // guards what follows
	parts [2]part
	next  uint64
	more  chan struct{} // closed by the next event
}

// part is events in the order of their numbers.
type part struct {
	list  []entry
	bytes int
}

// entry is an event as JSON.
type entry struct {
	n          uint64
	time, real time.Time
	text       []byte
}

func newHistory() *history { return &history{next: 1, more: make(chan struct{})} }

// put gives e the next number and keeps it.
func (h *history) put(e event.Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.N = h.next
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	h.next++
	p := &h.parts[0]
	if e.Type == event.Packet {
		p = &h.parts[1]
	}
	p.add(entry{e.N, e.Time, e.Real, text})
	close(h.more)
	h.more = make(chan struct{})
	return nil
}

func (p *part) add(e entry) {
	p.list = append(p.list, e)
	p.bytes += len(e.text)
	for len(p.list) > maxEvents || p.bytes > maxBytes && len(p.list) > 1 {
		p.bytes -= len(p.list[0].text)
		p.list[0] = entry{}
		p.list = p.list[1:]
	}
}

// from is what the part has from number n on.
func (p *part) from(n uint64) []entry {
	return p.list[sort.Search(len(p.list), func(i int) bool { return p.list[i].n >= n }):]
}

// read returns the events from number n on, at most so many, each as JSON. Where some are missing an event of that type
// stands. If there are too many, packets are left out first, the oldest of them. next is where to read on; more is
// closed when there is something.
func (h *history) read(n uint64, most int) (list []json.RawMessage, next uint64, more <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	others, packets := h.parts[0].from(n), h.parts[1].from(n)
	next = h.next
	if len(others) > most {
		others = others[:most]
		next = others[most-1].n + 1
		packets = nil
	} else if room := most - len(others); len(packets) > room {
		packets = packets[len(packets)-room:]
	}
	var e entry
	for len(others)+len(packets) > 0 {
		from := &others
		if len(others) == 0 || len(packets) > 0 && packets[0].n < others[0].n {
			from = &packets
		}
		e = (*from)[0]
		*from = (*from)[1:]
		if e.n > n {
			list = append(list, missing(e, e.n-n))
		}
		list = append(list, e.text)
		n = e.n + 1
	}
	if len(list) > 0 && n < next {
		list = append(list, missing(e, next-n))
	}
	return list, next, h.more
}

// changed is closed by the next event.
func (h *history) changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.more
}

// missing says that so many events beside e are left out.
func missing(e entry, count uint64) json.RawMessage {
	text, err := json.Marshal(event.Event{Time: e.time, Real: e.real, Type: event.Missing,
		Missing: &event.MissingEvent{Count: count, Why: event.WhySlow}})
	if err != nil {
		panic(err) // the times have been JSON before
	}
	return text
}
