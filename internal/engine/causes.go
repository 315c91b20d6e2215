package engine

import (
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/packet"
)

// A Cause is why a kernel drops packets. Several causes may be counted in one counter of the original, which has fewer.
type Cause struct {
	Counter string        // where it is counted, by the kernel's own name, which verdicts show; empty: nowhere
	Also    string        // another counter that it moves; empty: none
	Reason  packet.Reason // what everybody calls it
}

// Causes are all those of a kernel, with how many packets each has dropped. A cause is known by its place among the
// rows. The methods are safe for concurrent use and take no lock.
type Causes struct {
	rows  []Cause
	drops []atomic.Uint64
}

// NewCauses keeps rows, which must not change any more.
func NewCauses(rows []Cause) *Causes { return &Causes{rows, make([]atomic.Uint64, len(rows))} }

// Drop counts a cause and ends a packet with it. No lock is held.
func (c *Causes) Drop(p *packet.Packet, i int) {
	c.Count(i)
	row := &c.rows[i]
	p.End(packet.Verdict{Kind: packet.Dropped, Reason: row.Reason, Counter: row.Counter})
}

// Count counts a cause that has dropped something else than a packet of the ledger.
func (c *Causes) Count(i int) { c.drops[i].Add(1) }

// Counters yields what has been counted, which is not zero, by the name of the counter: once for each cause, so that
// one name may come several times.
func (c *Causes) Counters(yield func(name string, n uint64) bool) {
	for i, row := range c.rows {
		n := c.drops[i].Load()
		for _, name := range [...]string{row.Counter, row.Also} {
			if n != 0 && name != "" && !yield(name, n) {
				return
			}
		}
	}
}
