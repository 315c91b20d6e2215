package openbsd

import "time"

// tick is the step of the original's timers: one that is set for some time fires a tick after it.
const tick = 10 * time.Millisecond

// seconds is after which time a timer of so many seconds fires.
func seconds(n int64) time.Duration { return time.Duration(n)*time.Second + tick }

// Next implements [engine.Timed].
func (k *Kernel) Next() (time.Time, bool) { return k.timers.Next() }

// Age implements [engine.Timed]. There are no passes here that could be forced.
func (k *Kernel) Age(now time.Time, _ bool) { k.timers.Run(now) }
