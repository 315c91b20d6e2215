package illumos

import (
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Numbers of sockets that messages carry.
const (
	sockRaw        = 3 // as the engine's callers say it, on every system
	illumosSockRaw = 4 // as SO_TYPE says it
)

// States beyond those of the RFC. An IDLE SA and one that is ACTIVE_ELSEWHERE belong to a cluster.
const (
	stateActiveElsewhere = sadb.State(wire.IllumosStateXActiveElsewhere)
	stateIdle            = sadb.State(wire.IllumosStateXIdle)
	stateActive          = sadb.State(wire.IllumosStateXActive) // only in an UPDATE: "make an IDLE SA MATURE"
)

// Flags of an SA, by their short names.
const (
	flagNoReplay  = wire.IllumosFlagNoReplay
	flagNATTed    = wire.IllumosFlagXNatted
	flagInbound   = wire.IllumosFlagXInbound
	flagOutbound  = wire.IllumosFlagXOutbound
	flagPaired    = wire.IllumosFlagXPaired
	flagTunnel    = wire.IllumosFlagXTunnel
	flagCInvalid  = wire.IllumosFlagKRes2 // a cached pointer to the SA is no longer good
	flagNATTRem   = wire.IllumosFlagXNattRem
	flagNATTLoc   = wire.IllumosFlagXNattLoc
	flagKM4       = wire.IllumosFlagXKM4
	flagKM3       = wire.IllumosFlagXKM3
	flagKM2       = wire.IllumosFlagXKM2
	flagKM1       = wire.IllumosFlagXKM1
	flagEAlg2     = wire.IllumosFlagXEAlg2
	flagEAlg1     = wire.IllumosFlagXEAlg1
	flagAAlg2     = wire.IllumosFlagXAAlg2
	flagAAlg1     = wire.IllumosFlagXAAlg1
	flagUnique    = wire.IllumosFlagXUnique
	flagUsed      = wire.IllumosFlagXUsed
	flagNATT      = flagNATTLoc | flagNATTRem | flagNATTed
	flagsUpdateAH = flagPaired | flagNoReplay | flagOutbound | flagInbound | flagKM1 | flagKM2 | flagKM3 | flagKM4
	flagsAddAH    = flagsUpdateAH | flagAAlg1 | flagAAlg2 | flagTunnel
	// ESP also takes what NAT traversal needs, and the bits of combined-mode ciphers.
	flagsUpdateESP = flagsUpdateAH | flagNATT
	flagsAddESP    = flagsAddAH | flagNATT | flagEAlg1 | flagEAlg2
)

// settableFlags are those that an ADD, or the UPDATE of a live SA, may name.
func (p *protocol) settableFlags(add bool) uint32 {
	switch {
	case add && p.isESP():
		return flagsAddESP
	case add:
		return flagsAddAH
	case p.isESP():
		return flagsUpdateESP
	}
	return flagsUpdateAH
}
