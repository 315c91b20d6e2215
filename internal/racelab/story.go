package racelab

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/sadb"
)

// name is the actor as a story calls it.
func (l *Lab) name(a Actor) string {
	switch a {
	case Packet1:
		return "packet 1"
	case Packet2:
		return "packet 2"
	case Update:
		return "UPDATE"
	}
	switch l.Ending {
	case EndDelete, EndFlush:
		return strings.ToUpper(l.Ending)
	}
	return "ager"
}

// A Line is one step of a run in words.
type Line struct {
	Who, Does string
	State     string // of the SA after the step; in brackets when nobody finds the SA any more
	Holds     string // the packets that wait on it then, by number; "-" if none
}

// opening is what has happened before the first step.
var opening = Line{Does: "GETSPI has made the SA", State: sadb.Larval.String(), Holds: list(nil)}

// Lines puts a run into words: first how it begins, and then one line for each of its steps.
func (l *Lab) Lines(r *Run) []Line {
	lines := []Line{opening}
	before := &Step{Linked: true} // otherwise the zero value is a LARVAL SA that holds nothing
	var carried []uint64          // what the UPDATE has taken from the SA
	for i := range r.Steps {
		s := &r.Steps[i]
		if s.Actor == Update && s.emptied(before) {
			carried = before.Held
		}
		lines = append(lines, l.line(s, before, carried))
		before = s
	}
	return lines
}

// line puts a step into words.
func (l *Lab) line(s, before *Step, carried []uint64) Line {
	line := Line{l.name(s.Actor), l.did(s, before, carried), s.State.String(), list(s.Held)}
	if !s.Linked {
		line.State = "(" + line.State + ")"
	}
	return line
}

// Tell writes a run as a story, in 80 columns: one line for each step, with the SA and what waits on it at its end.
func (l *Lab) Tell(w io.Writer, r *Run) {
	against := "alone"
	if l.Ending != EndNone {
		against = "against " + l.Ending
	}
	fmt.Fprintf(w, "%s, UPDATE %s: schedule %s\n\n", l.Variant, against, r.Schedule)
	fmt.Fprintf(w, "     %-9s %-45s %-7s %s\n", "who", "does", "SA", "holds")
	for i, line := range l.Lines(r) {
		for j, does := range fold(line.Does, 45) {
			if j == 0 {
				fmt.Fprintf(w, "%3d  %-9s %-45s %-8s%s\n", i, line.Who, does, line.State, line.Holds)
			} else {
				fmt.Fprintf(w, "     %-9s %s\n", "", does)
			}
		}
		if i == 0 {
			continue
		}
		for _, v := range r.Steps[i-1].Verdicts {
			fmt.Fprintf(w, "     %-9s > %s\n", "", v)
		}
	}
	if !r.Steps[len(r.Steps)-1].Linked {
		fmt.Fprintf(w, "\n     (in brackets: nobody finds the SA any more)\n")
	}
	fmt.Fprintln(w)
	for i := range r.Fates {
		f := &r.Fates[i]
		wrong := ""
		if f.Fails() {
			wrong = "   <- " + f.String()
		}
		fmt.Fprintf(w, "packet %d: %s%s\n", i+1, f.end(i+1), wrong)
	}
	if r.Trouble != nil {
		fmt.Fprintf(w, "broken: %v\n", r.Trouble)
	}
}

func list(ids []uint64) string {
	if len(ids) == 0 {
		return "-"
	}
	return strings.Trim(fmt.Sprint(ids), "[]")
}

// fold breaks a text at spaces.
func fold(s string, n int) (lines []string) {
	for len(s) > n {
		i := strings.LastIndexByte(s[:n+1], ' ')
		if i <= 0 {
			break
		}
		lines, s = append(lines, s[:i]), s[i+1:]
	}
	return append(lines, s)
}

// did puts a step into words, by where it began, where it stopped, and what it changed. carried is what the UPDATE has
// taken from the SA so far.
func (l *Lab) did(s, before *Step, carried []uint64) string {
	switch s.Actor {
	case Packet1, Packet2:
		return l.arrived(s, before)
	case Update:
		return l.updated(s, before, carried)
	}
	switch {
	case s.From == "" && s.To != "":
		return "unlinks the SA"
	case s.From == "bury" && s.emptied(before):
		return fmt.Sprintf("makes it DEAD, and drops packet %s", list(before.Held))
	case s.State == sadb.Dead && before.State != sadb.Dead:
		return "makes it DEAD"
	}
	return "finds nothing to do"
}

// emptied says whether a step has taken what waited on the SA.
func (s *Step) emptied(before *Step) bool { return len(before.Held) > 0 && len(s.Held) == 0 }

// arrived puts a step of a packet into words.
func (l *Lab) arrived(s, before *Step) string {
	stays := slices.Contains(s.Held, uint64(s.Actor-'0'))
	switch {
	case s.From == "" && s.To == "store":
		return "finds the SA and sees LARVAL"
	case s.From == "" && s.To == "accept":
		return "finds the SA, which is usable: is decrypted"
	case s.From == "":
		return "finds no usable SA"
	case s.From == "store" && stays:
		text := "stores itself"
		switch {
		case before.Actor == s.Actor: // nobody has come in between
		case l.Variant == sadb.LarvalUnlocked.String():
			text += ", without looking again"
		default:
			text = "looks again, sees LARVAL, and stores itself"
		}
		if len(before.Held) > 0 {
			text += fmt.Sprintf(", in the place of packet %d", before.Held[0])
		}
		return text
	case s.From == "store" && s.emptied(before):
		return fmt.Sprintf("looks again, sees %s, throws packet %d away and goes on", s.State, before.Held[0])
	case s.From == "store":
		return fmt.Sprintf("looks again, sees %s, and goes on", s.State)
	case s.From == "stored" && s.To == "accept":
		return "is decrypted"
	case s.From == "stored" && stays:
		return "waits"
	case s.From == "stored":
		return "ends here"
	}
	return "is counted on the SA, and ends"
}

// updated puts a step of the UPDATE into words.
func (l *Lab) updated(s, before *Step, carried []uint64) string {
	switch s.From {
	case "":
		if s.To == "" {
			return "finds no LARVAL SA: refused"
		}
		return "finds the SA and gives it its keys"
	case "promote":
		if s.emptied(before) {
			return fmt.Sprintf("makes it %s and takes packet %s, in one go", s.State, list(before.Held))
		}
		return fmt.Sprintf("makes it %s", s.State)
	case "take":
		if s.emptied(before) {
			return fmt.Sprintf("takes packet %s", list(before.Held))
		}
		return "looks what waits: nothing"
	case "taken":
		if l.Variant == sadb.LarvalUnlocked.String() {
			return fmt.Sprintf("makes it %s", s.State)
		}
	case "accept":
		return fmt.Sprintf("has packet %s counted on the SA", list(carried))
	}
	switch {
	case s.To == "accept":
		return fmt.Sprintf("sends packet %s on: it is decrypted", list(carried))
	case len(carried) > 0:
		return fmt.Sprintf("sends packet %s on: no usable SA", list(carried))
	}
	return "has nothing to send on, and is done"
}
