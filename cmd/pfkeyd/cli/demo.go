package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/control"
	"github.com/pfkeyd/pfkeyd/internal/live"
	"github.com/pfkeyd/pfkeyd/internal/station"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// demoPatience is how long the demo waits for the engine, in all or between two pauses. The engine takes microseconds.
const demoPatience = 30 * time.Second

// demoKernel is the only kernel that has packets wait on a LARVAL SA.
const demoKernel = "illumos"

// demoBegin is what the engine's clock shows at first, so that messages are the same in every performance.
var demoBegin = time.Date(2008, 1, 1, 0, 0, 0, 0, time.UTC)

type demoFlags struct {
	kernel   string
	fault    string
	slow     time.Duration
	step     bool
	messages bool
	live     bool
}

func (e *env) demo() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show the race between IKE's keys and its first packets",
		Long: `Demo shows in four acts what happens to packets that arrive before their keys.

Acts 1 to 3 play RFC 2409 Quick Mode between an initiator and a responder. The
responder speaks PF_KEY to an emulated illumos over a Unix socket. The ESP
packets of the initiator were protected by a real Linux kernel and come in
through the packet port. They arrive before the responder has the keys, and
wait on the LARVAL SA.

Act 4 is the race of 2008: a packet and the keys come at the same moment. The
engine's own code is stopped at named points, so that two packets and an UPDATE
always come in the same order, on three kernels: Solaris until 2008
(larval-unlocked), illumos since then (larval-window), and pfkeyd. A table says
who does what, in which state the SA is after that, and which packets it holds.

--fault plays all acts on one of the two old kernels. --kernel takes illumos
only, because no other kernel has packets wait for keys.

--step waits for a key before it shows what comes next; Ctrl-C ends the demo.
Where the standard input is not a terminal, the end of a line is the key.

--messages shows each PF_KEY message to the kernel (>) and from it (<) in one
line, folded where it is long, without its keys.

--live also shows acts 1 to 3 as a page in a browser, as 'pfkeyd live' does, and
keeps the engine and the page when the demo is over, until Ctrl-C.

The demo needs no privilege and leaves nothing behind.

Exit status: 0 every packet ended as it should; 1 a packet did not, and the
error names it; 2 usage.`,
		Example: `  pfkeyd demo
  pfkeyd demo --fault larval-unlocked
  pfkeyd demo --step --messages
  pfkeyd demo --live`,
		Args: command.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return e.runDemo(cmd.Context(), &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.kernel, "kernel", demoKernel, "the kernel to emulate, by `NAME`")
	fl.StringVar(&f.fault, "fault", "", "an old `KERNEL`: "+strings.Join(sadb.FaultNames(), ", "))
	fl.DurationVar(&f.slow, "slow", 0, "wait `TIME` for each line that is shown")
	fl.Lookup("slow").NoOptDefVal = "500ms"
	fl.BoolVar(&f.step, "step", false, "wait for a key before each thing that is shown")
	fl.BoolVar(&f.messages, "messages", false, "show each PF_KEY message in one line")
	fl.BoolVar(&f.live, "live", false, "show it as a page in a browser, too, and keep that")
	command.Complete(cmd, "kernel", demoKernel)
	command.Complete(cmd, "fault", sadb.FaultNames()...)
	return cmd
}

func (e *env) runDemo(ctx context.Context, f *demoFlags) error {
	switch {
	case f.kernel != demoKernel:
		return command.Usagef("--kernel %s: the demo needs %s, where packets wait for keys", f.kernel, demoKernel)
	case f.slow < 0:
		return command.Usagef("--slow %v is less than nothing", f.slow)
	case f.slow > 0 && f.step:
		return command.Usagef("--slow and --step exclude each other")
	}
	// Who reads the output may have enough of it. Then a write fails, and the demo still takes its files away.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	defer signal.Stop(pipe)

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := time.AfterFunc(demoPatience, func() {
		cancel(fmt.Errorf("the engine has not answered within %v", demoPatience))
	})
	defer patience.Stop()

	d, err := openDemo(ctx, f, newScreen(e.stdout, &e.colour))
	if err != nil {
		return err
	}
	defer d.close()
	if p := f.pace(e); p != nil {
		d.screen.pause = func(lines int) error { // what the audience takes does not count
			patience.Stop()
			defer patience.Reset(demoPatience)
			return p.pause(ctx, lines)
		}
	}
	var page *livePage
	if f.live {
		if page, err = showLive(ctx, live.Options{Engine: d.address, Title: "pfkeyd demo"}, 0); err != nil {
			return err
		}
		defer page.close()
		d.screen.text("page: %s\n", page.address)
		defer e.openPage(page.address)()
	}
	err = d.play(ctx)
	if cause := context.Cause(ctx); errors.Is(cause, context.Canceled) {
		err = errInterrupted
	} else if cause != nil {
		err = cause
	} else if page != nil {
		patience.Stop()
		d.screen.text("\nThe page and its engine stay until Ctrl-C.")
		err = errors.Join(err, page.wait(ctx))
	}
	if err != nil {
		return command.Failed(err)
	}
	return nil
}

