package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A host is a machine whose keys are managed: what its manager, which only speaks PF_KEY, cannot do itself.
type host struct {
	addr, peer netip.Addr
	client     *pfkey.Client
	// send has the kernel send a packet to the peer, and returns what goes out on the wire, nil if nothing does or
	// nobody can see it.
	send func(ctx context.Context) (sealed []byte, err error)
	// open has the kernel receive a packet; nil if there is no way to give it one.
	open    func(sealed []byte) error
	closers []func()
}

// emulated says whether an address is that of a kernel in this process, which is only a name.
func emulated(address string) bool { return slices.Contains(kernel.Names(), address) }

// openHost finds the kernel at an address of package pfkey, or emulates one in this process if there is only its name.
// speed is how much faster the clock of such a one runs.
func openHost(ctx context.Context, address string, addr, peer netip.Addr, speed int) (_ *host, err error) {
	h := &host{addr: addr, peer: peer}
	defer func() {
		if err != nil {
			h.close()
		}
	}()
	if emulated(address) {
		return h, h.emulate(ctx, address, speed)
	}
	a, err := pfkey.ParseAddress(address)
	if err != nil {
		return nil, err
	}
	if h.client, err = pfkey.Dial(ctx, address); err != nil {
		return nil, err
	}
	h.closers = append(h.closers, func() { h.forget(context.WithoutCancel(ctx)) })
	if a.Kernel == pfkey.HostKernel {
		h.send = h.sendSocket
	} else {
		port, err := packetport.Dial(ctx, packetport.Path(a.Path))
		if err != nil {
			return nil, err
		}
		h.closers = append(h.closers, func() { port.Close() })
		h.send = func(ctx context.Context) ([]byte, error) { return h.sendPort(ctx, port) }
	}
	return h, h.protect(ctx)
}

// protect asks the kernel to protect what is sent to the peer. Where policies do not come by PF_KEY, on illumos, the
// administrator must have done it.
func (h *host) protect(ctx context.Context) error {
	p := pfkey.Policy{
		Direction: wire.KAMEDirOut, Src: whole(h.addr), Dst: whole(h.peer), Type: wire.KAMEPolicyIPsec,
		Templates: []wire.IPsecRequest{{Proto: 50, Mode: wire.ModeTransport, Level: wire.KAMELevelRequire}},
	}
	_, err := h.client.UpdatePolicy(ctx, p)
	if errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	if err == nil {
		h.closers = append(h.closers, func() { _ = h.client.DeletePolicy(context.WithoutCancel(ctx), p) })
	}
	return err
}

// whole selects a host, whatever the protocol.
func whole(a netip.Addr) wire.Address {
	const anyProto = 255
	h := pfkey.Host(a)
	h.Proto = anyProto
	return h
}

// forget deletes all associations with the peer.
func (h *host) forget(ctx context.Context) {
	for sa, err := range h.client.Dump(ctx, wire.SATypeESP) {
		if err == nil && (sa.Src.Addr == h.peer || sa.Dst.Addr == h.peer) {
			_ = h.client.Delete(ctx, sa.SAID)
		}
	}
}

// emulate runs a kernel in this process.
func (h *host) emulate(ctx context.Context, name string, speed int) error {
	start := time.Now()
	clock := func() time.Time { return start.Add(time.Duration(speed) * time.Since(start)) }
	e, err := kernel.New(name, kernel.Options{Addrs: []netip.Addr{h.addr}, Clock: clock})
	if err != nil {
		return err
	}
	cred := pfkey.Cred{PID: 1, Privileged: true}
	sock, errno := e.Open(cred, 3, 2) // SOCK_RAW, PF_KEY_V2
	if errno != wire.OK {
		return fmt.Errorf("open a PF_KEY socket: %v", errno)
	}
	h.client = pfkey.NewClientOn(sock, e.Dialect(), cred)
	ctx, cancel := context.WithCancel(ctx)
	ticked := make(chan struct{})
	go func() {
		defer close(ticked)
		tick(ctx, e, speed)
	}()
	h.closers = append(h.closers, func() {
		cancel()
		<-ticked
		e.Close()
	})
	h.send = func(context.Context) ([]byte, error) {
		sent := make(chan []byte, 1) // or never: a packet may wait, and end later
		e.Outbound(&packet.Packet{Data: udp(h.addr, h.peer, nil), Done: func(_ *packet.Packet, v packet.Verdict) {
			if v.Kind == packet.Transmitted {
				sent <- v.Inner
			}
		}}, "")
		select {
		case sealed := <-sent:
			return sealed, nil
		default:
			return nil, nil
		}
	}
	h.open = func(sealed []byte) error {
		var got packet.Verdict
		e.Inbound(&packet.Packet{Data: sealed, Done: func(_ *packet.Packet, v packet.Verdict) { got = v }})
		if got.Kind != packet.Delivered {
			return fmt.Errorf("%s: a packet was not delivered: %v (%v)", h.addr, got.Kind, got.Reason)
		}
		return nil
	}
	if name == "illumos" {
		return e.LoadPolicy(strings.NewReader(fmt.Sprintf("{raddr %s dir out} ipsec {encr_algs aes encr_auth_algs sha1}", h.peer)),
			"policy")
	}
	return h.protect(ctx)
}

// tick tells an engine when something is due.
func tick(ctx context.Context, e *kernel.Engine, speed int) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.Wake():
		case <-timer.C:
			e.Advance(e.Now())
		}
		if next, ok := e.Next(); ok {
			timer.Reset(max(next.Sub(e.Now())/time.Duration(speed), 0))
		}
	}
}

// sendSocket sends from this machine itself. The kernel refuses or drops it as long as there are no keys, and shows
// nobody what it makes of it.
func (h *host) sendSocket(context.Context) ([]byte, error) {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(h.addr, 0)))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_, _ = conn.WriteToUDPAddrPort([]byte("hello"), netip.AddrPortFrom(h.peer, discard))
	return nil, nil
}

// sendPort sends from an engine that somebody else runs.
func (h *host) sendPort(ctx context.Context, port *packetport.Client) ([]byte, error) {
	id, err := port.Inject(ctx, udp(h.addr, h.peer, nil), packetport.Outbound, "")
	for err == nil {
		var v packetport.Verdict
		if v, err = port.Recv(ctx); err == nil && v.ID == id {
			return v.Inner, nil // none unless it was transmitted
		}
	}
	return nil, err
}

// close takes back what was made on the host, and closes it.
func (h *host) close() {
	for _, f := range slices.Backward(h.closers) {
		f()
	}
	if h.client != nil {
		h.client.Close()
	}
}

const discard = 9 // the port of the discard service

// udp is a UDP datagram to the discard service. Addresses of two families, which no pair of hosts has, make none.
func udp(src, dst netip.Addr, payload []byte) []byte {
	b, _ := ipsec.MakeUDP(netip.AddrPortFrom(src, discard), netip.AddrPortFrom(dst, discard), payload)
	return b
}
