package openbsd

import (
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/packet"
)

// counter is one of the numbers that packets move, as netstat(1) shows them.
type counter int

// The counters of a protocol, which ESP, AH and IPComp have each, and then the others.
const (
	countInput   counter = iota // packets that came in
	countOutput                 // packets that are about to go out
	countInBytes                // of payload
	countOutBytes
	countNoSA    // there is none
	countInvalid // it is LARVAL
	countHeader  // too short, or malformed
	countLength  // ESP: no multiple of the block, or padding that lies; AH: the header's length lies
	countBadAuth
	countBadEncryption // padding that shows that the key was another
	countReplay
	countWrap // no packet may have the sequence number
	countTooBig
	countPolicy       // what was compressed is compressed again
	countIncompressed // too short to be compressed, or no shorter when it is
	countOutFail      // it was protected, and then could not be sent
	countNoTransform  // the SA protects nothing
	protoCounters
)

const (
	countUDPIn         = 3*protoCounters + iota // ESP in UDP
	countUDPOut                                 //
	countUDPInvalid                             // ESP in UDP, and the SA has none
	countUDPNeeded                              // the other way round
	countPacketsIn                              // from here on: of all protocols
	countPacketsOut                             //
	countAllIn                                  // bytes
	countAllOut                                 //
	countDecompressed                           // bytes of what came out of packets
	countUncompressed                           // bytes of what was put into packets
	countDropsIn                                //
	countDropsOut                               //
	countNoCrypto                               // a cipher or a compression failed
	countExpired                                // SAs that have reached a hard limit
	countGoodSignature                          // TCP segments
	countBadSignature                           // of another key, or none
	counters           counter                  = iota + 3*protoCounters
)

// of is a counter of a protocol: ESP, AH or IPComp.
func (c counter) of(proto uint8) counter {
	switch proto {
	case ip.ProtoAH:
		return protoCounters + c
	case ip.ProtoComp:
		return 2*protoCounters + c
	}
	return c
}

// counterNames are those of the original. AH has no encryption, and only IPComp has what need not be compressed.
var counterNames = func() (names [counters]string) {
	protos := map[counter]string{
		countInput: "input", countOutput: "output", countInBytes: "ibytes", countOutBytes: "obytes",
		countNoSA: "notdb", countInvalid: "invalid", countHeader: "hdrops", countReplay: "replay", countWrap: "wrap",
		countTooBig: "toobig", countPolicy: "pdrops", countOutFail: "outfail", countNoTransform: "noxform",
		countBadAuth: "badauth", countBadEncryption: "badenc", countIncompressed: "minlen",
	}
	for proto, prefix := range map[uint8]string{ip.ProtoESP: "espstat.esps_", ip.ProtoAH: "ahstat.ahs_",
		ip.ProtoComp: "ipcompstat.ipcomps_"} {
		for c, name := range protos {
			names[c.of(proto)] = prefix + name
		}
	}
	names[countLength.of(ip.ProtoESP)] = "espstat.esps_badilen"
	names[countLength.of(ip.ProtoAH)] = "ahstat.ahs_badauthl"
	for c, name := range map[counter]string{
		countUDPIn: "espstat.esps_udpencin", countUDPOut: "espstat.esps_udpencout",
		countUDPInvalid: "espstat.esps_udpinval", countUDPNeeded: "espstat.esps_udpneeded",
		countPacketsIn: "ipsecstat.ipsec_ipackets", countPacketsOut: "ipsecstat.ipsec_opackets",
		countAllIn: "ipsecstat.ipsec_ibytes", countAllOut: "ipsecstat.ipsec_obytes",
		countDecompressed: "ipsecstat.ipsec_idecompbytes", countUncompressed: "ipsecstat.ipsec_ouncompbytes",
		countDropsIn: "ipsecstat.ipsec_idrops", countDropsOut: "ipsecstat.ipsec_odrops",
		countNoCrypto: "ipsecstat.ipsec_noxform", countExpired: "ipsecstat.ipsec_exctdb",
		countGoodSignature: "tcpstat.tcps_rcvgoodsig", countBadSignature: "tcpstat.tcps_rcvbadsig",
	} {
		names[c] = name
	}
	return names
}()

// tally is the counters of a kernel. Its methods take no lock.
type tally struct{ *engine.Counters }

func newTally() tally { return tally{engine.NewCounters(int(counters))} }

// count counts a number for a packet.
func (t tally) count(p *packet.Packet, c counter, n int) { t.AddFor(p, int(c), uint64(n)) }

// Counters reads the counters that are not zero, by the names that netstat(1) has.
func (k *Kernel) Counters() map[string]uint64 {
	m := map[string]uint64{}
	for c, name := range counterNames {
		if n := k.tally.Read(c); n != 0 {
			m[name] = n
		}
	}
	return m
}
