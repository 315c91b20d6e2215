package ipseckey

import (
	"fmt"
	"math"
	"time"
)

// now is the clock in seconds since 1970.
func (s *session) now() int64 {
	if s.Now == nil {
		return 0
	}
	return s.Now().Unix()
}

// maxTime is the last second of the last year that fits the original's broken-down time.
const maxTime = 67768036191676799

// hasDate tells whether a time has a year that fits.
func hasDate(seconds uint64) bool { return int64(seconds) <= maxTime && int64(seconds) >= -maxTime }

// clockTime is a time as %c prints it in the C locale.
func (s *session) clockTime(seconds uint64) string {
	loc := s.Location
	if loc == nil {
		loc = time.UTC
	}
	if !hasDate(seconds) {
		return fmt.Sprintf("<time %d>", seconds)
	}
	return time.Unix(int64(seconds), 0).In(loc).Format("Mon Jan _2 15:04:05 2006")
}

// byteText is the readable form of a number of bytes, with a blank behind it, or nothing.
func byteText(n uint64) string {
	if n <= 1024 {
		return ""
	}
	const units = "KMGTPE"
	unit, div := 0, uint64(1024)
	for n/div >= 1024 {
		unit++
		div *= 1024
	}
	return fmt.Sprintf("(%.2f %cB) ", float64(n)/float64(div), units[unit])
}

// secondText is the readable form of a number of seconds in brackets, or nothing.
func (s *session) secondText(n uint64) string {
	if s.keeps(quirkSeconds32) {
		n = uint64(uint32(n))
	}
	if n <= 60 {
		return ""
	}
	unit, div := "minute", 60.0
	switch {
	case n >= 86400:
		unit, div = "day", 86400
	case n >= 3600:
		unit, div = "hour", 3600
	}
	q := float64(n) / div
	if q >= 2 {
		unit += "s"
	}
	return fmt.Sprintf("(%.2f %s)", q, unit)
}

// time prints a line that ends in a time, and with -v the time as a number.
func (l *lister) time(tag, text string, t uint64, end string) {
	if !hasDate(t) && l.s.keeps(quirkCrash) {
		l.crashed = true
	}
	l.printf("%s%s%s%s\n", tag, text, l.s.clockTime(t), end)
	if l.s.verbose {
		l.printf("%s\t(raw time value %d)\n", tag, t)
	}
}

// limits of a lifetime extension
type lifetimeView struct {
	alloc           uint32
	bytes, add, use uint64
}

func (l *lister) lifetimeAt(off int) *lifetimeView {
	if off == 0 {
		return nil
	}
	return &lifetimeView{l.u32(off + 4), l.u64(off + 8), l.u64(off + 16), l.u64(off + 24)}
}

// lifetimes prints the lifetimes of the message, whatever their order in it.
func (l *lister) lifetimes() {
	current, hard, soft, idle := l.lifetimeAt(l.current), l.lifetimeAt(l.hard), l.lifetimeAt(l.soft),
		l.lifetimeAt(l.idle)
	if current == nil && hard == nil && soft == nil && idle == nil {
		return
	}
	l.printf(" LT: Lifetime information\n")
	if c := current; c != nil {
		l.printf("CLT: Current lifetime information:\n")
		l.printf("CLT: %d bytes %sprotected, %d allocations used.\n", c.bytes, byteText(c.bytes), c.alloc)
		l.time("CLT: ", "SA added at time: ", c.add, "")
		if c.use != 0 {
			l.time("CLT: ", "SA first used at time ", c.use, "")
		}
		l.time("CLT: ", "Time now is ", uint64(l.s.now()), "")
	}
	l.limit("SLT: ", "Soft", soft, current)
	l.limit("HLT: ", "Hard", hard, current)
	if idle != nil {
		l.printf("ILT: Idle lifetime information:\n")
		l.seconds("ILT: ", idle)
	}
}

// seconds prints the two limits in seconds.
func (l *lister) seconds(tag string, v *lifetimeView) {
	for _, f := range []struct {
		n    uint64
		what string
	}{{v.add, "add"}, {v.use, "use"}} {
		text := l.s.secondText(f.n)
		if text != "" {
			text += " "
		}
		l.printf("%s%d seconds %sof post-%s lifetime.\n", tag, f.n, text, f.what)
	}
}

func (l *lister) limit(tag, kind string, v, current *lifetimeView) {
	if v == nil {
		return
	}
	l.printf("%s%s lifetime information:\n", tag, kind)
	l.printf("%s%d bytes %sof lifetime, %d allocations.\n", tag, v.bytes, byteText(v.bytes), v.alloc)
	l.seconds(tag, v)
	if current == nil {
		return
	}
	if v.bytes != 0 {
		left := uint64(0)
		if v.bytes > current.bytes {
			left = v.bytes - current.bytes
		}
		l.printf("%s%d bytes %smore can be protected.\n", tag, left, byteText(left))
	}
	if v.add == 0 && (v.use == 0 || current.use == 0) {
		return
	}
	// Like the original this is signed arithmetic that may wrap around.
	now := l.s.now()
	left := int64(math.MaxInt64)
	if v.add != 0 {
		left = int64(current.add) + int64(v.add) - now
	}
	if v.use != 0 && current.use != 0 {
		left = min(left, int64(current.use)+int64(v.use)-now)
	}
	if left >= 0 {
		text := l.s.secondText(uint64(left))
		if text != "" {
			text = " " + text
		}
		l.printf("%s%s expiration occurs in %d seconds%s\n", tag, kind, left, text)
	} else {
		l.printf("%s%s expiration occurred\n", tag, kind)
	}
	l.time(tag, "Time of expiration: ", uint64(now+left), ".")
}
