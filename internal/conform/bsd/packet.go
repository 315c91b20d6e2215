package bsd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"reflect"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
)

// headers is a packet by what its headers have; the data is zeros.
type headers struct {
	Proto *uint8     `json:"proto,omitempty"`
	Src   netip.Addr `json:"src,omitzero"`
	Dst   netip.Addr `json:"dst,omitzero"`
	SPort *uint16    `json:"sport,omitempty"` // of ICMP the type
	DPort *uint16    `json:"dport,omitempty"` // of ICMP the code
	Len   *int       `json:"len,omitempty"`   // of the payload, bytes
}

const maxPayload = 60000

func (h *headers) Check() error {
	switch {
	case h.Proto == nil || !h.Src.IsValid() || !h.Dst.IsValid():
		return errors.New("a packet without protocol or address")
	case h.Src.Is4() != h.Dst.Is4():
		return fmt.Errorf("a packet from %v to %v", h.Src, h.Dst)
	case h.Len != nil && (*h.Len < 0 || *h.Len > maxPayload):
		return fmt.Errorf("a packet of %d bytes", *h.Len)
	}
	return nil
}

// Protocols whose headers a packet can have beside those that package ip names.
const (
	protoIPComp = 108
	protoSCTP   = 132
)

// make builds the packet. Of ESP, AH and IPComp only as much as Len says is there.
func (h *headers) make(spi, seq *uint32) []byte {
	n := int(deref(h.Len))
	var upper []byte
	be := binary.BigEndian
	ports := func(size int) []byte {
		b := be.AppendUint16(nil, deref(h.SPort))
		b = be.AppendUint16(b, deref(h.DPort))
		return append(b, make([]byte, size-len(b)+n)...)
	}
	cut := func(b []byte) []byte { return append(b, make([]byte, max(0, n-len(b)))...)[:n] }
	switch *h.Proto {
	case ip.ProtoUDP:
		upper = ports(ip.LenUDP)
		be.PutUint16(upper[4:], uint16(len(upper)))
	case ip.ProtoTCP: // a SYN
		upper = ports(20)
		be.PutUint32(upper[4:], 1)
		upper[12], upper[13] = 0x50, 0x02
		be.PutUint16(upper[14:], 0xffff)
	case ip.ProtoICMP, ip.ProtoICMPv6:
		upper = append([]byte{uint8(deref(h.SPort)), uint8(deref(h.DPort)), 0, 0, 0, 1, 0, 1}, make([]byte, n)...)
	case protoSCTP:
		upper = ports(12)
	case ip.ProtoESP:
		upper = cut(be.AppendUint32(be.AppendUint32(nil, deref(spi)), deref(seq)))
	case ip.ProtoAH:
		upper = cut(be.AppendUint32(be.AppendUint32([]byte{ip.ProtoUDP, 4, 0, 0}, deref(spi)), deref(seq)))
	case protoIPComp:
		upper = cut(be.AppendUint16([]byte{ip.ProtoUDP, 0}, uint16(deref(spi))))
	default:
		upper = make([]byte, n)
	}
	f := ip.Fields{Src: h.Src, Dst: h.Dst, Proto: *h.Proto, TTL: ip.TTL, ID: 1}
	return f.Make(upper)
}

// deref is what p points to, 0 for nil.
func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// output offers an outbound packet to IPsec.
type output struct{ headers }

// Common is the packet.
func (o *output) Common() any { return &conform.Outgoing{Packet: o.make(nil, nil)} }

// Do offers the packet.
func (o *output) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	out.Pkt = o.make(nil, nil)
	on(p, func(k packets) { pass(p, out, out.Pkt, k.Output) })
}

// inbound offers an inbound packet to IPsec: one that left earlier, or one made of headers.
type inbound struct {
	headers
	SPI  *uint32 `json:"spi,omitempty"`
	Seq  *uint32 `json:"pseq,omitempty"`
	Wire *int    `json:"wire,omitempty"` // which packet that left through IPsec, from 0
}

func (i *inbound) Check() error {
	switch {
	case i.Wire == nil:
		return i.headers.Check()
	case *i.Wire < 0 || i.Proto != nil:
		return fmt.Errorf("packet %d of those that left, and headers beside", *i.Wire)
	}
	return nil
}

// Common is the packet.
func (i *inbound) Common() any {
	if i.Wire != nil {
		return &conform.Incoming{Left: i.Wire}
	}
	return &conform.Incoming{Packet: i.make(i.SPI, i.Seq)}
}

// packet is the packet; nil, with a complaint, if it did not leave.
func (i *inbound) packet(p *conform.Player) []byte {
	if i.Wire == nil {
		return i.make(i.SPI, i.Seq)
	}
	left := stateOf(p).left
	if *i.Wire >= len(left) {
		p.Complain("packet %d, which is to come back, did not leave", *i.Wire)
		return nil
	}
	return append([]byte(nil), left[*i.Wire]...)
}

// offer has the kernel take an inbound packet.
func (i *inbound) offer(p *conform.Player, out *conform.Outcome, pkt []byte, input func([]byte) engine.Passage) {
	if pkt == nil {
		return
	}
	if i.Wire == nil {
		out.Pkt = pkt
	}
	pass(p, out, pkt, input)
}

