package engine

import (
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/packet"
)

// Counters are numbers that packets count up on their way. They are kept in lanes, because packets on several cores
// count at once. The methods are safe for concurrent use and take no lock.
type Counters struct {
	lanes [packet.Lanes][]atomic.Uint64
}

// NewCounters makes n counters, which are numbered from 0.
func NewCounters(n int) *Counters {
	const apart = 8 // counters, so that no two lanes share a line of a cache
	c := &Counters{}
	for i := range c.lanes {
		c.lanes[i] = make([]atomic.Uint64, n, n+apart)
	}
	return c
}

// Count counts one for a packet.
func (c *Counters) Count(p *packet.Packet, i int) { c.lanes[p.Lane()][i].Add(1) }

// AddFor counts several for a packet, such as its bytes.
func (c *Counters) AddFor(p *packet.Packet, i int, n uint64) { c.lanes[p.Lane()][i].Add(n) }

// Add counts what belongs to no packet.
func (c *Counters) Add(i int, n uint64) { c.lanes[0][i].Add(n) }

// Read returns the sum of a counter's lanes.
func (c *Counters) Read(i int) (sum uint64) {
	for l := range c.lanes {
		sum += c.lanes[l][i].Load()
	}
	return sum
}
