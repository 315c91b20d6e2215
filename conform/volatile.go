package conform

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/pfkeyd/pfkeyd/wire"
)

// whole is a message or packet with one of its volatile spans.
type whole struct {
	want, got []byte
	Span
}

func (w whole) wanted() []byte { return w.want[w.Offset : w.Offset+w.Len] }
func (w whole) gotten() []byte { return w.got[w.Offset : w.Offset+w.Len] }

// rule says what volatile bytes have to obey. judge returns what is wrong, in words.
type rule struct {
	size  int // of the span in bytes, 0: any
	judge func(*judge, whole) string
}

var rules map[string]rule

func init() { // not a literal: the rules look into each other
	rules = map[string]rule{
		"addtime":      {8, (*judge).time},
		"usetime":      {8, (*judge).time},
		"spi":          {4, (*judge).spi},
		"fuzz":         {8, (*judge).fuzz},
		"random":       {0, (*judge).sealed},
		"undefined":    {0, anything},
		"acqseq":       {4, (*judge).counter},
		"reqid":        {4, (*judge).reqid},
		"port":         {2, anything},
		"msg_reserved": {2, anything},
		"policy":       {4, (*judge).policy},
		"references":   {2, (*judge).references},
	}
}

func anything(*judge, whole) string { return "" }

// pairing holds which of our values stands for a recorded one, and back.
type pairing struct{ ours, recorded map[string]string }

func newPairing() pairing { return pairing{map[string]string{}, map[string]string{}} }

// pair says what is wrong with got standing for want, if anything is.
func (p pairing) pair(what, want, got string) string {
	if old, ok := p.ours[want]; ok && old != got {
		return fmt.Sprintf("recorded %s %x was %x before and is %x now", what, want, old, got)
	}
	if old, ok := p.recorded[got]; ok && old != want {
		return fmt.Sprintf("our %s %x stands for the recorded %x and for %x", what, got, old, want)
	}
	p.ours[want], p.recorded[got] = got, want
	return ""
}

// counter: a number that the whole machine counts: not zero, and always the same for a recorded one.
func (j *judge) counter(w whole) string {
	if j.d.Order.Uint32(w.gotten()) == 0 {
		return "the number is zero"
	}
	return j.counters.pair("number", string(w.wanted()), string(w.gotten()))
}

// reqid: one that the kernel picked, above those that programs may name.
func (j *judge) reqid(w whole) string {
	if v := j.d.Order.Uint32(w.gotten()); v <= namedReqID {
		return fmt.Sprintf("reqid %#x, want one above %#x", v, namedReqID)
	}
	return j.reqids.pair("reqid", string(w.wanted()), string(w.gotten()))
}

// policy: the number of a policy, whose lowest bits say its direction.
func (j *judge) policy(w whole) string {
	want, got := j.d.Order.Uint32(w.wanted()), j.d.Order.Uint32(w.gotten())
	if got == 0 || want%8 != got%8 {
		return fmt.Sprintf("policy %d stands for another direction than %d", got, want)
	}
	return j.policies.pair("policy", string(w.wanted()), string(w.gotten()))
}

// references: how many hold a policy. A route that a packet took holds it until some time after the program's socket is
// closed, when nobody in the kernel can be looking at it any more; so each route taken until now counts or does not.
func (j *judge) references(w whole) string {
	want, got := int(j.d.Order.Uint16(w.wanted())), int(j.d.Order.Uint16(w.gotten()))
	if off := got - want; got == 0 || off > j.routes || -off > j.routes {
		return fmt.Sprintf("%d references instead of %d, with %d routes taken", got, want, j.routes)
	}
	return ""
}

// clockRule holds how far our clock is ahead of the recorded one, in seconds: the least and the most seen.
type clockRule struct {
	known       bool
	least, most int64
}

