package station

import (
	"context"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
)

// mostSleep is how long tick sleeps at a time while anything is due. Somebody may set the clock meanwhile, or suspend
// the machine, and no timer tells of that.
const mostSleep = time.Second

// tick tells an engine on the machine's clock when something is due, until ctx ends.
func tick(ctx context.Context, eng *engine.Engine) {
	if eng.Virtual() {
		return
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-eng.Wake():
		case <-timer.C:
			eng.Advance(eng.Now())
		}
		if next, ok := eng.Next(); ok {
			timer.Reset(min(max(next.Sub(eng.Now()), 0), mostSleep))
		}
	}
}
