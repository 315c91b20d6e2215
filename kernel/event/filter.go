package event

import (
	"fmt"
	"slices"
	"strconv"
)

// A Filter chooses events: those that every list which is not empty has a match for. The zero value takes all.
type Filter struct {
	Types    []Type   // an event of one of these types ...
	Messages []string // ... or with a message of one of these names, such as GETSPI
	Sockets  []uint64 // on one of these sockets
	SPIs     []uint32 // about an SA, a message or a packet with one of these SPIs
}

// Match says whether the filter takes e. It takes all that say that events are missing, but for packets if it takes
// none.
func (f *Filter) Match(e *Event) bool {
	if e.Type == Missing {
		return e.Missing == nil || e.Missing.Of != Packet || f.Packets()
	}
	if len(f.Types)+len(f.Messages) > 0 && !slices.Contains(f.Types, e.Type) &&
		(e.Message == nil || !slices.Contains(f.Messages, e.Message.Name)) {
		return false
	}
	if len(f.Sockets) > 0 && !slices.Contains(f.Sockets, e.Socket) {
		return false
	}
	return len(f.SPIs) == 0 || slices.ContainsFunc(f.SPIs, func(spi uint32) bool { return e.spi() == HexSPI(spi) })
}

// Packets says whether the filter takes packets at all.
func (f *Filter) Packets() bool {
	return len(f.Sockets) == 0 &&
		(len(f.Types)+len(f.Messages) == 0 || slices.Contains(f.Types, Packet))
}

// spi is the SPI that an event is about, as it is written; empty if there is none.
func (e *Event) spi() string {
	switch {
	case e.Message != nil:
		return e.Message.SPI
	case e.SA != nil:
		return e.SA.SPI
	case e.Packet != nil:
		return e.Packet.SPI
	}
	return ""
}

// HexSPI writes an SPI as events have it.
func HexSPI(spi uint32) string { return fmt.Sprintf("%#x", spi) }

// ParseType reads a type. The error lists those that there are.
func ParseType(s string) (Type, error) {
	if slices.Contains(Types(), Type(s)) {
		return Type(s), nil
	}
	return "", fmt.Errorf("%q is no type of event; there are %v", s, Types())
}

// ParseSPI reads an SPI, hexadecimal with 0x or decimal.
func ParseSPI(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 0, 32)
	if err != nil {
		return 0, fmt.Errorf("%q is no SPI such as 0x1000", s)
	}
	return uint32(n), nil
}
