package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/leak"
	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m, "/keymanager.(*", "/keymanager.tick", "/pfkey.")) }

const (
	testSoft = 1800
	testHard = 2400
)

// A machine is an emulated host with a manager on it.
type machine struct {
	*pfkeytest.Host
	t     *testing.T
	addr  netip.Addr
	notes chan note
}

func newMachine(t *testing.T, kernel string, addr, peer netip.Addr, options ...pfkeytest.HostOption) *machine {
	policy := fmt.Sprintf("spdadd %s %s any -P out ipsec esp/transport//require;", addr, peer)
	if kernel == "illumos" {
		policy = fmt.Sprintf("{raddr %s dir out} ipsec {encr_algs aes encr_auth_algs sha1}", peer)
	} else if kernel == "openbsd" {
		policy = fmt.Sprintf("flow esp out from %s to %s local %[1]s", addr, peer)
	}
	options = append(options, pfkeytest.Kernel(kernel), pfkeytest.Addr(addr.String()), pfkeytest.Policy(policy),
		pfkeytest.Seed(addr.String()))
	return &machine{pfkeytest.New(t, options...), t, addr, make(chan note, 16)}
}

// manage runs managers on two machines until the test ends.
func manage(t *testing.T, a, b *machine) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Errorf("a manager ends: %v", err)
			}
		}
	})
	connA, connB := net.Pipe()
	for _, each := range []struct {
		m, other *machine
		conn     net.Conn
	}{{a, b, connA}, {b, a, connB}} {
		client, err := pfkey.Dial(ctx, each.m.Serve()) // through a socket, as any program
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		manager := newManager(client, newLink(each.conn), each.m.addr, each.other.addr, testSoft, testHard,
			func(n note) { each.m.notes <- n })
		go func() { done <- manager.run(ctx) }()
	}
	a.waitFor(wire.MsgRegister)
	b.waitFor(wire.MsgRegister)
}

// waitFor waits until the manager has sent a message of a type.
func (m *machine) waitFor(typ wire.MsgType) pfkeytest.Request {
	m.t.Helper()
	r, err := m.WaitRequest(m.t.Context(), typ)
	if err != nil {
		m.t.Fatalf("%s: waiting for %s: %v", m.addr, typ, err)
	}
	return r
}

// spiOf is the SPI in a request.
func (m *machine) spiOf(r pfkeytest.Request) wire.SPI {
	m.t.Helper()
	sa, err := pfkey.ParseSA(m.Engine().Dialect(), r.Message())
	if err != nil {
		m.t.Fatal(err)
	}
	return sa.SPI
}

// says has a packet go from m to the other machine, and checks that it was sealed for an SPI and is opened there.
func (m *machine) says(to *machine, text string, spi wire.SPI) {
	m.t.Helper()
	m.arrives(m.InjectOutbound(datagram(m.addr, to.addr, text)), to, text, spi)
}

func (m *machine) arrives(p *pfkeytest.Packet, to *machine, text string, spi wire.SPI) {
	m.t.Helper()
	sealed, ok := p.Final()
	if !ok || sealed.Kind != packet.Transmitted {
		m.t.Fatalf("%q is not sent: %s", text, p)
	}
	if bytes.Contains(sealed.Inner, []byte(text)) || sealed.Inner[9] != 50 ||
		wire.SPI(binary.BigEndian.Uint32(sealed.Inner[20:])) != spi {
		m.t.Fatalf("%q is not protected by %s: %x", text, spi, sealed.Inner)
	}
	opened, ok := to.Inject(sealed.Inner).Expect(packet.Delivered).Final()
	if !ok || !bytes.Equal(opened.Inner, datagram(m.addr, to.addr, text)) {
		m.t.Errorf("%q: delivered %x", text, opened.Inner)
	}
}

// spis lists the SPIs of the complete associations there are.
func (m *machine) spis() (spis []wire.SPI) {
	for _, sa := range m.SAs() {
		if sa.State == wire.StateMature || sa.State == wire.StateDying {
			spis = append(spis, sa.SPI)
		}
	}
	slices.Sort(spis)
	return spis
}

// ages says whether an association has reached its soft limit. OpenBSD, where no association is DYING, shows none then.
func (m *machine) ages() bool {
	return slices.ContainsFunc(m.SAs(), func(sa *pfkey.SA) bool {
		return sa.State == wire.StateDying || sa.Soft != nil && sa.Soft.AddTime == 0
	})
}

