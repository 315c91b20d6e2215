package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/cmd/internal/packetline"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// overtaken is how the race comes about: the initiator has its keys one message earlier than the responder, and uses
// them.
func (d *demo) overtaken(ctx context.Context) error {
	d.screen.line("initiator", "message 1: HASH(1), SA, Ni", "")
	if err := d.reserve(ctx); err != nil {
		return err
	}
	d.screen.line("responder", "message 2: HASH(2), SA, Nr: please use that SPI", "")
	d.screen.line("initiator", "has its keys now, and uses them at once", "")
	if err := d.inject(ctx, packet.Queued, ""); err != nil {
		return err
	}
	d.screen.line("initiator", "message 3: HASH(3)", "")
	if err := d.promote(ctx); err != nil {
		return err
	}
	return d.expect(ctx, packet.Delivered, "")
}

// replaced shows how much an illumos keeps: the newest packet.
func (d *demo) replaced(ctx context.Context) error {
	if err := d.startOver(ctx); err != nil {
		return err
	}
	if err := d.inject(ctx, packet.Queued, ""); err != nil {
		return err
	}
	// Which of the two verdicts comes first is the engine's business.
	if err := d.inject(ctx, packet.Queued, packet.LarvalReplaced.String()); err != nil {
		return err
	}
	if err := d.promote(ctx); err != nil {
		return err
	}
	return d.expect(ctx, packet.Delivered, "")
}

// timedOut lets message 3 be lost.
func (d *demo) timedOut(ctx context.Context) error {
	if err := d.startOver(ctx); err != nil {
		return err
	}
	if err := d.inject(ctx, packet.Queued, ""); err != nil {
		return err
	}
	for _, by := range []time.Duration{90 * time.Second, 8 * time.Second} {
		if _, err := d.clock.Advance(ctx, by); err != nil {
			return err
		}
		d.screen.elapsed += by
	}
	d.screen.line("kernel", "the first ageing pass after 90 s finds the LARVAL SA", "")
	if err := d.expect(ctx, packet.Dropped, packet.LarvalGone.String()); err != nil {
		return err
	}
	_, err := d.responder.Get(ctx, d.id())
	if !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("GET of the SA that timed out: %v, want ESRCH", err)
	}
	d.say("GET: no such SA (ESRCH)")
	return d.balance(ctx)
}

func (d *demo) id() pfkey.SAID {
	return pfkey.SAID{Type: wire.SATypeESP, SPI: d.spi, Src: d.src, Dst: d.dst}
}

// startOver removes what the act before has left, and plays the first two messages.
func (d *demo) startOver(ctx context.Context) error {
	if err := d.responder.Delete(ctx, d.id()); err != nil {
		return err
	}
	d.showMessages()
	return d.reserve(ctx)
}

// reserve is the responder's GETSPI. It asks for the one SPI that the packets of the capture have.
func (d *demo) reserve(ctx context.Context) error {
	spi, err := d.responder.GetSPI(ctx, pfkey.GetSPIParams{
		Type: wire.SATypeESP, Src: d.src, Dst: d.dst, Min: d.spi, Max: d.spi,
	})
	if err != nil {
		return err
	}
	d.say(fmt.Sprintf("GETSPI: the kernel makes a LARVAL SA, SPI %s", spi))
	return nil
}

// promote is the responder's UPDATE, for which it needed message 3.
func (d *demo) promote(ctx context.Context) error {
	sa := d.capture.sa
	err := d.responder.Update(ctx, pfkey.SA{
		SAID: d.id(), Replay: 32, Auth: wire.AuthSHA1HMAC, Encrypt: wire.EncAESCBC,
		AuthKey: pfkey.NewKey(sa.authKey), EncryptKey: pfkey.NewKey(sa.encryptKey),
		Hard: &wire.Lifetime{AddTime: 28800}, Soft: &wire.Lifetime{AddTime: 24000},
	}, 0)
	if err != nil {
		return err
	}
	d.say("UPDATE with the keys: the SA is MATURE")
	return nil
}

