package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/racelab"
	"github.com/pfkeyd/pfkeyd/internal/terminal"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// raceText tells who takes part in the race before it is played.
const raceText = `   An SA is what the kernel needs to open packets. LARVAL: its keys are not
   there yet, and packets wait on it. MATURE: the keys are there.

   Two sides use the same SA at the same time:
     the packet path  looks at the SA; if it is LARVAL, stores the packet there
     key management   brings the keys with UPDATE: makes the SA MATURE, sends
                      the packets on that are stored there

   The window is between look and store: the packet path relies on what it saw.
   Here the UPDATE comes while packet 2 is in the window. The engine's own code
   runs, and is stopped at named points so that all happens in this order.`

// oldKernel names the kernel that has a fault, "" for none.
func oldKernel(fault string) string {
	switch fault {
	case sadb.LarvalUnlocked.String():
		return "Solaris until 2008"
	case sadb.LarvalWindow.String():
		return "illumos since 2008"
	}
	return "pfkeyd"
}

// raced is the race on one kernel.
type raced struct {
	variant string
	run     *racelab.Run
	rows    []row
}

// row is one line of the table: what somebody did without anybody else in between, and the SA after it.
type row struct {
	racelab.Line
	ends     []string // packets that have ended in it
	messages []message
}

func (r row) equal(o row) bool {
	return r.Line == o.Line && slices.Equal(r.ends, o.ends) && slices.Equal(r.messages, o.messages)
}

// crossed plays one order of two packets and an UPDATE on each kernel, or on that with the fault that was asked for.
func (d *demo) crossed(context.Context) error {
	d.screen.text("%s", raceText)
	variants := racelab.Variants()
	if d.flags.fault != "" {
		variants = []string{d.flags.fault}
	}
	var races []*raced
	for _, variant := range variants {
		r, err := d.race(variant)
		if err != nil {
			return err
		}
		races = append(races, r)
	}
	alike := 0
	if len(races) > 1 {
		alike = common(races)
		d.heading("on all three kernels")
		for _, row := range races[0].rows[:alike] {
			d.showRow(row)
		}
	}
	for _, r := range races {
		d.heading(fmt.Sprintf("%s (%s/%s/%s)", oldKernel(r.variant), r.variant, racelab.EndNone, r.run.Schedule))
		for _, row := range r.rows[alike:] {
			d.showRow(row)
		}
		d.judgeRace(r, len(races) > 1 && r.variant != racelab.Ours)
	}
	d.screen.text("\n   Step by step: ipsecinject race --replay NAME, with a name in parentheses.\n")
	if d.flags.fault == "" && len(d.wrong) == 0 {
		d.screen.text("The old kernels lost a packet each, as the real ones do. pfkeyd lost none.")
	}
	return nil
}

// race plays the order of events of 2008 on one kernel.
func (d *demo) race(variant string) (*raced, error) {
	lab, err := racelab.New(variant, racelab.EndNone)
	if err != nil {
		return nil, err
	}
	lab.Detail = true
	run, err := lab.PlayTurns(racelab.Crossing())
	if err != nil {
		return nil, err
	}
	return &raced{variant, run, rowsOf(run, lab.Lines(run))}, nil
}

// rowsOf makes the table of a run. Steps that leave the SA as it is are part of the row before, if the same actor made
// it.
func rowsOf(run *racelab.Run, lines []racelab.Line) []row {
	rows := []row{{Line: lines[0], messages: messagesOf(run.Opening)}}
	for i, line := range lines[1:] {
		if inWindow(run, i) {
			line.Does += ": in the window now"
		}
		if last := rows[len(rows)-1]; last.Who != line.Who || last.State != line.State || last.Holds != line.Holds {
			rows = append(rows, row{Line: line})
		}
		r, step := &rows[len(rows)-1], run.Steps[i]
		r.messages = append(r.messages, messagesOf(step.Messages)...)
		for _, v := range step.Verdicts {
			if v.Kind != packet.Queued { // one that waits is in the last column
				r.ends = append(r.ends, v.String())
			}
		}
	}
	return rows
}

