// Package transform is the seam in the middle of Linux' key engine: what key managers, above it, and the transforms,
// below it, tell each other. Above is PF_KEY ([Manager], package afkey), below are the databases of states and policies
// with their timers and packets: those of package xfrm, or any others that can answer the same.
//
// Nothing here is a number of PF_KEY's. Errors and algorithms are symbols, protocols are those of IP, and what else
// Linux counts at this place counts here in the same way: a mode, a direction and a flag have the numbers of
// <linux/xfrm.h>.
//
// Everything is said under the engine's control lock. What one side hands over is the other's until the call returns
// and no longer, but for what says otherwise.
package transform

// Mode is how an SA puts packets together.
type Mode uint8

// The modes that mean something here. Between them are route optimisation and the inbound trigger.
const (
	Transport Mode = 0
	Tunnel    Mode = 1
	BEET      Mode = 4 // the last one
)

// Encapsulates tells whether the mode has addresses of its own.
func (m Mode) Encapsulates() bool { return m == Tunnel || m == BEET }

// Flags are habits of an SA.
type Flags uint8

// The flags that PF_KEY knows as well.
const (
	NoECN      Flags = 1 << iota // the outer header does not tell the inner one of congestion, nor the other way round
	DecapDSCP                    // the inner header takes the outer one's class of service
	NoPMTUDisc                   // the outer header says nothing about fragments
)

// Direction is which packets a policy is for.
type Direction uint8

// The directions.
const (
	In Direction = iota
	Out
	Forward
	Directions // how many there are
)

// AnyProto stands for AH, ESP and IPCOMP where a protocol is asked for (IPSEC_PROTO_ANY).
const AnyProto = 255

// By is who caused something: the number and the process id of the message that asked for it.
type By struct{ Seq, PID uint32 }

// Change is what has become of a state or a policy.
type Change uint8

// The changes.
const (
	Added Change = iota
	Updated
	Deleted
	DeletedByID // a policy that was named by its id
)
