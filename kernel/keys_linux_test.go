package kernel_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// secret is a key that is in memory only while it is shown.
type secret struct{ masked, mask []byte }

func newSecret(n int) secret {
	s := secret{make([]byte, n), make([]byte, n)}
	rand.Read(s.masked)
	rand.Read(s.mask)
	return s
}

func (s secret) show(into []byte) {
	for i := range s.masked {
		into[i] = s.masked[i] ^ s.mask[i]
	}
}

// count is how often the key is in this process's memory.
func (s secret) count(t *testing.T) (n int) {
	t.Helper()
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		t.Skip("no map of the own memory: ", err)
	}
	mem, err := os.Open("/proc/self/mem")
	if err != nil {
		t.Skip("the own memory cannot be read: ", err)
	}
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var mode string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &mode); err != nil || !strings.HasPrefix(mode, "rw") ||
			strings.Contains(line, "[v") {
			continue
		}
		n += s.countIn(mem, from, to)
	}
	return n
}

// scanned is where memory is looked at. It is not looked at itself: all of it is overwritten before anything is
// counted.
var scanned = make([]byte, 1<<20)

func (s secret) countIn(mem *os.File, from, to int64) (n int) {
	const overlap = 64
	for at := from; at < to; at += int64(len(scanned)) - overlap {
		size, _ := mem.ReadAt(scanned[:min(int64(len(scanned)), to-at)], at) // a page that is not there ends it
		for b := scanned[:size]; len(b) >= len(s.masked); b = b[1:] {
			i := bytes.IndexByte(b[:len(b)-len(s.masked)+1], s.masked[0]^s.mask[0])
			if i < 0 {
				break
			}
			if b = b[i:]; s.is(b) {
				n++
			}
		}
		clear(scanned)
	}
	return n
}

func (s secret) is(b []byte) bool {
	for i := range s.masked {
		if b[i] != s.masked[i]^s.mask[i] {
			return false
		}
	}
	return true
}

