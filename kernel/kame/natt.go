package kame

import "github.com/pfkeyd/pfkeyd/wire"

// NATT is the UDP encapsulation of an SA. It never changes.
type NATT struct {
	Type         wire.NATTKind
	Sport, Dport uint16   // host order
	Frag         uint16   // longer packets are cut, in bytes
	OAI, OAR     Sockaddr // the original addresses; of length 0: none
}

// NeverCut is a [NATT].Frag longer than every packet.
const NeverCut = 65535

// ReadNATT reads type, ports and length of fragments of a request; nil unless type and both ports are there.
func (k *Kernel) ReadNATT(r *Request) *NATT {
	if !r.Has(wire.KAMEExtXNATTType, wire.KAMEExtXNATTSPort, wire.KAMEExtXNATTDPort) {
		return nil
	}
	t, _ := k.d.ParseNATTType(r.Ext(wire.KAMEExtXNATTType))
	sport, _ := k.d.ParseNATTPort(r.Ext(wire.KAMEExtXNATTSPort))
	dport, _ := k.d.ParseNATTPort(r.Ext(wire.KAMEExtXNATTDPort))
	n := &NATT{Type: t.Type, Sport: sport.Port, Dport: dport.Port, Frag: NeverCut}
	if raw := r.Ext(wire.KAMEExtXNATTFrag); raw != nil {
		f, _ := k.d.ParseNATTFrag(raw)
		n.Frag = f.Bytes
	}
	return n
}

// AppendNATT appends type and ports.
func (k *Kernel) AppendNATT(b []byte, n *NATT) []byte {
	b = k.d.AppendNATTType(b, wire.NATTType{Type: n.Type})
	b = k.d.AppendNATTPort(b, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: n.Sport})
	return k.d.AppendNATTPort(b, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: n.Dport})
}

// indexWithPorts is [Kernel.Index], with the ports of a NAT where the heir's heads have them.
func (k *Kernel) indexWithPorts(r *Request) Index {
	x := k.Index(r)
	if n := k.ReadNATT(r); n != nil && k.page.PortsInHeads {
		x.Src, x.Dst = x.Src.WithPort(n.Sport), x.Dst.WithPort(n.Dport)
	}
	return x
}
