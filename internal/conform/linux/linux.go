// Package linux is what the recordings of Linux have of their own: what testdata/golden/linux-6.1/README.md describes
// beyond sockets and messages, the network of the host, and the kernel of this machine as a target.
package linux

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/capture"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/wire"
)

var dialect = wire.Linux().WithOrder(binary.LittleEndian)

const name = "linux"

// Kernel is Linux.
var Kernel = &conform.Kernel{
	Name:     name,
	Builtin:  []string{"linux-6.1", "linux-live"},
	Dialect:  dialect,
	Addrs:    []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
	Isolates: true,
	Machine:  machine,
	Ops: map[string]*conform.Op{
		"open":   {Args: conform.Parameters[conform.Open], Socket: true},
		"close":  {Args: conform.Parameters[conform.Close], Socket: true},
		"send":   {Args: conform.Parameters[conform.Send], Socket: true},
		"recv":   {Args: conform.Parameters[conform.Recv], Socket: true, Keeps: true},
		"rcvbuf": {Args: conform.ReceiveBuffer, Socket: true},
		"sndbuf": {Args: conform.SendBuffer, Socket: true},
		"sysc":   {Args: conform.Parameters[conform.Call], Socket: true},

		"align": {Args: conform.Parameters[align], Needs: conform.NeedTime},
		"sleep": {Args: conform.Parameters[sleep], Needs: conform.NeedTime},

		"sysctl":  {Args: conform.Parameters[Sysctl], Needs: needHost},
		"traffic": {Args: conform.Parameters[Traffic], Needs: needHost},
		"encap":   {Args: conform.Parameters[Encap], Needs: needHost},
		"inject":  {Args: conform.Parameters[Datagram], Needs: needHost},
		"xfrmpol": {Args: conform.Parameters[OutputPolicy], Needs: needHost},
	},
	Rules: map[string]conform.Rule{
		"addtime":      conform.TimeRule,
		"usetime":      conform.TimeRule,
		"spi":          conform.SPIRule,
		"acqseq":       {Size: 4, Judge: counter},
		"reqid":        {Size: 4, Judge: reqid},
		"port":         {Size: 2, Judge: conform.Anything},
		"msg_reserved": {Size: 2, Judge: conform.Anything},
		"policy":       {Size: 4, Judge: policy},
		"references":   {Size: 2, Judge: references},
	},
	Slack:     1,
	SPIs:      wire.SPIRange{Min: 0x100, Max: 0x0fffffff},
	NewMemory: func() conform.Memory { return new(routes) },
	NewMarker: newMarker,
	Named:     namesPolicy,
	Numbers:   policyNumbers,
	Flushes:   []wire.MsgType{wire.MsgFlush, wire.KAMEMsgXSPDFlush},
	Capture:   capture.Reader(throughKernels),
}

var needHost = &conform.Need{What: "a host with a network",
	Has: func(m conform.Machine) bool { _, ok := m.(Network); return ok }}

// align waits for the start of a second, from which the times of messages count.
type align struct{}

func (align) Do(p *conform.Player, _ *conform.Action, _ *conform.Outcome) {
	t := p.Machine.(conform.Passing)
	t.Align()
	p.Own = t.Now().Truncate(time.Second)
}

// Common is nothing: that a second begins means nothing where time is virtual.
func (align) Common() any { return nil }

func (align) Waits() time.Duration { return time.Second }

// sleep lets time pass and reads whatever comes on the way.
type sleep struct {
	Millis int64 `json:"ms,omitempty"`
}

// maxSleep is a day, in milliseconds. Nobody waits that long for a real kernel.
const maxSleep = 86_400_000

func (s *sleep) Check() error {
	if s.Millis < 0 || s.Millis > maxSleep {
		return fmt.Errorf("waits for %d ms", s.Millis)
	}
	return nil
}

func (s *sleep) Waits() time.Duration { return time.Duration(s.Millis) * time.Millisecond }

// Common is the time that passes.
func (s *sleep) Common() any { return &conform.Lapse{Duration: s.Waits()} }

func (s *sleep) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	t := p.Machine.(conform.Passing)
	zero, aligned := p.Own.(time.Time)
	end := t.Now().Add(s.Waits())
	for {
		now := t.Now()
		var each conform.Outcome
		p.Drain(&each)
		for _, m := range each.Rx {
			if aligned {
				m.T = now.Sub(zero).Milliseconds()
			}
			out.Rx = append(out.Rx, m)
		}
		if !now.Before(end) {
			break
		}
		t.Wait(end)
	}
	p.BySocket(out.Rx)
}

// on has the host of the machine do something.
func on(p *conform.Player, out *conform.Outcome, do func(Network) wire.Errno) {
	out.Result(0, do(p.Machine.(Network)))
}

// Sysctl writes a file below /proc/sys.
type Sysctl struct {
	Name string `json:"name"`
	Val  int    `json:"val,omitempty"`
}

// Check finds names that are none: they become a path.
func (s *Sysctl) Check() error {
	if s.Name == "" {
		return errors.New("no name")
	}
	for _, r := range s.Name {
		if r != '/' && r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			return fmt.Errorf("name %q", conform.Abridged(s.Name))
		}
	}
	return nil
}