// inWindow says whether a step leaves a packet between its look and its store, and somebody else goes on.
func inWindow(run *racelab.Run, i int) bool {
	return run.Steps[i].To == "store" && i+1 < len(run.Steps) && run.Steps[i+1].Actor != run.Steps[i].Actor
}

func messagesOf(list []racelab.Message) (ms []message) {
	for _, m := range list {
		ms = append(ms, newMessage(wire.Illumos(), m.Sent, m.Data))
	}
	return ms
}

// common is with how many rows all races begin.
func common(races []*raced) int {
	n := 0
	for {
		for _, r := range races {
			if n == len(r.rows) || !r.rows[n].equal(races[0].rows[n]) {
				return n
			}
		}
		n++
	}
}

// raceWidth is how wide the table's column is that says what somebody does.
const raceWidth = 49

func (d *demo) heading(name string) {
	d.screen.text("\n   %-*s  SA      holds", raceWidth+11, name)
}

func (d *demo) showRow(r row) {
	var text strings.Builder
	for i, part := range terminal.Wrap(r.Does, raceWidth) {
		if i == 0 {
			fmt.Fprintf(&text, "   %-9s  %-*s  %-6s  %s\n", r.Who, raceWidth, part, r.State, r.Holds)
		} else {
			fmt.Fprintf(&text, "   %-9s  %s\n", "", part)
		}
	}
	for _, end := range r.ends {
		fmt.Fprintf(&text, "   %-9s  > %s\n", "", end)
	}
	d.screen.show(text.String())
	if d.flags.messages {
		for _, m := range r.messages {
			d.screen.message(m.sent, m.line)
		}
	}
}

// judgeRace says what has become of the packets. old is a kernel that must have done wrong to one.
func (d *demo) judgeRace(r *raced, old bool) {
	wrong := 0
	for i := range r.run.Fates {
		if !r.run.Fates[i].Fails() {
			continue
		}
		wrong++
		what, detail := fate(r.run, i)
		line := fold("   = ", fmt.Sprintf("packet %d %s%s", i+1, what, detail))
		d.screen.show(d.screen.Paint(terminal.Red, line) + "\n")
		if !old {
			d.failed("packet %d %s", i+1, what)
		}
	}
	switch {
	case r.run.Trouble != nil:
		d.failed("%s: %v", r.variant, r.run.Trouble)
	case wrong == 0 && old:
		d.failed("%s did wrong to no packet, and should have", r.variant)
	case wrong == 0:
		d.screen.show(d.screen.Paint(terminal.Green, "   = both packets are delivered") + "\n")
	}
}

// fate says what became of a packet that did not end as it should, and what the kernel's counters tell of it.
func fate(run *racelab.Run, i int) (what, detail string) {
	f := &run.Fates[i]
	switch {
	case f.Stranded:
		what = fmt.Sprintf("is stranded: it waits on a %s SA for good", run.Steps[len(run.Steps)-1].State)
		if !counted(run, i) {
			detail = "; no counter moved"
		}
		return what, detail
	case f.Lost:
		return "is lost: thrown away as its keys came", fmt.Sprintf(" (%s)", f.Verdicts[len(f.Verdicts)-1].Counter)
	}
	return "was " + f.String(), ""
}

// counted says whether a counter of the kernel has moved since a packet was stored.
func counted(run *racelab.Run, i int) bool {
	return slices.ContainsFunc(run.Steps, func(s racelab.Step) bool {
		return s.Actor == racelab.Actor('1'+i) && s.From != "" && len(s.Counters) > 0
	})
}

// fold breaks a text into lines of the screen, the first one behind a mark.
func fold(mark, text string) string {
	parts := terminal.Wrap(text, columns-len(mark))
	return mark + strings.Join(parts, "\n"+strings.Repeat(" ", len(mark)))
}
