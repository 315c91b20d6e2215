package afkey

import (
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

const sockRaw = 3

// modeOf reads a mode of PF_KEY.
func modeOf(m wire.Mode) (transform.Mode, bool) {
	switch m {
	case wire.ModeAny, wire.ModeTransport:
		return transform.Transport, true
	case wire.ModeTunnel:
		return transform.Tunnel, true
	case wire.ModeBEET:
		return transform.BEET, true
	}
	return 0, false
}

// wireMode is a mode as PF_KEY has it, which does not have all.
func wireMode(m transform.Mode) (wire.Mode, bool) {
	switch m {
	case transform.Transport:
		return wire.ModeTransport, true
	case transform.Tunnel:
		return wire.ModeTunnel, true
	case transform.BEET:
		return wire.ModeBEET, true
	}
	return 0, false
}

// flagNumbers are PF_KEY's numbers of the flags of an SA. It has others, which mean nothing.
var flagNumbers = [...]struct {
	flag   transform.Flags
	number uint32
}{
	{transform.NoECN, wire.LinuxFlagNoECN},
	{transform.DecapDSCP, wire.LinuxFlagDecapDSCP},
	{transform.NoPMTUDisc, wire.LinuxFlagNoPMTUDisc},
}

// flagsOf reads flags, and wireFlags says them.
func flagsOf(v uint32) (f transform.Flags) {
	for _, n := range flagNumbers {
		if v&n.number != 0 {
			f |= n.flag
		}
	}
	return f
}

func wireFlags(f transform.Flags) (v uint32) {
	for _, n := range flagNumbers {
		if f&n.flag != 0 {
			v |= n.number
		}
	}
	return v
}

// protoOf is the IP protocol of an SA type; 255 for "any". Only these can be had in the SA database.
func protoOf(t wire.SAType) (uint8, bool) {
	switch t {
	case wire.SATypeUnspec:
		return transform.AnyProto, true
	case wire.SATypeAH:
		return ip.ProtoAH, true
	case wire.SATypeESP:
		return ip.ProtoESP, true
	case wire.SATypeIPComp:
		return ip.ProtoComp, true
	}
	return 0, false
}

// SATypeOf is the inverse of protoOf; 0 for what has no SA type.
func SATypeOf(proto uint8) wire.SAType {
	switch proto {
	case ip.ProtoAH:
		return wire.SATypeAH
	case ip.ProtoESP:
		return wire.SATypeESP
	case ip.ProtoComp:
		return wire.SATypeIPComp
	}
	return wire.SATypeUnspec
}

// saProto tells whether SAs of a protocol are found by their SPI.
func saProto(proto uint8) bool {
	return proto == ip.ProtoAH || proto == ip.ProtoESP || proto == ip.ProtoComp
}

// anyProto is any protocol in messages, where the databases have 0.
const anyProto = 255

// selectorProto is the protocol of a selector, from messages and to them.
func selectorProto(p uint8) uint8 {
	if p == anyProto {
		return 0
	}
	return p
}

func messageProto(p uint8) uint8 {
	if p == 0 {
		return anyProto
	}
	return p
}