// Do writes the file.
func (s *Sysctl) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	on(p, out, func(n Network) wire.Errno { return n.Sysctl(s.Name, s.Val) })
}

// Traffic is one packet that a program has the host send.
type Traffic struct {
	Proto uint8      `json:"proto,omitempty"` // 17: a datagram, 6: how a connection begins, 1, 58: an echo request
	Src   netip.Addr `json:"src,omitzero"`    // invalid: the host chooses
	Dst   netip.Addr `json:"dst"`
	SPort uint16     `json:"sport,omitempty"` // 0: the host chooses
	DPort uint16     `json:"dport,omitempty"`
	Len   int        `json:"len,omitempty"` // bytes of payload, which are zero
}

// Check finds packets that no program here sends.
func (t *Traffic) Check() error {
	const most = 65535
	switch {
	case !slices.Contains([]uint8{1, tcp, udp, 58}, t.Proto):
		return fmt.Errorf("protocol %d", t.Proto)
	case t.Len < 0 || t.Len > most:
		return fmt.Errorf("%d bytes", t.Len)
	case !t.Dst.IsValid():
		return errNowhere
	}
	return nil
}

var errNowhere = errors.New("without an address")

// Common is the packet. Where the host chooses the source, it is an own address, and the port is one.
func (t *Traffic) Common() any {
	from, port := t.Src, t.SPort
	for _, own := range Kernel.Addrs {
		if !from.IsValid() && own.Is4() == t.Dst.Is4() {
			from = own
		}
	}
	if port == 0 {
		port = 40000
	}
	src, dst := netip.AddrPortFrom(from, port), netip.AddrPortFrom(t.Dst, t.DPort)
	var pkt []byte
	var err error
	switch t.Proto {
	case udp:
		pkt, err = ip.UDP(src, dst, make([]byte, t.Len))
	case tcp:
		pkt, err = ip.SYN(src, dst, 1, 0xffff, nil)
	default:
		pkt, err = ip.Echo(from, t.Dst, 1, 1, make([]byte, t.Len))
	}
	if err != nil {
		return err
	}
	return &conform.Outgoing{Packet: pkt}
}

// Do has the host send it.
func (t *Traffic) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	on(p, out, func(n Network) wire.Errno { return n.Traffic(*t) })
}

// Encap opens a UDP socket with UDP_ENCAP set to Val.
type Encap struct {
	Src   netip.Addr `json:"src"`
	SPort uint16     `json:"sport,omitempty"`
	Val   int        `json:"val,omitempty"`
}

// Check finds a socket that is nowhere.
func (e *Encap) Check() error {
	if !e.Src.IsValid() {
		return errNowhere
	}
	return nil
}

// Do opens the socket.
func (e *Encap) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	on(p, out, func(n Network) wire.Errno { return n.Encap(netip.AddrPortFrom(e.Src, e.SPort), e.Val) })
}

// Datagram is sent over the loopback interface.
type Datagram struct {
	Hex   conform.Hex `json:"hex"`
	Src   netip.Addr  `json:"src"`
	Dst   netip.Addr  `json:"dst"`
	SPort uint16      `json:"sport,omitempty"`
	DPort uint16      `json:"dport,omitempty"`
}

// Check finds what is missing.
func (d *Datagram) Check() error {
	switch {
	case d.Hex == nil:
		return errors.New("without hex")
	case !d.Src.IsValid() || !d.Dst.IsValid():
		return errNowhere
	}
	return nil
}

// Common is the packet.
func (d *Datagram) Common() any {
	pkt, err := ip.UDP(netip.AddrPortFrom(d.Src, d.SPort), netip.AddrPortFrom(d.Dst, d.DPort), d.Hex)
	if err != nil {
		return err
	}
	return &conform.Incoming{Packet: pkt}
}

// Do sends it.
func (d *Datagram) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	on(p, out, func(n Network) wire.Errno {
		return n.Datagram(netip.AddrPortFrom(d.Src, d.SPort), netip.AddrPortFrom(d.Dst, d.DPort), d.Hex)
	})
}

// OutputPolicy is made by other means than PF_KEY: from one host to another, with one template that allows every
// algorithm.
type OutputPolicy struct {
	Proto uint8      `json:"proto,omitempty"` // IP's number: 50 ESP, 51 AH, 108 IPCOMP
	Mode  uint8      `json:"val,omitempty"`   // as the kernel counts: 0 transport, 1 tunnel, 2 routes, 4 BEET
	ReqID uint32     `json:"len,omitempty"`
	Src   netip.Addr `json:"src"`
	Dst   netip.Addr `json:"dst"`
}

// Check finds addresses that do not fit.
func (o *OutputPolicy) Check() error {
	switch {
	case !o.Src.IsValid() || !o.Dst.IsValid():
		return errNowhere
	case o.Src.Is4() != o.Dst.Is4():
		return errors.New("addresses of two families")
	}
	return nil
}

// Do adds the policy.
func (o *OutputPolicy) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	on(p, out, func(n Network) wire.Errno { return n.AddPolicy(*o) })
}
