package cli_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pfkeyd/pfkeyd/cmd/ipsecinject/cli"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/packetport"
)

// fakeEngine stands in for a real one: the SPI of a packet says what becomes of it.
type fakeEngine struct {
	ledger  packet.Ledger
	address string
	srv     *packetport.Server

	mu      sync.Mutex
	held    packet.Queue
	packets [][]byte
	tunnels []string
}

const (
	spiDeliver = 0x1000 // as UDP from 192.0.2.2 to 192.0.2.1
	spiQueue   = 0x2000
	spiRelease = 0x2001 // delivers the queued ones
	spiBlock   = 0x3000 // gives no verdict at all
)

var inner = mustHex("45000020000000004011f6c9c0000202c00002019c400009000c000061626364")

func mustHex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func (e *fakeEngine) Ledger() *packet.Ledger { return &e.ledger }

func (e *fakeEngine) Inbound(p *packet.Packet) {
	e.ledger.Inject(p)
	e.mu.Lock()
	e.packets = append(e.packets, bytes.Clone(p.Data))
	e.mu.Unlock()
	in, err := ipsec.ParseInbound(p.Data)
	if err != nil {
		p.End(packet.Verdict{Kind: packet.Dropped, Reason: packet.BadHeader})
		return
	}
	deliver := packet.Verdict{Kind: packet.Delivered, Inner: inner}
	switch in.SPI {
	case spiDeliver:
		p.End(deliver)
	case spiQueue:
		e.mu.Lock()
		e.held.Push(p, packet.Queued, 1<<30)
		e.mu.Unlock()
		p.Report()
	case spiRelease:
		e.release(deliver)
		p.End(deliver)
	case spiBlock:
		p.Done = nil
	default:
		p.End(packet.Verdict{Kind: packet.Dropped, Reason: packet.NoSA, Counter: "esp_no_sa"})
	}
}

func (e *fakeEngine) Outbound(p *packet.Packet, tunnel string) {
	e.ledger.Inject(p)
	e.mu.Lock()
	e.packets = append(e.packets, bytes.Clone(p.Data))
	e.tunnels = append(e.tunnels, tunnel)
	e.mu.Unlock()
	p.End(packet.Verdict{Kind: packet.Transmitted, Inner: espPacket(0x5000, 1)})
}

func (e *fakeEngine) release(v packet.Verdict) {
	e.mu.Lock()
	var ps []*packet.Packet
	for p := e.held.Pop(); p != nil; p = e.held.Pop() {
		ps = append(ps, p)
	}
	e.mu.Unlock()
	for _, p := range ps {
		p.End(v)
	}
}

func espPacket(spi, seq uint32) []byte {
	b := mustHex("450000240000000040320000c0000202c0000201" + "0000000000000000" + "0011223344556677")
	binary.BigEndian.PutUint32(b[20:], spi)
	binary.BigEndian.PutUint32(b[24:], seq)
	return b
}

func start(t *testing.T, check func(net.Conn) error) *fakeEngine {
	t.Helper()
	before := runtime.NumGoroutine()
	path := filepath.Join(t.TempDir(), "e.sock")
	l, err := net.Listen("unixpacket", packetport.Path(path))
	if err != nil {
		t.Fatal(err)
	}
	e := &fakeEngine{address: "illumos:" + path}
	e.srv = packetport.NewServer(e, packetport.ServerOptions{Name: "illumos", Check: check})
	done := make(chan error, 1)
	go func() { done <- e.srv.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		e.srv.Close()
		if err := <-done; err != nil {
			t.Errorf("Serve = %v", err)
		}
		for range 1000 {
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(time.Millisecond) // the runtime gives no signal when a goroutine has ended
		}
		t.Errorf("%d goroutines before, %d after", before, runtime.NumGoroutine())
	})
	return e
}

type result struct {
	code        int
	out, stderr string
}

func run(t *testing.T, args ...string) result { return runIn(t, t.Context(), nil, args...) }