// time: not zero, and the same distance from the recorded clock throughout a scenario, within the slack of the family.
func (j *judge) time(w whole) string {
	want, got := int64(j.d.Order.Uint64(w.wanted())), int64(j.d.Order.Uint64(w.gotten()))
	if got == 0 {
		return "the time is zero"
	}
	ahead := got - want
	c := j.clock
	if !c.known {
		c = clockRule{true, ahead, ahead}
	}
	c.least, c.most = min(c.least, ahead), max(c.most, ahead)
	if c.most-c.least > j.f.slack {
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
func (j *judge) spi(w whole) string {
	if what := j.spis.pair("SPI", string(w.wanted()), string(w.gotten())); what != "" {
		return what
	}
	h, err := j.d.Header(w.want)
	if err != nil || h.Type != wire.MsgGetSPI {
		return ""
	}
	r, ok := j.ranges[asker{h.Seq, h.PID}]
	if !ok {
		return ""
	}
	if v := spiOf(w.gotten()); v < r.Min || v > r.Max {
		return fmt.Sprintf("SPI %v lies outside of the requested range %v to %v", v, r.Min, r.Max)
	}
	return ""
}

// asker tells requests apart.
type asker struct {
	seq wire.Seq
	pid uint32
}

// ask remembers the range of a GETSPI.
func (j *judge) ask(msg []byte) {
	h, err := j.d.Header(msg)
	if err != nil || h.Type != wire.MsgGetSPI {
		return
	}
	r := j.f.spis
	if x, ok := j.d.Find(msg, wire.ExtSPIRange); ok {
		if r, err = j.d.ParseSPIRange(x.Raw); err != nil {
			return
		}
	}
	if r.Max != 0 {
		j.ranges[asker{h.Seq, h.PID}] = r
	}
}

func spiOf(b []byte) wire.SPI {
	return wire.SPI(b[0])<<24 | wire.SPI(b[1])<<16 | wire.SPI(b[2])<<8 | wire.SPI(b[3])
}

// limits are what is known of the soft lifetime of one SA: values that it may have been shortened from, since one was
// last seen.
type limits []limit

// limit is a soft lifetime in seconds, as the recording has it and as we have it, and how often it may have been
// shortened since.
type limit struct {
	want, got uint64
	most      uint64
}

// The kernel shortens a soft lifetime by so many seconds, at random.
const fuzzLeast, fuzzMost = 8, 23

// shortened says whether a limit may have become another by being shortened n times.
func shortened(from, to, n uint64) bool { return from-to >= n*fuzzLeast && from-to <= n*fuzzMost }

// explains says whether there is one count of shortenings by which both values, the recorded one and ours, come from l.
func (l limit) explains(want, got uint64) bool {
	for n := range l.most + 1 {
		if shortened(l.want, want, n) && shortened(l.got, got, n) {
			return true
		}
	}
	return false
}

// state notes that a message may have set the limit, shortened if need be, and may have left the one before and
// shortened that: an UPDATE leaves what it does not state, and what would end after the hard limit of that moment.
func (ls limits) state(stated, shortened uint64) limits {
	for i := range ls {
		ls[i].most += shortened
	}
	if stated != 0 {
		ls = append(ls, limit{stated, stated, shortened})
	}
	return ls
}

// fuzz: a limit that was stated, or seen before, minus 8 to 23 seconds for each time that the kernel may have shortened
// it; recorded and ours are explained by the same.
func (j *judge) fuzz(w whole) string {
	want, got := j.d.Order.Uint64(w.wanted()), j.d.Order.Uint64(w.gotten())
	id := j.said(w.want)
	ls := j.limits[id]
	if len(ls) == 0 {
		return "no ADD or UPDATE stated the lifetime of this SA"
	}
	if !slices.ContainsFunc(ls, func(l limit) bool { return l.explains(want, got) }) {
		last := ls[len(ls)-1]
		if len(ls) == 1 && last.most == 0 && last.want == want {
			return fmt.Sprintf("the limit was %d before and is %d now; recorded: %d both times", last.got, got, want)
		}
		return fmt.Sprintf("limit %d; recorded %d, stated %d: want %d to %d seconds less than stated", got, want,
			last.want, fuzzLeast, fuzzMost)
	}
	j.limits[id] = limits{{want: want, got: got}}
	return ""
}

// said names the SA that a message is about: SA type, SPI, destination. Empty if it is about none.
func (j *judge) said(msg []byte) string {
	h, err := j.d.Header(msg)
	if err != nil {
		return ""
	}
	x, ok := j.d.Find(msg, wire.ExtSA)
	if !ok || len(x.Raw) < 8 {
		return ""
	}
	var dst netip.Addr
	if x, ok := j.d.Find(msg, wire.ExtAddressDst); ok {
		if a, err := j.d.ParseAddress(x.Raw); err == nil {
			dst = a.Addr
		}
	}
	return saName(h.SAType, spiOf(x.Raw[4:8]), dst)
}

func saName(t wire.SAType, spi wire.SPI, dst netip.Addr) string {
	return fmt.Sprintf("%d %x %v", t, uint32(spi), dst)
}

// learn remembers what an ADD or UPDATE says of an SA: its soft lifetime, its pair and its keys. recorded and ours are
// the same message, apart from SPIs.
func (j *judge) learn(recorded, ours []byte) {
	h, err := j.d.Header(recorded)
	if err != nil {
		return
	}
	updatesPair := j.f.updatePair != 0 && h.Type == j.f.updatePair
	if h.Type != wire.MsgAdd && h.Type != wire.MsgUpdate && !updatesPair {
		return
	}
	id := j.said(recorded)
	j.learnPair(id, recorded)
	if x, ok := j.d.Find(recorded, wire.ExtLifetimeSoft); ok {
		if life, err := j.d.ParseLifetime(x.Raw); err == nil {
			j.limits[id] = j.limits[id].state(life.AddTime, 1)
			if pair := j.pairs[id]; updatesPair && pair != "" {
				j.limits[pair] = j.limits[pair].state(life.AddTime, 0) // the pair's is not shortened
			}
		}
	}
	if !updatesPair {
		j.golden.learn(j.f, recorded)
		j.ours.learn(j.f, ours)
	}
}

// learnPair remembers which SA a message pairs with which: the one with the SPI of X_PAIR, from the other's destination
// to its source.
func (j *judge) learnPair(id string, msg []byte) {
	src, ok := j.d.Find(msg, wire.ExtAddressSrc)
	if j.f.pair == nil || !ok {
		return
	}
	spi, ok := j.f.pair(j.d, msg)
	if !ok {
		return
	}
	h, _ := j.d.Header(msg) // its caller has read it
	a, err := j.d.ParseAddress(src.Raw)
	if err != nil {
		return
	}
	pair := saName(h.SAType, spi, a.Addr)
	j.pairs[id], j.pairs[pair] = pair, id
}
