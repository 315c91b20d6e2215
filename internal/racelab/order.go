package racelab

import (
	"fmt"

	"github.com/pfkeyd/pfkeyd/sadb"
)

// A Mark is how far an actor goes in its turn.
type Mark uint8

const (
	Ended    Mark = iota // to its end
	Looked               // a packet: it has seen that the SA is LARVAL, and has done nothing about it yet
	Promoted             // the UPDATE: the SA is MATURE
)

// A Turn lets one actor go on, alone, until it reaches a mark or its end. A list of turns is an order of events that
// every variant has. The variants have different step points between those events, so each spells it as a schedule of
// its own.
type Turn struct {
	Actor Actor
	Until Mark
}

// Crossing is the order of events of 2008: packet 1 waits on the SA; packet 2 looks at it; before packet 2 does
// anything about what it has seen, the UPDATE makes the SA MATURE.
func Crossing() []Turn {
	return []Turn{{Packet1, Ended}, {Packet2, Looked}, {Update, Promoted}, {Packet2, Ended}, {Update, Ended}}
}

// over says whether a turn ends with a step of its actor.
func (t Turn) over(s *Step) bool {
	switch {
	case s.To == "":
		return true
	case t.Until == Looked:
		return s.To == "store"
	case t.Until == Promoted:
		return s.State == sadb.Mature
	}
	return false
}

// PlayTurns plays an order of events. The name of the schedule that it came to is [Run.Schedule].
func (l *Lab) PlayTurns(turns []Turn) (*Run, error) {
	r, err := l.play(inTurns(turns))
	if err != nil {
		return nil, fmt.Errorf("racelab: %w", err)
	}
	return r, nil
}

// inTurns lets the actor go on whose turn it is.
func inTurns(turns []Turn) chooser {
	turn, first := 0, 0 // first is the number of the step with which the turn began
	return func(r *Run, enabled []*player) (int, error) {
		if n := len(r.Steps); n > first && turn < len(turns) && turns[turn].over(&r.Steps[n-1]) {
			turn, first = turn+1, n
		}
		if turn == len(turns) {
			return 0, fmt.Errorf("after %d turns %d actors have not ended", turn, len(enabled))
		}
		for i, p := range enabled {
			if p.actor == turns[turn].Actor {
				return i, nil
			}
		}
		return 0, fmt.Errorf("turn %d: %q cannot go on", turn+1, turns[turn].Actor)
	}
}
