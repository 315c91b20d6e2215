package racelab

import (
	"fmt"
	"iter"

	"github.com/pfkeyd/pfkeyd/packet"
)

// An Actor is who takes part, by the letter that stands for it in the name of a schedule.
type Actor byte

const (
	Packet1 Actor = '1' // an inbound packet
	Packet2 Actor = '2' // another
	Update  Actor = 'U' // the UPDATE
	End     Actor = 'E' // the ending
)

// player is one actor as a coroutine: it runs until the code reaches a named point, and on from there when it is let
// go.
type player struct {
	actor   Actor
	control bool // it needs the control lock to begin
	begun   bool
	done    bool
	at      string // the point it stopped at
	yield   func(string) bool
	next    func() (string, bool)
}

// newPlayer makes a player of what an actor does.
func newPlayer(a Actor, control bool, do func()) *player {
	p := &player{actor: a, control: control}
	p.next, _ = iter.Pull(func(yield func(string) bool) {
		p.yield = yield
		do()
	})
	return p
}

// stage lets players go on one at a time.
type stage struct {
	players []*player // in the order in which they are tried
	current *player   // who runs; nil while nobody does
	pass    string    // a point at which nobody stops
	busy    func() bool
}

// point is the hook of the engine.
func (s *stage) point(name string, _ *packet.Packet) {
	if s.current != nil && name != s.pass {
		s.current.yield(name)
	}
}

// enabled appends who can go on to list: requests cannot begin while another one holds the control lock.
func (s *stage) enabled(list []*player) []*player {
	busy, known := false, false
	for _, p := range s.players {
		if p.done {
			continue
		}
		if p.control && !p.begun {
			if !known {
				busy, known = s.busy(), true
			}
			if busy {
				continue
			}
		}
		list = append(list, p)
	}
	return list
}

// step lets p run to its next point, or to its end.
func (s *stage) step(p *player) {
	p.begun = true
	s.current = p
	at, more := p.next()
	s.current = nil
	p.at, p.done = at, !more
}

// chooser says which of the enabled players goes on after the steps of a run.
type chooser func(r *Run, enabled []*player) (int, error)

// named plays the schedule of a name.
func named(name string) chooser {
	return func(r *Run, enabled []*player) (int, error) {
		n := len(r.Steps)
		if n >= len(name) {
			return 0, fmt.Errorf("schedule %q ends while %d actors have not", name, len(enabled))
		}
		for i, p := range enabled {
			if p.actor == Actor(name[n]) {
				return i, nil
			}
		}
		return 0, fmt.Errorf("schedule %q: %q cannot go on at place %d", name, name[n:n+1], n+1)
	}
}

// search goes through all schedules, depth first: it repeats the choices of the schedule before up to the last one that
// has an alternative left.
type search struct {
	taken []int
	of    []int // how many there were to choose from
}

func (d *search) choose(r *Run, enabled []*player) (int, error) {
	n := len(r.Steps)
	if n == len(d.taken) {
		d.taken = append(d.taken, 0)
		d.of = append(d.of, len(enabled))
	}
	return d.taken[n], nil
}

// more moves on to the next schedule, if there is one.
func (d *search) more() bool {
	for n := len(d.taken) - 1; n >= 0; n-- {
		if d.taken[n]++; d.taken[n] < d.of[n] {
			d.taken, d.of = d.taken[:n+1], d.of[:n+1]
			return true
		}
	}
	return false
}
