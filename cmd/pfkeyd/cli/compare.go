package cli

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/cmd/internal/words"
	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/compare"
	"github.com/pfkeyd/pfkeyd/internal/conform/kernels"
	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/internal/ip"
)

// compareWith runs conform --compare with the flags of the command.
func (e *env) compareWith(cmd *cobra.Command, on []string, kernel string, args []string, run string, w *reporter,
	others bool) error {
	c := comparison{on: on, run: run, json: w.json, showKeys: w.showKeys}
	if cmd.Flags().Changed("kernel") {
		c.kernel = kernel
	}
	switch {
	case len(args) != 1:
		return command.Usagef("--compare: one scenario is wanted, by its name or as a file")
	case others:
		return command.Usagef("--compare makes engines with the addresses of the recordings' host: --against, --addr, " +
			"-o and --fault are for conform without it")
	}
	c.scenario = args[0]
	if code := e.compare(cmd.Context(), c); code != command.ExitDone {
		return command.Told(code)
	}
	return nil
}

// comparison is what conform --compare is told.
type comparison struct {
	on             []string // names of kernels
	kernel         string   // whose recording it is; "": found out
	scenario       string   // a name or a file
	run            string   // which scenarios of a file
	json, showKeys bool
}

// compare plays a scenario on several kernels and prints who answers what. It returns the exit code.
func (e *env) compare(ctx context.Context, c comparison) int {
	complain := func(err error) { fmt.Fprintf(e.stderr, "pfkeyd conform: %s\n", words.Text(err)) }
	var on []*conform.Kernel
	for _, name := range c.on {
		k, err := kernels.ByName(name)
		if err == nil {
			err = conform.Try(conform.InProcess{Kernel: k}, k)
		}
		if err != nil {
			complain(fmt.Errorf("--compare: %w", err))
			return command.ExitUsage
		}
		on = append(on, k)
	}
	from, scs, err := c.find(ctx, on)
	if err != nil {
		complain(err)
		return command.ExitUsage
	}
	for i, sc := range scs {
		steps, err := compare.Run(from, sc, on)
		if err != nil {
			complain(fmt.Errorf("%s: %w", sc.Name, err))
			return command.ExitFailed
		}
		if c.json {
			writeComparisonJSON(e.stdout, sc, steps, c.showKeys)
			continue
		}
		if i > 0 {
			fmt.Fprintln(e.stdout)
		}
		fmt.Fprintf(e.stdout, "%s, written for %s (%s:%d)\n", sc.Name, from.Name, sc.File, sc.Line)
		writeComparison(e.stdout, from, steps)
	}
	return command.ExitDone
}

// find finds the scenarios, and the kernel they were written for.
func (c comparison) find(ctx context.Context, on []*conform.Kernel) (*conform.Kernel, []*conform.Scenario, error) {
	candidates := slices.Concat(on, kernels.All)
	if c.kernel != "" {
		k, err := kernels.ByName(c.kernel)
		if err != nil {
			return nil, nil, err
		}
		candidates = []*conform.Kernel{k}
	}
	if _, err := os.Stat(c.scenario); err == nil || conform.IsRecording(c.scenario) {
		k := candidates[0]
		if c.kernel == "" {
			path, err := filepath.Abs(c.scenario)
			if err != nil {
				return nil, nil, err
			}
			folder, _, _ := strings.Cut(filepath.Base(filepath.Dir(path)), "-")
			if named, err := kernels.ByName(folder); err == nil {
				k = named
			}
		}
		scs, err := conform.Choose(ctx, k, []string{c.scenario}, c.run)
		return k, scs, err
	}
	tried := map[*conform.Kernel]bool{}
	for _, k := range candidates {
		if tried[k] || len(k.Builtin) == 0 {
			continue
		}
		tried[k] = true
		scs, err := conform.Choose(ctx, k, nil, "")
		if err != nil {
			return nil, nil, err
		}
		for _, sc := range scs {
			if sc.Name == c.scenario || sc.Folder()+"/"+sc.Name == c.scenario {
				return k, []*conform.Scenario{sc}, nil
			}
		}
	}
	if ctx.Err() != nil {
		return nil, nil, files.ErrInterrupted
	}
	return nil, nil, fmt.Errorf("%s is no file, and no scenario that is built in", c.scenario)
}

// writeComparison prints step by step what the kernels answered. Those that answered the same share a line.
func writeComparison(w io.Writer, from *conform.Kernel, steps []compare.Step) {
	wide := 0
	for _, a := range steps[0].Answers {
		wide = max(wide, len(a.Kernel.Name))
	}
	for i := range steps {
		st := &steps[i]
		fmt.Fprintf(w, "\n%d. %s\n", i+1, stepLine(from, st))
		var said [][]string
		var who [][]string
		for n := range st.Answers {
			lines := answerLines(&st.Answers[n])
			at := slices.IndexFunc(said, func(other []string) bool { return slices.Equal(lines, other) })
			if at < 0 {
				said, who, at = append(said, lines), append(who, nil), len(said)
			}
			who[at] = append(who[at], st.Answers[n].Kernel.Name)
		}
		for n, lines := range said {
			name := strings.Join(who[n], ", ")
			if len(who[n]) == len(st.Answers) && len(who[n]) > 1 {
				name = "all"
			}
			for j, line := range lines {
				if j > 0 {
					name = ""
				}
				fmt.Fprintf(w, "   %-*s  %s\n", wide, name, line)
			}
		}
	}
}

