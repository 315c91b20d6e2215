package illumos

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// memory is what the volatile bytes of a scenario are judged by.
type memory struct {
	limits map[string]limits // by SA, see said
	pairs  map[string]string // of SAs, both ways
	golden keyring           // the SAs as the recording has them
	ours   keyring           // and with our own SPIs
}

func newMemory() conform.Memory {
	return &memory{map[string]limits{}, map[string]string{}, keyring{}, keyring{}}
}

// Step implements [conform.Memory].
func (m *memory) Step(_ *conform.Judge, _ *conform.Step, sent, ours []byte) {
	if sent != nil {
		m.learn(sent, ours)
	}
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
func fuzz(j *conform.Judge, w conform.Whole) string {
	m := j.Memory.(*memory)
	want, got := dialect.Order.Uint64(w.Wanted()), dialect.Order.Uint64(w.Gotten())
	id := said(w.Want)
	ls := m.limits[id]
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
	m.limits[id] = limits{{want: want, got: got}}
	return ""
}

// said names the SA that a message is about: SA type, SPI, destination. Empty if it is about none.
func said(msg []byte) string {
	h, err := dialect.Header(msg)
	if err != nil {
		return ""
	}
	x, ok := dialect.Find(msg, wire.ExtSA)
	if !ok || len(x.Raw) < 8 {
		return ""
	}
	var dst netip.Addr
	if x, ok := dialect.Find(msg, wire.ExtAddressDst); ok {
		if a, err := dialect.ParseAddress(x.Raw); err == nil {
			dst = a.Addr
		}
	}
	return saName(h.SAType, conform.SPIOf(x.Raw[4:8]), dst)
}

func saName(t wire.SAType, spi wire.SPI, dst netip.Addr) string {
	return fmt.Sprintf("%d %x %v", t, uint32(spi), dst)
}

// learn remembers what an ADD or UPDATE says of an SA: its soft lifetime, its pair and its keys. recorded and ours are
// the same message, apart from SPIs.
func (m *memory) learn(recorded, ours []byte) {
	h, err := dialect.Header(recorded)
	if err != nil {
		return
	}
	updatesPair := h.Type == wire.IllumosMsgXUpdatePair
	if h.Type != wire.MsgAdd && h.Type != wire.MsgUpdate && !updatesPair {
		return
	}
	id := said(recorded)
	m.learnPair(id, recorded)
	if x, ok := dialect.Find(recorded, wire.ExtLifetimeSoft); ok {
		if life, err := dialect.ParseLifetime(x.Raw); err == nil {
			m.limits[id] = m.limits[id].state(life.AddTime, 1)
			if pair := m.pairs[id]; updatesPair && pair != "" {
				m.limits[pair] = m.limits[pair].state(life.AddTime, 0) // the pair's is not shortened
			}
		}
	}
	if !updatesPair {
		m.golden.learn(recorded)
		m.ours.learn(ours)
	}
}

// learnPair remembers which SA a message pairs with which: the one with the SPI of X_PAIR, from the other's destination
// to its source.
func (m *memory) learnPair(id string, msg []byte) {
	src, ok := dialect.Find(msg, wire.ExtAddressSrc)
	if !ok {
		return
	}
	x, ok := dialect.Find(msg, wire.IllumosExtXPair)
	if !ok {
		return
	}
	other, err := dialect.ParsePair(x.Raw)
	if err != nil {
		return
	}
	h, _ := dialect.Header(msg) // its caller has read it
	a, err := dialect.ParseAddress(src.Raw)
	if err != nil {
		return
	}
	pair := saName(h.SAType, other.SPI, a.Addr)
	m.pairs[id], m.pairs[pair] = pair, id
}
