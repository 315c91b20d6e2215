package xfrm

import (
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// States beyond those of the RFC; others see both as DEAD.
const (
	stateError   = sadb.Dead + 1 + iota // key management has answered an ACQUIRE with an error
	stateExpired                        // a hard limit was reached, the timer has not yet run
)

// Kinds of UDP encapsulation, of an SA and of a socket (UDP_ENCAP).
const (
	encapNonIKE = 1 // with a marker, draft-ietf-ipsec-udp-encaps-00
	encapESP    = 2 // RFC 3948
)

// saProto tells whether SAs of a protocol are found by their SPI.
func saProto(proto uint8) bool {
	return proto == ip.ProtoAH || proto == ip.ProtoESP || proto == ip.ProtoComp
}
