// Package bsd is what the recordings of the BSDs and of Darwin have of their own. What all four have stands here; a
// file for each has the rest. Those of a kernel without a dialect can be read, not played.
package bsd

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/capture"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// kernel makes a kernel of what it has beside the others.
func kernel(name string, ops map[string]*conform.Op, rules map[string]conform.Rule) *conform.Kernel {
	k := &conform.Kernel{Name: name, Ops: maps.Clone(common), Rules: maps.Clone(commonRules),
		Capture: capture.Reader(nil)}
	maps.Copy(k.Ops, ops)
	maps.Copy(k.Rules, rules)
	return k
}

// played makes the recordings of a kernel ones that can be played.
func played(k *conform.Kernel, d *wire.Dialect) *conform.Kernel {
	k.Dialect = d.WithOrder(binary.LittleEndian)
	k.Addrs = hostAddrs
	k.Machine, k.Named, k.Numbers = machine, named, numbers
	k.SPIs, k.Requested = wire.SPIRange{Min: 0x100, Max: 0x0fffffff}, compRange
	k.Flushes = []wire.MsgType{wire.MsgFlush, wire.KAMEMsgXSPDFlush}
	return k
}

// hostAddrs are the addresses of the recorded hosts.
var hostAddrs = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("192.0.2.1"),
	netip.MustParseAddr("::1"), netip.MustParseAddr("2001:db8::1")}

// compRange is the range from which an SPI comes where one was asked for: those of IPComp have 16 bits, and there the
// ends of a range may be swapped.
func compRange(t wire.SAType, r wire.SPIRange) wire.SPIRange {
	if t != wire.SATypeIPComp {
		return r
	}
	a, b := min(r.Min, 0xffff), min(r.Max, 0xffff)
	return wire.SPIRange{Min: min(a, b), Max: max(a, b)}
}

var common = map[string]*conform.Op{
	"open":   {Args: conform.Parameters[conform.Open], Socket: true},
	"close":  {Args: conform.Parameters[conform.Close], Socket: true},
	"send":   {Args: conform.Parameters[conform.Send], Socket: true},
	"recv":   {Args: conform.Parameters[recv], Socket: true, Keeps: true},
	"rcvbuf": {Args: conform.ReceiveBuffer, Socket: true},
	"sndbuf": {Args: conform.SendBuffer, Socket: true},
	"sysc":   {Args: conform.Parameters[call], Socket: true},

	"clock":   {Args: conform.Parameters[clock], Needs: conform.NeedTime},
	"output":  {Args: conform.Parameters[output], Results: conform.OfWires, Needs: conform.NeedOwn},
	"inbound": {Args: conform.Parameters[inbound], Results: conform.OfWires, Needs: conform.NeedOwn},
	"sysctl":  {Args: conform.Parameters[sysctl], Results: conform.OfKnob, Needs: conform.NeedOwn},
}

var commonRules = map[string]conform.Rule{
	"addtime": conform.TimeRule,
	"usetime": conform.TimeRule,
	"spi":     conform.SPIRule,
	"policy":  {Size: 4, Judge: policyNumber},
	"reqid":   {Size: 2, Judge: chosenReqID},
}

// anything is the rule of memory that the kernel never writes.
var anything = conform.Rule{Judge: conform.Anything}

// notYet is the rule of bytes that cannot be judged yet, so they never pass.
func notYet(*conform.Judge, conform.Whole) string { return "what may stand here is not judged yet" }

// recv reads messages. With MSG_TRUNC a read returns what it would without, and says that the message was cut, even if
// it was not.
type recv struct{ conform.Recv }

// Common implements what package conform asks for.
func (r *recv) Common() any { return &r.Recv }

func (r *recv) Do(p *conform.Player, a *conform.Action, out *conform.Outcome) {
	r.Recv.Do(p, a, out)
	if !strings.Contains(r.Flags, "trunc") {
		return
	}
	for i := range out.Rx {
		out.Rx[i].Ret, out.Rx[i].Trunc = 0, true
	}
}

// call is another call on a socket, by its name.
type call struct {
	Name string `json:"name"`
}

