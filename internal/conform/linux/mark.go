package linux

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// marker marks the numbers that the whole machine counts, and what packets leave behind.
type marker struct {
	seqs   map[wire.Seq]bool // numbers of the kernel's ACQUIREs
	echoed map[wire.Seq]bool // of these, those that a message was patched with
	reqids map[uint32]bool   // that it chose
	sends  bool              // a program has sent a packet
	ports  bool              // from a port that the kernel chose
	named  []uint16          // ports that it did not choose
}

func newMarker() conform.Marker {
	return &marker{seqs: map[wire.Seq]bool{}, echoed: map[wire.Seq]bool{}, reqids: map[uint32]bool{}}
}

const seqAt = 8 // in the header

// Step implements [conform.Marker].
func (k *marker) Step(st *conform.Step) {
	k.sends = k.sends || mostRoutes(&st.Action) > 0
	switch a := st.Args.(type) {
	case *Traffic:
		k.ports = k.ports || a.SPort == 0 && (a.Proto == tcp || a.Proto == udp)
		k.named = append(k.named, a.SPort, a.DPort)
	case *Datagram:
		k.named = append(k.named, a.SPort, a.DPort)
	case *Encap:
		k.named = append(k.named, a.SPort)
	}
	patches := func(p conform.Patch) bool { return p.At <= seqAt && p.At+p.Len >= seqAt+4 }
	if m := st.Message(); m != nil && slices.ContainsFunc(m.Patch, patches) {
		if h, err := dialect.Header(st.Sent); err == nil && k.seqs[h.Seq] {
			k.echoed[h.Seq] = true
		}
	}
}

// Message implements [conform.Marker].
func (k *marker) Message(m *conform.Marked) {
	h := m.Header
	acquire := !m.Copied && h.Type == wire.MsgAcquire && h.PID == 0 && h.Errno == 0 && h.Seq != 0
	if acquire {
		k.seqs[h.Seq] = true
		m.Mark(reservedAt, 2, "msg_reserved")
	} else if !m.Copied && k.sends && countsReferences(h, len(m.Bytes)) {
		m.Mark(reservedAt, 2, "references")
	}
	// The kernel numbers the answers to a DUMP itself: how many are still to come.
	countdown := h.Type == wire.MsgDump || h.Type == wire.KAMEMsgXSPDDump
	if acquire || k.echoed[h.Seq] && (m.Copied || !countdown) {
		m.Mark(seqAt, 4, "acqseq")
	}
	for x, err := range dialect.Walk(m.Bytes) {
		if err != nil {
			break
		}
		switch x.Type {
		case wire.KAMEExtXPolicy:
			if !m.Copied {
				k.policy(x, m)
			}
		case wire.KAMEExtXSA2:
			if v, err := dialect.ParseSA2(x.Raw); err == nil && k.reqids[v.ReqID] {
				m.Mark(x.Offset+12, 4, "reqid")
			}
		case wire.ExtAddressSrc, wire.ExtAddressDst, wire.ExtAddressProxy:
			const portAt, lowest = 10, 32768 // net.ipv4.ip_local_port_range begins there
			if v, err := dialect.ParseAddress(x.Raw); err == nil && k.ports && v.Port >= lowest &&
				!slices.Contains(k.named, v.Port) {
				m.Mark(x.Offset+portAt, 2, "port")
			}
		}
	}
}

// policy marks the reqids that the kernel chose. MIGRATE only repeats those that it was given.
func (k *marker) policy(x wire.Ext, m *conform.Marked) {
	const (
		fixed = 16 // of the extension, before the requests
		reqid = 8  // its offset in a request
	)
	o := dialect.Order
	for at := fixed; at+fixed <= len(x.Raw); {
		id := o.Uint32(x.Raw[at+reqid:])
		if id > namedReqID && m.Header.Type != wire.LinuxMsgXMigrate {
			k.reqids[id] = true
		}
		if k.reqids[id] {
			m.Mark(x.Offset+at+reqid, 4, "reqid")
		}
		n := int(o.Uint16(x.Raw[at:]))
		if n < fixed {
			break
		}
		at += n
	}
}
