// Package status says how a running engine stands: what "pfkeyd status --json" prints, the control port answers, and a
// program reads that has an engine of its own. All of it is plain data that belongs to the reader. Times that are
// numbers are seconds of Unix time, 0 for never; texts are those that people see, and empty where there is nothing to
// say.
package status

import (
	"time"

	"github.com/pfkeyd/pfkeyd/packet"
)

// Engine is a reading of a running engine, ready to become JSON. It holds no key.
type Engine struct {
	Kernel   string     `json:"kernel"`
	Fault    string     `json:"fault,omitempty"`
	Now      time.Time  `json:"now"`
	Virtual  bool       `json:"virtual_clock"`
	Next     *time.Time `json:"next,omitempty"` // when something is due
	Sockets  []Socket   `json:"sockets"`
	SACount  int        `json:"sa_count"` // all of them, also those beyond the limit
	SAs      []SA       `json:"sas"`
	Acquires []Acquire  `json:"acquires"`
	// AcquireCount is how many unanswered ACQUIREs there are, also those beyond the limit.
	AcquireCount int `json:"acquire_count"`
	// Policies are in the order in which the kernel lists them; PolicyCount also counts those beyond the limit.
	Policies    []Policy          `json:"policies"`
	PolicyCount int               `json:"policy_count"`
	Ledger      packet.Balance    `json:"ledger"`
	Counters    map[string]uint64 `json:"counters"` // by the real kernel's names
}

// Socket is one PF_KEY socket.
type Socket struct {
	Number     uint64   `json:"number"`
	PID        int32    `json:"pid"`
	UID        uint32   `json:"uid"`
	Queued     int      `json:"queued_messages"`
	Bytes      int      `json:"queued_bytes"`
	Lost       uint64   `json:"lost_messages"`
	Registered []string `json:"registered,omitempty"` // SA types
	Flags      []string `json:"flags,omitempty"`      // the kernel's names, such as promisc
}

// SA is one SA.
type SA struct {
	Type      string   `json:"type"`
	SPI       string   `json:"spi"` // hexadecimal
	Src       string   `json:"src"`
	Dst       string   `json:"dst"`
	State     string   `json:"state"`
	Direction string   `json:"direction"`
	Auth      string   `json:"auth,omitempty"`
	Encrypt   string   `json:"encrypt,omitempty"`
	Bytes     uint64   `json:"bytes"`
	Packets   uint64   `json:"packets"`
	Added     int64    `json:"added"`
	Used      int64    `json:"used"`
	Expires   int64    `json:"expires"`
	Held      []Packet `json:"held,omitempty"`
}

// Acquire is one unanswered ACQUIRE.
type Acquire struct {
	Type    string   `json:"type"`
	Seq     uint32   `json:"seq"`
	Src     string   `json:"src"`
	Dst     string   `json:"dst"`
	Expires int64    `json:"expires"`
	Held    []Packet `json:"held,omitempty"`
}

// Policy is one security policy, or one rule of it. What it does not care about is empty, or 0.
type Policy struct {
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

// Packet is a packet that waits.
type Packet struct {
	ID    uint64 `json:"id"`
	Bytes int    `json:"bytes"` // of its IP datagram
}
