// Package event says what happens in a running engine: what GET /events of the control port tells and "pfkeyd watch
// --json" prints, one JSON object a line, and what a program reads that has an engine of its own. All of it is plain
// data that belongs to the reader. Names of fields and values are stable; new ones may come, so readers pass over what
// they do not know. docs/events.md is the same for programs in other languages.
package event

import "time"

// A Type says what an event is about.
type Type string

// The types, and the field of [Event] that has more.
const (
	Opened  Type = "opened"  // a PF_KEY socket
	Closed  Type = "closed"  // a PF_KEY socket
	Message Type = "message" // a PF_KEY message: Message
	Lost    Type = "lost"    // a message for which the queue of a socket had no room: Message, if there was one already
	Refused Type = "refused" // the send before failed with Errno
	SA      Type = "sa"      // an SA is there, or changes its state: SA
	Packet  Type = "packet"  // a packet has a verdict, or waits: Packet
	Clock   Type = "clock"   // a virtual clock moves from Time on: Clock
	Missing Type = "missing" // events are not there: Missing
)

// Types lists the types in the order of the documentation.
func Types() []Type {
	return []Type{Opened, Closed, Message, Lost, Refused, SA, Packet, Clock, Missing}
}

// An Event is one thing that has happened in an engine. Events have the order of their numbers: of what is said and
// done to sockets and SAs that is the order in which it happened. A packet is on its way beside all that.
type Event struct {
	N    uint64    `json:"n"`    // its number, from 1; 0 where a reader was too slow
	Time time.Time `json:"time"` // what the engine's clock showed
	Real time.Time `json:"real"` // what the machine's clock showed
	Type Type      `json:"type"`

	Socket uint64 `json:"socket,omitempty"` // the number of the PF_KEY socket
	PID    int32  `json:"pid,omitempty"`    // the process that opened it, or that sent the message
	Errno  string `json:"errno,omitempty"`  // what send failed with, by its name

	Message *MessageEvent `json:"message,omitempty"`
	SA      *SAEvent      `json:"sa,omitempty"`
	Packet  *PacketEvent  `json:"packet,omitempty"`
	Clock   *ClockEvent   `json:"clock,omitempty"`
	Missing *MissingEvent `json:"missing,omitempty"`
}

// The two ways of a message.
const (
	ToKernel  = "kernel"  // a program sends it; what comes of it follows
	ToProgram = "program" // the kernel puts it into the queue of a socket
)

// MessageEvent is a PF_KEY message. Its keys are zero unless the reader has asked for them.
type MessageEvent struct {
	To     string `json:"to"`   // kernel or program
	Name   string `json:"name"` // such as GETSPI
	SAType string `json:"sa_type"`
	Seq    uint32 `json:"seq"`
	PID    uint32 `json:"pid"` // sadb_msg_pid
	Errno  string `json:"errno,omitempty"`
	SPI    string `json:"spi,omitempty"`    // of its SA, hexadecimal
	Line   string `json:"line"`             // all of it on one line, without keys
	Data   string `json:"data"`             // its bytes, hexadecimal
	Queued int    `json:"queued,omitempty"` // to a program: how many messages wait in the socket's queue, with this one
}

// SAEvent is a change of an SA.
type SAEvent struct {
	Type string `json:"type"` // as in a message, such as esp
	SPI  string `json:"spi"`  // hexadecimal; 0x0: it has none yet
	Src  string `json:"src,omitempty"`
	Dst  string `json:"dst"`
	From string `json:"from,omitempty"` // its state, such as larval; empty: the SA is new
	To   string `json:"to"`
}

// PacketEvent is what became of a packet. One that waits has an event when it begins to, and one at the end.
type PacketEvent struct {
	ID      uint64 `json:"id"`                // the engine's number of it; 0: the engine has made it
	Verdict string `json:"verdict"`           // delivered, transmitted, queued, held, dropped or sent
	Reason  string `json:"reason,omitempty"`  // why it was dropped
	Counter string `json:"counter,omitempty"` // the real kernel's name for that
	SPI     string `json:"spi,omitempty"`     // of its outermost protection, hexadecimal
	Data    string `json:"data,omitempty"`    // the IP datagram as it came, hexadecimal
	Inner   string `json:"inner,omitempty"`   // the IP datagram that came of it, hexadecimal
}

// ClockEvent is a move of a virtual clock.
type ClockEvent struct {
	To time.Time `json:"to"` // what happens on the way has times of its own
}

// MissingEvent says that events are missing here.
type MissingEvent struct {
	Count uint64 `json:"count"`        // of all, whatever the reader's filter takes
	Why   string `json:"why"`          // unread, fast or slow
	Of    Type   `json:"of,omitempty"` // packet; empty: events of the other types
}

// Why events are missing.
const (
	WhyUnread = "unread" // more came than are taken down while nobody reads
	WhyFast   = "fast"   // more came than are taken down while somebody reads
	WhySlow   = "slow"   // this reader was too slow for them
)
