package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/control"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// demoPatience bounds every wait of the demo: what it waits for takes microseconds.
const demoPatience = 30 * time.Second

func (e *env) demo() *cobra.Command {
	var fault string
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play the IKE Quick Mode race with real packets",
		Long: `Demo plays RFC 2409 Quick Mode between an initiator and a responder. The responder
speaks PF_KEY to an emulated illumos over a Unix socket; the initiator's ESP packets
were protected by a real Linux kernel and come in through the packet port. They
arrive before the responder has the keys, and wait on the LARVAL SA.

It needs no privilege and leaves nothing behind. It exits with 1 unless every packet
ended as it should.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), demoPatience)
			defer cancel()
			d, err := openDemo(ctx, fault, newScreen(e.stdout))
			if err != nil {
				return err
			}
			defer d.close()
			if err := d.play(ctx); err != nil {
				return command.Failed(err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&fault, "fault", "", "a deliberate `DEFECT` of the larval queue: larval-unlocked, larval-window")
	return cmd
}

// demo is one performance: an engine behind its sockets, the responder's client, and the initiator's way to the wire.
type demo struct {
	screen    *screen
	capture   *capture
	address   pfkey.Address
	responder *pfkey.Client
	wire      *packetport.Client
	clock     *control.Client
	close     func()

	spi      wire.SPI
	src, dst wire.Address
	sent     int
	wrong    int // packets that ended otherwise than they should
}

func openDemo(ctx context.Context, fault string, sc *screen) (d *demo, err error) {
	d = &demo{screen: sc}
	if d.capture, err = openCapture("esp-aes128cbc-sha1-tra4"); err != nil {
		return nil, command.Failed(err)
	}
	sa := d.capture.sa
	d.spi, d.src, d.dst = sa.spi, pfkey.Host(sa.src), pfkey.Host(sa.dst)

	flags := engineFlags{kernel: "illumos", addrs: []string{sa.dst.String()}, fault: fault, clock: "virtual"}
	eng, err := flags.start(slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pfkeyd-demo-")
	if err != nil {
		return nil, command.Failed(err)
	}
	d.address = pfkey.Address{Kernel: eng.Name(), Path: filepath.Join(dir, "demo.sock")}
	s, err := openStation(eng, nil, d.address.Path, &packetFlags{}, slog.New(slog.DiscardHandler))
	if err != nil {
		os.RemoveAll(dir)
		return nil, command.Failed(err)
	}
	serving, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.run(serving) })
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
	if d.responder, err = pfkey.Dial(ctx, d.address.String()); err != nil {
		d.close()
		return nil, command.Failed(err)
	}
	if d.wire, err = packetport.Dial(ctx, packetport.Path(d.address.Path)); err != nil {
		d.close()
		return nil, command.Failed(err)
	}
	return d, nil
}

// play performs the three acts and says how they went.
func (d *demo) play(ctx context.Context) error {
	d.screen.title("pfkeyd demo: RFC 2409 Quick Mode on an emulated %s", d.address.Kernel)
	d.screen.text("initiator %s, responder %s; ESP packets protected by Linux 6.1,", d.src.Addr, d.dst.Addr)
	d.screen.text("capture %s", d.capture.name)
	acts := []struct {
		title string
		play  func(context.Context) error
	}{
		{"A packet comes before the keys do", d.overtaken},
		{"A second packet takes the place of the first", d.replaced},
		{"The keys never come", d.timedOut},
	}
	for i, act := range acts {
		d.screen.act(i+1, act.title)
		if err := act.play(ctx); err != nil {
			return fmt.Errorf("act %d: %w", i+1, err)
		}
	}
	return d.balance(ctx)
}

// overtaken is the race itself: the initiator has its keys one message earlier than the responder, and uses them.
func (d *demo) overtaken(ctx context.Context) error {
	d.screen.line("initiator", "message 1: HASH(1), SA, Ni", "")
	if err := d.reserve(ctx); err != nil {
		return err
	}
	d.screen.line("responder", "message 2: HASH(2), SA, Nr: please use that SPI", "")
	d.screen.line("initiator", "has its keys now, and uses them at once", "")
	if err := d.inject(ctx, ipsec.Queued, ""); err != nil {
		return err
	}
	d.screen.line("initiator", "message 3: HASH(3)", "")
	if err := d.promote(ctx); err != nil {
		return err
	}
	return d.expect(ctx, ipsec.Delivered, "")
}

// replaced shows how much an illumos keeps: the newest packet.
func (d *demo) replaced(ctx context.Context) error {
	if err := d.startOver(ctx); err != nil {
		return err
	}
	if err := d.inject(ctx, ipsec.Queued, ""); err != nil {
		return err
	}
	// Which of the two verdicts comes first is the engine's business.
	if err := d.inject(ctx, ipsec.Queued, ipsec.LarvalReplaced.String()); err != nil {
		return err
	}
	if err := d.promote(ctx); err != nil {
		return err
	}
	return d.expect(ctx, ipsec.Delivered, "")
}

// timedOut lets message 3 be lost.
func (d *demo) timedOut(ctx context.Context) error {
	if err := d.startOver(ctx); err != nil {
		return err
	}
	if err := d.inject(ctx, ipsec.Queued, ""); err != nil {
		return err
	}
	for _, by := range []time.Duration{90 * time.Second, 8 * time.Second} {
		if _, err := d.clock.Advance(ctx, by); err != nil {
			return err
		}
		d.screen.elapsed += by
	}
	d.screen.line("kernel", "the first ageing pass after 90 s finds the LARVAL SA", "")
	if err := d.expect(ctx, ipsec.Dropped, ipsec.LarvalGone.String()); err != nil {
		return err
	}
	_, err := d.responder.Get(ctx, d.id())
	if !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("GET of the SA that timed out: %v, want ESRCH", err)
	}
	d.screen.line("responder", "GET: no such SA (ESRCH)", "")
	return nil
}

func (d *demo) id() pfkey.SAID {
	return pfkey.SAID{Type: wire.SATypeESP, SPI: d.spi, Src: d.src, Dst: d.dst}
}

// startOver removes what the act before has left, and plays the first two messages.
func (d *demo) startOver(ctx context.Context) error {
	if err := d.responder.Delete(ctx, d.id()); err != nil {
		return err
	}
	return d.reserve(ctx)
}

// reserve is the responder's GETSPI. It asks for the one SPI that the packets of the capture have.
func (d *demo) reserve(ctx context.Context) error {
	spi, err := d.responder.GetSPI(ctx, pfkey.GetSPIParams{Type: wire.SATypeESP, Src: d.src, Dst: d.dst, Min: d.spi, Max: d.spi})
	if err != nil {
		return err
	}
	d.screen.line("responder", fmt.Sprintf("GETSPI: the kernel makes a LARVAL SA, SPI %s", spi), "")
	return nil
}

// promote is the responder's UPDATE, for which it needed message 3.
func (d *demo) promote(ctx context.Context) error {
	sa := d.capture.sa
	err := d.responder.Update(ctx, pfkey.SA{
		SAID: d.id(), Replay: 32, Auth: wire.AuthSHA1HMAC, Encrypt: wire.IllumosEncAESCBC,
		AuthKey: pfkey.NewKey(sa.authKey), EncryptKey: pfkey.NewKey(sa.encryptKey),
		Hard: &wire.Lifetime{AddTime: 28800}, Soft: &wire.Lifetime{AddTime: 24000},
	}, 0)
	if err != nil {
		return err
	}
	d.screen.line("responder", "UPDATE with the keys: the SA is MATURE", "")
	return nil
}

// inject sends the initiator's next packet. Its first verdict must be want; with replaces, an older packet must end, with that reason, too.
func (d *demo) inject(ctx context.Context, want ipsec.Kind, replaces string) error {
	p := d.capture.packets[d.sent]
	d.sent++
	if _, err := d.wire.Inject(ctx, p.data, packetport.Inbound, ""); err != nil {
		return err
	}
	d.screen.line(fmt.Sprintf("packet %d", d.sent), fmt.Sprintf("arrives: ESP, SPI %s, sequence number %d", d.spi, p.seq), "")
	if replaces == "" {
		return d.expect(ctx, want, "")
	}
	vs := make([]packetport.Verdict, 2)
	for i := range vs {
		v, err := d.wire.Recv(ctx)
		if err != nil {
			return err
		}
		vs[i] = v
	}
	slices.SortFunc(vs, func(a, b packetport.Verdict) int { return int(a.ID) - int(b.ID) })
	d.judge(vs[0], d.sent-1, ipsec.Dropped, replaces)
	d.judge(vs[1], d.sent, want, "")
	return nil
}

// expect waits for the next verdict, which must be that of the packet sent last.
func (d *demo) expect(ctx context.Context, want ipsec.Kind, reason string) error {
	v, err := d.wire.Recv(ctx)
	if err != nil {
		return err
	}
	d.judge(v, d.sent, want, reason)
	return nil
}

// judge prints a verdict, and compares it with what it should be, down to the bytes of the inner packet.
func (d *demo) judge(v packetport.Verdict, packet int, want ipsec.Kind, reason string) {
	what := ""
	switch v.Kind {
	case ipsec.Queued:
		what = "waits on the LARVAL SA"
	case ipsec.Delivered:
		what = packetport.Line(v.Inner)
	case ipsec.Dropped:
		what = fmt.Sprintf("%s (%s)", v.Reason, v.Counter)
	}
	d.screen.line(fmt.Sprintf("packet %d", v.ID), what, v.Kind.String())
	good := int(v.ID) == packet && v.Kind == want && v.Reason == reason
	if good && v.Kind == ipsec.Delivered {
		good = slices.Equal(v.Inner, d.capture.packets[packet-1].inner)
	}
	if !good {
		d.wrong++
		d.screen.wrong("this should be packet %d: %s %s", packet, want, reason)
	}
}

// balance closes with the ledger, which must add up.
func (d *demo) balance(ctx context.Context) error {
	st, err := d.clock.Status(ctx, 0)
	if err != nil {
		return err
	}
	b := st.Ledger
	d.screen.blank()
	d.screen.text("ledger: %d injected = %d ended + %d held + %d in flight", b.Injected, b.Ended, b.Held, b.InFlight)
	d.screen.text("        %d delivered, %d dropped (%d replaced, %d timed out)", b.Verdicts[ipsec.Delivered.String()], b.Verdicts[ipsec.Dropped.String()],
		b.Reasons[ipsec.LarvalReplaced.String()], b.Reasons[ipsec.LarvalGone.String()])
	switch {
	case d.wrong > 0:
		return fmt.Errorf("%d packets ended otherwise than they should", d.wrong)
	case b.Injected != uint64(d.sent) || b.Ended != b.Injected || b.Held != 0 || b.InFlight != 0:
		return errors.New("the ledger does not add up")
	}
	d.screen.text("Every packet ended as it should.")
	return nil
}
