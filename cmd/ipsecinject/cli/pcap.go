package cli

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/capture"
	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/internal/ip"
)

type pcapFlags struct {
	injection
	packets   string
	timing    string
	src, dst  string
	iface     string
	direction string
}

func (e *env) pcapCommand() *cobra.Command {
	var f pcapFlags
	cmd := &cobra.Command{
		Use:   "pcap FILE",
		Short: "Inject the packets of a capture",
		Long: `pcap injects the IP packets of a capture, in order, and prints their verdicts
as they come. The id of a packet is the number of its record, counting from 1.

FILE is classic pcap or pcapng, also compressed with gzip; "-" is standard
input, read as it comes ("tcpdump -U -w - esp | ipsecinject pcap -"). Link types:
raw IP (101, 228, 229), Ethernet (1, also with VLAN tags), null and loopback
(0, 108), Linux cooked (113, 276). Records that carry no IP are left out.

A capture of 'pfkeyd serve --pcap' has each packet twice: where it came in and where
it went out. Pcap injects the packets that came in, once: those that came in by the
interface "wire" or, with --outbound, those that the host sent by "host". Choose
others with --interface and --direction. It injects every record of any other
capture, unless these options say which. It reads a file as far as the file goes when
the command begins, so the file may be the one that the engine writes.

A broken capture, or a selected record that was not captured whole, ends the
command with exit status 2 and an error that names the record; the packets before
it have been injected.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fmt.Errorf("pcap takes one FILE, there are %d", len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error { return e.pcap(cmd.Context(), args[0], &f) },
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"pcap", "pcapng", "cap", "gz"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	f.injection.addTo(cmd)
	cmd.Flags().StringVar(&f.packets, "packets", "", "only these records, such as `1-3,7,10-`")
	cmd.Flags().StringVar(&f.timing, "timing", "none", "pauses between packets: none, original, or a `DURATION`")
	cmd.Flags().StringVar(&f.iface, "interface", "",
		"only records of the interface of this `NAME` of a pcapng; all: of every one")
	cmd.Flags().StringVar(&f.direction, "direction", "",
		"only records of a pcapng that went this `WAY`: in or out; all: either")
	cmd.Flags().StringVar(&f.src, "src", "", "only packets from this IP `ADDRESS`")
	cmd.Flags().StringVar(&f.dst, "dst", "", "only packets to this IP `ADDRESS`")
	command.Complete(cmd, "timing", "none", "original")
	command.Complete(cmd, "interface", "all", "wire", "host", "dropped")
	command.Complete(cmd, "direction", "all", "in", "out")
	return cmd
}

func (e *env) pcap(ctx context.Context, name string, f *pcapFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	sel, err := parseSelection(f.packets)
	if err != nil {
		return err
	}
	pause, err := parseTiming(f.timing)
	if err != nil {
		return err
	}
	src, err := parseAddr("--src", f.src)
	if err != nil {
		return err
	}
	dst, err := parseAddr("--dst", f.dst)
	if err != nil {
		return err
	}
	in := files.Until(ctx, e.stdin)
	if name != "-" {
		file, err := files.Open(ctx, name)
		if err != nil {
			return command.Unreadable(err)
		}
		defer file.Close()
		in = file
		// Of a file that grows only what is there now, or an engine that writes into it what is injected would never
		// come to an end.
		if info, err := file.Stat(); err == nil && info.Mode().IsRegular() {
			in = io.LimitReader(file, info.Size())
		}
	} else {
		name = "standard input"
	}
	c, err := capture.NewReader(in)
	if err != nil {
		return command.Unreadable(fmt.Errorf("%s: %w", name, err))
	}
	chosen, err := f.choice(c.Application() == capture.Application)
	if err != nil {
		return err
	}
	s, err := e.open(ctx, &f.injection)
	if err != nil {
		return err
	}
	defer s.close()

	var last time.Time // of the packet before
	first := true
	skipped, other := 0, 0
	var broken error
	for !sel.past(c.Last() + 1) {
		r, err := c.Next()
		if err == io.EOF {
			if n := sel.missing(c.Last()); n > 0 {
				broken = command.Usagef("%s: there is no record %d, the last one is %d", name, n, c.Last())
			}
			break
		}
		if err != nil {
			broken = command.Unreadable(fmt.Errorf("%s: %w", name, err))
			break
		}
		if !sel.has(r.N) {
			continue
		}
		if !chosen.takes(&r) {
			other++
			continue
		}
		packet, err := r.IP()
		if err != nil {
			broken = command.Usagef("%s: %w", name, err)
			break
		}
		if packet == nil {
			skipped++
			continue
		}
		if !between(packet, src, dst) {
			continue
		}
		d := pause.fixed
		if pause.original {
			d = r.At.Sub(last)
		}
		if !first && d > 0 {
			if err := sleep(ctx, d); err != nil {
				return err
			}
		}
		first, last = false, r.At
		if err := s.inject(ctx, uint64(r.N), packet); err != nil {
			return err
		}
	}
	if err := s.finish(ctx); err != nil {
		return err
	}
	var extra []string
	if skipped > 0 {
		extra = append(extra, fmt.Sprintf("%d records without IP left out", skipped))
	}
	if other > 0 {
		extra = append(extra, fmt.Sprintf("%d records of another interface or direction left out", other))
	}
	s.summary(strings.Join(extra, ", "))
	if broken != nil {
		return broken
	}
	return s.verdict()
}

// choice is which records are injected; an empty interface stands for any, [capture.Unknown] for either direction.
type choice struct {
	iface     string
	direction capture.Direction
}

// choice reads the two options. ours tells that the capture is one of 'pfkeyd serve --pcap'.
func (f *pcapFlags) choice(ours bool) (c choice, err error) {
	const any = "all"
	if ours && f.iface == "" {
		c.iface = capture.Wire
		if f.outbound {
			c.iface = capture.Host
		}
		c.direction = capture.In
		if f.outbound {
			c.direction = capture.Out
		}
	} else if f.iface != any {
		c.iface = f.iface
	}
	switch f.direction {
	case "":
	case any:
		c.direction = capture.Unknown
	case "in":
		c.direction = capture.In
	case "out":
		c.direction = capture.Out
	default:
		return c, command.Usagef("--direction %q is none of in, out, all", f.direction)
	}
	return c, nil
}

func (c choice) takes(r *capture.Record) bool {
	return (c.iface == "" || c.iface == r.Interface) && (c.direction == capture.Unknown || c.direction == r.Direction)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return interrupted()
	}
}

// selection is a set of record numbers; nil is all of them.
type selection []span

type span struct{ from, to int } // to 0: no end

func parseSelection(s string) (selection, error) {
	if s == "" {
		return nil, nil
	}
	var sel selection
	for part := range strings.SplitSeq(s, ",") {
		from, to, isRange := strings.Cut(part, "-")
		var sp span
		var err error
		if sp.from, err = strconv.Atoi(from); err != nil || sp.from < 1 {
			return nil, command.Usagef("--packets %q: %q is no record number, which count from 1", s, from)
		}
		switch {
		case !isRange:
			sp.to = sp.from
		case to != "":
			if sp.to, err = strconv.Atoi(to); err != nil || sp.to < sp.from {
				return nil, command.Usagef("--packets %q: %q does not end a range that begins with %d", s, to, sp.from)
			}
		}
		sel = append(sel, sp)
	}
	return sel, nil
}

func (sel selection) has(n int) bool {
	for _, s := range sel {
		if n >= s.from && (s.to == 0 || n <= s.to) {
			return true
		}
	}
	return sel == nil
}

// past tells whether no record from n on is selected.
func (sel selection) past(n int) bool {
	for _, s := range sel {
		if s.to == 0 || n <= s.to {
			return false
		}
	}
	return sel != nil
}

// missing returns the first number that was asked for and lies behind the last record, or 0.
func (sel selection) missing(last int) int {
	first := 0
	for _, s := range sel {
		n := max(s.from, last+1)
		if s.to == 0 {
			n = s.from // "10-" asks for record 10 at least
		}
		if n > last && (s.to == 0 || n <= s.to) && (first == 0 || n < first) {
			first = n
		}
	}
	return first
}

type timing struct {
	original bool
	fixed    time.Duration
}

func parseTiming(s string) (timing, error) {
	switch s {
	case "none":
		return timing{}, nil
	case "original":
		return timing{original: true}, nil
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return timing{}, command.Usagef("--timing %q is neither none, original nor a duration such as 20ms", s)
	}
	return timing{fixed: d}, nil
}

func parseAddr(flag, s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return a, command.Usagef("%s %q is no IP address", flag, s)
	}
	return a, nil
}

// between tells whether packet goes from src to dst; an invalid address stands for any.
func between(packet []byte, src, dst netip.Addr) bool {
	if !src.IsValid() && !dst.IsValid() {
		return true
	}
	var h ip.Header
	h.Parse(packet)
	return h.Src.IsValid() && (!src.IsValid() || src == h.Src) && (!dst.IsValid() || dst == h.Dst)
}