// stepLine is what a step does, in one line.
func stepLine(from *conform.Kernel, st *compare.Step) string {
	what := st.Op
	if st.Socket != "" {
		what += " " + st.Socket
	}
	if m := st.Message(); m != nil {
		return what + ": " + from.Dialect.Line(m.Hex)
	}
	args := st.Args
	if c, ok := args.(interface{ Common() any }); ok {
		args = c.Common()
	}
	switch x := args.(type) {
	case *conform.Outgoing:
		return what + ": " + packetLine(x.Packet)
	case *conform.Incoming:
		if x.Left != nil {
			return fmt.Sprintf("%s: packet %d of those that left", what, *x.Left)
		}
		return what + ": " + packetLine(x.Packet)
	case *conform.Lapse:
		return fmt.Sprintf("%s: %v pass", what, x.Duration)
	}
	if b, err := json.Marshal(st.Args); err == nil && string(b) != "{}" && string(b) != "null" {
		return what + ": " + string(b)
	}
	return what
}

// answerLines is what one kernel answered, line by line.
func answerLines(a *compare.Answer) (lines []string) {
	if a.Skipped != "" {
		return []string{"not done: " + a.Skipped}
	}
	for _, n := range a.Notes {
		first, _, _ := strings.Cut(n, "\n")
		lines = append(lines, "("+first+")")
	}
	out := &a.Outcome
	if out.Errno != "" {
		lines = append(lines, out.Errno)
	}
	if out.Verdict != "" {
		line := out.Verdict
		if out.Reason != "" {
			line += " (" + out.Reason + ")"
		}
		if out.Inner != nil {
			line += ": " + packetLine(out.Inner)
		}
		lines = append(lines, line)
	}
	for _, f := range out.Packets {
		lines = append(lines, fmt.Sprintf("packet %d: %s", f.ID, strings.TrimSpace(f.Verdict+" "+f.Reason)))
	}
	for _, m := range out.Rx {
		if m.EOF {
			lines = append(lines, m.Socket+": end of file")
			continue
		}
		lines = append(lines, m.Socket+": "+a.Dialect.Line(m.Hex))
	}
	if len(lines) == 0 {
		lines = []string{"-"}
	}
	return lines
}

// packetLine is a packet in a few words.
func packetLine(pkt []byte) string {
	var h ip.Header
	if h.Parse(pkt) != ip.Fine {
		return fmt.Sprintf("%d bytes", len(pkt))
	}
	rest := pkt[h.Off:]
	u32 := func(off int) uint32 {
		if len(rest) < off+4 {
			return 0
		}
		return binary.BigEndian.Uint32(rest[off:])
	}
	line := fmt.Sprintf("protocol %d from %v to %v", h.Proto, h.Src, h.Dst)
	switch h.Proto {
	case ip.ProtoUDP, ip.ProtoTCP:
		name := map[uint8]string{ip.ProtoUDP: "UDP", ip.ProtoTCP: "TCP"}[h.Proto]
		src, dst := uint16(u32(0)>>16), uint16(u32(0))
		line = fmt.Sprintf("%s from %v to %v", name, netip.AddrPortFrom(h.Src, src), netip.AddrPortFrom(h.Dst, dst))
	case ip.ProtoICMP, ip.ProtoICMPv6:
		line = fmt.Sprintf("ICMP from %v to %v", h.Src, h.Dst)
	case ip.ProtoESP:
		line = fmt.Sprintf("ESP %#x number %d from %v to %v", u32(0), u32(4), h.Src, h.Dst)
	case ip.ProtoAH:
		line = fmt.Sprintf("AH %#x number %d from %v to %v", u32(4), u32(8), h.Src, h.Dst)
	}
	return fmt.Sprintf("%s, %d bytes", line, len(pkt))
}

// answerJSON is one answer as --json has it.
type answerJSON struct {
	Scenario string        `json:"scenario"`
	Step     int           `json:"step"` // from 1
	Op       string        `json:"op"`
	Kernel   string        `json:"kernel"`
	Asked    string        `json:"asked,omitempty"` // the message as this kernel got it, in hexadecimal
	Skipped  string        `json:"not_done,omitempty"`
	Notes    []string      `json:"notes,omitempty"`
	Errno    string        `json:"errno,omitempty"`
	Verdict  string        `json:"verdict,omitempty"`
	Reason   string        `json:"reason,omitempty"`
	Messages []messageJSON `json:"messages,omitempty"`
}

type messageJSON struct {
	Socket string `json:"s"`
	Hex    string `json:"hex"`
	Line   string `json:"line"`
}

// writeComparisonJSON writes an object for each answer. Key bytes are zeroed unless showKeys.
func writeComparisonJSON(w io.Writer, sc *conform.Scenario, steps []compare.Step, showKeys bool) {
	out := json.NewEncoder(w)
	for i, st := range steps {
		for _, a := range st.Answers {
			show := func(msg []byte) string {
				if !showKeys {
					msg = a.Dialect.Redact(msg)
				}
				return hex.EncodeToString(msg)
			}
			v := answerJSON{Scenario: sc.Name, Step: i + 1, Op: st.Op, Kernel: a.Kernel.Name, Asked: show(a.Asked),
				Skipped: a.Skipped, Notes: a.Notes, Errno: a.Outcome.Errno, Verdict: a.Outcome.Verdict,
				Reason: a.Outcome.Reason}
			for _, m := range a.Outcome.Rx {
				v.Messages = append(v.Messages, messageJSON{m.Socket, show(m.Hex), a.Dialect.Line(m.Hex)})
			}
			_ = out.Encode(v) // a writer that fails has been told
		}
	}
}
