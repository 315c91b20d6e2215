// Package illumos is what the recordings of illumos have of their own: what testdata/golden/illumos/README.md describes
// beyond sockets and messages, and the places where the emulated kernel deviates from them.
package illumos

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/capture"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

var dialect = wire.Illumos().WithOrder(binary.LittleEndian)

// Kernel is illumos.
var Kernel = &conform.Kernel{
	Name:    "illumos",
	Builtin: []string{"illumos"},
	Dialect: dialect,
	Addrs: addrs("192.0.2.1", "192.0.2.5", "10.0.0.1", "2001:db8::1", "2001:db8::5",
		"fe80::1"),
	Broadcast: addrs("192.0.2.255", "192.0.2.0", "10.255.255.255", "10.0.0.0", "255.255.255.255"),
	Ops: map[string]*conform.Op{
		"open":   {Args: conform.Parameters[conform.Open], Socket: true},
		"close":  {Args: conform.Parameters[conform.Close], Socket: true},
		"send":   {Args: conform.Parameters[conform.Send], Socket: true},
		"recv":   {Args: conform.Parameters[recv], Socket: true, Keeps: true},
		"opt":    {Args: conform.Parameters[setOption], Socket: true},
		"getopt": {Args: conform.Parameters[getOption], Socket: true},

		"inject": {Args: conform.Parameters[inject], Needs: conform.NeedPackets, Moves: true,
			Results: conform.OfPacket},
		"output": {Args: conform.Parameters[output], Needs: conform.NeedPackets, Moves: true,
			Results: conform.OfPacket},
		"resume": {Args: conform.Parameters[resume], Needs: conform.NeedPackets, Moves: true},

		"clock": {Args: conform.Parameters[clock], Needs: conform.NeedClock},
		"ager":  {Args: conform.Parameters[ager], Needs: conform.NeedClock},
		"age":   {Args: conform.Parameters[age], Needs: conform.NeedClock},

		"policy":   {Args: conform.Parameters[policy], Needs: conform.NeedOwn},
		"tunnel":   {Args: conform.Parameters[tunnel], Needs: conform.NeedOwn},
		"counters": {Args: conform.Parameters[counters], Results: conform.OfCounter, Needs: conform.NeedOwn},
		"algs":     {Args: conform.Parameters[algs], Needs: conform.NeedOwn},
		"cluster":  {Args: conform.Parameters[cluster], Needs: conform.NeedOwn},
		"taskq":    {Args: conform.Parameters[taskq], Needs: conform.NeedOwn},

		// Since August 2024; they are read only.
		"tcp":      {Args: conform.Parameters[tcp], Results: conform.OfPacket},
		"tcpclose": {Args: conform.Parameters[tcpClose]},
	},
	Points:   []string{"store", "stored", "take", "taken"},
	Verdicts: []string{"signed", "unsigned"},
	Rules: map[string]conform.Rule{
		"addtime":   conform.TimeRule,
		"usetime":   conform.TimeRule,
		"spi":       conform.SPIRule,
		"fuzz":      {Size: 8, Judge: fuzz},
		"random":    {Judge: sealed},
		"undefined": {Judge: conform.Anything},
	},
	Deviations: deviations,
	AddPolicy:  addPolicy,
	NewMemory:  newMemory,
	Flushes:    []wire.MsgType{wire.MsgFlush},
	Capture:    capture.Reader(nil),
}

