package ipseckey

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Names translates names of hosts and protocols. Its methods may be slow; they are not called with -n.
type Names interface {
	// Host finds the addresses of a name that is not a literal; none means unknown. canonical is the name to show.
	Host(ctx context.Context, name string) (canonical string, addrs []netip.Addr)
	// HostOf finds the name of an address, IPv4 or IPv6.
	HostOf(ctx context.Context, a netip.Addr) (name string, ok bool)
	// Protocol finds the name of an IP protocol.
	Protocol(number uint8) (name string, ok bool)
}

// Table is a Names made of lists, as in /etc/hosts and /etc/protocols.
type Table struct {
	hosts     []hostLine
	protocols map[uint8]string
}

type hostLine struct {
	addr  netip.Addr
	names []string
}

// NewTable reads lists of hosts (address, name, other names) and of protocols (number, name, or the other way round),
// one a line; '#' begins a comment. Lines that mean nothing are skipped. Either reader may be nil.
func NewTable(hosts, protocols io.Reader) *Table {
	t := &Table{protocols: map[uint8]string{}}
	eachLine(hosts, func(f []string) {
		if a, err := netip.ParseAddr(f[0]); err == nil {
			t.hosts = append(t.hosts, hostLine{a, f[1:]})
		}
	})
	eachLine(protocols, func(f []string) {
		name, number := f[0], f[1]
		if _, err := strconv.Atoi(name); err == nil {
			name, number = number, name
		}
		if n, err := strconv.ParseUint(number, 10, 8); err == nil {
			if _, ok := t.protocols[uint8(n)]; !ok {
				t.protocols[uint8(n)] = name
			}
		}
	})
	return t
}

func eachLine(r io.Reader, do func(fields []string)) {
	if r == nil {
		return
	}
	for s := bufio.NewScanner(r); s.Scan(); {
		line, _, _ := strings.Cut(s.Text(), "#")
		if f := strings.Fields(line); len(f) >= 2 {
			do(f)
		}
	}
}

// Host implements [Names]: all lines with that name, in any case; the first line's first name is the canonical one.
func (t *Table) Host(_ context.Context, name string) (canonical string, addrs []netip.Addr) {
	for _, h := range t.hosts {
		for _, n := range h.names {
			if strings.EqualFold(n, name) {
				if len(addrs) == 0 {
					canonical = h.names[0]
				}
				addrs = append(addrs, h.addr)
				break
			}
		}
	}
	return canonical, addrs
}

// HostOf implements [Names].
func (t *Table) HostOf(_ context.Context, a netip.Addr) (string, bool) {
	for _, h := range t.hosts {
		if h.addr == a {
			return h.names[0], true
		}
	}
	return "", false
}

// Protocol implements [Names].
func (t *Table) Protocol(number uint8) (string, bool) {
	name, ok := t.protocols[number]
	return name, ok
}

// Resolver is a Names that asks the system's resolver for hosts, and remembers the names of addresses. It is for one
// goroutine.
type Resolver struct {
	*net.Resolver               // required, such as net.DefaultResolver
	Protocols     *Table        // nil: protocols have no names
	Timeout       time.Duration // of one question; 0 means five seconds

	seen map[netip.Addr]string // "" is no name
}

func (r *Resolver) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.Timeout == 0 {
		return context.WithTimeout(ctx, 5*time.Second)
	}
	return context.WithTimeout(ctx, r.Timeout)
}

// Host implements [Names].
func (r *Resolver) Host(ctx context.Context, name string) (string, []netip.Addr) {
	ctx, cancel := r.limit(ctx)
	defer cancel()
	addrs, err := r.LookupNetIP(ctx, "ip", name)
	if err != nil {
		return "", nil
	}
	canonical, err := r.LookupCNAME(ctx, name)
	if err != nil || canonical == "" {
		canonical = name
	}
	return strings.TrimSuffix(canonical, "."), addrs
}

// HostOf implements [Names].
func (r *Resolver) HostOf(ctx context.Context, a netip.Addr) (string, bool) {
	name, ok := r.seen[a]
	if !ok {
		ctx, cancel := r.limit(ctx)
		defer cancel()
		names, err := r.LookupAddr(ctx, a.String())
		if err == nil && len(names) > 0 {
			name = strings.TrimSuffix(names[0], ".")
		}
		if r.seen == nil {
			r.seen = map[netip.Addr]string{}
		}
		r.seen[a] = name
	}
	return name, name != ""
}

// Protocol implements [Names].
func (r *Resolver) Protocol(number uint8) (string, bool) {
	if r.Protocols == nil {
		return "", false
	}
	return r.Protocols.Protocol(number)
}
