package conform

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// The parameters of the operations that several kernels have.

// Open opens a socket.
type Open struct {
	NoCap bool `json:"nocap,omitempty"` // without privilege
	Type  int  `json:"type,omitempty"`  // of the socket; 0: the usual one
	Proto *int `json:"proto,omitempty"` // of the socket; nil: the usual one, -1: 0
}

// RawSocket is SOCK_RAW on every system, the type of a PF_KEY socket.
const RawSocket = 3

// Do opens the socket.
func (o *Open) Do(p *Player, a *Action, out *Outcome) { o.As(o.Cred(), p, a, out) }

// Cred is who opens the socket: nobody in particular.
func (o *Open) Cred() pfkey.Cred {
	if o.NoCap {
		return unprivileged
	}
	return Privileged
}

// As opens the socket in the name of a process, which makes every later call on it.
func (o *Open) As(cred pfkey.Cred, p *Player, a *Action, out *Outcome) {
	typ, proto := o.Type, wire.Version
	if typ == 0 {
		typ = RawSocket
	}
	if o.Proto != nil {
		proto = max(*o.Proto, 0)
	}
	s, errno := p.Machine.Open(cred, typ, proto)
	out.Result(0, errno)
	if errno == wire.OK {
		ps := &Socket{Socket: s, Owner: cred, name: a.Socket}
		p.socks = append(p.socks, ps)
		p.byName[a.Socket] = ps
	}
}

// NotLive says what a Unix socket has not.
func (o *Open) NotLive() string {
	if o.NoCap || o.Type != 0 && o.Type != RawSocket || o.Proto != nil && *o.Proto != wire.Version {
		return "a Unix socket has no privilege, type and protocol of its own"
	}
	return ""
}

// Close closes a socket.
type Close struct{}

// Do closes the socket.
func (*Close) Do(p *Player, a *Action, out *Outcome) {
	if s := p.Socket(a, out); s != nil {
		s.Close()
		s.closed = true
	}
}

// Send sends one message.
type Send struct {
	Sending
	Flags string `json:"flags,omitempty"` // "oob"
}

var sendFlags = map[string]bool{"oob": true}

// Check finds unknown flags.
func (s *Send) Check() error { return checkFlags(s.Flags, sendFlags) }

// Do sends the message.
func (s *Send) Do(p *Player, a *Action, out *Outcome) {
	to := p.Socket(a, out)
	if to == nil {
		return
	}
	msg := p.message(&s.Sending, out)
	if slices.Contains(flagNames(s.Flags), "oob") {
		if errno := pfkey.CallOn(to.Socket, pfkey.CallSendOOB); errno != wire.OK {
			out.Result(-1, errno)
			return
		}
	}
	out.Result(len(msg), to.Send(msg, to.Owner))
}

const maxOverSocket = wire.MaxLen

// NotLive says what a Unix socket does not carry.
func (s *Send) NotLive() string {
	switch {
	case s.Flags != "":
		return NoFlags
	case max(len(s.Hex), s.Len) < wire.HeaderLen:
		return "what send returns for less than a header does not come back through a Unix socket"
	case max(len(s.Hex), s.Len) > maxOverSocket:
		return "a message longer than any can be"
	}
	return ""
}

// Why a Unix socket is not enough.
const (
	NoFlags   = "flags do not go through a Unix socket"
	NoOptions = "options and other calls do not go through a Unix socket"
)

// Recv reads up to so many messages. It returns how many, or the errno of the read that failed.
type Recv struct {
	N     *int   `json:"n,omitempty"`     // nil: one
	Buf   int    `json:"buf,omitempty"`   // size of the buffer in bytes; 0: a large one
	Flags string `json:"flags,omitempty"` // such as "peek"
}

var recvFlags = map[string]pfkey.RecvFlags{
	"peek": pfkey.RecvPeek, "trunc": pfkey.RecvTrunc, "oob": pfkey.RecvOOB, "waitall": pfkey.RecvWaitAll,
}

