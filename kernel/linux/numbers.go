package linux

import (
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Numbers of the Internet and of sockets that messages and packets carry.
const (
	protoICMP    = 1
	protoIPIP    = 4
	protoTCP     = 6
	protoUDP     = 17
	protoIPv6    = 41
	protoRouting = 43
	protoESP     = 50
	protoAH      = 51
	protoICMPv6  = 58
	protoNone    = 59
	protoDstOpts = 60
	protoComp    = 108
	protoSCTP    = 132
	protoAny     = 255 // in messages, where the databases have 0

	sockRaw = 3
)

// States beyond those of the RFC; messages show both as DEAD.
const (
	stateError   = sadb.Dead + 1 + iota // key management has answered an ACQUIRE with an error
	stateExpired                        // a hard limit was reached, the timer has not yet run
)

// mode is how an SA puts packets together, as the databases count.
type mode uint8

const (
	modeTransport mode = 0
	modeTunnel    mode = 1
	modeBEET      mode = 4 // the last one; between are route optimisation and the inbound trigger
)

// modeOf reads a mode of PF_KEY.
func modeOf(m uint8) (mode, bool) {
	switch m {
	case wire.ModeAny, wire.ModeTransport:
		return modeTransport, true
	case wire.ModeTunnel:
		return modeTunnel, true
	case wire.ModeBEET:
		return modeBEET, true
	}
	return 0, false
}

// wire is the mode as PF_KEY has it, which does not have all.
func (m mode) wire() (uint8, bool) {
	switch m {
	case modeTransport:
		return wire.ModeTransport, true
	case modeTunnel:
		return wire.ModeTunnel, true
	case modeBEET:
		return wire.ModeBEET, true
	}
	return 0, false
}

// encapsulates tells whether the mode has addresses of its own.
func (m mode) encapsulates() bool { return m == modeTunnel || m == modeBEET }

// protoOf is the IP protocol of an SA type; 255 for "any". Only these can be had in the SA database.
func protoOf(t wire.SAType) (uint8, bool) {
	switch t {
	case wire.SATypeUnspec:
		return protoAny, true
	case wire.SATypeAH:
		return protoAH, true
	case wire.SATypeESP:
		return protoESP, true
	case wire.SATypeIPComp:
		return protoComp, true
	}
	return 0, false
}

// satypeOf is the inverse of protoOf; 0 for what has no SA type.
func satypeOf(proto uint8) wire.SAType {
	switch proto {
	case protoAH:
		return wire.SATypeAH
	case protoESP:
		return wire.SATypeESP
	case protoComp:
		return wire.SATypeIPComp
	}
	return wire.SATypeUnspec
}

// saProto tells whether SAs of a protocol are found by their SPI.
func saProto(proto uint8) bool { return proto == protoAH || proto == protoESP || proto == protoComp }

// selectorProto is the protocol of a selector, from messages and to them.
func selectorProto(p uint8) uint8 {
	if p == protoAny {
		return 0
	}
	return p
}

func messageProto(p uint8) uint8 {
	if p == 0 {
		return protoAny
	}
	return p
}
