package bsd

import (
	_ "embed"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/wire"
)

// OpenBSD is what testdata/golden/openbsd/README.md describes.
var OpenBSD = kernel("openbsd", map[string]*conform.Op{
	"open":    {Args: conform.Parameters[openIn], Socket: true},
	"send":    {Args: conform.Parameters[conform.Send], Results: unordered, Socket: true},
	"recv":    {Args: conform.Parameters[recv], Results: unordered, Socket: true, Keeps: true},
	"output":  {Args: conform.Parameters[outputIn], Results: conform.OfWires, Needs: conform.NeedOwn},
	"inbound": {Args: conform.Parameters[inboundIn], Results: conform.OfWires, Needs: conform.NeedOwn},
	"sysctl":  {Args: conform.Parameters[knob], Results: conform.OfKnob, Needs: conform.NeedOwn},
	"keydump": {Args: conform.Parameters[keydump], Results: conform.OfDump, Needs: conform.NeedOwn},
	"rdomain": {Args: conform.Parameters[rdomains], Needs: conform.NeedOwn},
}, map[string]conform.Rule{
	"dumpseq": {Size: 4, Judge: dumpSeq, Together: lastInDump},
	"number":  {Size: 4, Judge: func(j *conform.Judge, w conform.Whole) string { return j.Pair("number", w) }},
})

//go:embed openbsd-answers.jsonl
var openbsdAnswers []byte

func init() {
	k := OpenBSD
	k.Builtin, k.Deviations = []string{"openbsd", "openbsd-crash"}, crashes(openbsdAnswers)
	k.Dialect = wire.OpenBSD().WithOrder(binary.LittleEndian)
	k.Addrs = hostAddrs
	k.Requested, k.AddPolicy, k.LooksAtPID = below, addFlow, true
	k.Named, k.Numbers = namesAcquire, kernelNumbers
	k.Flushes = []wire.MsgType{wire.MsgFlush} // of flows, too
	k.NewMemory = func() conform.Memory { return dumps{} }
}

// namesAcquire says why a message that names an ACQUIRE cannot be sent to a running engine.
func namesAcquire(d *wire.Dialect, msg []byte) string {
	if h, err := d.Header(msg); err == nil && h.Type == wire.OpenBSDMsgXAskPolicy {
		return "a running engine goes on counting its ACQUIREs, so their numbers in a request do not fit"
	}
	return ""
}

// kernelNumbers finds what a running engine goes on counting: the ACQUIREs and EXPIREs of the kernel itself.
func kernelNumbers(d *wire.Dialect, msg []byte) []conform.Span {
	h, err := d.Header(msg)
	if err != nil || h.PID != 0 || h.Type != wire.MsgAcquire && h.Type != wire.MsgExpire {
		return nil
	}
	return []conform.Span{{Offset: 8, Len: 4, Name: "number"}}
}

// unordered: the messages of a DUMP come in any order.
var unordered = []string{"unordered"}

// below is the range from which an SPI comes where one was asked for: the lowest are reserved, and the last is never
// chosen but where there is no other.
func below(_ wire.SAType, r wire.SPIRange) wire.SPIRange {
	const reserved = 255
	r.Min = max(r.Min, reserved+1)
	if r.Max > r.Min {
		r.Max--
	}
	return r
}

// domains is what operations with routing domains need of an emulated kernel.
type domains interface {
	AddRDomains(last int) // those from 1 to last come into being
	// EnterRDomain moves a process: the sockets that it opens from now on live in that domain (setrtable).
	EnterRDomain(pid int32, rdomain int) wire.Errno
	// Output offers a packet where the output of IP calls IPsec, Input where the input of IP does. Each is the whole
	// packet, and is not kept. What the packet has the kernel do is done when it returns.
	Output(rdomain int, pkt []byte) engine.Passage
	Input(rdomain int, pkt []byte) engine.Passage
}

// keyDumps is what reading by sysctl needs of an emulated kernel.
type keyDumps interface {
	// SysctlDump reads the messages of net.key.sadb_dump or net.key.spd_dump: name is sadb or spd. need is how many
	// bytes the kernel announces to whoever brings no buffer.
	SysctlDump(name string, satype, rdomain int) (msgs [][]byte, need int, errno wire.Errno)
}

// openIn opens a socket in a process and a routing domain.
type openIn struct {
	conform.Open
	PID     *int32 `json:"pid,omitempty"`
	RDomain int    `json:"rdomain,omitempty"`
}