// Check finds unknown flags and impossible sizes.
func (r *Recv) Check() error {
	switch {
	case r.N != nil && *r.N < 0:
		return fmt.Errorf("n = %d", *r.N)
	case r.Buf < 0 || r.Buf > maxLine:
		return fmt.Errorf("buf = %d", r.Buf)
	}
	return checkFlags(r.Flags, recvFlags)
}

// Do reads the messages.
func (r *Recv) Do(p *Player, a *Action, out *Outcome) {
	s := p.Socket(a, out)
	if s == nil {
		return
	}
	n, buf, flags := 1, p.buf, pfkey.RecvFlags(0)
	for _, f := range flagNames(r.Flags) {
		flags |= recvFlags[f]
	}
	if r.N != nil {
		n = *r.N
	}
	if r.Buf != 0 {
		buf = make([]byte, r.Buf)
	}
	for i := range n {
		m, errno := s.read(buf, flags)
		if errno != wire.OK {
			out.Result(-1, errno)
			return
		}
		out.Rx = append(out.Rx, m)
		if out.Ret = i + 1; m.EOF {
			return
		}
	}
}

// NotLive says what a Unix socket does not carry.
func (r *Recv) NotLive() string {
	if r.Flags != "" {
		return NoFlags
	}
	return ""
}

// flagNames splits flags: names with something between them that is no letter.
func flagNames(flags string) []string {
	return strings.FieldsFunc(flags, func(r rune) bool { return r < 'a' || r > 'z' })
}

func checkFlags[V any](flags string, known map[string]V) error {
	for _, f := range flagNames(flags) {
		if _, ok := known[f]; !ok {
			return fmt.Errorf("unknown flag %q", Abridged(f))
		}
	}
	return nil
}

// Buffer sets the size of a buffer and returns what it is then.
type Buffer struct {
	Val    int          `json:"val,omitempty"`
	Option pfkey.Option `json:"-"`
}

// ReceiveBuffer makes the parameters of setting the receive buffer.
func ReceiveBuffer() any { return &Buffer{Option: pfkey.OptionRecvBuffer} }

// SendBuffer makes the parameters of setting the send buffer.
func SendBuffer() any { return &Buffer{Option: pfkey.OptionSendBuffer} }

// Do sets the option.
func (b *Buffer) Do(p *Player, a *Action, out *Outcome) {
	s := p.Socket(a, out)
	if s == nil {
		return
	}
	if errno := s.SetOption(b.Option, b.Val); errno != wire.OK {
		out.Result(-1, errno)
		return
	}
	out.Result(s.GetOption(b.Option))
}

// NotLive says that there are no options.
func (*Buffer) NotLive() string { return NoOptions }

// Call is another call on a socket, by its name.
type Call struct {
	Name string `json:"name"`
}

// Calls are the calls by their names. Do not write to it.
var Calls = map[string]pfkey.Call{
	"bind": pfkey.CallBind, "connect": pfkey.CallConnect, "listen": pfkey.CallListen, "accept": pfkey.CallAccept,
	"getsockname": pfkey.CallGetSockName, "getpeername": pfkey.CallGetPeerName, "shutdown": pfkey.CallShutdown,
	"fionread": pfkey.CallFIONREAD, "sendto-addr": pfkey.CallSendTo,
}

// Check finds unknown calls.
func (c *Call) Check() error {
	if _, ok := Calls[c.Name]; !ok {
		return fmt.Errorf("unknown call %q", Abridged(c.Name))
	}
	return nil
}

// Do makes the call.
func (c *Call) Do(p *Player, a *Action, out *Outcome) {
	s := p.Socket(a, out)
	if s == nil {
		return
	}
	call := Calls[c.Name]
	errno := pfkey.CallOn(s.Socket, call)
	if errno == wire.OK && call == pfkey.CallSendTo {
		errno = s.Send(Flush(p.Machine.Dialect(), 2), s.Owner)
	}
	out.Result(0, errno)
}

// NotLive says that there are no other calls.
func (*Call) NotLive() string { return NoOptions }

// Flush is a FLUSH of all SAs. Every live kernel answers it.
func Flush(d *wire.Dialect, pid uint32) []byte {
	return d.Finish(d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgFlush, Seq: 1, PID: pid}))
}