func runIn(t *testing.T, ctx context.Context, stdin io.Reader, args ...string) result {
	t.Helper()
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	var out, stderr bytes.Buffer
	code := cli.Run(ctx, args, stdin, &out, &stderr)
	return result{code, out.String(), stderr.String()}
}

func (r result) check(t *testing.T, code int, stderr string) {
	t.Helper()
	if r.code != code || !strings.Contains(r.stderr, stderr) {
		t.Errorf("exit status %d, want %d with %q; standard error:\n%s", r.code, code, stderr, r.stderr)
	}
}

func equal(t *testing.T, got, want string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

// classic writes a pcap with one record for each frame, a second apart.
func classic(t testing.TB, link layers.LinkType, frames ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	if err := w.WriteFileHeader(65536, link); err != nil {
		t.Fatal(err)
	}
	for i, f := range frames {
		ci := gopacket.CaptureInfo{Timestamp: time.Unix(int64(i), 0), CaptureLength: len(f), Length: len(f)}
		if err := w.WritePacket(ci, f); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// ng writes a pcapng; each frame has an interface of its own with its link type.
func ng(t testing.TB, links []layers.LinkType, frames ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := pcapgo.NewNgWriter(&b, links[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links[1:] {
		if _, err := w.AddInterface(pcapgo.NgInterface{LinkType: l}); err != nil {
			t.Fatal(err)
		}
	}
	for i, f := range frames {
		ci := gopacket.CaptureInfo{Timestamp: time.Unix(int64(i), 0), CaptureLength: len(f), Length: len(f),
			InterfaceIndex: i % len(links)}
		if err := w.WritePacket(ci, f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(t *testing.T, b []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "capture")
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestPcap(t *testing.T) {
	e := start(t, nil)
	name := file(t, classic(t, layers.LinkTypeRaw, espPacket(spiDeliver, 1), espPacket(9, 2), espPacket(spiQueue, 3),
		espPacket(spiRelease, 4)))
	r := run(t, "pcap", name, "--engine", e.address)
	r.check(t, 0, "4 packets: 3 delivered, 1 dropped\n")
	equal(t, r.out, `     1  delivered    0x1000      192.0.2.2 > 192.0.2.1 udp 40000 > 9, 4 bytes
     2  dropped      0x9         no-sa (esp_no_sa)
     3  queued       0x2000
     3  delivered    0x2000      192.0.2.2 > 192.0.2.1 udp 40000 > 9, 4 bytes
     4  delivered    0x2001      192.0.2.2 > 192.0.2.1 udp 40000 > 9, 4 bytes
`)

	t.Setenv("PFKEY_ENGINE", e.address)
	r = run(t, "pcap", name, "--json")
	r.check(t, 0, "")
	in := hex.EncodeToString(inner)
	equal(t, r.out, `{"id":1,"verdict":"delivered","reason":"","counter":"","spi":"0x1000","inner":"`+in+`"}
{"id":2,"verdict":"dropped","reason":"no-sa","counter":"esp_no_sa","spi":"0x9","inner":""}
{"id":3,"verdict":"queued","reason":"","counter":"","spi":"0x2000","inner":""}
{"id":3,"verdict":"delivered","reason":"","counter":"","spi":"0x2000","inner":"`+in+`"}
{"id":4,"verdict":"delivered","reason":"","counter":"","spi":"0x2001","inner":"`+in+`"}
`)
	equal(t, r.stderr, "")
}

func TestPcapSelect(t *testing.T) {
	e := start(t, nil)
	other := espPacket(spiDeliver, 4)
	other[15] = 99 // from 192.0.2.99
	name := file(t, classic(t, layers.LinkTypeRaw, espPacket(spiDeliver, 1), espPacket(9, 2), espPacket(10, 3), other))
	ids := func(out string) (s string) {
		for l := range strings.Lines(out) {
			var v struct{ ID int }
			if err := json.Unmarshal([]byte(l), &v); err != nil {
				t.Fatal(err)
			}
			s += fmt.Sprint(v.ID)
		}
		return s
	}
	tests := []struct {
		args   string
		ids    string
		code   int
		stderr string
	}{
		{"--packets 2", "2", 0, ""},
		{"--packets 1,3-4", "134", 0, ""},
		{"--packets 3-", "34", 0, ""},
		{"--packets 4,1", "14", 0, ""},
		{"--packets 3-5", "34", 2, "there is no record 5, the last one is 4"},
		{"--packets 9-", "", 2, "there is no record 9"},
		{"--packets 0", "", 2, `"0" is no record number`},
		{"--packets 3-2", "", 2, `"2" does not end a range`},
		{"--packets 1,,2", "", 2, `"" is no record number`},
		{"--src 192.0.2.99", "4", 0, ""},
		{"--src 192.0.2.2 --packets 2-", "23", 0, ""},
		{"--dst 2001:db8::1", "", 0, "0 packets"},
		{"--dst nowhere", "", 2, `--dst "nowhere" is no IP address`},
		{"--timing 1us", "1234", 0, ""},
		{"--timing sometimes", "", 2, `--timing "sometimes"`},
		{"--wait -1s", "", 2, "--wait -1s"},
		{"--tunnel t", "", 2, "add --outbound"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			args := append([]string{"pcap", name, "--engine", e.address}, strings.Fields(tt.args)...)
			r := run(t, append(args, "--json")...)
			r.check(t, tt.code, "")
			equal(t, ids(r.out), tt.ids)
			run(t, args...).check(t, tt.code, tt.stderr)
		})
	}
}

func TestPcapOriginalTiming(t *testing.T) {
	e := start(t, nil)
	b := classic(t, layers.LinkTypeRaw, espPacket(spiDeliver, 1), espPacket(spiDeliver, 2))
	binary.LittleEndian.PutUint32(b[24:], 1) // both in the same second, the second one 30 ms later
	binary.LittleEndian.PutUint32(b[24+16+len(espPacket(0, 0))+4:], 30_000)
	begin := time.Now()
	run(t, "pcap", file(t, b), "--engine", e.address, "--timing", "original").check(t, 0, "2 delivered")
	if d := time.Since(begin); d < 30*time.Millisecond {
		t.Errorf("it took %v, the capture took 30ms", d)
	}
}

func TestPcapOutbound(t *testing.T) {
	e := start(t, nil)
	name := file(t, classic(t, layers.LinkTypeRaw, inner))
	r := run(t, "pcap", name, "--engine", e.address, "--outbound", "--tunnel", "ip.tun0")
	r.check(t, 0, "1 transmitted")
	equal(t, r.out, "     1  transmitted  0x5000      192.0.2.2 > 192.0.2.1 esp spi 0x5000 seq 1, 8 bytes\n")
	if diff := cmp.Diff([]string{"ip.tun0"}, e.tunnels); diff != "" {
		t.Error(diff)
	}
}

func TestLinkTypes(t *testing.T) {
	p := espPacket(spiDeliver, 1)
	p6 := mustHex(
		"60000000001032402001 0db8000000000000000000000002 20010db8000000000000000000000001 0000100000000001 0011223344556677"[:16] +
			"20010db800000000000000000000000220010db8000000000000000000000001" + "00001000000000010011223344556677")
	join := func(s string, b []byte, pad int) []byte {
		return append(append(mustHex(s), b...), make([]byte, pad)...)
	}
	const macs = "020000000001020000000002"
	arp := join(macs+"0806", make([]byte, 28), 0)
	tests := []struct {
		name string
		file []byte
		want [][]byte
		note string
	}{
		{"raw", classic(t, layers.LinkTypeRaw, p, p6), [][]byte{p, p6}, ""},
		{"ipv4", classic(t, layers.LinkTypeIPv4, p), [][]byte{p}, ""},
		{"ipv6", classic(t, layers.LinkTypeIPv6, p6), [][]byte{p6}, ""},
		{"ethernet", classic(t, layers.LinkTypeEthernet, join(macs+"0800", p, 10), arp, join(macs+"86dd", p6, 0)),
			[][]byte{p, p6}, "1 records without IP left out"},
		{"vlan", classic(t, layers.LinkTypeEthernet, join(macs+"88a8000281000001"+"0800", p, 3)), [][]byte{p}, ""},
		{"null little endian", classic(t, layers.LinkTypeNull, join("02000000", p, 0), join("1e000000", p6, 0)),
			[][]byte{p, p6}, ""},
		{"null big endian", classic(t, layers.LinkTypeNull, join("00000002", p, 0), join("00000018", p6, 0),
			join("00000007", p, 0)), [][]byte{p, p6}, "1 records without IP"},
		{"loop", classic(t, layers.LinkTypeLoop, join("00000002", p, 0)), [][]byte{p}, ""},
		{"linux cooked", classic(t, layers.LinkTypeLinuxSLL, join("00000001000602000000000100000800", p, 0)),
			[][]byte{p}, ""},
		{"linux cooked 2", classic(t, layers.LinkTypeLinuxSLL2, join("0800000000000002000100060200000000010000", p, 0)),
			[][]byte{p}, ""},
		{"pcapng", ng(t, []layers.LinkType{layers.LinkTypeRaw, layers.LinkTypeEthernet}, p, join(macs+"0800", p, 4),
			p6), [][]byte{p, p, p6}, ""},
		{"header claims more", classic(t, layers.LinkTypeEthernet, join(macs+"0800", p[:30], 0)), [][]byte{p[:30]}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := start(t, nil)
			runIn(t, t.Context(), bytes.NewReader(tt.file), "pcap", "-", "--engine", e.address).check(t, 0, tt.note)
			if diff := cmp.Diff(tt.want, e.packets); diff != "" {
				t.Errorf("injected (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBrokenCaptures(t *testing.T) {
	e := start(t, nil)
	p := espPacket(spiDeliver, 1)
	whole := classic(t, layers.LinkTypeRaw, p, p)
	change := func(at int, v uint32) []byte {
		b := bytes.Clone(whole)
		binary.LittleEndian.PutUint32(b[at:], v)
		return b
	}
	second := 24 + 16 + len(p)
	tests := []struct {
		name, stderr string
		in           []byte
		verdicts     int
	}{
		{"empty", "the file is empty", nil, 0},
		{"short", "file header", []byte{1, 2}, 0},
		{"text", "neither pcap nor pcapng, the file begins with 68656c6c", []byte("hello, world"), 0},
		{"header cut", "file header: the file ends in the middle of it", whole[:20], 0},
		{"version", "file header", change(4, 9), 0},
		{"record header cut", "record 2: the file ends in the middle of it", whole[:second+3], 1},
		{"record without data", "record 2: the file ends in the middle of it", whole[:second+16], 1},
		{"record cut", "record 2: the file ends in the middle of it", whole[:len(whole)-1], 1},
		{"record not captured whole", "record 2: only 36 of its 100 bytes were captured", change(second+12, 100), 1},
		{"record of absurd length", "record 2: ", change(second+8, 0xfffffff0), 1},
		{"link type", "record 1: link type 147 is not read", classic(t, 147, p), 0},
		{"short ethernet", "record 1: 10 bytes are too short", classic(t, layers.LinkTypeEthernet, p[:10]), 0},
		{"gzip", "file header", []byte{0x1f, 0x8b, 0, 0, 0, 0}, 0},
		{"pcapng cut", "section header", ng(t, []layers.LinkType{layers.LinkTypeRaw}, p)[:14], 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := run(t, "pcap", file(t, tt.in), "--engine", e.address)
			r.check(t, 2, "broken capture: "+tt.stderr)
			if n := strings.Count(r.out, "\n"); n != tt.verdicts {
				t.Errorf("%d verdicts, want %d:\n%s", n, tt.verdicts, r.out)
			}
		})
	}
	run(t, "pcap", filepath.Join(t.TempDir(), "none"), "--engine", e.address).check(t, 2, "no such file")
}

// A capture cut anywhere is either whole up to there or an error that says where.
func TestCutEverywhere(t *testing.T) {
	e := start(t, nil)
	p := espPacket(spiDeliver, 1)
	for name, whole := range map[string][]byte{
		"classic": classic(t, layers.LinkTypeRaw, p, p),
		"pcapng":  ng(t, []layers.LinkType{layers.LinkTypeRaw}, p, p),
	} {
		ends := 0
		for n := 1; n <= len(whole); n++ {
			r := runIn(t, t.Context(), bytes.NewReader(whole[:n]), "pcap", "-", "--engine", e.address)
			switch {
			case r.code == 0:
				ends++
			case r.code != 2 || !strings.Contains(r.stderr, "broken capture: "):
				t.Errorf("%s cut to %d bytes: exit status %d, %s", name, n, r.code, r.stderr)
			}
		}
		if want := map[string]int{"classic": 3, "pcapng": 4}[name]; ends != want {
			t.Errorf("%s: whole at %d places, want %d", name, ends, want)
		}
	}
}

func TestWait(t *testing.T) {
	e := start(t, nil)
	name := file(t, classic(t, layers.LinkTypeRaw, espPacket(spiQueue, 1), espPacket(spiQueue, 2)))
	r := run(t, "pcap", name, "--engine", e.address, "--wait", "0")
	r.check(t, 0, "2 packets: 2 still waiting (1 2)\n")
	equal(t, r.out, "     1  queued       0x2000\n     2  queued       0x2000\n")
	run(t, "pcap", name, "--engine", e.address, "--wait", "1ms", "--json").check(t, 0, "2 still waiting")

	// The final verdict comes while it waits.
	pr, pw := io.Pipe()
	go func() {
		buf := make([]byte, 1<<16)
		var got string
		for !strings.Contains(got, "queued") {
			n, err := pr.Read(buf)
			if err != nil {
				t.Error(err)
				return
			}
			got += string(buf[:n])
		}
		go io.Copy(io.Discard, pr)
		e.release(packet.Verdict{Kind: packet.Dropped, Reason: packet.LarvalGone})
	}()
	var stderr bytes.Buffer
	code := cli.Run(t.Context(), []string{"pcap", name, "--engine", e.address, "--packets", "1", "--wait", "1h"}, nil,
		pw, &stderr)
	pw.Close()
	result{code, "", stderr.String()}.check(t, 0, "1 packet: 1 dropped\n")
}

func TestExitCodes(t *testing.T) {
	refusing := start(t, func(net.Conn) error { return errors.New("user 7 may not") })
	dir := t.TempDir()
	other := filepath.Join(dir, "other.sock")
	l, err := net.Listen("unixpacket", packetport.Path(other))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	dead := filepath.Join(dir, "dead.sock")
	d, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: packetport.Path(dead), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	d.SetUnlinkOnClose(false)
	d.Close()
	good := []string{"--src", "192.0.2.2", "--dst", "192.0.2.1", "--spi", "1"}
	tests := []struct {
		name   string
		args   []string
		code   int
		stderr string
	}{
		{"nothing", nil, 2, "which command?"},
		{"unknown command", []string{"frobnicate"}, 2, `has no command "frobnicate"`},
		{"unknown flag", []string{"watch", "--frob"}, 2, "unknown option --frob"},
		{"no capture", []string{"pcap"}, 2, "pcap takes one FILE"},
		{"no engine at all", []string{"watch"}, 3, "no engine"},
		{"no engine there", []string{"watch", "--engine", "illumos:" + dir + "/none.sock"}, 3, "no engine at illumos:"},
		{"leftover socket", []string{"watch", "--engine", "illumos:" + dead}, 3, "no engine at illumos:"},
		{"something else there", []string{"watch", "--engine", "illumos:" + other}, 3, "is no packet port"},
		{"bad address", []string{"watch", "--engine", "nonsense"}, 2, "KERNEL:PATH"},
		{"host's kernel", []string{"watch", "--engine", "af_key:"}, 2, "no packet port"},
		{"refused", []string{"watch", "--engine", refusing.address}, 1, "user 7 may not"},
		{"refused send", append([]string{"send", "--engine", refusing.address}, good...), 1, "user 7 may not"},
		{"unreadable before refused", []string{"pcap", dir, "--engine", refusing.address}, 2, ""},
		{"help", []string{"--help"}, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			run(t, tt.args...).check(t, tt.code, tt.stderr)
		})
	}
}

func TestInterrupted(t *testing.T) {
	e := start(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			e.mu.Lock()
			n := len(e.packets)
			e.mu.Unlock()
			if n > 0 {
				break
			}
			runtime.Gosched()
		}
		cancel()
	}()
	r := runIn(t, ctx, nil, "send", "--engine", e.address, "--src", "192.0.2.2", "--dst", "192.0.2.1", "--spi",
		"0x2000", "--wait", "1h")
	r.check(t, 1, "interrupted")
}

func TestEngineGoesAway(t *testing.T) {
	e := start(t, nil)
	go func() {
		for e.srv.Counters().Injected == 0 {
			runtime.Gosched()
		}
		e.srv.Close()
	}()
	r := run(t, "send", "--engine", e.address, "--src", "192.0.2.2", "--dst", "192.0.2.1", "--spi", "0x2000", "--wait",
		"1h")
	r.check(t, 1, "the engine has gone away")
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestOutputFails(t *testing.T) {
	e := start(t, nil)
	var stderr bytes.Buffer
	code := cli.Run(t.Context(), []string{"send", "--engine", e.address, "--src", "192.0.2.2", "--dst", "192.0.2.1",
		"--spi", "1"}, nil, brokenWriter{}, &stderr)
	result{code, "", stderr.String()}.check(t, 1, "disk full")
}

func TestWatch(t *testing.T) {
	e := start(t, nil)
	for _, args := range [][]string{{}, {"--json"}} {
		pr, pw := io.Pipe()
		var out bytes.Buffer
		done := make(chan int)
		go func() {
			done <- cli.Run(t.Context(), append([]string{"watch", "--count", "2", "--engine", e.address}, args...), nil,
				&out, pw)
		}()
		ready := make([]byte, 1000)
		n, err := pr.Read(ready)
		if err != nil || !strings.HasPrefix(string(ready[:n]), "watching ") {
			t.Fatalf("%q, %v", ready[:n], err)
		}
		go io.Copy(io.Discard, pr)
		r := run(t, "send", "--engine", e.address, "--src", "192.0.2.2", "--dst", "192.0.2.1", "--spi", "0x1000",
			"--data", "")
		r.check(t, 0, "")
		e.Inbound(&packet.Packet{ID: 70, Data: []byte("short")})
		if code := <-done; code != 0 {
			t.Errorf("exit status %d", code)
		}
		pw.Close()
		if len(args) == 0 {
			equal(t, out.String(), `     1  delivered    0x1000      192.0.2.2 > 192.0.2.1 udp 40000 > 9, 4 bytes
    70  dropped                  bad-header: not an IP packet, 5 bytes
`)
			continue
		}
		var got []map[string]any
		for l := range strings.Lines(out.String()) {
			m := map[string]any{}
			if err := json.Unmarshal([]byte(l), &m); err != nil {
				t.Fatal(err)
			}
			got = append(got, m)
		}
		if len(got) != 2 || got[1]["packet"] != hex.EncodeToString([]byte("short")) || got[1]["verdict"] != "dropped" ||
			got[1]["id"] != 70.0 {
			t.Errorf("%v", got)
		}
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	runIn(t, ctx, nil, "watch", "--engine", e.address)
}

func TestManAndCompletion(t *testing.T) {
	dir := t.TempDir()
	run(t, "man", dir).check(t, 0, "")
	for _, name := range []string{"ipsecinject.1", "ipsecinject-pcap.1", "ipsecinject-send.1", "ipsecinject-watch.1"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if r := run(t, "completion", "bash"); r.code != 0 || !strings.Contains(r.out, "ipsecinject") {
		t.Errorf("completion: %d, %s", r.code, r.stderr)
	}
	if r := run(t, "__complete", "send", "--enc", "aes-g"); !strings.Contains(r.out, "aes-gcm\naes-gmac\n") &&
		!strings.Contains(r.out, "aes-gcm") {
		t.Errorf("completion of --enc: %s", r.out)
	}
}
