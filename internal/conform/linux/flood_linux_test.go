package linux_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/kernel/linux/netlink"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Another user of netlink adds SAs faster than the bridge reads of them: news is lost. All the while clients get their
// answers, and in the end the bridge knows what there is. PFKEYD_FLOOD is how many SAs that are. The queue of news is
// that small only for those who are not root of the machine.
func TestFlood(t *testing.T) {
	const few = 20000
	flood := few
	if n, err := strconv.Atoi(os.Getenv("PFKEYD_FLOOD")); err == nil {
		flood = n
	}
	if host, err := netlink.Look(); err != nil || !host.ESP {
		t.Skip("this machine's kernel has no ESP, or is not ours: ", err)
	}
	runtime.LockOSThread() // and never let go: the namespace ends with the thread
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skip(err)
	}
	e, b := bridge(t)
	client := listen(t, e, b)

	other, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_XFRM)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(other)
	const sendBuffer = 8 << 20
	if unix.SetsockoptInt(other, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, sendBuffer) != nil {
		_ = unix.SetsockoptInt(other, unix.SOL_SOCKET, unix.SO_SNDBUF, sendBuffer)
	}
	room, err := unix.GetsockoptInt(other, unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil {
		t.Fatal(err)
	}

	const first, mine = 0x100000, 0x1000
	begin, slowest, tries := time.Now(), time.Duration(0), 0
	// ask has a request answered. As with AF_KEY, news may leave no room for an answer: then it is asked for again.
	ask := func(kind wire.MsgType, spi wire.SPI) wire.Errno {
		const most = 100
		for range most {
			tries++
			client.drain()
			client.send(request(kind, spi))
			for {
				n := client.recv(buffer[:])
				if n == 0 {
					break
				}
				h, err := wire.Linux().Header(buffer[:n])
				if err == nil && h.Type == kind && h.PID == 2 && spiOf(t, buffer[:n], h) == spi {
					errno, _ := wire.Linux().Errno(h.Errno)
					return errno
				}
			}
			if kind != wire.MsgGet { // it may have been done
				kind = wire.MsgGet
			}
		}
		t.Fatalf("a message of type %v is not answered in %d tries", kind, most)
		return wire.OK
	}
	asked := 0
	for sent := 0; sent < flood; {
		var batch []byte
		for ; sent < flood && len(batch) < room*2/5; sent++ {
			batch = flooded(batch, first+uint32(sent))
		}
		if err := unix.Sendto(other, batch, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			t.Fatalf("after %d SAs: %v", sent, err)
		}
		for _, kind := range []wire.MsgType{wire.MsgAdd, wire.MsgGet, wire.MsgDelete} {
			at := time.Now()
			errno := ask(kind, mine)
			slowest = max(slowest, time.Since(at))
			if errno != wire.OK && kind != wire.MsgDelete {
				t.Errorf("type %v: %v after %d SAs", kind, errno, sent)
			}
			asked++
		}
	}
	took := time.Since(begin)

	client.drain()
	client.send(request(wire.MsgDump, 0))
	dumped := client.drain()
	out, err := exec.Command("ip", "xfrm", "state", "count").Output()
	count := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(string(out)), "SAD count"))
	if err != nil || count != strconv.Itoa(flood) || dumped != flood {
		t.Errorf("ip tells of %q SAs (%v), a DUMP of %d, want %d", out, err, dumped, flood)
	}
	overruns := e.Status(1).Counters["NetlinkOverruns"]
	if overruns == 0 {
		t.Error("nothing was lost: the flood is too small to show anything")
	}
	t.Logf("%d SAs in %v: news was lost %d times; %d requests answered in %d tries, the slowest in %v", flood,
		took.Round(time.Millisecond), overruns, asked, tries, slowest.Round(time.Millisecond))
}

// spiOf is the SPI that an answer names: an error names none.
func spiOf(t *testing.T, m []byte, h wire.Header) wire.SPI {
	d := wire.Linux()
	x, ok := d.Find(m, wire.ExtSA)
	if !ok || h.Errno != 0 {
		return 0x1000
	}
	v, err := d.ParseSA(x.Raw)
	if err != nil {
		t.Fatal(err)
	}
	return v.SPI
}

// flooded appends the request of another for an SA. Nobody waits for its acknowledgement.
func flooded(batch []byte, spi uint32) []byte {
	const flagsAt, flagAck = 6, 4
	sa := transform.State{Limits: transform.NoLimits}
	sa.Config = transform.Config{Proto: 50, SPI: spi, Src: ends[0], Dst: ends[1], Auth: wire.AuthSHA1HMAC,
		AuthBits: 160, Encrypt: wire.EncNull, Keys: make([]byte, 20)}
	at := len(batch)
	batch = netlink.Codec{Order: binary.NativeEndian}.AppendState(batch, &sa, false, transform.By{Seq: 7, PID: 8})
	flags := batch[at+flagsAt:]
	binary.NativeEndian.PutUint16(flags, binary.NativeEndian.Uint16(flags)&^flagAck)
	return batch
}
