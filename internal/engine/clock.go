package engine

import "time"

// Now returns what the engine's clock shows.
func (e *Engine) Now() time.Time {
	if e.clock != nil {
		return e.clock()
	}
	return time.Unix(0, e.virtual.Load()).UTC()
}

// Virtual says whether the clock is one that only Advance moves.
func (e *Engine) Virtual() bool { return e.clock == nil }

// Next returns when Advance has something to do next; false if nothing is pending.
func (e *Engine) Next() (time.Time, bool) {
	e.lock()
	defer e.unlock()
	return e.timed.Next()
}

// Advance runs everything that is due up to now, in the kernel's order and each at its own time, and leaves a virtual
// clock at now. A virtual clock never goes back.
func (e *Engine) Advance(now time.Time) {
	e.Announce(now)
	e.Proceed(now)
}

// Proceed is [Engine.Advance] in parts, without the event: [Engine.Announce] has told of the whole move.
func (e *Engine) Proceed(now time.Time) {
	for {
		e.lock()
		due, ok := e.timed.Next()
		if !ok || due.After(now) {
			e.setVirtual(now)
			e.unlock()
			return
		}
		e.setVirtual(due)
		e.timed.Age(due, false)
		e.unlock() // between two steps, so that packets set free by one are driven at its time
	}
}

// Wake is signalled when Next may have become earlier than it was.
func (e *Engine) Wake() <-chan struct{} { return e.wake }

// planWake signals Wake. It needs e.mu held.
func (e *Engine) planWake() {
	next, ok := e.timed.Next()
	if ok && (e.next.IsZero() || next.Before(e.next)) {
		select {
		case e.wake <- struct{}{}:
		default:
		}
	}
	if e.next = next; !ok {
		e.next = time.Time{}
	}
}

// MoveClock sets a virtual clock without running what is due, and Age runs one pass at the time the clock shows. They
// are for tests: of several engines whose clocks must show the same before anything happens on one of them, and for
// recordings of kernels whose clock and ageing were moved apart.
func (e *Engine) MoveClock(now time.Time) {
	e.lock()
	defer e.unlock()
	e.setVirtual(now)
}

// Age runs one ageing pass now; see [Engine.MoveClock].
func (e *Engine) Age() {
	e.lock()
	defer e.unlock()
	e.timed.Age(e.Now(), true)
}

func (e *Engine) setVirtual(t time.Time) {
	if n := t.UnixNano(); e.clock == nil && n > e.virtual.Load() {
		e.virtual.Store(n)
	}
}
