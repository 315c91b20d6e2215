package fidelity

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/terminal"
)

const introduction = `What is known of each emulated kernel, and from where. A test writes this page from the recordings and compares:
it changes when a recording is added or taken away, and when an emulated kernel answers otherwise. ` + "`pfkeyd conform\n" +
	"--report`" + ` prints the same, of one kernel with ` + "`--kernel NAME`" + `.

- **sent**, **heard**: recorded conversations of the real kernel in which the message, or a message with the
  extension, went to it or came from it. Each is played and compared byte for byte.
- **random**: messages of recordings that were made at random, most of them wrong in some way.
- **live**: messages of random conversations with a live kernel, whose answers were then compared.
- **rules**: conversations that were derived from a rule which is known of the kernel. Nobody has recorded them.
- **deviates**: recorded conversations in which ours answers otherwise on purpose, beginning with that message.
- **fails**: those that differ without a reason.

What no recording has is written from reading the sources of the kernel that has answered, or its documentation.
[RFC2367.md](../RFC2367.md) says clause by clause what is by reading, [upstream.md](upstream.md) likewise. Packets have
recordings of their own ([testdata/pcaps](../testdata/pcaps/esp-linux-6.1/README.md)). About a third of the recorded
conversations of each kernel is kept apart and is not counted here. The recordings of 2008
([illumos-2008](../testdata/golden/illumos-2008/README.md)) are of an older kernel, and not counted either.
`

// Page writes accounts of kernels, and what was kept of others, in Markdown.
func Page(w io.Writer, accounts []*Account) {
	fmt.Fprintf(w, "# How faithful each kernel is\n\n%s\n", introduction)
	var rows [][]string
	for _, a := range accounts {
		sum, random := a.played(), 0
		for _, r := range a.Messages {
			random += r.Mutated
		}
		spoken := 0
		for _, k := range kept(a.Kernel, Random) {
			spoken += k.Account.played().Messages
		}
		rows = append(rows, []string{a.Kernel, count(sum.Played), count(sum.Deviating), count(sum.Failing),
			count(random), count(spoken), unread(a.Messages), unread(a.Extensions)})
	}
	for _, k := range kept(bridge, Played) {
		sum := k.Account.played()
		spoken := 0
		for _, r := range kept(bridge, Random) {
			spoken += r.Account.played().Messages
		}
		rows = append(rows, []string{bridge, count(sum.Played), count(sum.Deviating), count(sum.Failing), "-",
			count(spoken), unread(k.Account.Messages), unread(k.Account.Extensions)})
	}
	table(w, []string{"kernel", "played", "deviate", "fail", "random", "live", "messages", "extensions"}, rows)
	fmt.Fprint(w, "\nThe last two columns say how many of a kernel's messages and extensions some recording has.\n")
	for _, a := range accounts {
		fmt.Fprintln(w)
		Section(w, a)
	}
	for _, k := range kept(bridge, Played) {
		fmt.Fprintln(w)
		bridged(w, &k)
	}
}

// bridge is the kernel that is the host's own, behind the messages of the emulated one.
const bridge = "xfrm"

// Section writes the account of one kernel.
func Section(w io.Writer, a *Account) {
	spoken := kept(a.Kernel, Random)
	fmt.Fprintf(w, "## %s\n\n", a.Kernel)
	var sets [][]string
	for _, s := range a.Sets {
		sets = append(sets, []string{s.Name, count(s.Played), count(s.Deviating), count(s.Failing),
			cmp.Or(s.Answers, "not said")})
	}
	table(w, []string{"recordings", "played", "deviate", "fail", "who answered"}, sets)
	talks(w, spoken)
	a.rows(w, spoken)
	a.reading(w)
	a.deviations(w)
}

// deviations lists them by name.
func (a *Account) deviations(w io.Writer) {
	if len(a.Deviations) == 0 {
		return
	}
	fmt.Fprint(w, "\nDeviations:\n\n")
	for _, d := range a.Deviations {
		fmt.Fprint(w, item(fmt.Sprintf("`%s`, %d %s, %s: %s", d.Name, d.Conversations,
			plural(d.Conversations, "conversation"), strings.Join(d.Messages, ", "), d.Reason)))
	}
}

