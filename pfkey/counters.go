package pfkey

import "sync/atomic"

// counters of a server; all of them only grow but open.
type counters struct {
	accepted, attached, refused, failed         atomic.Uint64
	open                                        atomic.Int64
	received, sent, errnos                      atomic.Uint64
	empty, short, truncated, unanswerable, lost atomic.Uint64
	denied                                      atomic.Uint64
}

// Counters is a reading of a server's counters.
type Counters struct {
	Accepted uint64 `json:"accepted"` // connections that came in through a listener and are or were served
	Attached uint64 `json:"attached"` // ends that were given to Attach
	Refused  uint64 `json:"refused"`  // connections of somebody who may not use PF_KEY, or of the wrong socket type
	Failed   uint64 `json:"failed"`   // connections that the engine, or a lack of descriptors, turned away
	Open     int64  `json:"open"`     // connections served at this moment

	Received uint64 `json:"received"` // messages from clients, of whatever size
	Sent     uint64 `json:"sent"`     // messages written to clients, headers with an errno included
	Errnos   uint64 `json:"errnos"`   // requests whose errno of send(2) went back as a header
	Denied   uint64 `json:"denied"`   // requests whose send(2) failed with it, see [Conn.Send]

	Empty        uint64 `json:"empty"`        // messages without a byte
	Short        uint64 `json:"short"`        // messages of 1 to 15 bytes
	Truncated    uint64 `json:"truncated"`    // messages longer than any PF_KEY message can be, answered with EMSGSIZE
	Unanswerable uint64 `json:"unanswerable"` // errnos dropped because the request had no whole header
	Lost         uint64 `json:"lost"`         // messages of the engine that did not get to a client that is still there
}

func (c *counters) snapshot() Counters {
	return Counters{
		Accepted: c.accepted.Load(),
		Attached: c.attached.Load(),
		Refused:  c.refused.Load(),
		Failed:   c.failed.Load(),
		Open:     c.open.Load(),

		Received: c.received.Load(),
		Sent:     c.sent.Load(),
		Errnos:   c.errnos.Load(),
		Denied:   c.denied.Load(),

		Empty:        c.empty.Load(),
		Short:        c.short.Load(),
		Truncated:    c.truncated.Load(),
		Unanswerable: c.unanswerable.Load(),
		Lost:         c.lost.Load(),
	}
}
