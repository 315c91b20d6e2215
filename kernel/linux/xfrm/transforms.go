package xfrm

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
)

// maxSAs is a limit that the original leaves to memory, as [transform.MaxPolicies] is. What would go beyond gets
// ENOBUFS, as when there is no memory.
const maxSAs = 1 << 22

// Transforms are the states and policies of one network namespace, with the packets that go through them. Methods need
// the control lock held unless they say otherwise.
type Transforms struct {
	e          *engine.Engine
	manager    transform.Manager
	acqExpires func() int

	states   stateTable
	policies policyTable
	timers   engine.Timers
	encaps   encapTable
	drops    *engine.Causes

	shortCPIs bool        // see LimitCPIs
	asking    atomic.Bool // key managers want to hear of ACQUIREs; written under the control lock
	acqSeq    uint32      // the last ACQUIRE's
	ipID      atomic.Uint32

	// What a manager is being told, here so that it costs no memory.
	told       transform.State
	toldPolicy transform.Policy
}

// New makes the transforms of a machine with this byte order. acqExpires reads net.core.xfrm_acq_expires, the life of
// a LARVAL SA in seconds, under the control lock. Serve says who is told; without it nothing may be done.
func New(e *engine.Engine, order binary.ByteOrder, acqExpires func() int) *Transforms {
	x := &Transforms{e: e, acqExpires: acqExpires, drops: engine.NewCauses(dropRows[:])}
	x.states.init(order)
	x.policies.init()
	return x
}

// Serve says which key manager is told of everything from now on.
func (x *Transforms) Serve(m transform.Manager) { x.manager = m }

// LimitCPIs has SAs of IPCOMP refused whose SPI has more than 16 bits, as netlink refuses them and AF_KEY does not.
func (x *Transforms) LimitCPIs() { x.shortCPIs = true }

// now is the wall clock in seconds.
func (x *Transforms) now() int64 { return x.e.Now().Unix() }

// Next is when the next timer is due.
func (x *Transforms) Next() (time.Time, bool) { return x.timers.Next() }

// Age runs the timers that are due.
func (x *Transforms) Age(now time.Time) { x.timers.Run(now) }

// Settle runs the timers that are due by now: those that a request or a packet has set to run at once, and those whose
// time has come although nobody has called Age yet.
func (x *Transforms) Settle() {
	if at, ok := x.timers.Next(); ok {
		if now := x.e.Now(); !at.After(now) {
			x.timers.Run(now)
		}
	}
}