// Two hosts talk before and after their keys are renewed, whatever their kernels are.
func TestManagers(t *testing.T) {
	for _, ka := range kernel.Names() {
		for _, kb := range kernel.Names() {
			t.Run(ka+" and "+kb, func(t *testing.T) {
				addrA, addrB := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
				a, b := newMachine(t, ka, addrA, addrB), newMachine(t, kb, addrB, addrA)
				manage(t, a, b)

				first := a.InjectOutbound(datagram(addrA, addrB, "hello")) // makes the ACQUIRE
				toB1 := a.spiOf(a.waitFor(wire.MsgAdd))
				toA1 := b.spiOf(b.waitFor(wire.MsgAdd))
				if ka == "illumos" { // it has kept the packet
					first.Expect(packet.Held, packet.Transmitted)
					a.arrives(first, b, "hello", toB1)
				}
				a.says(b, "are you there?", toB1)
				b.says(a, "I am", toA1)

				// The keys grow old at b, where nothing comes of it, and then at a, whose manager renews them. a's
				// clock must stop as soon as they do: while a manager is at work, LARVAL associations grow old, too.
				b.Advance((testSoft + 60) * time.Second)
				for a.Advance((testSoft - 30) * time.Second); !a.ages(); {
					a.Advance(time.Second)
				}
				toB2 := a.spiOf(a.waitFor(wire.MsgAdd))
				toA2 := b.spiOf(b.waitFor(wire.MsgAdd))
				if toA2 == toA1 || toB2 == toB1 {
					t.Fatalf("the keys were not renewed: %s %s, %s %s", toA1, toA2, toB1, toB2)
				}
				a.says(b, "and with new keys?", either(ka, toB1, toB2))
				b.says(a, "as before", either(kb, toA1, toA2))

				for _, m := range []*machine{a, b} {
					m.Advance((testHard - testSoft + 60) * time.Second)
				}
				for range 2 {
					a.waitForEnd(ka)
					b.waitForEnd(kb)
				}
				want := []wire.SPI{toA2, toB2}
				slices.Sort(want)
				for _, m := range []*machine{a, b} {
					if diff := cmp.Diff(want, m.spis()); diff != "" {
						t.Errorf("%s has (-want +got)\n%s", m.addr, diff)
					}
				}
				b.says(a, "still there", toA2)
				a.says(b, "good", toB2)
			})
		}
	}
}

// either is the SPI that a kernel uses as long as it has two: FreeBSD the one that is older.
func either(kernel string, older, newer wire.SPI) wire.SPI {
	if kernel == "freebsd" {
		return older
	}
	return newer
}

// waitForEnd waits until the manager deletes an association. NetBSD has done it, without a word.
func (m *machine) waitForEnd(kernel string) {
	if kernel != "netbsd" {
		m.waitFor(wire.MsgDelete)
	}
}

// A kernel that cannot make what is asked for ends the negotiation at both ends, and the next packet begins another.
func TestRefused(t *testing.T) {
	addrA, addrB := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	for _, name := range kernel.Names() {
		t.Run(name, func(t *testing.T) {
			a := newMachine(t, name, addrA, addrB)
			b := newMachine(t, "illumos", addrB, addrA, pfkeytest.Hostile("errno ENOMEM GETSPI times 1"))
			manage(t, a, b)
			first := a.InjectOutbound(datagram(addrA, addrB, "hello"))
			a.waitFor(wire.MsgDelete) // of what it had reserved
			want := wire.OK
			if name == "openbsd" { // it takes no message with an errno
				want = wire.EINVAL
			}
			if r := a.waitFor(wire.MsgAcquire); r.SendErrno != want || r.Errno == 0 {
				t.Errorf("the kernel is told %v", r)
			}
			if v, err := first.Wait(t.Context()); err != nil || v.Kind != packet.Dropped {
				t.Errorf("the packet: %v", first)
			}
			if n := <-a.notes; n.what != "failed" || n.err == nil {
				t.Errorf("%s says %+v", addrA, n)
			}
			if n := <-b.notes; n.what != "failed" || !errors.Is(n.err, unix.ENOMEM) {
				t.Errorf("%s says %+v", addrB, n)
			}
			if name != "illumos" {
				a.Advance(time.Minute) // they do not ask again so soon
			}
			a.InjectOutbound(datagram(addrA, addrB, "again?"))
			spi := a.spiOf(a.waitFor(wire.MsgAdd))
			a.says(b, "again", spi)
		})
	}
}

// datagram is a UDP datagram in IPv4.
func datagram(src, dst netip.Addr, text string) []byte { return udp(src, dst, []byte(text)) }
