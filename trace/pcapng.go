package trace

import (
	"encoding/binary"
	"time"
)

// Pcapng as in draft-ietf-opsawg-pcapng, in the machine's byte order, of which the reader is told by a magic number.
// There is no link type of PF_KEY, so it is the first of those that are kept for private use.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockStats     = 5
	blockPacket    = 6
	magicOrder     = 0x1a2b3c4d
	linkUser0      = 147

	optEnd         = 0
	optComment     = 1
	optName        = 2 // of an interface
	optDescription = 3 // of an interface
	optFlags       = 2 // of a packet
	optDropCount   = 4 // of a packet: lost since the one before
	optReceived    = 4 // of statistics
	optDropped     = 5 // of statistics

	flagInbound  = 1 // to the program
	flagOutbound = 2 // from the program
)

var order = binary.NativeEndian

// block puts a length in front of and behind a body.
func block(typ uint32, body []byte) []byte {
	n := uint32(len(body) + 12)
	b := order.AppendUint32(nil, typ)
	b = order.AppendUint32(b, n)
	b = append(b, body...)
	return order.AppendUint32(b, n)
}

func option(b []byte, code uint16, value []byte) []byte {
	value = value[:min(len(value), 0xfff0)]
	b = order.AppendUint16(b, code)
	b = order.AppendUint16(b, uint16(len(value)))
	return pad4(append(b, value...))
}

func pad4(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }

// pcapngHeader is the section with its one interface.
func pcapngHeader(dialect string) []byte {
	section := order.AppendUint32(nil, magicOrder)
	section = order.AppendUint16(section, 1) // version 1.0
	section = order.AppendUint16(section, 0)
	section = order.AppendUint64(section, ^uint64(0)) // of unknown length

	iface := order.AppendUint16(nil, linkUser0)
	iface = order.AppendUint16(iface, 0)
	iface = order.AppendUint32(iface, 0) // no limit on the length of a packet
	iface = option(iface, optName, []byte("PF_KEY"))
	iface = option(iface, optDescription, []byte("PF_KEY version 2 (RFC 2367), dialect "+dialect))
	iface = option(iface, optEnd, nil)
	return append(block(blockSection, section), block(blockInterface, iface)...)
}

// pcapngPacket is one message.
func pcapngPacket(r *record, comment string) []byte {
	b := order.AppendUint32(nil, 0) // the interface
	b = appendTime(b, r.at)
	b = order.AppendUint32(b, uint32(len(r.data)))
	b = order.AppendUint32(b, uint32(len(r.data)))
	b = pad4(append(b, r.data...))
	flags := uint32(flagInbound)
	if r.direction == toKernel {
		flags = flagOutbound
	}
	b = option(b, optFlags, order.AppendUint32(nil, flags))
	if r.lost > 0 {
		b = option(b, optDropCount, order.AppendUint64(nil, r.lost))
	}
	b = option(b, optComment, []byte(comment))
	b = option(b, optEnd, nil)
	return block(blockPacket, b)
}

func appendTime(b []byte, at time.Time) []byte {
	micro := uint64(at.UnixMicro())
	b = order.AppendUint32(b, uint32(micro>>32))
	return order.AppendUint32(b, uint32(micro))
}

// The block that pcapngStatistics makes: its length, and where its numbers are.
const (
	statisticsLen = 52
	receivedAt    = 24
	droppedAt     = 36
)

// pcapngStatistics says how many messages there were, and how many of them are missing.
func pcapngStatistics(c Counters) []byte {
	b := order.AppendUint32(nil, 0) // the interface
	b = order.AppendUint64(b, 0)    // no time
	b = option(b, optReceived, order.AppendUint64(nil, c.Written+c.Lost))
	b = option(b, optDropped, order.AppendUint64(nil, c.Lost))
	b = option(b, optEnd, nil)
	return block(blockStats, b)
}

// readStatistics reads the last block of a trace, which this machine has made.
func readStatistics(tail []byte) (c Counters, ok bool) {
	if len(tail) < statisticsLen {
		return c, false
	}
	b := tail[len(tail)-statisticsLen:]
	lost := order.Uint64(b[droppedAt:])
	c = Counters{Written: order.Uint64(b[receivedAt:]) - lost, Lost: lost}
	return c, string(pcapngStatistics(c)) == string(b)
}
