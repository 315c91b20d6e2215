package openbsd_test

import (
	"net/netip"
	"sync"
	"testing"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestPacketsBesideMessages has packets go both ways while flows, SAs and requests for SAs come and go.
func TestPacketsBesideMessages(t *testing.T) {
	h := newHost(t)
	d := h.e.Dialect()
	listener := open(t, h.e)
	h.send(listener, h.message(wire.MsgRegister, wire.SATypeESP, 1))
	out, in := esp(me, peer, 0x1000), esp(peer, me, 0x1001)
	sealed := h.sealed(in, udp(t, peer, me, 10), 2)
	const rounds = 300
	stop := make(chan struct{})
	var senders, tellers sync.WaitGroup
	for range 2 {
		senders.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if v := h.out(udp(t, me, peer, 10)); v.Kind != packet.Transmitted && v.Kind != packet.Dropped {
					t.Errorf("out: %s", fate(v))
				}
				if v := h.in(sealed); v.Kind != packet.Delivered && v.Kind != packet.Dropped {
					t.Errorf("in: %s", fate(v))
				}
			}
		})
	}
	tell := func(f func(s pfkey.Socket)) {
		s := open(t, h.e)
		tellers.Go(func() {
			for range rounds {
				f(s)
				received(s)
			}
		})
	}
	tell(func(s pfkey.Socket) {
		msg := h.addFlow(wire.OpenBSDFlowRequire, netip.PrefixFrom(me, 32), netip.PrefixFrom(peer, 32))
		s.Send(msg, root)
		s.Send(h.addFlow(wire.OpenBSDFlowUse, netip.PrefixFrom(me, 24), netip.PrefixFrom(peer, 24)), root)
		msg[1] = 13
		s.Send(msg, root)
	})
	tell(func(s pfkey.Socket) {
		for _, sa := range []pfkey.SA{out, in} {
			b := d.AppendSA(h.message(wire.MsgAdd, sa.Type, 1), wire.SA{SPI: sa.SPI, Replay: 4, State: wire.StateMature,
				Auth: sa.Auth, Encrypt: sa.Encrypt})
			b = d.AppendAddress(d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Addr: sa.Src.Addr}),
				wire.ExtAddressDst, wire.Address{Addr: sa.Dst.Addr})
			b = d.AppendKey(d.AppendKey(b, wire.ExtKeyAuth, sa.AuthKey), wire.ExtKeyEncrypt, sa.EncryptKey)
			s.Send(d.Finish(b), root)
		}
		s.Send(d.Finish(h.message(wire.MsgFlush, 0, 1)), root)
	})
	tell(func(pfkey.Socket) { // whose answers come among what everybody hears
		for _, msg := range received(listener) {
			if x, _ := d.Header(msg); x.Type == wire.MsgAcquire {
				listener.Send(d.Finish(d.AppendWord(h.message(wire.OpenBSDMsgXAskPolicy, 0, 77), wire.OpenBSDExtXPolicy,
					wire.Word{Value: uint32(x.Seq)})), root)
			}
		}
	})
	tellers.Wait()
	close(stop)
	senders.Wait()
	h.atRest()
}
