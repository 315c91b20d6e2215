package conform

import (
	"bytes"
	"slices"

	"github.com/pfkeyd/pfkeyd/wire"
)

// marker finds the bytes of recorded messages that another kernel, or the same on another day, answers otherwise.
// Several recordings of a conversation show them by themselves; one alone has to be known from the format.
type marker struct {
	f      *family
	ranges map[asker]wire.SPIRange // of the GETSPIs until now
	sent   [][]byte                // everything until now, as it was sent
	picked map[wire.SPI]bool       // SPIs that the kernel chose
	seqs   map[wire.Seq]bool       // numbers of its ACQUIREs
	echoed map[wire.Seq]bool       // of these, those that a message was patched with
	reqids map[uint32]bool         // that it chose
	sends  bool                    // a program has sent a packet
	ports  bool                    // from a port that the kernel chose
	named  []uint16                // ports that it did not choose
}

// marking marks n bytes at an offset of a message.
type marking func(offset, n int, name string)

const seqAt = 8 // in the header

func newMarker(f *family) *marker {
	return &marker{f: f, ranges: map[asker]wire.SPIRange{}, picked: map[wire.SPI]bool{}, seqs: map[wire.Seq]bool{},
		echoed: map[wire.Seq]bool{},
		reqids: map[uint32]bool{}}
}

// step marks what a step brought. Steps come in their order.
func (k *marker) step(st *Step) {
	if o, ok := k.f.op(st.Op); ok && o.message {
		k.learn(st)
	}
	k.sends = k.sends || mostRoutes(&st.Action) > 0
	k.ports = k.ports || st.Op == "traffic" && st.SPort == 0 && (st.Proto == tcp || st.Proto == udp)
	k.named = append(k.named, st.SPort, st.DPort)
	for i := range st.Rx {
		st.Rx[i].Vol = k.message(st.Rx[i].Hex)
	}
}

func (k *marker) learn(st *Step) {
	msg := []byte(st.Hex)
	if st.Sent != nil {
		msg = st.Sent
	}
	k.sent = append(k.sent, msg)
	h, err := k.f.dialect.Header(msg)
	if err != nil {
		return
	}
	if slices.ContainsFunc(st.Patch, func(p Patch) bool { return p.At <= seqAt && p.At+p.Len >= seqAt+4 }) &&
		k.seqs[h.Seq] {
		k.echoed[h.Seq] = true
	}
	if h.Type != wire.MsgGetSPI {
		return
	}
	r := k.f.spis
	if x, ok := k.f.dialect.Find(msg, wire.ExtSPIRange); ok {
		if r, err = k.f.dialect.ParseSPIRange(x.Raw); err != nil {
			return
		}
	}
	k.ranges[asker{h.Seq, h.PID}] = r
}

func (k *marker) message(msg []byte) (spans []Span) {
	d := k.f.dialect
	h, err := d.Header(msg)
	if err != nil {
		return nil
	}
	mark := func(offset, n int, name string) {
		if offset+n <= len(msg) {
			spans = append(spans, Span{offset, n, name})
		}
	}
	// for those who are promiscuous
	copied := slices.ContainsFunc(k.sent, func(b []byte) bool { return bytes.Equal(b, msg) })
	acquire := !copied && k.f.markHeader != nil && k.f.markHeader(k, h, len(msg), mark)
	if acquire {
		k.seqs[h.Seq] = true
	}
	if acquire || k.echoed[h.Seq] && (copied || !slices.Contains(k.f.countdown, h.Type)) {
		mark(seqAt, 4, "acqseq")
	}
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
			if !copied && (h.Type == wire.MsgGetSPI && h.Errno == 0 && asked && r.Min != r.Max ||
				h.Type == wire.MsgDump && k.unheard(sa)) {
				k.picked[sa.SPI] = true
			}
			if k.picked[sa.SPI] {
				mark(x.Offset+4, 4, "spi")
			}
		case wire.ExtLifetimeCurrent:
			if life, err := d.ParseLifetime(x.Raw); err == nil && !copied {
				// The layout is the same in all dialects: header, allocations, bytes, addtime, usetime.
				if life.AddTime != 0 {
					mark(x.Offset+16, 8, "addtime")
				}
				if life.UseTime != 0 {
					mark(x.Offset+24, 8, "usetime")
				}
			}
		}
		if k.f.markExt != nil {
			k.f.markExt(k, h, x, copied, mark)
		}
	}
	return spans
}

// unheard says whether a DUMP may be the first to tell of an SPI that the kernel chose: the answer to GETSPI found no
// room.
func (k *marker) unheard(sa wire.SA) bool {
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
