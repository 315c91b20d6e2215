package sadb

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/packet"
)

// Fault is a deliberate defect of the larval queue, as real kernels had it. The rules are bent in this file and nowhere
// else in the package; a fault never adds a delay, so its windows are as wide as the code makes them.
type Fault uint8

const (
	// NoFault keeps the rules.
	NoFault Fault = iota
	// LarvalUnlocked is Solaris until 2008: the store does not look at the state, and UPDATE empties the queue before
	// it promotes. A packet that saw LARVAL, or that arrives in between, is stranded on a MATURE SA.
	LarvalUnlocked
	// LarvalWindow is illumos since then: the store looks at the state under the lock, but UPDATE empties the queue
	// apart from the promotion, and a packet handed back goes on with the SA whatever has become of it.
	LarvalWindow
)

var faultNames = [...]string{"", "larval-unlocked", "larval-window"}

// FaultNames are the names of the faults, in the order of the years; a new slice each time.
func FaultNames() []string { return slices.Clone(faultNames[1:]) }

// String returns the name of the option --fault, empty for NoFault.
func (f Fault) String() string {
	if int(f) < len(faultNames) {
		return faultNames[f]
	}
	return fmt.Sprintf("unknown(%#x)", uint8(f))
}

// FaultByName is the inverse of [Fault.String].
func FaultByName(name string) (Fault, error) {
	for f, n := range faultNames {
		if n == name {
			return Fault(f), nil
		}
	}
	return NoFault, fmt.Errorf("sadb: unknown fault %q (known: %s)", name, strings.Join(faultNames[1:], ", "))
}

// Offer is [SA.Offer], bent by the fault.
func (f Fault) Offer(s *SA, p *packet.Packet, depth int) (seen State, out *packet.Packet) {
	switch f {
	case LarvalUnlocked: // the caller saw LARVAL some time ago; nobody looks again
		s.mu.Lock()
		defer s.mu.Unlock()
		return Larval, s.held.Push(p, packet.Queued, depth)
	case LarvalWindow: // a packet left in the queue by the promotion is thrown away by the next one
		s.mu.Lock()
		defer s.mu.Unlock()
		if seen = s.State(); seen == Larval {
			return seen, s.held.Push(p, packet.Queued, depth)
		}
		return seen, s.held.Pop()
	}
	return s.Offer(p, depth)
}

// PromoteLocked is [SA.BecomeLocked] out of LARVAL, bent by the fault: with one, the queue stays behind and is emptied
// by [Fault.Take].
func (f Fault) PromoteLocked(s *SA, to State) (from State, held packet.Queue) {
	if f == NoFault {
		return s.BecomeLocked(to)
	}
	if from = s.State(); from != Dead {
		s.state.Store(uint32(to))
	}
	return from, held
}

// DieLocked is [SA.BecomeLocked] to Dead, bent by the fault: whatever is on the queue then stays there until the last
// reference to the SA goes, as in kernels that count references. last says that this is so now.
func (f Fault) DieLocked(s *SA, last bool) packet.Queue {
	if f == NoFault {
		_, held := s.BecomeLocked(Dead)
		return held
	}
	s.state.Store(uint32(Dead))
	if last {
		return s.takeLocked()
	}
	return packet.Queue{}
}

// Take empties the queue at the moment at which the faulty kernel does. Without a fault the promotion has taken it.
func (f Fault) Take(s *SA) packet.Queue {
	if f == NoFault {
		return packet.Queue{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.takeLocked()
}