// say shows what the responder has asked its kernel for, and under it the messages.
func (d *demo) say(what string) {
	d.screen.line("responder", what, "")
	d.showMessages()
}

// heard is told of each message of the responder, from the goroutine that waits for the answer.
func (d *demo) heard(sent bool, msg []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.messages = append(d.messages, newMessage(d.responder.Dialect(), sent, msg))
}

// showMessages shows the messages since the last time, if somebody wants to see them.
func (d *demo) showMessages() {
	d.mu.Lock()
	ms := d.messages
	d.messages = nil
	d.mu.Unlock()
	if d.flags.messages {
		for _, m := range ms {
			d.screen.message(m.sent, m.line)
		}
	}
}

// inject sends the initiator's next packet. Its first verdict must be want; with replaces, an older packet must end,
// with that reason, too.
func (d *demo) inject(ctx context.Context, want packet.Kind, replaces string) error {
	p := d.capture.packets[d.sent]
	d.sent++
	if _, err := d.wire.Inject(ctx, p.data, packetport.Inbound, ""); err != nil {
		return err
	}
	what := fmt.Sprintf("arrives: ESP, SPI %s, sequence number %d", d.spi, p.seq)
	d.screen.line(fmt.Sprintf("packet %d", d.sent), what, "")
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
	d.judge(vs[0], d.sent-1, packet.Dropped, replaces)
	d.judge(vs[1], d.sent, want, "")
	return nil
}

// expect waits for the next verdict, which must be that of the packet sent last.
func (d *demo) expect(ctx context.Context, want packet.Kind, reason string) error {
	v, err := d.wire.Recv(ctx)
	if err != nil {
		return err
	}
	d.judge(v, d.sent, want, reason)
	return nil
}

// judge prints a verdict, and compares it with what it should be, down to the bytes of the inner packet.
func (d *demo) judge(v packetport.Verdict, n int, want packet.Kind, reason string) {
	what := ""
	switch v.Kind {
	case packet.Queued:
		what = "waits on the LARVAL SA"
	case packet.Delivered:
		what = packetline.Of(v.Inner)
	case packet.Dropped:
		what = fmt.Sprintf("%s (%s)", v.Reason, v.Counter)
	}
	d.screen.line(fmt.Sprintf("packet %d", v.ID), what, v.Kind.String())
	good := int(v.ID) == n && v.Kind == want && v.Reason == reason
	if good && v.Kind == packet.Delivered {
		good = slices.Equal(v.Inner, d.capture.packets[n-1].inner)
	}
	if good {
		return
	}
	should := want.String()
	if reason != "" {
		should += " " + reason
	}
	d.screen.wrong("this should be packet %d, %s", n, should)
	d.failed("packet %d is %s, and should be %s", n, v.Kind, should)
}

// failed notes a packet that ended otherwise than it should.
func (d *demo) failed(format string, a ...any) {
	d.wrong = append(d.wrong, fmt.Errorf("act %d: "+format, append([]any{d.act}, a...)...))
}

// balance closes the three acts with the ledger, which must add up.
func (d *demo) balance(ctx context.Context) error {
	st, err := d.clock.Status(ctx, 0)
	if err != nil {
		return err
	}
	b := st.Ledger
	verdicts := func(k packet.Kind) uint64 { return b.Verdicts[k.String()] }
	reasons := func(r packet.Reason) uint64 { return b.Reasons[r.String()] }
	d.screen.text("\nledger: %d injected = %d ended + %d held + %d in flight\n"+
		"        %d delivered, %d dropped (%d replaced, %d timed out)", b.Injected, b.Ended, b.Held, b.InFlight,
		verdicts(packet.Delivered), verdicts(packet.Dropped), reasons(packet.LarvalReplaced),
		reasons(packet.LarvalGone))
	if b.Injected != uint64(d.sent) || b.Ended != b.Injected || b.Held != 0 || b.InFlight != 0 {
		return errors.New("the ledger does not add up")
	}
	return nil
}