func (o *openIn) Do(p *conform.Player, a *conform.Action, out *conform.Outcome) {
	cred := o.Cred()
	if o.PID != nil {
		cred.PID = *o.PID
	}
	if k, ok := ownOf[domains](p); ok {
		if errno := k.EnterRDomain(cred.PID, o.RDomain); errno != wire.OK {
			p.Complain("no socket can be opened in routing domain %d: %v", o.RDomain, errno)
			return
		}
	}
	o.As(cred, p, a, out)
}

// Common is a socket of nobody in particular.
func (o *openIn) Common() any { return &o.Open }

// NotLive says what a Unix socket has not.
func (o *openIn) NotLive() string {
	if o.PID != nil || o.RDomain != 0 {
		return "a Unix socket has no process and routing domain of its own"
	}
	return o.Open.NotLive()
}

// outputIn offers an outbound packet in a routing domain.
type outputIn struct {
	output
	RDomain int `json:"rdomain,omitempty"`
}

func (o *outputIn) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	out.Pkt = o.make(nil, nil)
	on(p, func(k domains) {
		pass(p, out, out.Pkt, func(pkt []byte) engine.Passage { return k.Output(o.RDomain, pkt) })
	})
}

// inboundIn offers an inbound packet in a routing domain.
type inboundIn struct {
	inbound
	RDomain int `json:"rdomain,omitempty"`
}

func (i *inboundIn) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	on(p, func(k domains) {
		i.offer(p, out, i.packet(p), func(pkt []byte) engine.Passage { return k.Input(i.RDomain, pkt) })
	})
}

// knob writes one, by the name that the recordings have for it.
type knob struct{ sysctl }

func (s *knob) Do(p *conform.Player, a *conform.Action, out *conform.Outcome) {
	full := s.sysctl
	switch {
	case strings.HasPrefix(s.Name, "ipsec-"):
		full.Name = "net.inet.ip." + s.Name
	case strings.HasPrefix(s.Name, "udpencap"):
		full.Name = "net.inet.esp." + s.Name
	default:
		full.Name = "net.inet." + s.Name
	}
	full.Do(p, a, out)
}

// rdomains makes routing domains, so many beside the first.
type rdomains struct{ value }

func (r *rdomains) Check() error {
	const most = 255
	if r.Val < 0 || r.Val > most {
		return fmt.Errorf("%d routing domains", r.Val)
	}
	return nil
}

func (r *rdomains) Do(p *conform.Player, _ *conform.Action, _ *conform.Outcome) {
	on(p, func(k domains) { k.AddRDomains(int(r.Val)) })
}

// keydump reads what the kernel has by sysctl.
type keydump struct {
	Name    string `json:"name"` // sadb or spd
	SAType  int    `json:"satype"`
	RDomain int    `json:"rdomain"`
}

func (d *keydump) Check() error {
	if d.Name != "sadb" && d.Name != "spd" {
		return fmt.Errorf("neither sadb nor spd: %q", conform.Abridged(d.Name))
	}
	return nil
}

// Do reads the messages. They come as if a socket had received them.
func (d *keydump) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	on(p, func(k keyDumps) {
		all, need, errno := k.SysctlDump(d.Name, d.SAType, d.RDomain)
		out.Result(0, errno)
		out.Need = &need
		for _, msg := range all {
			out.Rx = append(out.Rx, conform.Message{Socket: "keydump", Hex: msg})
		}
	})
}

// dumps are the sequence numbers of the DUMPs that a scenario has sent.
type dumps map[wire.Seq]bool

// Step implements [conform.Memory].
func (d dumps) Step(j *conform.Judge, _ *conform.Step, sent, _ []byte) {
	if h, err := j.Dialect.Header(sent); err == nil && h.Type == wire.MsgDump {
		d[h.Seq] = true
	}
}

// dumpSeq: that of the DUMP, or 0 in the SA that comes last in the kernel's order.
func dumpSeq(j *conform.Judge, w conform.Whole) string {
	seq := wire.Seq(j.Dialect.Order.Uint32(w.Gotten()))
	if seq != 0 && !j.Memory.(dumps)[seq] {
		return fmt.Sprintf("%d is no sequence number of a DUMP", seq)
	}
	return ""
}

// lastInDump: of all SAs one comes last. Of those of one type it may be none, as the last may be of another.
func lastInDump(j *conform.Judge, all []conform.Whole) string {
	var want, got, most int
	for _, w := range all {
		if j.Dialect.Order.Uint32(w.Wanted()) == 0 {
			want++
		}
		if j.Dialect.Order.Uint32(w.Gotten()) == 0 {
			got++
		}
		if h, err := j.Dialect.Header(w.Want); err == nil && h.SAType != wire.SATypeUnspec {
			most = 1
		}
	}
	if got != want && (most == 0 || got > most) {
		return fmt.Sprintf("%d messages are the last of a DUMP, of the recorded ones %d", got, want)
	}
	return ""
}
