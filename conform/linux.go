package conform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// The recordings of Linux: what testdata/golden/linux-6.1/README.md describes beyond sockets and messages.

func init() {
	host := func(do func(n Network, a *Action, p *player) wire.Errno) func(*player, *Action, *Outcome) {
		return func(p *player, a *Action, out *Outcome) { out.result(0, do(p.m.(Network), a, p)) }
	}
	families["linux"] = &family{
		kernel:   "linux",
		builtin:  []string{"linux-6.1", "linux-live"},
		dialect:  wire.Linux().WithOrder(binary.LittleEndian),
		addrs:    addrs("192.0.2.1", "2001:db8::1"),
		isolates: true,
		network:  linuxNetwork,
		probe:    linuxProbe,
		slack:    1,
		spis:     wire.SPIRange{Min: 0x100, Max: 0x0fffffff},
		converse: Conversations,

		flushes:   []wire.MsgType{wire.MsgFlush, wire.KAMEMsgXSPDFlush},
		countdown: []wire.MsgType{wire.MsgDump, wire.KAMEMsgXSPDDump},
		named:     namesPolicy,
		numbers:   policyNumbers,

		markHeader: markLinuxHeader,
		markExt:    markLinuxExt,
		ops: map[string]*op{
			"send":   {socket: true, message: true, check: checkFlags(sendFlags), do: linuxSend},
			"recv":   {socket: true, keeps: true, check: checkFlags(recvFlags), do: linuxRecv},
			"rcvbuf": {socket: true, do: buffer(pfkey.OptionRecvBuffer)},
			"sndbuf": {socket: true, do: buffer(pfkey.OptionSendBuffer)},
			"sysc":   {socket: true, check: checkCall, do: linuxCall},
			"align":  {needs: needTime, do: linuxAlign},
			"sleep":  {needs: needTime, do: linuxSleep},

			"sysctl": {needs: needHost, check: checkSysctl, do: host(func(n Network, a *Action, _ *player) wire.Errno {
				return n.Sysctl(a.Name, a.Val)
			})},
			"traffic": {needs: needHost, check: func(a *Action) error { _, err := linuxTraffic(a); return err },
				do: host(func(n Network, a *Action, _ *player) wire.Errno {
					t, _ := linuxTraffic(a) // checked when it was read
					return n.Traffic(t)
				})},
			"encap": {needs: needHost, check: func(a *Action) error { _, err := netip.ParseAddr(a.Src); return err },
				do: host(func(n Network, a *Action, _ *player) wire.Errno {
					return n.Encap(netip.AddrPortFrom(netip.MustParseAddr(a.Src), a.SPort), a.Val)
				})},
			"inject": {needs: needHost, bytes: true, check: checkDatagram,
				do: host(func(n Network, a *Action, _ *player) wire.Errno {
					return n.Datagram(netip.AddrPortFrom(netip.MustParseAddr(a.Src), a.SPort),
						netip.AddrPortFrom(netip.MustParseAddr(a.Dst), a.DPort), a.Hex)
				})},
			"xfrmpol": {needs: needHost, check: func(a *Action) error { _, err := linuxPolicy(a); return err },
				do: host(func(n Network, a *Action, _ *player) wire.Errno {
					p, _ := linuxPolicy(a)
					return n.AddPolicy(p)
				})},
		},
	}
}

var sendFlags = map[string]bool{"oob": true}

var recvFlags = map[string]pfkey.RecvFlags{
	"peek": pfkey.RecvPeek, "trunc": pfkey.RecvTrunc, "oob": pfkey.RecvOOB, "waitall": pfkey.RecvWaitAll,
}

// flagNames splits the flags of an action: names with something between them that is no letter.
func flagNames(a *Action) []string {
	return strings.FieldsFunc(a.Flags, func(r rune) bool { return r < 'a' || r > 'z' })
}

func checkFlags[V any](known map[string]V) func(*Action) error {
	return func(a *Action) error {
		for _, f := range flagNames(a) {
			if _, ok := known[f]; !ok {
				return fmt.Errorf("unknown flag %q", abridged(f))
			}
		}
		return nil
	}
}

func linuxSend(p *player, a *Action, out *Outcome) {
	s := p.socket(a, out)
	if s == nil {
		return
	}
	msg := p.message(a, out)
	if slices.Contains(flagNames(a), "oob") {
		if errno := pfkey.CallOn(s.s, pfkey.CallSendOOB); errno != wire.OK {
			out.result(-1, errno)
			return
		}
	}
	out.result(len(msg), s.s.Send(msg, privileged))
}

// linuxRecv reads up to so many messages. It returns how many, or the errno of the read that failed.
func linuxRecv(p *player, a *Action, out *Outcome) {
	s := p.socket(a, out)
	if s == nil {
		return
	}
	n, buf, flags := 1, p.buf, pfkey.RecvFlags(0)
	for _, f := range flagNames(a) {
		flags |= recvFlags[f]
	}
	if a.N != nil {
		n = *a.N
	}
	if a.Buf != 0 {
		buf = make([]byte, a.Buf)
	}
	for i := range n {
		m, errno := p.readInto(s, buf, flags)
		if errno != wire.OK {
			out.result(-1, errno)
			return
		}
		out.Rx = append(out.Rx, m)
		out.Ret = i + 1
	}
}