func (c *call) Check() error {
	if shutdowns[c.Name] != 0 {
		return nil
	}
	return (&conform.Call{Name: c.Name}).Check()
}

// shutdowns are those beside that of the write side.
var shutdowns = map[string]pfkey.Call{"shutdown-rd": pfkey.CallShutdownRead, "shutdown-rdwr": pfkey.CallShutdownBoth}

// Do makes the call. Of some of them more than an errno comes.
func (c *call) Do(p *conform.Player, a *conform.Action, out *conform.Outcome) {
	s := p.Socket(a, out)
	if s == nil {
		return
	}
	number := shutdowns[c.Name]
	if number == 0 {
		number = conform.Calls[c.Name]
	}
	errno := pfkey.CallOn(s.Socket, number)
	switch {
	case errno != wire.OK:
		out.Result(0, errno)
	case number == pfkey.CallFIONREAD:
		out.Result(s.GetOption(pfkey.OptionReadable))
	case number == pfkey.CallSendTo:
		msg := conform.Flush(p.Machine.Dialect(), 2)
		out.Result(len(msg), s.Send(msg, s.Owner))
	}
}

// Common is the call itself, but for those that only the sockets of some systems tell apart.
func (c *call) Common() any { return &conform.Call{Name: c.Name} }

// NotLive says that there are no other calls.
func (*call) NotLive() string { return conform.NoOptions }

// clock moves the clock, second by second.
type clock struct {
	Secs int64 `json:"secs"`
}

// maxClock is a century, in seconds.
const maxClock = 100 * 365 * 86400

func (c *clock) Check() error {
	if c.Secs < 0 || c.Secs > maxClock {
		return fmt.Errorf("moves the clock by %d seconds", c.Secs)
	}
	return nil
}

func (c *clock) Waits() time.Duration { return time.Duration(c.Secs) * time.Second }

// Common is the time that passes.
func (c *clock) Common() any { return &conform.Lapse{Duration: c.Waits()} }

func (c *clock) Do(p *conform.Player, a *conform.Action, out *conform.Outcome) {
	t, s := p.Machine.(conform.Passing), stateOf(p)
	for range c.Secs {
		for end := t.Now().Truncate(time.Second).Add(time.Second); t.Now().Before(end); {
			t.Wait(end)
		}
		s.elapsed++
		if a.NoRx {
			continue
		}
		var each conform.Outcome
		p.Drain(&each)
		for _, m := range each.Rx {
			m.T = s.elapsed * 1000
			out.Rx = append(out.Rx, m)
		}
	}
	p.BySocket(out.Rx)
}

// sysctl writes a knob, or reads it. Without a value it writes 0.
type sysctl struct {
	Name  string `json:"name"`
	Val   *int64 `json:"val,omitempty"`
	Flags string `json:"flags,omitempty"` // "read"
}

func (s *sysctl) Check() error {
	if s.Name == "" || s.Flags != "" && s.Flags != "read" {
		return fmt.Errorf("name %q, flags %q", conform.Abridged(s.Name), conform.Abridged(s.Flags))
	}
	return nil
}

func (s *sysctl) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	on(p, func(k knobs) {
		old, errno := k.Sysctl(s.Name)
		switch {
		case errno != wire.OK || s.Flags == "read":
			out.Result(int(old), errno)
			return
		}
		if errno = k.SetSysctl(s.Name, deref(s.Val)); errno == wire.OK {
			out.Old = &old
		}
		out.Result(0, errno)
	})
}

// value is the only parameter of some operations.
type value struct {
	Val int64 `json:"val"`
}

// module loads a part of the kernel.
type module struct {
	Name string `json:"name"`
}

func (m *module) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	on(p, func(k loader) { out.Result(0, k.LoadModule(m.Name)) })
}

// wall has somebody set the wall clock by so many seconds.
type wall struct{ value }

func (w *wall) Do(p *conform.Player, _ *conform.Action, _ *conform.Outcome) {
	on(p, func(k wallClock) { k.MoveWall(w.Val) })
}
