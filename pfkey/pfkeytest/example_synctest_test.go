package pfkeytest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// watchdog stands for the code under test: it deletes an SA that has reached its soft limit, unless there is traffic
// within a minute.
func watchdog(ctx context.Context, client *pfkey.Client) error {
	if _, err := client.Register(ctx, wire.SATypeESP); err != nil {
		return err
	}
	for event, err := range client.Watch(ctx) {
		if err != nil {
			return err
		}
		if e, ok := event.(*pfkey.Expire); ok && e.Limit == pfkey.LimitSoft {
			select {
			case <-time.After(time.Minute): // on the bubble's clock
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := client.Delete(ctx, e.SAID); err != nil {
				return err
			}
		}
	}
	return nil
}

// testWatchdog is a test. In a file of yours it is called TestWatchdog.
func testWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := pfkeytest.New(t, pfkeytest.Kernel("linux"))
		client := host.Client()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		watched := host.Client()
		go func() { _ = watchdog(ctx, watched) }()
		synctest.Wait() // it has registered, and waits for events

		sa := inbound(client.Dialect(), 0x1000)
		sa.Soft, sa.Hard = &wire.Lifetime{AddTime: 600}, &wire.Lifetime{AddTime: 3600}
		if err := client.Add(ctx, sa, pfkey.NoAcquire); err != nil {
			t.Fatal(err)
		}
		host.Advance(10*time.Minute + time.Second) // the kernel's clock: the soft limit
		synctest.Wait()                            // it has heard of that, and waits for its timer
		if n := len(host.SAs()); n != 1 {
			t.Fatalf("%d SAs at once, want 1", n)
		}
		time.Sleep(time.Minute) // the bubble's clock: takes no time
		synctest.Wait()
		if n := len(host.SAs()); n != 0 {
			t.Errorf("%d SAs a minute later, want none", n)
		}
	})
}

// A test in a bubble of testing/synctest: the code under test is a goroutine, and no step waits for a moment of chance.
func Example_synctest() {
	_ = testWatchdog // called TestWatchdog in a file of yours
	// Output:
}
