package conform

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Marker marks what is volatile in the messages of a kernel, beside SPIs and times. Several recordings of a
// conversation show such bytes by themselves; one alone has to be known from the format.
type Marker interface {
	Step(st *Step) // sees every step before its messages are marked
	Message(m *Marked)
}

// Marked is a message that is being marked.
type Marked struct {
	Dialect *wire.Dialect
	Header  wire.Header
	Bytes   []byte
	Copied  bool // it is what a program sent, for those who are promiscuous

	spans []Span
}

// Mark marks n bytes at an offset, if the message has them.
func (m *Marked) Mark(offset, n int, name string) {
	if offset+n <= len(m.Bytes) {
		m.spans = append(m.spans, Span{offset, n, name})
	}
}

// marks finds the bytes of recorded messages that another kernel, or the same on another day, answers otherwise.
type marks struct {
	k      *Kernel
	own    Marker                  // nil: there are no others
	ranges map[asker]wire.SPIRange // of the GETSPIs until now
	sent   [][]byte                // everything until now, as it was sent
	picked map[wire.SPI]bool       // SPIs that the kernel chose
}

func newMarks(k *Kernel) *marks {
	m := &marks{k: k, ranges: map[asker]wire.SPIRange{}, picked: map[wire.SPI]bool{}}
	if k.NewMarker != nil {
		m.own = k.NewMarker()
	}
	return m
}

// step marks what a step brought. Steps come in their order.
func (k *marks) step(st *Step) {
	if msg := st.sent(); msg != nil {
		k.learn(msg)
	}
	if k.own != nil {
		k.own.Step(st)
	}
	for i := range st.Rx {
		st.Rx[i].Vol = k.message(st.Rx[i].Hex)
	}
}

// sent is the message that a step sent; nil if it sent none.
func (st *Step) sent() []byte {
	m := st.Message()
	if m != nil && st.Sent == nil {
		return m.Hex
	}
	return st.Sent
}

func (k *marks) learn(msg []byte) {
	k.sent = append(k.sent, msg)
	if a, r, ok := k.k.asked(msg); ok {
		k.ranges[a] = r
	}
}

func (k *marks) message(msg []byte) []Span {
	d := k.k.Dialect
	h, err := d.Header(msg)
	if err != nil {
		return nil
	}
	m := &Marked{Dialect: d, Header: h, Bytes: msg,
		Copied: slices.ContainsFunc(k.sent, func(b []byte) bool { return bytes.Equal(b, msg) })}
	r, asked := k.ranges[asker{h.Seq, h.PID}]
	for x, err := range d.Walk(msg) {
		if err != nil {
			break
		}
		switch x.Type {
		case wire.ExtSA:
			sa, err := d.ParseSA(x.Raw)
			if err != nil {
				continue
			}
			if !m.Copied && (h.Type == wire.MsgGetSPI && h.Errno == 0 && asked && r.Min != r.Max ||
				h.Type == wire.MsgDump && k.unheard(sa)) {
				k.picked[sa.SPI] = true
			}
			if k.picked[sa.SPI] {
				m.Mark(x.Offset+4, 4, "spi")
			}
		case wire.ExtLifetimeCurrent:
			if life, err := d.ParseLifetime(x.Raw); err == nil && !m.Copied {
				// The layout is the same in all dialects: header, allocations, bytes, addtime, usetime.
				if life.AddTime != 0 {
					m.Mark(x.Offset+16, 8, "addtime")
				}
				if life.UseTime != 0 {
					m.Mark(x.Offset+24, 8, "usetime")
				}
			}
		}
	}
	if k.own != nil {
		k.own.Message(m)
	}
	slices.SortStableFunc(m.spans, func(a, b Span) int { return cmp.Compare(a.Offset, b.Offset) })
	return m.spans
}

// unheard says whether a DUMP may be the first to tell of an SPI that the kernel chose: the answer to GETSPI found no
// room.
func (k *marks) unheard(sa wire.SA) bool {
	if sa.State != wire.StateLarval || sa.SPI == 0 {
		return false
	}
	for _, r := range k.ranges {
		if r.Min < r.Max && r.Min <= sa.SPI && sa.SPI <= r.Max {
			return true
		}
	}
	return false
}