func addrs(list ...string) (as []netip.Addr) {
	for _, s := range list {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

// recv reads up to so many messages, one if it does not say.
type recv struct {
	N *int `json:"n,omitempty"`
}

func (r *recv) Check() error {
	if r.N != nil && *r.N < 0 {
		return fmt.Errorf("n = %d", *r.N)
	}
	return nil
}

// Common reads as others do.
func (r *recv) Common() any { return &conform.Recv{N: r.N} }

func (r *recv) Do(p *conform.Player, a *conform.Action, out *conform.Outcome) {
	s := p.Socket(a, out)
	if s == nil {
		return
	}
	n := 1
	if r.N != nil {
		n = *r.N
	}
	for ; n > 0 && p.Receive(s, func(m conform.Message) { out.Rx = append(out.Rx, m) }); n-- {
	}
}

// option is a socket option at SOL_SOCKET, by its name; a number stands for one without a name.
type option struct {
	Name string `json:"name"`
}

var optionNames = map[string]pfkey.Option{
	"type": pfkey.OptionType, "sndbuf": pfkey.OptionSendBuffer, "rcvbuf": pfkey.OptionRecvBuffer,
	"loopback": pfkey.OptionUseLoopback,
}

func (o option) number() pfkey.Option {
	if n, ok := optionNames[o.Name]; ok {
		return n
	}
	return pfkey.OptionUnknown
}

func (o option) Check() error {
	unnamed := o.Name != "" && strings.Trim(o.Name, "0123456789") == ""
	if _, ok := optionNames[o.Name]; !ok && !unnamed {
		return fmt.Errorf("unknown option %q", conform.Abridged(o.Name))
	}
	return nil
}

func (option) NotLive() string { return conform.NoOptions }

type setOption struct {
	option
	Val int `json:"val,omitempty"`
}

func (o *setOption) Do(p *conform.Player, a *conform.Action, out *conform.Outcome) {
	if s := p.Socket(a, out); s != nil {
		out.Result(0, s.SetOption(o.number(), o.Val))
	}
}

type getOption struct{ option }

func (o *getOption) Do(p *conform.Player, a *conform.Action, out *conform.Outcome) {
	if s := p.Socket(a, out); s != nil {
		out.Result(s.GetOption(o.number()))
	}
}

// datagram is a packet, with its IP header.
type datagram struct {
	Hex conform.Hex `json:"hex,omitzero"`
}

func (d datagram) Check() error {
	if d.Hex == nil {
		return errors.New("without hex")
	}
	return nil
}

// inject brings an inbound packet.
type inject struct {
	datagram
	In bool `json:"in,omitempty"` // always
}

// Common is the packet.
func (i *inject) Common() any { return &conform.Incoming{Packet: i.Hex} }

func (i *inject) Do(p *conform.Player, a *conform.Action, out *conform.Outcome) {
	p.Inject(a, i.Hex, out, p.Machine.(conform.PacketPath).Inbound)
}

// output brings an outbound packet, the inner one of a tunnel if it names one.
type output struct {
	datagram
	Tunnel string `json:"tunnel,omitempty"`
}

// Common is the packet, unless it goes into a tunnel.
func (o *output) Common() any {
	if o.Tunnel != "" {
		return errors.New("a tunnel interface is this kernel's own")
	}
	return &conform.Outgoing{Packet: o.Hex}
}

func (o *output) Do(p *conform.Player, a *conform.Action, out *conform.Outcome) {
	p.Inject(a, o.Hex, out, func(x *packet.Packet) { p.Machine.(conform.PacketPath).Outbound(x, o.Tunnel) })
}

// resume lets a packet go on that is held at a point.
type resume struct{}

func (*resume) Do(p *conform.Player, _ *conform.Action, _ *conform.Outcome) { p.Resume() }

// clock moves the clock, and nothing ages.
type clock struct {
	Advance int64 `json:"advance,omitempty"` // seconds
}

// maxAdvance is about three thousand years, in seconds; a wilder clock would overflow.
const maxAdvance = 100_000_000_000

func (c *clock) Check() error {
	if c.Advance < 0 || c.Advance > maxAdvance {
		return fmt.Errorf("advances the clock by %d seconds", c.Advance)
	}
	return nil
}

// Common is the time that passes.
func (c *clock) Common() any {
	return &conform.Lapse{Duration: time.Duration(c.Advance) * time.Second}
}

func (c *clock) Do(p *conform.Player, _ *conform.Action, _ *conform.Outcome) {
	m := p.Machine.(conform.Clock)
	m.MoveClock(m.Now().Add(time.Duration(c.Advance) * time.Second))
}

// ager is one ageing pass.
type ager struct{}

// Common is nothing: whoever lets time pass has everything age.
func (*ager) Common() any { return nil }

func (*ager) Do(p *conform.Player, _ *conform.Action, _ *conform.Outcome) {
	p.Machine.(conform.Clock).Age()
}

// age moves the clock, then has everything age.
type age struct{ clock }

func (a *age) Do(p *conform.Player, x *conform.Action, out *conform.Outcome) {
	a.clock.Do(p, x, out)
	p.Machine.(conform.Clock).Age()
}

// Emulated is what the operations need of an emulated illumos; the Kernel of kernel/illumos is one.
type Emulated interface {
	AddPolicy(tunnels []spd.Tunnel, rules []spd.Rule) error
	Counters() map[string]uint64 // since the start
	AlgorithmsChanged()
	SetCluster(loaded bool)
	RefuseTasks(refuse bool)
}

// own lets an operation at the emulated kernel.
func own(p *conform.Player, do func(k Emulated) error) {
	k, ok := p.Machine.(conform.Owner).Own().(Emulated)
	if !ok {
		p.Complain("the target is no illumos")
	} else if err := do(k); err != nil {
		p.Complain("%v", err)
	}
}

// counters reads by how much counters have grown.
type counters struct{}

func (*counters) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	own(p, func(k Emulated) error {
		now := maps.Clone(k.Counters())
		before, _ := p.Own.(map[string]uint64)
		for name, n := range now {
			if d := n - before[name]; d != 0 {
				if out.Counters == nil {
					out.Counters = map[string]uint64{}
				}
				out.Counters[name] = d
			}
		}
		p.Own = now
		return nil
	})
}

// algs says that the table of algorithms has changed.
type algs struct{}

func (*algs) Do(p *conform.Player, _ *conform.Action, _ *conform.Outcome) {
	own(p, func(k Emulated) error { k.AlgorithmsChanged(); return nil })
}

// cluster loads the software of a cluster, or unloads it.
type cluster struct {
	Val int `json:"val,omitempty"`
}

func (c *cluster) Do(p *conform.Player, _ *conform.Action, _ *conform.Outcome) {
	own(p, func(k Emulated) error { k.SetCluster(c.Val != 0); return nil })
}

// taskq has the task queue refuse every entry, or accept them again.
type taskq struct {
	Name string `json:"name"`
}

func (t *taskq) Check() error {
	if t.Name != "refuse" && t.Name != "accept" {
		return fmt.Errorf("neither refuse nor accept: %q", conform.Abridged(t.Name))
	}
	return nil
}

func (t *taskq) Do(p *conform.Player, _ *conform.Action, _ *conform.Outcome) {
	own(p, func(k Emulated) error { k.RefuseTasks(t.Name == "refuse"); return nil })
}

// tcp makes or checks the MD5 option of a segment: hex is the TCP header with its options, and the data.
type tcp struct {
	datagram
	Name  string     `json:"name"` // of the connection
	Src   netip.Addr `json:"src"`  // local
	Dst   netip.Addr `json:"dst"`
	SPort uint16     `json:"sport"`
	DPort uint16     `json:"dport"`
	In    bool       `json:"in,omitempty"`
}

// tcpClose ends a connection.
type tcpClose struct {
	Name string `json:"name"`
}
