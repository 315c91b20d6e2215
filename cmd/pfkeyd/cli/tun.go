package cli

import (
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/packetport"
)

// tunFlags say which TUN devices join the emulated host to the machine's own network.
type tunFlags struct {
	host string // NAME, or NAME=TUNNEL
	wire string
}

// tunDevice is an open TUN device: every Read and every Write is one IP packet.
type tunDevice interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
}

// tunLink has two ends. What is read from its host end goes out through the engine, and what the engine delivers is
// written there; what is read from its wire end comes in, and what the engine transmits is written there, whoever
// injected it. Both ends may be one device, and either may be missing.
type tunLink struct {
	target     packetport.Target
	own        func(netip.Addr) bool
	host, wire tunDevice
	tunnel     string // the emulated tunnel interface that the host end is
	unwatch    func()
	failed     func(error)

	reading sync.WaitGroup
	stopped atomic.Bool

	lastID                                   atomic.Uint64
	hostRead, wireRead                       atomic.Uint64
	hostWritten, wireWritten, lost, returned atomic.Uint64
}

// tunFirstID keeps the numbers of packets that come from a device apart from those that the packet port gives.
const tunFirstID = 1 << 48

// tunCounters are shown in the status: packets.
type tunCounters struct {
	HostRead    uint64 `json:"host_read"`
	HostWritten uint64 `json:"host_written"`
	WireRead    uint64 `json:"wire_read"`
	WireWritten uint64 `json:"wire_written"`
	Lost        uint64 `json:"lost"` // could not be written, most often because the device is down
	// not written, because they came out as they went in, of the device that they would go into
	Returned uint64 `json:"returned"`
}

// maxInterfaceName is the longest name of a network interface, in bytes.
const maxInterfaceName = 15

// check looks at the names.
func (f *tunFlags) check() error {
	name, tunnel, named := strings.Cut(f.host, "=")
	switch {
	case f.host != "" && !interfaceName(name):
		return command.Usagef("--tun %q: no name of a network interface, which has 1 to %d characters", f.host,
			maxInterfaceName)
	case named && tunnel == "":
		return command.Usagef("--tun %q: NAME=TUNNEL without a tunnel", f.host)
	case f.wire != "" && !interfaceName(f.wire):
		return command.Usagef("--tun-wire %q: no name of a network interface, which has 1 to %d characters", f.wire,
			maxInterfaceName)
	}
	return nil
}

func interfaceName(s string) bool {
	return s != "" && len(s) <= maxInterfaceName && s != "." && s != ".." && !strings.ContainsAny(s, "/%: \t\n")
}

// open opens the devices; nil if there are none. Nothing is read before start.
func (f *tunFlags) open(target packetport.Target, own func(netip.Addr) bool) (l *tunLink, err error) {
	if f.host == "" && f.wire == "" {
		return nil, nil
	}
	name, tunnel, _ := strings.Cut(f.host, "=")
	l = &tunLink{target: target, own: own, tunnel: tunnel}
	if f.host != "" {
		if l.host, err = openTUN(name); err != nil {
			return nil, fmt.Errorf("--tun %s: %w", name, err)
		}
	}
	if f.wire == "" || f.wire == name {
		l.wire = l.host
	} else if l.wire, err = openTUN(f.wire); err != nil {
		l.close()
		return nil, fmt.Errorf("--tun-wire %s: %w", f.wire, err)
	}
	return l, nil
}

// start lets packets in and out. failed hears, on another goroutine and once for each device at most, that one is gone.
func (l *tunLink) start(failed func(error)) {
	l.failed = failed
	l.unwatch = l.target.Ledger().Watch(l.ended)
	for _, d := range l.devices() {
		l.reading.Go(func() { l.read(d) }) // ends with stop, or the device
	}
}

func (l *tunLink) read(d tunDevice) {
	buf := make([]byte, packetport.MaxPacket)
	for {
		n, err := d.Read(buf)
		if err != nil {
			if !l.stopped.Load() {
				l.failed(fmt.Errorf("a TUN device is gone: %w", err))
			}
			return
		}
		p := &packet.Packet{ID: tunFirstID + l.lastID.Add(1), Data: append([]byte(nil), buf[:n]...)}
		if d == l.wire && (d != l.host || l.arrives(p.Data)) {
			l.wireRead.Add(1)
			l.target.Inbound(p)
		} else {
			l.hostRead.Add(1)
			l.target.Outbound(p, l.tunnel)
		}
	}
}

// arrives tells what comes off the wire from what the host sends, where both come out of one device: it is for the
// emulated host itself.
func (l *tunLink) arrives(pkt []byte) bool {
	var h ip.Header
	h.Parse(pkt)
	return h.Dst.IsValid() && l.own(h.Dst)
}

// ended hears the final verdict of every packet.
func (l *tunLink) ended(p *packet.Packet, v packet.Verdict) {
	d, count := l.host, &l.hostWritten
	switch v.Kind {
	case packet.Delivered:
	case packet.Transmitted, packet.Sent:
		d, count = l.wire, &l.wireWritten
	default:
		return
	}
	switch {
	case d == nil:
	case l.host == l.wire && p.ID > tunFirstID && v.Kind != packet.Sent && string(p.Data) == string(v.Inner):
		l.returned.Add(1) // the machine would route it back in
	default:
		if _, err := d.Write(v.Inner); err != nil {
			l.lost.Add(1)
		} else {
			count.Add(1)
		}
	}
}

// Counters reads the counters.
func (l *tunLink) Counters() any {
	return tunCounters{
		HostRead: l.hostRead.Load(), HostWritten: l.hostWritten.Load(), WireRead: l.wireRead.Load(),
		WireWritten: l.wireWritten.Load(),
		Lost:        l.lost.Load(), Returned: l.returned.Load(),
	}
}

// stop ends reading. When it returns, no packet of a device is being handed to the engine, and none will be; what the
// engine delivers and transmits is still written.
func (l *tunLink) stop() {
	l.stopped.Store(true)
	for _, d := range l.devices() {
		d.SetReadDeadline(time.Unix(1, 0)) // ends the Read that is under way and every later one
	}
	l.reading.Wait()
}

// close ends everything, and with it devices that were made for us.
func (l *tunLink) close() {
	if l.unwatch != nil {
		l.unwatch()
	}
	for _, d := range l.devices() {
		d.Close()
	}
}

// devices are those there are, each once.
func (l *tunLink) devices() (ds []tunDevice) {
	if l.host != nil {
		ds = append(ds, l.host)
	}
	if l.wire != nil && l.wire != l.host {
		ds = append(ds, l.wire)
	}
	return ds
}