// Keys of SAs that are gone are nowhere in memory, however they came in and whoever has been shown them. What a cipher
// has made of them for packets is not looked for.
func TestKeysAreForgotten(t *testing.T) {
	// A goroutine that is stopped in the middle of copying leaves what its registers held on its stack, and the more
	// often the busier the machine is. So the test runs where goroutines are not stopped.
	const unstopped = "asyncpreemptoff=1"
	if os.Getenv("GODEBUG") != unstopped {
		cmd := exec.Command(os.Args[0], "-test.run=^TestKeysAreForgotten$")
		cmd.Env = append(os.Environ(), "GODEBUG="+unstopped)
		out, err := cmd.CombinedOutput()
		if len(out) == 0 && err != nil {
			t.Skip("the test cannot be started once more: ", err)
		}
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	const sas = 20
	const refused = 0x2000 // the first of the SPIs of SAs that no kernel takes
	for _, row := range benched {
		t.Run(row.name, func(t *testing.T) {
			e, err := kernel.New(row.name, kernel.Options{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close()
			d := e.Dialect()
			auth, encrypt := newSecret(20), newSecret(16)
			asker, listener := openFor(t, e), openFor(t, e)
			promisc := d.Finish(d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgXPromisc, SAType: 1, Seq: 1,
				PID: 1}))
			listener.Send(promisc, privileged)
			msg := make([]byte, 0, 4096)
			buf := make([]byte, 1<<16)
			asked, satype := row.sa, wire.SATypeESP
			send := func(typ wire.MsgType, spi wire.SPI, keys bool) {
				sa := asked
				sa.SPI = spi
				msg = d.AppendHeader(msg[:0], wire.Header{Version: 2, Type: typ, SAType: satype, Seq: 1,
					PID: 1})
				if spi != 0 {
					msg = d.AppendSA(msg, sa)
					msg = d.AppendAddress(msg, wire.ExtAddressSrc, wire.Address{PrefixLen: 32,
						Addr: netip.MustParseAddr("192.0.2.2")})
					msg = d.AppendAddress(msg, wire.ExtAddressDst, wire.Address{PrefixLen: 32,
						Addr: netip.MustParseAddr("192.0.2.1")})
				}
				if keys {
					// The message about it is longer than most.
					for _, x := range []wire.ExtType{wire.ExtIdentitySrc, wire.ExtIdentityDst} {
						msg = d.AppendIdentity(msg, x, wire.Identity{Type: wire.IdentFQDN,
							Name: strings.Repeat("n", 900)})
					}
					shown := make([]byte, 20)
					auth.show(shown)
					msg = d.AppendKey(msg, wire.ExtKeyAuth, wire.Key{Bits: 160, Data: shown})
					encrypt.show(shown)
					msg = d.AppendKey(msg, wire.ExtKeyEncrypt, wire.Key{Bits: 128, Data: shown[:16]})
					clear(shown)
				}
				errno := asker.Send(d.Finish(msg), privileged)
				clear(msg[:cap(msg)])
				if errno != wire.OK && spi < refused {
					t.Fatal(errno)
				}
				for _, s := range []pfkey.Socket{asker, listener} {
					for {
						n, _, errno := s.Recv(buf, 0)
						if errno != wire.OK {
							break
						}
						clear(buf[:n])
					}
				}
			}
			for i := range wire.SPI(sas) {
				send(wire.MsgAdd, 0x1000+i, true)
				send(wire.MsgAdd, 0x1000+i, true) // EEXIST
				asked.Auth = wire.AuthMD5HMAC     // which the key is too long for
				send(wire.MsgAdd, refused+i, true)
				asked.Auth, satype = row.sa.Auth, wire.SATypeIPComp // which has no keys
				send(wire.MsgAdd, refused+i, true)
				satype = wire.SATypeESP
			}
			hidden, hiddenToo := auth.count(t), encrypt.count(t)
			if hidden < sas || hiddenToo < sas {
				t.Fatalf("the keys of %d SAs were found %d and %d times: the search does not work", sas, hidden,
					hiddenToo)
			}
			for i := range wire.SPI(sas) {
				send(wire.MsgGet, 0x1000+i, false)
			}
			send(wire.MsgDump, 0, false)
			if a, b := auth.count(t)-hidden, encrypt.count(t)-hiddenToo; a+b > 0 {
				t.Errorf("%d and %d copies are left of those that were shown", a, b)
			}
			listener.Close()
			asker.SetOption(pfkey.OptionUseLoopback, 0) // where there is such an option, nobody hears these
			for i := range wire.SPI(sas) {
				send(wire.MsgGet, 0x1000+i, false)
			}
			if a, b := auth.count(t)-hidden, encrypt.count(t)-hiddenToo; a+b > 0 {
				t.Errorf("%d and %d copies are left of those that nobody has heard", a, b)
			}
			dump := d.Finish(d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgDump, Seq: 1, PID: 1}))
			full := openFor(t, e)
			for range 6 { // some find no room
				full.Send(dump, privileged)
			}
			full.Close()
			slow := openFor(t, e) // goes in the middle of its DUMP, of which some was made when SAs ended
			slow.Send(dump, privileged)
			for i := range wire.SPI(sas / 2) {
				send(wire.MsgDelete, 0x1000+i, false)
			}
			send(wire.MsgFlush, 0, false)
			slow.Close()
			if a, b := auth.count(t)-hidden+sas, encrypt.count(t)-hiddenToo+sas; a+b > 0 {
				t.Errorf("%d and %d copies are left of those in a DUMP that nobody reads", a, b)
			}
			var a, b int
			for range 100 { // what packets could have used goes with the garbage, which another goroutine sees to
				runtime.GC()
				runtime.Gosched()
				if a, b = auth.count(t), encrypt.count(t); a+b == 0 {
					return
				}
			}
			t.Errorf("keys of SAs that are gone were found %d and %d times", a, b)
		})
	}
}

func openFor(t *testing.T, e *kernel.Engine) pfkey.Socket {
	t.Helper()
	s, errno := e.Open(privileged, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	return s
}