// buffer sets the size of a buffer and returns what it is then.
func buffer(o pfkey.Option) func(*player, *Action, *Outcome) {
	return func(p *player, a *Action, out *Outcome) {
		s := p.socket(a, out)
		if s == nil {
			return
		}
		if errno := s.s.SetOption(o, a.Val); errno != wire.OK {
			out.result(-1, errno)
			return
		}
		v, errno := s.s.GetOption(o)
		out.result(v, errno)
	}
}

var linuxCalls = map[string]pfkey.Call{
	"bind": pfkey.CallBind, "connect": pfkey.CallConnect, "listen": pfkey.CallListen, "accept": pfkey.CallAccept,
	"getsockname": pfkey.CallGetSockName, "getpeername": pfkey.CallGetPeerName, "shutdown": pfkey.CallShutdown,
	"fionread": pfkey.CallFIONREAD, "sendto-addr": pfkey.CallSendTo,
}

func checkCall(a *Action) error {
	if _, ok := linuxCalls[a.Name]; !ok {
		return fmt.Errorf("unknown call %q", abridged(a.Name))
	}
	return nil
}

func linuxCall(p *player, a *Action, out *Outcome) {
	s := p.socket(a, out)
	if s == nil {
		return
	}
	c := linuxCalls[a.Name]
	errno := pfkey.CallOn(s.s, c)
	if errno == wire.OK && c == pfkey.CallSendTo {
		errno = s.s.Send(linuxFlush(2), privileged)
	}
	out.result(0, errno)
}

func linuxAlign(p *player, _ *Action, _ *Outcome) {
	t := p.m.(Passing)
	t.Align()
	p.zero = t.Now().Truncate(time.Second)
}

// linuxSleep lets time pass and reads whatever comes on the way.
func linuxSleep(p *player, a *Action, out *Outcome) {
	t := p.m.(Passing)
	end := t.Now().Add(time.Duration(a.Millis) * time.Millisecond)
	got := map[string][]Message{}
	for {
		now := t.Now()
		var each Outcome
		p.drain(&each)
		for _, m := range each.Rx {
			if !p.zero.IsZero() {
				m.T = now.Sub(p.zero).Milliseconds()
			}
			got[m.Socket] = append(got[m.Socket], m)
		}
		if !now.Before(end) {
			break
		}
		t.Wait(end)
	}
	for _, s := range p.socks {
		out.Rx = append(out.Rx, got[s.name]...)
	}
}

func checkSysctl(a *Action) error {
	if a.Name == "" {
		return errors.New("no name")
	}
	for _, r := range a.Name { // it becomes a path
		if r != '/' && r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9') {
			return fmt.Errorf("name %q", abridged(a.Name))
		}
	}
	return nil
}

// optional reads an address; nothing stands for the zero value.
func optional(s string) (netip.Addr, error) {
	if s == "" {
		return netip.Addr{}, nil
	}
	return netip.ParseAddr(s)
}

func linuxTraffic(a *Action) (t Traffic, err error) {
	t = Traffic{Proto: uint8(a.Proto), SPort: a.SPort, DPort: a.DPort, Len: a.Len}
	if !slices.Contains([]int{1, 6, 17, 58}, a.Proto) {
		return t, fmt.Errorf("protocol %d", a.Proto)
	}
	const most = 65535
	if a.Len < 0 || a.Len > most {
		return t, fmt.Errorf("%d bytes", a.Len)
	}
	if t.Src, err = optional(a.Src); err != nil {
		return t, err
	}
	t.Dst, err = netip.ParseAddr(a.Dst)
	return t, err
}

func checkDatagram(a *Action) error {
	for _, s := range []string{a.Src, a.Dst} {
		if _, err := netip.ParseAddr(s); err != nil {
			return err
		}
	}
	return nil
}

func linuxPolicy(a *Action) (p TransformPolicy, err error) {
	if a.Proto < 0 || a.Proto > 255 || a.Val < 0 || a.Val > 255 || int64(a.Len) > math.MaxUint32 {
		return p, fmt.Errorf("protocol %d, mode %d, reqid %d", a.Proto, a.Val, a.Len)
	}
	p = TransformPolicy{Proto: uint8(a.Proto), Mode: uint8(a.Val), ReqID: uint32(a.Len)}
	if p.Src, err = netip.ParseAddr(a.Src); err != nil {
		return p, err
	}
	if p.Dst, err = netip.ParseAddr(a.Dst); err != nil {
		return p, err
	}
	if p.Src.Is4() != p.Dst.Is4() {
		return p, errors.New("addresses of two families")
	}
	return p, nil
}

func linuxFlush(pid uint32) []byte {
	d := wire.Linux()
	return d.Finish(d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgFlush, Seq: 1, PID: pid}))
}

// linuxProbe is a FLUSH: it is always answered.
func linuxProbe() []byte { return linuxFlush(1234) }
