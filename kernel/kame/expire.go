package kame

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Time is counted in seconds since the machine was booted, as the originals do. One pass a second looks at everything
// that ages (key_timehandler), and everything in it is due when strictly more time has passed than its limit says.

// An ageing is one part of a pass: policies, SAs, records of ACQUIREs. The control lock is held.
type ageing interface {
	// next is the uptime at which a pass has something to do; false: never.
	next() (uptime int64, ok bool)
	// age does it.
	age(uptime int64)
}

// Uptime is how many seconds the machine runs.
func (k *Kernel) Uptime() int64 { return k.e.Now().Unix() - k.boot }

// Wall is an uptime as messages show it: the time of the wall clock.
func (k *Kernel) Wall(uptime int64) uint64 { return uint64(k.boot + uptime + k.wallSet) }

// MoveWall has somebody set the wall clock by so many seconds, while the uptime goes on.
func (k *Kernel) MoveWall(by int64) { k.e.Do(func() { k.wallSet += by }) }

// Next implements [engine.Timed].
func (k *Kernel) Next() (t time.Time, ok bool) {
	k.passed = min(k.passed, k.Uptime()) // the clock may have been set back: no pass is one of the future
	for _, a := range k.ageings {
		if up, some := a.next(); some {
			if at := time.Unix(k.boot+max(up, k.passed+1), 0).UTC(); !ok || at.Before(t) {
				t, ok = at, true
			}
		}
	}
	return t, ok
}

// Age implements [engine.Timed].
func (k *Kernel) Age(time.Time, bool) { k.Pass() }

// Pass looks at everything that ages, now.
func (k *Kernel) Pass() {
	k.passed = k.Uptime()
	for _, a := range k.ageings {
		a.age(k.passed)
	}
}

// saAgeing is the part of a pass about SAs.
type saAgeing struct{ *Kernel }

func (k saAgeing) next() (int64, bool) {
	if len(k.flagged) > 0 || len(k.empty) > 0 {
		return k.passed + 1, true
	}
	at, ok := k.timers.Next()
	return at.Unix() - k.boot, ok
}

func (k saAgeing) age(uptime int64) {
	empty := k.empty
	k.empty = nil
	for _, h := range empty {
		h.listed = false
	}
	k.due = slices.AppendSeq(k.due[:0], maps.Keys(k.flagged))
	clear(k.flagged)
	for _, s := range k.due {
		s.flagged.Store(false)
	}
	k.timers.Run(time.Unix(k.boot+uptime, 0))
	k.heir.Expire(k.due, uptime)
	clear(k.due)
	k.dropEmpty(empty)
}

// Deadline is when a pass has to look at an SA.
type Deadline struct {
	At       int64  // uptime; 0: never
	Bytes    uint64 // in the pass after more bytes than these; 0: never
	FirstUse bool   // once more, when it has been used for the first time
}

// Add adds a limit of an age that counts from a moment, 0 for none. In the original one of 2^63 and more is never over.
func (d *Deadline) Add(limit uint64, from int64) {
	if limit != 0 && limit < math.MaxInt64 && (d.At == 0 || from+int64(limit) < d.At-1) {
		d.At = from + int64(limit) + 1
	}
}

// AddBytes adds a limit of bytes, 0 for none.
func (d *Deadline) AddBytes(limit uint64) {
	if limit != 0 && (d.Bytes == 0 || limit < d.Bytes) {
		d.Bytes = limit
	}
}

// Over says whether strictly more time than a limit has passed since a moment; 0 is no limit.
func Over(limit uint64, from, uptime int64) bool {
	return limit != 0 && limit < math.MaxInt64 && uptime-from > int64(limit)
}

// setTimer has passes look at an SA when its heir says.
func (k *Kernel) setTimer(s *SA) {
	d := k.heir.Deadline(s)
	s.Lock()
	s.watch = d
	s.Unlock()
	if d.At == 0 {
		k.timers.Stop(&s.timer)
		return
	}
	if s.timer.Fire == nil {
		s.timer.Fire = func(time.Time) { k.due = append(k.due, s) }
	}
	const most = 200 * 365 * 24 * 3600 // what every clock shows
	k.timers.Set(&s.timer, time.Unix(k.boot+min(d.At, most), 0))
}

// usedLocked counts the bytes of a packet on an SA, whose lock is held, and says whether a pass wants to look at it:
// then the caller gives it to flag once it has released the lock.
func (k *Kernel) usedLocked(s *SA, bytes int) (look bool) {
	s.Packets++
	s.Bytes += uint64(bytes)
	first := s.used == 0
	if first || !k.page.KeepsFirstUse {
		s.used = max(k.Uptime(), 1) // 0 is never, and an engine may start in this second
	}
	return s.watch.Bytes != 0 && s.Bytes > s.watch.Bytes || first && s.watch.FirstUse
}

// TellExpire tells those who are registered that a limit has passed.
func (k *Kernel) TellExpire(s *SA, shows []Show) {
	h := wire.Header{Type: wire.MsgExpire, Seq: wire.Seq(s.Seq)}
	k.Tell(ToRegistered, k.appendShown(make([]byte, 0, 256), s, h, shows))
}

// flag has the next pass look at an SA, because a packet has used it. It is called on the packet's way, without a lock,
// and takes no lock that it would have to wait for.
func (k *Kernel) flag(s *SA) {
	if s.flagged.CompareAndSwap(false, true) {
		k.e.Post(func() {
			if s.State() == sadb.Dead {
				return
			}
			k.flagged[s] = struct{}{}
			k.setTimer(s) // its first use may have set a limit
		})
	}
}
