package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
)

var (
	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("192.0.2.2")
)

func newEngine(t *testing.T) *engine.Engine {
	t.Helper()
	e, err := kernels.New("linux", engine.Options{Addrs: []netip.Addr{here}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func datagram(src, dst netip.Addr, text string) []byte {
	return udpPacket(netip.AddrPortFrom(src, 7), netip.AddrPortFrom(dst, 9), []byte(text))
}

// udpPacket is an IP packet with a UDP datagram.
func udpPacket(src, dst netip.AddrPort, payload []byte) []byte {
	pkt, err := ip.UDP(src, dst, payload)
	if err != nil {
		panic(err)
	}
	return pkt
}

// unknown is ESP of an SA that there is not.
func unknown(t *testing.T) []byte {
	t.Helper()
	s := ipsec.Suite{Proto: ipsec.ESP, MAC: ipsec.HMACSHA1, AuthKey: ipsec.NewKey(make([]byte, 20))}
	tr, err := s.New()
	if err != nil {
		t.Fatal(err)
	}
	pkt, err := tr.SealTransport(nil, datagram(there, here, "in"), ipsec.Ports{}, ipsec.Sealing{SPI: 0x1000, Seq: 1})
	if err != nil {
		t.Fatal(err)
	}
	return pkt
}

type seen struct {
	Where, Comment string
	Out            bool
	ID             uint64
	Data           string
}

// readPcap reads the next packets of a capture.
func readPcap(t *testing.T, r *pcapgo.NgReader, n int) (got []seen) {
	t.Helper()
	for range n {
		data, info, o, err := r.ReadPacketDataWithOptions()
		if err != nil {
			t.Fatal(err)
		}
		iface, err := r.Interface(info.InterfaceIndex)
		if err != nil {
			t.Fatal(err)
		}
		if iface.LinkType != layers.LinkTypeLoop || !bytes.HasPrefix(data, []byte{0, 0, 0, 2}) {
			t.Fatalf("link type %v, %x", iface.LinkType, data)
		}
		s := seen{Where: iface.Name, Data: fmt.Sprintf("%x", data[4:]),
			Out: o.Flags.Direction == pcapgo.NgEpbFlagDirectionOutbound}
		if o.PacketID != nil {
			s.ID = *o.PacketID
		}
		if len(o.Comments) > 0 {
			s.Comment = o.Comments[0]
		}
		got = append(got, s)
	}
	return got
}

// TestPcapLive reads a capture, which is a pipe here, while packets come.
func TestPcapLive(t *testing.T) {
	name := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(name, 0o600); err != nil {
		t.Skip("no named pipes here: ", err)
	}
	e := newEngine(t)
	opened := make(chan *os.File)
	go func() {
		f, err := os.Open(name)
		if err != nil {
			t.Error(err)
		}
		opened <- f
	}()
	p, err := newPacketPcap(t.Context(), name, e, e.Name(), e.Now, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	f := <-opened
	defer f.Close()
	r, err := pcapgo.NewNgReader(f, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}

	plain, sealed, back := datagram(here, there, "out"), unknown(t), datagram(there, here, "back")
	hex := func(b []byte) string { return fmt.Sprintf("%x", b) }
	p.Outbound(&packet.Packet{ID: 1, Data: plain}, "ip.tun0")
	want := []seen{{Where: "host", Out: true, ID: 1, Comment: "tunnel ip.tun0", Data: hex(plain)},
		{Where: "wire", Out: true, ID: 1, Data: hex(plain)}}
	if diff := cmp.Diff(want, readPcap(t, r, 2)); diff != "" {
		t.Errorf("out (-want +got)\n%s", diff)
	}
	p.Inbound(&packet.Packet{ID: 2, Data: sealed})
	want = []seen{{Where: "wire", ID: 2, Data: hex(sealed)},
		{Where: "dropped", ID: 2, Comment: "no-sa (XfrmInNoStates)", Data: hex(sealed)}}
	if diff := cmp.Diff(want, readPcap(t, r, 2)); diff != "" {
		t.Errorf("in, with nobody to open it (-want +got)\n%s", diff)
	}
	e.Inbound(&packet.Packet{ID: 3, Data: back}) // by another way: only what comes of it is seen
	e.Emit(plain)
	want = []seen{{Where: "host", ID: 3, Data: hex(back)}, {Where: "wire", Out: true, Data: hex(plain)}}
	if diff := cmp.Diff(want, readPcap(t, r, 2)); diff != "" {
		t.Errorf("delivered, and made by the engine (-want +got)\n%s", diff)
	}

	// What was put before the end is there after it.
	const more = 100
	for i := range more {
		p.Outbound(&packet.Packet{ID: uint64(10 + i), Data: plain}, "")
	}
	closed := make(chan error)
	go func() { closed <- p.close(t.Context()) }()
	readPcap(t, r, 2*more)
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, _, err := r.ReadPacketData(); err != io.EOF {
		t.Errorf("after the last packet: %v", err)
	}
	if diff := cmp.Diff(any(pcapCounters{Written: 6 + 2*more}), p.Counters()); diff != "" {
		t.Errorf("counters (-want +got)\n%s", diff)
	}
}

// TestPcapFull fills a capture that nobody reads: packets do not wait, and where they are missing is told.
func TestPcapFull(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	e := newEngine(t)
	p, err := newPacketPcap(t.Context(), fmt.Sprintf("/dev/fd/%d", write.Fd()), e, e.Name(), e.Now,
		func(err error) { t.Error(err) })
	if err != nil {
		t.Skip("no /dev/fd here: ", err)
	}
	write.Close()
	big := datagram(there, here, string(bytes.Repeat([]byte{'x'}, 60000)))
	sent := 0
	lost := func() uint64 { return p.Counters().(pcapCounters).Lost }
	for lost() == 0 {
		p.Inbound(&packet.Packet{ID: 1, Data: big})
		sent += 2
	}
	r, err := pcapgo.NewNgReader(read, pcapgo.DefaultNgReaderOptions)
	if err != nil {
		t.Fatal(err)
	}
	// Once there is room, the next packet on either side says how many are missing before it.
	got, missing := 0, uint64(0)
	next := func() {
		_, _, o, err := r.ReadPacketDataWithOptions()
		if err != nil {
			t.Fatal(err)
		}
		got++
		if o.DropCount != nil {
			missing += *o.DropCount
		}
	}
	all := lost()
	for got < sent-int(all) {
		next()
	}
	p.Inbound(&packet.Packet{ID: 2, Data: datagram(there, here, "")})
	next()
	next()
	if missing != all {
		t.Errorf("%d are missing in it by what it says itself, want %d", missing, all)
	}
	if err := p.close(t.Context()); err == nil {
		t.Error("that some are missing is not told at the end")
	}
}

// TestPcapReaderGone: an engine goes on without its capture, and tells.
func TestPcapReaderGone(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	e := newEngine(t)
	told := make(chan error, 1)
	p, err := newPacketPcap(t.Context(), fmt.Sprintf("/dev/fd/%d", write.Fd()), e, e.Name(), e.Now,
		func(err error) { told <- err })
	if err != nil {
		t.Skip("no /dev/fd here: ", err)
	}
	read.Close()
	p.Inbound(&packet.Packet{ID: 1, Data: datagram(there, here, "")})
	if err := <-told; !errors.Is(err, unix.EPIPE) {
		t.Errorf("told %v", err)
	}
	p.Inbound(&packet.Packet{ID: 2, Data: datagram(there, here, "")})
	if n := e.Ledger().Balance().Verdicts["delivered"]; n != 2 {
		t.Errorf("%d packets delivered, want 2", n)
	}
	if err := p.close(t.Context()); !errors.Is(err, unix.EPIPE) {
		t.Errorf("at the end: %v", err)
	}
}

// TestPcapNobodyReads ends while the reader of a pipe sleeps.
func TestPcapNobodyReads(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	e := newEngine(t)
	p, err := newPacketPcap(t.Context(), fmt.Sprintf("/dev/fd/%d", write.Fd()), e, e.Name(), e.Now, func(error) {})
	if err != nil {
		t.Skip("no /dev/fd here: ", err)
	}
	for range 10 {
		p.Inbound(&packet.Packet{ID: 1, Data: datagram(there, here, string(make([]byte, 60000)))})
	}
	over, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if err := p.close(over); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("at the end: %v", err)
	}
}

// TestPcapOthers has tcpdump and tshark read a capture: every packet on each of the interfaces, of either IP version,
// and what is no IP at all.
func TestPcapOthers(t *testing.T) {
	name := filepath.Join(t.TempDir(), "c.pcapng")
	e := newEngine(t)
	p, err := newPacketPcap(t.Context(), name, e, e.Name(), e.Now, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	here6, there6 := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	p.Outbound(&packet.Packet{ID: 1, Data: datagram(here, there, "out")}, "")
	p.Inbound(&packet.Packet{ID: 2, Data: unknown(t)})
	p.Inbound(&packet.Packet{ID: 3, Data: datagram(there6, here6, "six")})
	p.Inbound(&packet.Packet{ID: 4, Data: []byte("0 is no version of IP")})
	if err := p.close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, reader := range []struct {
		program string
		args    []string
		want    []string
	}{
		{"tcpdump", []string{"-nn", "-t", "-r", name}, []string{
			"IP 192.0.2.1.7 > 192.0.2.2.9: UDP", "IP 192.0.2.1.7 > 192.0.2.2.9: UDP",
			"IP 192.0.2.2 > 192.0.2.1: ESP(spi=0x00001000", "IP 192.0.2.2 > 192.0.2.1: ESP(spi=0x00001000",
			"IP6 2001:db8::2.7 > 2001:db8::1.9: UDP", "IP6 2001:db8::2.7 > 2001:db8::1.9: UDP", "", "",
		}},
		{"tshark", []string{"-r", name, "-T", "fields", "-E", "separator=/s", "-e", "frame.interface_name", "-e",
			"_ws.col.Protocol"}, []string{
			"host ECHO", "wire ECHO", "wire ESP", "dropped ESP", "wire ECHO", "host ECHO", "wire IP", "dropped IP",
			// UDP to port 7
		}},
	} {
		t.Run(reader.program, func(t *testing.T) {
			if _, err := exec.LookPath(reader.program); err != nil {
				t.Skip("there is no " + reader.program)
			}
			out, err := exec.Command(reader.program, reader.args...).Output()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
			if len(lines) != len(reader.want) {
				t.Fatalf("%d packets, want %d\n%s", len(lines), len(reader.want), out)
			}
			for i, want := range reader.want {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("packet %d: %q, want %q", i+1, lines[i], want)
				}
			}
		})
	}
}
