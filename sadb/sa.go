package sadb

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/packet"
)

// State is that of RFC 2367 section 2.3.3. A kernel may add states of its own above Dead.
type State uint8

const (
	Larval State = iota // SPI reserved, no keys yet
	Mature              // usable
	Dying               // usable, its soft lifetime has passed
	Dead                // not usable; it never leaves this state
)

var stateNames = [...]string{"LARVAL", "MATURE", "DYING", "DEAD"}

// String returns the RFC's name, and a number for a kernel's own states.
func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// Traffic is what packets leave behind on an SA.
type Traffic struct {
	Seq     uint64 // outbound: the last sequence number used
	Bytes   uint64
	Packets uint64
}

// SA is the part of a security association that is the same in every kernel. The zero value is a LARVAL SA that holds
// nothing. It is safe for concurrent use and must not be copied.
type SA struct {
	mu    sync.Mutex
	state atomic.Uint32 // written by BecomeLocked, and the faults, under mu; whoever acts on it reads it under mu
	held  packet.Queue  // guarded by mu; only a LARVAL SA holds packets

	// Traffic is guarded by the SA's lock.
	Traffic
}

// Lock takes the SA's lock, which guards Traffic and the kernel's own fields beside it. It is a leaf.
func (s *SA) Lock() { s.mu.Lock() }

// Unlock releases the SA's lock.
func (s *SA) Unlock() { s.mu.Unlock() }

// State returns the state at this moment. Unless the caller holds the lock it may be another one right away: good for
// listing and for choosing among SAs, not for deciding what to do with a packet.
func (s *SA) State() State { return State(s.state.Load()) }

// Offer puts p into the queue of a LARVAL SA: the check of the state and the store are one critical section. If seen is
// Larval, out is the packet for which there was no place: the oldest packet if there were already depth of them; p
// itself, which the caller still has then, if the ledger holds all the bytes it may; else nil, and the SA has p. If
// seen is anything else the caller still has p and goes on with it.
//
// The caller reports to p, unless it has it back, and ends out, after Offer has returned. It allocates nothing.
func (s *SA) Offer(p *packet.Packet, depth int) (seen State, out *packet.Packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seen = s.State(); seen != Larval {
		return seen, nil
	}
	return seen, s.held.Push(p, packet.Queued, depth)
}

// Become moves the SA to another state and returns the one it left, with the packets that waited if that was LARVAL:
// the queue is emptied in the critical section that changes the state. The caller drives or ends them after it has
// released its own locks. A DEAD SA stays so: from is Dead and nothing happens.
func (s *SA) Become(to State) (from State, held packet.Queue) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.BecomeLocked(to)
}

// BecomeLocked is [SA.Become] for a caller that holds the SA's lock because it changes what packets read along with the
// state.
func (s *SA) BecomeLocked(to State) (from State, held packet.Queue) {
	if from = s.State(); from == Dead {
		return from, packet.Queue{}
	}
	s.state.Store(uint32(to))
	if to != Larval {
		held = s.takeLocked()
	}
	return from, held
}

// takeLocked empties the queue. It needs s.mu held.
func (s *SA) takeLocked() (held packet.Queue) {
	held, s.held = s.held, packet.Queue{}
	return held
}

// HeldLocked calls f for every packet that waits, oldest first, with its id and length. The SA's lock is held.
func (s *SA) HeldLocked(f func(id uint64, length int)) {
	for p := range s.held.All {
		f(p.ID, len(p.Data))
	}
}