// patched is a packet with bytes of messages received earlier.
type patched struct {
	inbound
	Patch []conform.Patch `json:"patch,omitempty"` // at offsets of the packet
}

func (i *patched) Check() error {
	for _, x := range i.Patch {
		if i.Wire != nil || x.At < 0 || x.From < 0 || x.Len < 0 {
			return fmt.Errorf("a patch that does not fit: %+v", x)
		}
	}
	return i.inbound.Check()
}

// Patches says which bytes of the packet are those of messages.
func (i *patched) Patches() []conform.Patch { return i.Patch }

// Common is the packet.
func (i *patched) Common() any {
	in := i.inbound.Common().(*conform.Incoming)
	in.Patch = i.Patch
	return in
}

// Do offers the packet.
func (i *patched) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	pkt := i.packet(p)
	for _, x := range i.Patch {
		if x.At > len(pkt)-x.Len {
			p.Complain("a patch lies outside of the packet: %+v", x)
			return
		}
		p.Patch(pkt, x)
	}
	on(p, func(k packets) { i.offer(p, out, pkt, k.Input) })
}

// changed is a packet of which bytes were changed on the way.
type changed struct {
	inbound
	Set [][2]int `json:"set,omitempty"` // offset, value
}

func (c *changed) Check() error {
	for _, s := range c.Set {
		if c.Wire == nil || s[0] < 0 || s[1] < 0 || s[1] > 255 {
			return fmt.Errorf("set %v", s)
		}
	}
	return c.inbound.Check()
}

// Common is the packet.
func (c *changed) Common() any {
	in := c.inbound.Common().(*conform.Incoming)
	in.Set = c.Set
	return in
}

// Do offers the packet.
func (c *changed) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	pkt := c.packet(p)
	for _, s := range c.Set {
		if s[0] >= len(pkt) {
			p.Complain("byte %d is to be changed in a packet of %d", s[0], len(pkt))
			return
		}
		pkt[s[0]] = uint8(s[1])
	}
	on(p, func(k packets) { c.offer(p, out, pkt, k.Input) })
}

// pass has a packet go through the kernel, and notes where it comes out and which counters move.
func pass(p *conform.Player, out *conform.Outcome, pkt []byte, offer func([]byte) engine.Passage) {
	before := counters(p)
	way := offer(pkt)
	out.Result(0, way.Errno)
	if way.Via == engine.ViaIP || way.Via == engine.ViaIP6 {
		s := stateOf(p)
		s.left = append(s.left, way.Packet)
	}
	if way.Via != "" {
		out.Wires = []conform.Wire{wireOf(pkt, way)}
	}
	for name, n := range counters(p) {
		if n -= before[name]; n != 0 {
			if out.Stats == nil {
				out.Stats = map[string]uint64{}
			}
			out.Stats[name] = n
		}
	}
}

func counters(p *conform.Player) (all map[string]uint64) {
	on(p, func(k counting) { all = k.Counters() })
	return all
}

// wireOf describes what came of a packet as the recordings do. A protected one has its SPI and sequence number; UDP in
// front of it is told by its ports.
func wireOf(offered []byte, way engine.Passage) conform.Wire {
	pkt := way.Packet
	w := conform.Wire{Via: way.Via, Len: len(pkt)}
	var h ip.Header
	if h.Parse(pkt) != ip.Fine {
		return w
	}
	w.Proto = int(h.Proto)
	be := binary.BigEndian
	u32 := func(off int) *uint32 { return read(pkt, off, 4, be.Uint32) }
	switch rest := h.Off; h.Proto {
	case ip.ProtoESP:
		w.SPI, w.Seq = u32(rest), u32(rest+4)
	case ip.ProtoAH:
		w.SPI, w.Seq = u32(rest+4), u32(rest+8)
	case protoIPComp:
		if cpi := read(pkt, rest+2, 2, be.Uint16); cpi != nil {
			v := uint32(*cpi)
			w.SPI = &v
		}
	case ip.ProtoUDP:
		ports := portsOf(pkt)
		left := way.Via == engine.ViaIP || way.Via == engine.ViaIP6
		if left && ports != nil && !reflect.DeepEqual(ports, portsOf(offered)) {
			w.UDP, w.SPI, w.Seq = ports, u32(rest+ip.LenUDP), u32(rest+ip.LenUDP+4)
		}
	}
	return w
}

// portsOf are the ports of a UDP datagram; nil if it is none.
func portsOf(pkt []byte) *[2]uint16 {
	var h ip.Header
	if h.Parse(pkt) != ip.Fine || h.Proto != ip.ProtoUDP || len(pkt) < h.Off+ip.LenUDP {
		return nil
	}
	return &[2]uint16{binary.BigEndian.Uint16(pkt[h.Off:]), binary.BigEndian.Uint16(pkt[h.Off+2:])}
}

// read reads n bytes at an offset; nil if they are not there.
func read[T any](b []byte, off, n int, get func([]byte) T) *T {
	if off+n > len(b) {
		return nil
	}
	v := get(b[off:])
	return &v
}
