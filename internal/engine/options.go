package engine

import (
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/pfkeyd/pfkeyd/packet"
)

// defaultStart is what a virtual clock shows at first when nobody says otherwise: a fixed moment, so that runs repeat.
var defaultStart = time.Date(2014, 1, 1, 0, 0, 0, 0, time.UTC)

// Options are what an engine is made of. The zero value is a host without addresses under a virtual clock.
type Options struct {
	Addrs     []netip.Addr      // the host's own addresses
	Broadcast []netip.Addr      // the broadcast addresses of its networks
	Start     time.Time         // the first reading of the virtual clock
	Clock     func() time.Time  // reads the time; nil: a virtual clock that only Advance moves
	Rand      io.Reader         // nil: crypto/rand
	Tunables  map[string]string // by the kernel's own names
	Fault     string            // a deliberate defect of the larval queue, by name (package sadb); empty: none
	Log       *slog.Logger      // nil: discard

	// Step, for tests, is called at named points of the race, from inside the code that races.
	Step func(point string, p *packet.Packet)
}
