package packet

import "fmt"

// Kind is what became of a packet.
type Kind uint8

const (
	Delivered   Kind = iota + 1 // inbound: IPsec is done, Inner is the IP packet handed on
	Transmitted                 // outbound: Inner is the packet as it goes out
	Queued                      // inbound: waits on an SA (not final)
	Held                        // outbound: waits on an acquire record (not final)
	Dropped                     // ended with Reason
	Sent                        // made by the engine itself, such as a NAT-T keepalive
)

var kindNames = [...]string{Delivered: "delivered", Transmitted: "transmitted", Queued: "queued", Held: "held",
	Dropped: "dropped", Sent: "sent"}

// String returns the name that the packet port and the recordings use.
func (k Kind) String() string {
	if int(k) < len(kindNames) && kindNames[k] != "" {
		return kindNames[k]
	}
	return fmt.Sprintf("unknown(%#x)", uint8(k))
}

// Final tells whether no other verdict of the packet follows.
func (k Kind) Final() bool { return k != Queued && k != Held }

// KindByName is the inverse of [Kind.String].
func KindByName(name string) (Kind, bool) {
	for k, n := range kindNames {
		if n == name && n != "" {
			return Kind(k), true
		}
	}
	return 0, false
}

// Verdict says what became of a packet. Inner belongs to the receiver of the verdict.
type Verdict struct {
	Kind    Kind
	Reason  Reason // why it was dropped
	Counter string // the emulated kernel's own name for the reason
	Inner   []byte
}
