package openbsd

import (
	"encoding/binary"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// maxLayers is how many SAs a packet may go through.
const maxLayers = 16

// permits are the knobs without which a protocol is not there.
var permits = map[uint8]string{
	ip.ProtoESP:  "net.inet.esp.enable",
	ip.ProtoAH:   "net.inet.ah.enable",
	ip.ProtoComp: "net.inet.ipcomp.enable",
}

// Knobs of UDP encapsulation.
const (
	udpEncap     = "net.inet.esp.udpencap"
	udpEncapPort = "net.inet.esp.udpencap_port"
)

// permitted tells whether a knob forbids a protocol.
func (k *Kernel) permitted(proto uint8) bool {
	knob, has := permits[proto]
	return !has || k.Knob(knob) != 0
}

// encapPort is the UDP port that ESP goes to and comes from; 0: a knob forbids it.
func (k *Kernel) encapPort() uint16 {
	if k.Knob(udpEncap) == 0 {
		return 0
	}
	return uint16(k.Knob(udpEncapPort))
}

// passing is a packet on its way.
type passing struct {
	ip.Header
	p       *packet.Packet // which counts it
	pkt     []byte
	rdomain int
	done    []*SA // that it went through, the last one behind
	opened  bool  // it has come out of ESP, AH or IPComp
	proven  bool  // and of one of the first two
}

// outcome is what became of a packet, and if it was dropped why and in which counter that shows.
type outcome struct {
	engine.Passage
	reason  packet.Reason
	counter string
}

// passed is the end of a packet that is not dropped.
func (s *passing) passed(via string) outcome {
	return outcome{Passage: engine.Passage{Via: via, Packet: s.pkt}}
}

// drop is the end of a packet. Its sender sees errno, if it is on its way out.
func drop(reason packet.Reason, errno wire.Errno) outcome {
	return outcome{Passage: engine.Passage{Errno: errno}, reason: reason}
}

// drop counts, and is the end of a packet.
func (k *Kernel) drop(s *passing, reason packet.Reason, c counter, errno wire.Errno) outcome {
	k.tally.count(s.p, c, 1)
	o := drop(reason, errno)
	o.counter = counterNames[c]
	return o
}

// end gives the verdict on a packet that was dropped.
func (o *outcome) end(p *packet.Packet) {
	p.End(packet.Verdict{Kind: packet.Dropped, Reason: o.reason, Counter: o.counter})
}

// read reads the first header of a packet.
func (s *passing) read(pkt []byte) bool {
	s.pkt = pkt
	if s.Parse(pkt) != ip.Fine {
		return false
	}
	s.pkt = pkt[:s.End]
	return true
}

// flow is what a packet shows to flows (ipsp_spd_lookup): of IPv6 the protocol behind the first header, whatever it
// is. Behind other headers stand no ports. false if the packet ends before its ports.
func (s *passing) flow() (f spd.Flow, ok bool) {
	var h ip.Header
	h.Parse(s.pkt)
	f = spd.Flow{Src: h.Src, Dst: h.Dst, Proto: h.Proto}
	if f.Proto == ip.ProtoTCP || f.Proto == ip.ProtoUDP {
		b := s.pkt[h.Off:]
		if len(b) < 4 {
			return f, false
		}
		f.SrcPort, f.DstPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	}
	return f, true
}
