package station

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A clock that is set while the engine sleeps, or that went on while the machine was suspended, is noticed within a
// second or so.
func TestTickNoticesASetClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ahead atomic.Int64 // of the machine's other clocks
		eng, err := kernels.New("linux",
			engine.Options{Clock: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
		if err != nil {
			t.Fatal(err)
		}
		defer eng.Close()
		go tick(t.Context(), eng)
		s, errno := eng.Open(pfkey.Cred{Privileged: true}, 3, 2)
		if errno != wire.OK {
			t.Fatal(errno)
		}
		d := wire.Linux()
		larval := d.Finish(d.AppendAddress(d.AppendAddress(
			d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgGetSPI, SAType: wire.SATypeESP, Seq: 1, PID: 1}),
			wire.ExtAddressSrc, wire.Address{PrefixLen: 32, Addr: netip.MustParseAddr("192.0.2.2")}),
			wire.ExtAddressDst, wire.Address{PrefixLen: 32, Addr: netip.MustParseAddr("192.0.2.1")}))
		if errno := s.Send(larval, pfkey.Cred{Privileged: true}); errno != wire.OK {
			t.Fatal(errno)
		}
		if n := eng.Status(1).SACount; n != 1 {
			t.Fatalf("%d SAs, want the LARVAL one", n)
		}
		time.Sleep(2 * time.Second) // in the bubble's time
		ahead.Store(int64(time.Hour))
		time.Sleep(mostSleep + time.Millisecond) // likewise
		synctest.Wait()
		if n := eng.Status(1).SACount; n != 0 {
			t.Error("an hour later by the clock the LARVAL SA is still there")
		}
	})
}
