package conform

import (
	"fmt"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Whole is a message or packet with one of its volatile spans.
type Whole struct {
	Want, Got []byte // as recorded and ours, of the same length
	Span
}

// Wanted is the bytes of the span as they were recorded.
func (w Whole) Wanted() []byte { return w.Want[w.Offset : w.Offset+w.Len] }

// Gotten is our bytes of the span.
func (w Whole) Gotten() []byte { return w.Got[w.Offset : w.Offset+w.Len] }

// Rule says what volatile bytes have to obey. Judge and Together return what is wrong, in words.
type Rule struct {
	Size  int // of the span in bytes, 0: any
	Judge func(*Judge, Whole) string
	// Together judges all spans of what a socket received in one step; nil: each is judged for itself.
	Together func(*Judge, []Whole) string
}

// Memory is what the rules of a kernel remember of a scenario.
type Memory interface {
	// Step sees every step before it is judged. sent is its message as recorded, ours is the same apart from SPIs; nil
	// if it sends none.
	Step(j *Judge, st *Step, sent, ours []byte)
}

// The rules for spans that the recordings of several kernels have.
var (
	TimeRule = Rule{Size: 8, Judge: (*Judge).time}
	SPIRule  = Rule{Size: 4, Judge: (*Judge).spi}
)

// Anything is the rule of bytes that the original never wrote.
func Anything(*Judge, Whole) string { return "" }

// pairing holds which of our values stands for a recorded one, and back.
type pairing struct{ ours, recorded map[string]string }

// Pair says what is wrong with the got value of a kind standing for the wanted one, if anything is: in a scenario one
// recorded value is always the same value of ours, in both directions.
func (j *Judge) Pair(kind string, w Whole) string {
	p, ok := j.pairings[kind]
	if !ok {
		p = pairing{map[string]string{}, map[string]string{}}
		j.pairings[kind] = p
	}
	want, got := string(w.Wanted()), string(w.Gotten())
	if old, ok := p.ours[want]; ok && old != got {
		return fmt.Sprintf("recorded %s %x was %x before and is %x now", kind, want, old, got)
	}
	if old, ok := p.recorded[got]; ok && old != want {
		return fmt.Sprintf("our %s %x stands for the recorded %x and for %x", kind, got, old, want)
	}
	p.ours[want], p.recorded[got] = got, want
	return ""
}

// clockRule holds how far our clock is ahead of the recorded one, in seconds: the least and the most seen.
type clockRule struct {
	known       bool
	least, most int64
}

// time: not zero, and the same distance from the recorded clock throughout a scenario, within the slack of the kernel.
func (j *Judge) time(w Whole) string {
	want, got := int64(j.Dialect.Order.Uint64(w.Wanted())), int64(j.Dialect.Order.Uint64(w.Gotten()))
	if got == 0 {
		return "the time is zero"
	}
	ahead := got - want
	c := j.clock
	if !c.known {
		c = clockRule{true, ahead, ahead}
	}
	c.least, c.most = min(c.least, ahead), max(c.most, ahead)
	if c.most-c.least > j.k.Slack {
		off := ahead - j.clock.least
		if ahead < j.clock.least {
			off = ahead - j.clock.most
		}
		return fmt.Sprintf("the time is %+d s off, measured by others in this scenario", off)
	}
	j.clock = c
	return ""
}

// spi: in the requested range, and one recorded value is always the same value of ours, in both directions.
func (j *Judge) spi(w Whole) string {
	if what := j.Pair("SPI", w); what != "" {
		return what
	}
	h, err := j.Dialect.Header(w.Want)
	if err != nil || h.Type != wire.MsgGetSPI {
		return ""
	}
	r, ok := j.ranges[asker{h.Seq, h.PID}]
	if !ok {
		return ""
	}
	v := SPIOf(w.Gotten())
	if inside := v >= r.Min && v <= r.Max; r.Min <= r.Max && !inside || r.Min > r.Max && v < r.Min && v > r.Max {
		return fmt.Sprintf("SPI %v lies outside of the requested range %v to %v", v, r.Min, r.Max)
	}
	return ""
}

// asker tells requests apart.
type asker struct {
	seq wire.Seq
	pid uint32
}

// asked says who asks for an SPI, and from which range, if a message is a GETSPI. A range whose ends are swapped goes
// around.
func (k *Kernel) asked(msg []byte) (a asker, r wire.SPIRange, ok bool) {
	h, err := k.Dialect.Header(msg)
	if err != nil || h.Type != wire.MsgGetSPI {
		return a, r, false
	}
	r = k.SPIs
	if x, ok := k.Dialect.Find(msg, wire.ExtSPIRange); ok {
		if r, err = k.Dialect.ParseSPIRange(x.Raw); err != nil {
			return a, r, false
		}
		if k.Requested != nil {
			r = k.Requested(h.SAType, r)
		}
	}
	return asker{h.Seq, h.PID}, r, true
}

// SPIOf reads an SPI, which is in network byte order.
func SPIOf(b []byte) wire.SPI {
	return wire.SPI(b[0])<<24 | wire.SPI(b[1])<<16 | wire.SPI(b[2])<<8 | wire.SPI(b[3])
}
