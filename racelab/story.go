package racelab

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/ipsec"
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

// Tell writes a run as a story, in 80 columns: one line for each step, with the SA and what waits on it at its end.
func (l *Lab) Tell(w io.Writer, r *Run) {
	against := "alone"
	if l.Ending != EndNone {
		against = "against " + l.Ending
	}
	fmt.Fprintf(w, "%s, UPDATE %s: schedule %s\n\n", l.Variant, against, r.Schedule)
	fmt.Fprintf(w, "     %-9s %-45s %-7s %s\n", "who", "does", "SA", "holds")
	fmt.Fprintf(w, "  0  %-9s %-45s %-7s %s\n", "", "GETSPI has made the SA", sadb.Larval, "-")
	var before Step // the zero value is a LARVAL SA that holds nothing
	before.Linked = true
	for i := range r.Steps {
		s := &r.Steps[i]
		state := s.State.String()
		if !s.Linked {
			state = "(" + state + ")"
		}
		did := l.did(s, &before)
		for j, line := range fold(did, 45) {
			if j == 0 {
				fmt.Fprintf(w, "%3d  %-9s %-45s %-8s%s\n", i+1, l.name(s.Actor), line, state, list(s.Held))
			} else {
				fmt.Fprintf(w, "     %-9s %s\n", "", line)
			}
		}
		for _, v := range s.Verdicts {
			fmt.Fprintf(w, "     %-9s > %s\n", "", v)
		}
		before = *s
	}
	if !before.Linked {
		fmt.Fprintf(w, "\n     (in brackets: nobody finds the SA any more)\n")
	}
	fmt.Fprintln(w)
	for i := range r.Fates {
		f := &r.Fates[i]
		end := "waits"
		if n := len(f.Verdicts); n > 0 && f.Verdicts[n-1].Kind != ipsec.Queued {
			end = strings.TrimPrefix(f.Verdicts[n-1].String(), fmt.Sprintf("packet %d ", i+1))
		}
		wrong := ""
		if f.Fails() {
			wrong = "   <- " + f.String()
		}
		fmt.Fprintf(w, "packet %d: %s%s\n", i+1, end, wrong)
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

// did puts a step into words, by where it began, where it stopped, and what it changed.
func (l *Lab) did(s, before *Step) string {
	unlocked := l.Variant == sadb.LarvalUnlocked.String()
	took := len(before.Held) > 0 && len(s.Held) == 0
	switch s.Actor {
	case Packet1, Packet2:
		id := uint64(s.Actor - '0')
		switch {
		case s.From == "" && s.To == "store":
			return "finds the SA and sees LARVAL"
		case s.From == "" && s.To == "accept":
			return "finds the SA, usable: is decrypted"
		case s.From == "":
			return "finds no usable SA"
		case s.From == "store" && slices.Contains(s.Held, id):
			text := "stores itself"
			if unlocked {
				text += ", without looking again"
			}
			if len(before.Held) > 0 {
				text += fmt.Sprintf(", in the place of packet %d", before.Held[0])
			}
			return text
		case s.From == "store" && took:
			return fmt.Sprintf("looks again, sees %s, throws packet %d away and goes on", s.State, before.Held[0])
		case s.From == "store":
			return fmt.Sprintf("looks again, sees %s, and goes on", s.State)
		case s.From == "stored" && s.To == "accept":
			return "is decrypted"
		case s.From == "stored":
			return "is done here"
		}
		return "is taken into the SA's books, and ends"
	case Update:
		switch s.From {
		case "":
			if s.To == "" {
				return "finds no LARVAL SA: refused"
			}
			return "finds the SA and brings it its keys"
		case "promote":
			if took {
				return fmt.Sprintf("promotes it, and takes packet %s along", list(before.Held))
			}
			return "promotes it"
		case "take":
			if took {
				return fmt.Sprintf("takes packet %s", list(before.Held))
			}
			return "looks what waits: nothing"
		case "taken":
			if unlocked {
				return "promotes it"
			}
		case "accept":
			return "has the packet it drove on taken into the books"
		}
		if s.To == "accept" {
			return "drives on what it has taken: it is decrypted"
		}
		if len(s.Verdicts) > 0 {
			return "drives on what it has taken: no usable SA"
		}
		return "has nothing to drive on, and is done"
	}
	switch {
	case s.From == "" && s.To != "":
		return "unlinks the SA"
	case s.From == "bury" && took:
		return fmt.Sprintf("makes it DEAD, and drops packet %s", list(before.Held))
	case s.State == sadb.Dead && before.State != sadb.Dead:
		return "makes it DEAD"
	}
	return "finds nothing to do"
}
