package conform

import (
	"bytes"
	"slices"

	"github.com/pfkeyd/pfkeyd/wire"
)

// marker finds the bytes of recorded messages that another kernel, or the same on another day, answers otherwise. Several
// recordings of a conversation show them by themselves; one alone has to be known from the format.
type marker struct {
	f      *family
	ranges map[asker]wire.SPIRange // of the GETSPIs until now
	sent   [][]byte                // everything until now, as it was sent
	picked map[wire.SPI]bool       // SPIs that the kernel chose
	seqs   map[wire.Seq]bool       // numbers of its ACQUIREs
	echoed map[wire.Seq]bool       // of these, those that a message was patched with
	reqids map[uint32]bool         // that it chose
	sends  bool                    // a program has sent a packet
}

func newMarker(f *family) *marker {
	return &marker{f: f, ranges: map[asker]wire.SPIRange{}, picked: map[wire.SPI]bool{}, seqs: map[wire.Seq]bool{}, echoed: map[wire.Seq]bool{},
		reqids: map[uint32]bool{}}
}

// step marks what a step brought. Steps come in their order.
func (k *marker) step(st *Step) {
	if o, ok := k.f.op(st.Op); ok && o.message {
		k.learn(st)
	}
	k.sends = k.sends || st.Op == "traffic"
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
	const seq = 8 // its offset in the header
	if slices.ContainsFunc(st.Patch, func(p Patch) bool { return p.At <= seq && p.At+p.Len >= seq+4 }) && k.seqs[h.Seq] {
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
	raw := slices.ContainsFunc(k.sent, func(b []byte) bool { return bytes.Equal(b, msg) }) // a copy for those who are promiscuous
	linux := k.f.kernel == "linux"
	switch {
	case linux && h.Type == wire.MsgAcquire && h.PID == 0 && h.Errno == 0 && h.Seq != 0 && !raw:
		k.seqs[h.Seq] = true
		mark(6, 2, "msg_reserved")
		mark(8, 4, "acqseq")
	case k.echoed[h.Seq]:
		mark(8, 4, "acqseq")
	}
	if linux && k.sends && !raw && h.Errno == 0 && slices.Contains(counted, h.Type) && len(msg) > wire.HeaderLen {
		mark(6, 2, "references")
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
			if h.Type == wire.MsgGetSPI && h.Errno == 0 && asked && r.Min != r.Max && !raw {
				k.picked[sa.SPI] = true
			}
			if k.picked[sa.SPI] {
				mark(x.Offset+4, 4, "spi")
			}
		case wire.ExtLifetimeCurrent:
			if life, err := d.ParseLifetime(x.Raw); err == nil && !raw {
				// The layout is the same in all dialects: header, allocations, bytes, addtime, usetime.
				if life.AddTime != 0 {
					mark(x.Offset+16, 8, "addtime")
				}
				if life.UseTime != 0 {
					mark(x.Offset+24, 8, "usetime")
				}
			}
		case wire.LinuxExtXPolicy:
			if linux && !raw {
				k.policy(x, h.Type, mark)
			}
		case wire.LinuxExtXSA2:
			if v, err := d.ParseSA2(x.Raw); linux && err == nil && k.reqids[v.ReqID] {
				mark(x.Offset+12, 4, "reqid")
			}
		}
	}
	return spans
}

// counted are the messages that say how many references a policy has, in their reserved field.
var counted = []wire.MsgType{wire.LinuxMsgXSPDAdd, wire.LinuxMsgXSPDUpdate, wire.LinuxMsgXSPDDelete, wire.LinuxMsgXSPDDelete2, wire.LinuxMsgXSPDGet,
	wire.LinuxMsgXSPDDump}

// policy marks the reqids that the kernel chose. MIGRATE only repeats those that it was given.
func (k *marker) policy(x wire.Ext, t wire.MsgType, mark func(int, int, string)) {
	const (
		fixed = 16     // of the extension, before the requests
		reqid = 8      // its offset in a request
		named = 0x3fff // the highest reqid that a program may name
	)
	o := k.f.dialect.Order
	for at := fixed; at+fixed <= len(x.Raw); {
		id := o.Uint32(x.Raw[at+reqid:])
		if id > named && t != wire.LinuxMsgXMigrate {
			k.reqids[id] = true
		}
		if k.reqids[id] {
			mark(x.Offset+at+reqid, 4, "reqid")
		}
		n := int(o.Uint16(x.Raw[at:]))
		if n < fixed {
			break
		}
		at += n
	}
}