// pace is nil where nobody waits.
func (f *demoFlags) pace(e *env) pace {
	switch {
	case f.step:
		return newStepper(e.stdin)
	case f.slow > 0:
		return slow(f.slow)
	}
	return nil
}

// demo is one performance: an engine behind its sockets, the responder's client, and the initiator's way to the wire.
type demo struct {
	flags     *demoFlags
	screen    *screen
	capture   *recordedTalk
	address   pfkey.Address
	responder *pfkey.Client
	wire      *packetport.Client
	clock     *control.Client
	close     func()

	spi      wire.SPI
	src, dst wire.Address
	act      int
	sent     int
	wrong    []error // packets that ended otherwise than they should

	mu       sync.Mutex // guards what follows
	messages []message
}

// message is a PF_KEY message in one line, without its keys.
type message struct {
	sent bool // to the kernel
	line string
}

func newMessage(d *wire.Dialect, sent bool, msg []byte) message {
	return message{sent, d.Line(d.Redact(msg))}
}

func openDemo(ctx context.Context, f *demoFlags, sc *screen) (d *demo, err error) {
	d = &demo{flags: f, screen: sc}
	if d.capture, err = openCapture("esp-aes128cbc-sha1-tra4"); err != nil {
		return nil, command.Failed(err)
	}
	sa := d.capture.sa
	d.spi, d.src, d.dst = sa.spi, pfkey.Host(sa.src), pfkey.Host(sa.dst)

	flags := engineFlags{
		kernel: f.kernel, addrs: []string{sa.dst.String()}, fault: f.fault, clock: "virtual", begin: demoBegin,
	}
	eng, err := flags.start(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pfkeyd-demo-")
	if err != nil {
		return nil, command.Failed(err)
	}
	d.address = pfkey.Address{Kernel: eng.Name(), Path: filepath.Join(dir, "demo.sock")}
	s, err := station.Listen(eng, d.address.Path)
	if err != nil {
		os.RemoveAll(dir)
		return nil, command.Failed(err)
	}
	serving, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(serving, station.Options{}) })
	d.clock = control.NewClient(control.Path(d.address.Path))
	d.close = func() {
		if d.responder != nil {
			d.responder.Close()
		}
		if d.wire != nil {
			d.wire.Close()
		}
		d.clock.Close()
		stop()
		wg.Wait()
		os.RemoveAll(dir)
	}
	// So are the numbers.
	options := []pfkey.ClientOption{pfkey.WithPID(1), pfkey.WithFirstSeq(1), pfkey.WithTrace(d.heard)}
	if d.responder, err = pfkey.Dial(ctx, d.address.String(), options...); err != nil {
		d.close()
		return nil, command.Failed(err)
	}
	if d.wire, err = packetport.Dial(ctx, packetport.Path(d.address.Path)); err != nil {
		d.close()
		return nil, command.Failed(err)
	}
	return d, nil
}

// play performs the four acts and says how they went.
func (d *demo) play(ctx context.Context) error {
	d.screen.title("pfkeyd demo: RFC 2409 Quick Mode on an emulated %s", d.address.Kernel)
	if d.flags.fault != "" {
		d.screen.text("with the fault %s, as %s has it", d.flags.fault, oldKernel(d.flags.fault))
	}
	d.screen.text("initiator %s, responder %s; ESP packets protected by Linux 6.1,", d.src.Addr, d.dst.Addr)
	d.screen.text("capture %s", d.capture.name)
	if d.flags.step {
		d.screen.text("(a key shows what comes next, Ctrl-C ends)")
	}
	acts := []struct {
		title string
		play  func(context.Context) error
	}{
		{"A packet comes before the keys do", d.overtaken},
		{"A second packet takes the place of the first", d.replaced},
		{"The keys never come", d.timedOut},
		{"The race of 2008: a packet and the keys come at the same moment", d.crossed},
	}
	for i, act := range acts {
		d.act = i + 1
		d.screen.act(d.act, act.title)
		if err := act.play(ctx); err != nil {
			return fmt.Errorf("act %d: %w", d.act, err)
		}
		if d.screen.err != nil {
			return d.screen.err
		}
	}
	if len(d.wrong) > 0 {
		return errors.Join(d.wrong...)
	}
	d.screen.text("Every packet ended as it should.")
	return d.screen.err
}
