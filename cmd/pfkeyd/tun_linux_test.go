package main_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	frames "github.com/pfkeyd/pfkeyd/internal/capture"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// inOwnNetwork says whether this is in a network namespace of its own, as root there, and otherwise runs the test again
// in one and is done. Where none can be made it skips.
func inOwnNetwork(t *testing.T) bool {
	t.Helper()
	const variable = "PFKEYD_OWN_NETWORK"
	if os.Getenv(variable) != "" {
		return true
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), variable+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skip("no network namespace can be made: ", err)
	}
	err = cmd.Wait()
	t.Logf("%s", &out)
	switch {
	case err != nil:
		t.Error(err)
	case strings.Contains(out.String(), "--- SKIP"):
		t.Skip("in a network namespace")
	}
	return false
}

// bringUp gives an interface an address in a network, and sets it up.
func bringUp(t *testing.T, name, address string) {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	p := netip.MustParsePrefix(address)
	mask := net.CIDRMask(p.Bits(), 32)
	for _, step := range []struct {
		request uint
		set     func(r *unix.Ifreq) error
	}{
		{unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(p.Addr().AsSlice()) }},
		{unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr(mask) }},
		{unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP); return nil }},
	} {
		r, err := unix.NewIfreq(name)
		if err == nil {
			err = step.set(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(s, step.request, r)
		}
		if err != nil {
			t.Fatalf("%s %s: %v", name, address, err)
		}
	}
}

// serving starts pfkeyd serve and returns when it is ready. stop ends it by SIGTERM.
func serving(t *testing.T, args ...string) (stop func()) {
	t.Helper()
	cmd := exec.Command("pfkeyd", append([]string{"serve"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		err := cmd.Wait()
		if strings.Contains(stderr.String(), "CAP_NET_ADMIN") {
			t.Skipf("not even here may TUN devices be made: %s", &stderr)
		}
		t.Fatalf("pfkeyd serve: %v: %s", err, &stderr)
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cmd.Process.Signal(unix.SIGTERM)
		io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("pfkeyd serve: %v: %s", err, &stderr)
		}
	}
	t.Cleanup(stop)
	return stop
}

// TestServeTUN has this machine route packets through an engine, into one device and out of another, where the test is
// the peer.
func TestServeTUN(t *testing.T) {
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		t.Skip("no TUN devices here: ", err)
	} else {
		f.Close()
	}
	if !inOwnNetwork(t) {
		return
	}
	const spiOut, spiIn = 0x1001, 0x1002
	engine, peer := documentation(1), documentation(2)
	near, far := netip.MustParseAddr("10.1.0.1"), netip.MustParseAddr("10.2.0.1")
	dir := t.TempDir()
	policy, capture, socket := filepath.Join(dir, "policy"), filepath.Join(dir, "capture"), filepath.Join(dir, "e.sock")
	text := fmt.Sprintf("spdadd 10.1.0.0/16 10.2.0.0/16 any -P out ipsec esp/tunnel/%v-%v/require;\n", engine, peer) +
		fmt.Sprintf("spdadd 10.2.0.0/16 10.1.0.0/16 any -P in ipsec esp/tunnel/%v-%v/require;\n", peer, engine)
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := serving(t, "--kernel", "linux", "--addr", engine.String(), "--policy", policy, "--socket", socket,
		"--tun", "host0", "--tun-wire", "wire0", "--pcap", capture)
	bringUp(t, "host0", "10.1.0.1/8")
	bringUp(t, "wire0", peer.String()+"/24")

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := pfkey.Dial(ctx, "linux:"+socket)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	authKey := []byte("twenty bytes of key.")
	for _, sa := range []pfkey.SAID{
		{Type: wire.SATypeESP, SPI: spiOut, Src: pfkey.Host(engine), Dst: pfkey.Host(peer)},
		{Type: wire.SATypeESP, SPI: spiIn, Src: pfkey.Host(peer), Dst: pfkey.Host(engine)},
	} {
		err := c.Add(ctx, pfkey.SA{
			SAID: sa, Auth: wire.AuthSHA1HMAC, AuthKey: pfkey.NewKey(authKey), Encrypt: wire.EncAESCBC,
			EncryptKey: pfkey.NewKey(keyclientKey), SA2: &wire.SA2{Mode: wire.ModeTunnel},
		}, 0)
		if err != nil {
			t.Fatal(err)
		}
	}
	suite := ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: ipsec.NewKey(keyclientKey), MAC: ipsec.HMACSHA1,
		AuthKey: ipsec.NewKey(authKey)}
	transform, err := suite.New()
	if err != nil {
		t.Fatal(err)
	}

	// A program here, behind the engine, and the peer.
	program, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(near, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer program.Close()
	wireSide, err := net.ListenIP("ip4:esp", &net.IPAddr{IP: peer.AsSlice()})
	if err != nil {
		t.Fatal(err)
	}
	defer wireSide.Close()
	deadline, _ := ctx.Deadline()
	program.SetDeadline(deadline)
	wireSide.SetDeadline(deadline)

	if _, err := program.WriteToUDPAddrPort([]byte("there"), netip.AddrPortFrom(far, 9)); err != nil {
		t.Fatal(err)
	}
	esp := make([]byte, 2000)
	n, from, err := wireSide.ReadFromIP(esp)
	if err != nil {
		t.Fatal(err)
	}
	if from.String() != engine.String() {
		t.Errorf("the protected packet comes from %v", from)
	}
	plain, err := transform.OpenESP(nil, esp[:n], 0)
	if err != nil {
		t.Fatal(err)
	}
	_, next, _ := ipsec.Trailer(plain)
	inner, err := ipsec.DecapTunnel(ipsec.Payload(plain), next)
	if err != nil || !bytes.HasSuffix(inner, []byte("there")) {
		t.Fatalf("in it is %x, %v", inner, err)
	}

	// Back: the addresses and the ports the other way round; that leaves the checksums of IP and UDP as they are.
	for i := range 4 {
		inner[12+i], inner[16+i] = inner[16+i], inner[12+i]
	}
	for i := range 2 {
		inner[20+i], inner[22+i] = inner[22+i], inner[20+i]
	}
	back, err := transform.SealESP(nil, inner, next, ipsec.Sealing{SPI: spiIn, Seq: 1, IV: make([]byte, 16)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wireSide.WriteToIP(back, &net.IPAddr{IP: engine.AsSlice()}); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	n, addr, err := program.ReadFromUDPAddrPort(buf)
	if err != nil || string(buf[:n]) != "there" || addr != netip.AddrPortFrom(far, 9) {
		t.Errorf("the program gets %q from %v, %v", buf[:n], addr, err)
	}

	stop()
	f, err := os.Open(capture)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := frames.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var protocols []string
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := record.IP()
		if err != nil {
			t.Fatal(err)
		}
		if len(data) >= 20 && data[0]>>4 == 4 && data[9] != 2 { // IPv6 and IGMP that the machine sends of its own
			protocols = append(protocols, fmt.Sprint(record.Interface, ":", data[9]))
		}
	}
	if got, want := strings.Join(protocols, " "), "host:17 wire:50 wire:50 host:17"; got != want {
		t.Errorf("captured, as interface:protocol, %s; want %s", got, want)
	}
}
