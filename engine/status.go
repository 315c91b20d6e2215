package engine

import (
	"time"

	"github.com/pfkeyd/pfkeyd/packet"
)

// Status is a reading of a running engine, ready to become JSON. It holds no key.
type Status struct {
	Kernel   string          `json:"kernel"`
	Fault    string          `json:"fault,omitempty"`
	Now      time.Time       `json:"now"`
	Virtual  bool            `json:"virtual_clock"`
	Next     *time.Time      `json:"next,omitempty"` // when something is due
	Sockets  []SocketStatus  `json:"sockets"`
	SACount  int             `json:"sa_count"` // all of them, also those beyond the limit
	SAs      []SAStatus      `json:"sas"`
	Acquires []AcquireStatus `json:"acquires"`
	// AcquireCount is how many unanswered ACQUIREs there are, also those beyond the limit.
	AcquireCount int `json:"acquire_count"`
	// Policies are in the order in which the kernel lists them; PolicyCount also counts those beyond the limit.
	Policies    []PolicyStatus    `json:"policies"`
	PolicyCount int               `json:"policy_count"`
	Ledger      packet.Balance    `json:"ledger"`
	Counters    map[string]uint64 `json:"counters"` // by the real kernel's names
}

// SocketStatus is one PF_KEY socket.
type SocketStatus struct {
	Number     uint64   `json:"number"`
	PID        int32    `json:"pid"`
	UID        uint32   `json:"uid"`
	Queued     int      `json:"queued_messages"`
	Bytes      int      `json:"queued_bytes"`
	Lost       uint64   `json:"lost_messages"`
	Registered []string `json:"registered,omitempty"` // SA types
	Flags      []string `json:"flags,omitempty"`      // the kernel's names, such as promisc
}

// SAStatus is one SA. Times are seconds of Unix time, 0 for never.
type SAStatus struct {
	Type      string         `json:"type"`
	SPI       string         `json:"spi"` // hexadecimal
	Src       string         `json:"src"`
	Dst       string         `json:"dst"`
	State     string         `json:"state"`
	Direction string         `json:"direction"`
	Auth      string         `json:"auth,omitempty"`
	Encrypt   string         `json:"encrypt,omitempty"`
	Bytes     uint64         `json:"bytes"`
	Packets   uint64         `json:"packets"`
	Added     int64          `json:"added"`
	Used      int64          `json:"used"`
	Expires   int64          `json:"expires"`
	Held      []PacketStatus `json:"held,omitempty"`
}

// AcquireStatus is one unanswered ACQUIRE.
type AcquireStatus struct {
	Type    string         `json:"type"`
	Seq     uint32         `json:"seq"`
	Src     string         `json:"src"`
	Dst     string         `json:"dst"`
	Expires int64          `json:"expires"`
	Held    []PacketStatus `json:"held,omitempty"`
}

// PolicyStatus is one security policy, or one rule of it. What it does not care about is empty, or 0.
type PolicyStatus struct {
	Tunnel    string `json:"tunnel,omitempty"` // the interface whose policy it belongs to
	Direction string `json:"direction"`        // in, out, both or fwd
	Src       string `json:"src"`              // a prefix; on illumos the local side, whatever the direction
	Dst       string `json:"dst"`
	SrcPort   uint16 `json:"src_port"`
	DstPort   uint16 `json:"dst_port"`
	Proto     uint8  `json:"proto"`    // IP protocol number
	Action    string `json:"action"`   // ipsec, pass or drop: what is preferred
	Priority  int64  `json:"priority"` // as the kernel counts; 0 where it has none
	ID        uint32 `json:"id,omitempty"`
	// Wants is how packets are to be protected, in words of the kernel's own: on Linux one after the other, on illumos
	// alternatives.
	Wants []string `json:"wants,omitempty"`
}

// PacketStatus is a packet that waits.
type PacketStatus struct {
	ID    uint64 `json:"id"`
	Bytes int    `json:"bytes"`
}

// Status reads the engine. At most limit SAs are listed, and as many ACQUIREs and policies; 0 means all, for programs
// that know how many there can be.
func (e *Engine) Status(limit int) Status {
	e.lock()
	defer e.unlock()
	st := Status{Kernel: e.name, Now: e.Now(), Virtual: e.clock == nil, SAs: []SAStatus{}, Acquires: []AcquireStatus{},
		Policies: []PolicyStatus{},
		Sockets:  []SocketStatus{}, Counters: map[string]uint64{}}
	if t, ok := e.timed.Next(); ok {
		st.Next = &t
	}
	for _, s := range e.sockets {
		st.Sockets = append(st.Sockets, s.status())
	}
	e.kernel.Describe(&st, limit)
	st.Ledger = e.ledger.Balance()
	return st
}

// status describes a socket; its kernel may add to it.
func (s *Socket) status() SocketStatus {
	st := SocketStatus{Number: s.number, PID: s.cred.PID, UID: s.cred.UID, Queued: s.Messages(),
		Bytes: s.bytes, Lost: s.lost}
	d := s.e.Dialect()
	for n := range uint8(64) {
		if t := d.SAType(n); s.Registered(t) {
			st.Registered = append(st.Registered, d.SATypeName(t))
		}
	}
	if s.promisc {
		st.Flags = append(st.Flags, "promisc")
	}
	if end, ok := s.end.(Describer); ok {
		end.Describe(&st)
	}
	return st
}
