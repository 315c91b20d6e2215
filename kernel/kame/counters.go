package kame

import (
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/packet"
)

// Counter is one of the numbers that packets move. Those of a protocol are counted for ESP, AH and IPComp each.
type Counter int

// The counters of a protocol, and then the others.
const (
	CountInput     Counter = iota // packets that came in
	CountOutput                   // packets that are about to go out
	CountInBytes                  // of payload
	CountOutBytes                 // of payload
	CountNoSA                     // no usable SA
	CountHeader                   // too short
	CountBadLength                // ESP: no multiple of the block, or padding that lies; AH: the header's length lies
	CountBadICV
	CountBadPadding
	CountReplay
	CountWrap     // the sequence number is used up
	CountDisabled // a knob says that there is no such protocol
	CountCrypto   // a cipher or a compression does not work
	CountTooBig
	CountShort   // too short to be worth compressing
	CountUseless // compressing made it no shorter
	protoCounters
)

const (
	CountInFront  = 3*protoCounters + iota // headers taken off where a buffer begins
	CountInMiddle                          // in the middle
	CountInEnd                             // at its end
	CountInserted                          // buffers put in for headers
	CountTunnelIn                          // packets taken out of a tunnel
	CountTunnelInBytes
	CountTunnelOut
	CountTunnelOutBytes
	CountGoodSignature // TCP signatures
	CountBadSignature
	CountNoSignature               // none, though one is wanted
	CountUnwantedSignature         // one, though there is no SA for it
	CountUnsigned                  // no SA, so it could not be signed
	CountInPolicy                  // a policy says that it may not come in so
	CountInPolicy6                 // the same for IPv6, and so on
	CountOutPolicy                 // a policy says that it may not go out
	CountOutPolicy6                //
	CountOutNoSA                   // a policy wants an SA, and there is none
	CountOutNoSA6                  //
	CountOutInvalid                // something is wrong, such as no SA
	CountOutInvalid6               //
	CountOutBundle                 // one more SA for the packet
	CountOutBundle6                //
	CountUnsupported               // what is inside is no IP
	CountUnsupported6              //
	counters               Counter = iota + 3*protoCounters
)

// none is no counter.
const none Counter = -1

// of is a counter of a protocol: ESP, AH or IPComp.
func (c Counter) of(proto uint8) Counter {
	switch proto {
	case ip.ProtoAH:
		return protoCounters + c
	case ip.ProtoComp:
		return 2*protoCounters + c
	}
	return c
}

// family is a counter of IPv4 for either family.
func (c Counter) family(v6 bool) Counter {
	if v6 {
		return c + 1
	}
	return c
}

// CounterPage is how an heir calls its counters. A name that is not there is not counted.
type CounterPage struct {
	ESP, AH, Comp map[Counter]string // the counters of a protocol
	Others        map[Counter]string
}

// names are those of all counters.
func (p *CounterPage) names() (names [counters]string) {
	for i, m := range []map[Counter]string{p.ESP, p.AH, p.Comp} {
		for c, name := range m {
			names[Counter(i)*protoCounters+c] = name
		}
	}
	for c, name := range p.Others {
		names[c] = name
	}
	return names
}

// tally is the counters of a kernel. Its methods take no lock.
type tally struct {
	names [counters]string
	*engine.Counters
}

func newTally(p *CounterPage) tally { return tally{p.names(), engine.NewCounters(int(counters))} }

// count counts a number for a packet.
func (t *tally) count(p *packet.Packet, c Counter, n int) {
	if t.names[c] != "" {
		t.AddFor(p, int(c), uint64(n))
	}
}

// Counters reads the counters that are not zero, by the heir's names.
func (k *Kernel) Counters() map[string]uint64 {
	m := map[string]uint64{}
	for c, name := range k.tally.names {
		if n := k.tally.Read(c); n != 0 {
			m[name] += n
		}
	}
	return m
}