// bridged writes what was kept of the recordings that were played on the host's own kernel.
func bridged(w io.Writer, k *Kept) {
	spoken := kept(k.Kernel, Random)
	fmt.Fprintf(w, "## %s\n\n", k.Kernel)
	sum := k.Account.played()
	fmt.Fprint(w, paragraph(fmt.Sprintf("Messages in front of the SAs, policies and packets of the machine's own kernel. "+
		"The %d recordings of %s were played on %s on %s: %d deviated, %d failed. [xfrm.md](xfrm.md) says what cannot work.",
		sum.Played, k.Account.Kernel, k.Of, k.Date, sum.Deviating, sum.Failing)))
	if len(k.Account.Failing) > 0 {
		fmt.Fprint(w, "\n"+paragraph("These fail: "+strings.Join(k.Account.Failing, ", ")+"."))
	}
	talks(w, spoken)
	k.Account.rows(w, spoken)
	k.Account.deviations(w)
}

// talks says which random conversations were held with a kernel.
func talks(w io.Writer, spoken []Kept) {
	for i, k := range spoken {
		if i == 0 {
			fmt.Fprintln(w)
		}
		sum := k.Account.played()
		fmt.Fprint(w, item(fmt.Sprintf("%s, %s: %d messages in %d random conversations (seed %d): %d deviated, %d "+
			"failed", k.Date, k.Of, sum.Messages, sum.Played, k.Seed, sum.Deviating, sum.Failing)))
	}
}

// rows writes both tables, and which rows are from reading only.
func (a *Account) rows(w io.Writer, spoken []Kept) {
	for _, t := range []struct {
		kind string
		of   func(*Account) []Row
	}{{"message", messageRows}, {"extension", extensionRows}} {
		var rows [][]string
		for _, r := range t.of(a) {
			rows = append(rows, []string{r.Name, count(r.Sent), count(r.Heard), count(r.Mutated),
				count(mutated(spoken, t.of, r.Name)), count(r.Derived), count(r.Deviating), count(r.Failing)})
		}
		fmt.Fprintln(w)
		table(w, []string{t.kind, "sent", "heard", "random", "live", "rules", "deviates", "fails"}, rows)
	}
}

// reading writes what is known by reading only, and of which source.
func (a *Account) reading(w io.Writer) {
	var what []string
	for _, r := range slices.Concat(a.Messages, a.Extensions) {
		if r.Read() && r.Name != Unknown {
			what = append(what, r.Name)
		}
	}
	builtin := len(a.Sets) > 0 && a.Sets[0].Answers != ""
	text := "In none of these: "
	if builtin {
		text = "By reading only: "
	}
	if len(what) > 0 {
		text += strings.Join(what, ", ") + "."
	} else {
		text += "no message and no extension."
	}
	if len(a.Rules) > 0 {
		var rules []string
		for _, r := range a.Rules {
			rules = append(rules, fmt.Sprintf("%s (%d)", r.Name, r.Conversations))
		}
		text += " Rules, with the number of their conversations: " + strings.Join(rules, ", ") + "."
	}
	if builtin {
		text += " What is by reading is of the same kernel: " + a.Sets[0].Answers + "."
	}
	fmt.Fprint(w, "\n"+paragraph(text))
}

// unread says how many rows some recording has.
func unread(rows []Row) string {
	n := 0
	for _, r := range rows {
		if !r.Read() {
			n++
		}
	}
	return fmt.Sprintf("%d of %d", n, len(rows))
}

func count(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func plural(n int, s string) string {
	if n == 1 {
		return s
	}
	return s + "s"
}

const columns = 100 // of text on the page

func paragraph(text string) string {
	return strings.Join(terminal.Wrap(text, columns), "\n") + "\n"
}

// item is a point of a list.
func item(text string) string {
	return "- " + strings.Join(terminal.Wrap(text, columns-2), "\n  ") + "\n"
}

// table writes one whose columns are as wide as what is in them, numbers to the right, so that it reads in a terminal.
func table(w io.Writer, head []string, rows [][]string) {
	width := make([]int, len(head))
	left := make([]bool, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			width[i] = max(width[i], len(cell))
		}
	}
	for i := range head {
		left[i] = i == 0 || slices.ContainsFunc(rows, func(row []string) bool {
			return strings.IndexFunc(row[i], func(r rune) bool { return r > '9' }) >= 0
		})
	}
	line := func(cell func(i int) string) {
		for i := range head {
			fmt.Fprintf(w, "| %s ", cell(i))
		}
		fmt.Fprintln(w, "|")
	}
	text := func(row []string) func(int) string {
		return func(i int) string {
			if left[i] {
				return fmt.Sprintf("%-*s", width[i], row[i])
			}
			return fmt.Sprintf("%*s", width[i], row[i])
		}
	}
	line(text(head))
	line(func(i int) string {
		if left[i] {
			return strings.Repeat("-", width[i])
		}
		return strings.Repeat("-", width[i]-1) + ":"
	})
	for _, row := range rows {
		line(text(row))
	}
}
