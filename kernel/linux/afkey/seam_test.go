package afkey_test

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pfkeyd/pfkeyd/internal/conform"
	linux "github.com/pfkeyd/pfkeyd/internal/conform/linux"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/linux/afkey"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// bridged is PF_KEY on a host that only netlink reaches. It has no packets and no time.
type bridged struct{ *afkey.Manager }

func (bridged) Dialect() *wire.Dialect       { return wire.Linux() }
func (bridged) Describe(*status.Engine, int) {}
func (bridged) Stop()                        {}

// Boot implements [conform.Target].
func (bridged) Boot(sc *conform.Scenario, _ func(string, *packet.Packet)) (conform.Machine, error) {
	random := rand.New(rand.NewPCG(1, 2))
	b := &bridge{h: &host{now: 1_700_000_000, random: random.Uint32}, memory: map[sadb.Key]memory{}}
	e, err := engine.New("bridged", engine.Options{}, func(e *engine.Engine) (engine.Kernel, error) {
		buffer := func() int { return 212992 }
		m := afkey.New(e, wire.Linux(), b, afkey.Buffers{
			RecvDefault: buffer, RecvMax: buffer, SendDefault: buffer, SendMax: buffer})
		b.manager = m
		return bridged{m}, nil
	})
	if err != nil {
		return nil, err
	}
	return socketsOnly{e}, nil
}

// socketsOnly is a machine of which scenarios may not ask anything else.
type socketsOnly struct{ e *engine.Engine }

func (s socketsOnly) Open(c pfkey.Cred, typ, proto int) (pfkey.Socket, pfkey.Errno) {
	return s.e.Open(c, typ, proto)
}
func (s socketsOnly) Close()                 { s.e.Close() }
func (s socketsOnly) Dialect() *wire.Dialect { return s.e.Dialect() }

// impossible is what netlink cannot do: an SA of IPCOMP whose SPI has more than the 16 bits of a CPI.
var impossible = []string{"add/spi-10000-st9", "add/spi-80000000-st9", "add/spi-ffffffff-st9", "mut/08-2330"}

// PF_KEY answers as the real kernel did also when transforms are below it that are not ours and that say no more than
// netlink can. What needs packets or time is not played.
func TestOnNetlink(t *testing.T) {
	want := map[string]int{"getspi": 71, "get": 17, "delete": 23, "flush": 22, "add": 442, "update": 23, "dump": 42,
		"register": 28, "promisc": 21, "base": 115, "parse": 321, "broadcast": 18, "socket": 43, "spd": 321,
		"migrate": 29, "mut": 1697}
	groups := strings.Join(slices.Sorted(maps.Keys(want)), "|")
	passed := map[string]int{}
	_, err := conform.Run(context.Background(), conform.Config{Kernel: linux.Kernel, Run: "^(" + groups + ")/",
		Target: bridged{}, Observe: func(r conform.Result) {
			group, _, _ := strings.Cut(r.Scenario, "/")
			switch {
			case slices.Contains(impossible, r.Scenario) != (r.Status == conform.Failed):
				t.Errorf("%s: %s, %v", r.Scenario, r.Status, r.Differences)
			case r.Status == conform.Passed:
				passed[group]++
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, passed); d != "" {
		t.Errorf("scenarios that pass, by group (-want +got):\n%s", d)
	}
}
