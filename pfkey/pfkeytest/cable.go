package pfkeytest

import (
	"sync"
	"time"

	"github.com/pfkeyd/pfkeyd/packet"
)

// Cable connects two hosts: every packet that one transmits arrives at the other at once, also what programs send
// through the packet port, and what a kernel sends by itself. Nothing asks for whom it is. [Packet.Arrival] is the
// packet at the other end, of packets injected after Cable.
//
// From then on [Host.Advance] of either moves the clocks of both, by the same time and in steps: each thing that is due
// on one host happens before what is due later on the other. A host has one cable. It is unplugged when one of the two
// is closed.
func Cable(a, b *Host) {
	a.t.Helper()
	if a.mayNot("Cable", "the network") || b.mayNot("Cable", "the network") {
		return
	}
	c := &cable{hosts: [2]*Host{a, b}, own: map[*packet.Packet]*Packet{}}
	if a == b || !a.cable.CompareAndSwap(nil, c) {
		a.t.Fatalf("a host can have one cable, to another host")
		return
	}
	if !b.cable.CompareAndSwap(nil, c) {
		a.cable.Store(nil)
		a.t.Fatalf("a host can have one cable, to another host")
		return
	}
	for i, h := range c.hosts {
		other := c.hosts[1-i]
		c.unwatch[i] = h.engine.Ledger().Watch(func(p *packet.Packet, v packet.Verdict) { c.carry(other, p, v) })
	}
}

// A cable lies between two hosts.
type cable struct {
	hosts   [2]*Host
	unwatch [2]func()

	clock sync.Mutex // one call moves the clocks at a time

	mu     sync.Mutex                 // a leaf, guards what follows
	own    map[*packet.Packet]*Packet // of the tests, that have not ended
	out    bool                       // unplugged: nothing more is carried
	flying sync.WaitGroup             // packets that are being carried
}

// know has a packet of a test hear of its arrival.
func (c *cable) know(p *Packet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own[&p.packet] = p
}

// carry takes what a packet ended as to the other host, before the packet itself hears that it has ended.
func (c *cable) carry(to *Host, token *packet.Packet, v packet.Verdict) {
	c.mu.Lock()
	p, out := c.own[token], c.out
	delete(c.own, token)
	if out || v.Kind != packet.Transmitted && v.Kind != packet.Sent {
		c.mu.Unlock()
		return
	}
	c.flying.Add(1)
	c.mu.Unlock()
	defer c.flying.Done()
	arrival := to.Inject(v.Inner)
	if p != nil {
		p.mu.Lock()
		p.arrival = arrival
		p.mu.Unlock()
	}
}

// unplug returns once packets that are being carried have arrived. A second call does nothing but wait for that.
func (c *cable) unplug() {
	c.mu.Lock()
	out := c.out
	c.out = true
	c.mu.Unlock()
	c.flying.Wait()
	if out {
		return
	}
	for i, h := range c.hosts {
		c.unwatch[i]()
		h.cable.Store(nil)
	}
}

// advance moves both clocks by d.
func (c *cable) advance(d time.Duration) {
	c.clock.Lock()
	defer c.clock.Unlock()
	for left := max(d, 0); ; {
		step := left
		for _, h := range c.hosts {
			if next, ok := h.engine.Next(); ok {
				step = min(step, max(next.Sub(h.engine.Now()), 0))
			}
		}
		for _, h := range c.hosts { // both show the new time before what is due on one sends packets to the other
			h.engine.MoveClock(h.engine.Now().Add(step))
		}
		for _, h := range c.hosts {
			h.engine.Advance(h.engine.Now())
		}
		if left -= step; left == 0 {
			return
		}
	}
}

// Arrival is the packet as it came out of the [Cable] at the other host; nil as long as it has not been transmitted,
// and where there is no cable.
func (p *Packet) Arrival() *Packet {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.arrival
}
