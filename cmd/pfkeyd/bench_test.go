//go:build linux

package main_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// pair makes two connected ends.
func pair(b *testing.B) (client net.Conn, server *os.File) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		b.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "client")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c, os.NewFile(uintptr(fds[1]), "server")
}

// served is a client of an illumos engine behind its server.
func served(b *testing.B) net.Conn {
	e, err := kernels.New("illumos", engine.Options{})
	if err != nil {
		b.Fatal(err)
	}
	s := pfkey.NewServer(e, pfkey.ServerOptions{})
	b.Cleanup(func() { s.Close() })
	c, f := pair(b)
	if _, err := s.Attach(f, pfkey.Cred{Privileged: true}); err != nil {
		b.Fatal(err)
	}
	return c
}

// bareGo is a client of an echo that waits and reads as the server does, credentials record included, and does nothing
// else.
func bareGo(b *testing.B) net.Conn {
	c, f := pair(b)
	sc, err := net.FileConn(f)
	f.Close()
	if err != nil {
		b.Fatal(err)
	}
	raw, err := sc.(*net.UnixConn).SyscallConn()
	if err != nil {
		b.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		defer sc.Close()
		buf, record := make([]byte, 1<<16), make([]byte, unix.CmsgSpace(unix.SizeofUcred))
		_ = raw.Read(func(fd uintptr) bool {
			for {
				n, _, _, _, err := unix.Recvmsg(int(fd), buf, record, unix.MSG_DONTWAIT)
				if err != nil {
					return err != unix.EAGAIN
				}
				if n == 0 || unix.Send(int(fd), buf[:n], unix.MSG_DONTWAIT) != nil {
					return true
				}
			}
		})
	}()
	return c
}

// bareC is a client of an echo in C, in a process of its own; nil where there is no C compiler.
func bareC(b *testing.B) net.Conn {
	cc, err := exec.LookPath("cc")
	if err != nil {
		b.Log("no C compiler: the C echo is left out")
		return nil
	}
	program := filepath.Join(b.TempDir(), "echo")
	if out, err := exec.Command(cc, "-O2", "-o", program, "testdata/echo.c").CombinedOutput(); err != nil {
		b.Fatalf("cc: %v\n%s", err, out)
	}
	c, f := pair(b)
	cmd := exec.Command(program)
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	f.Close()
	b.Cleanup(func() { c.Close(); cmd.Wait() })
	return c
}

// BenchmarkRoundTrip is a FLUSH of an empty database and its answer. The servers take turns, so that whatever else the
// machine does meanwhile hits all of them; the medians are reported, and how they compare. Pin it to one core (taskset
// -c 0) for figures that can be compared.
func BenchmarkRoundTrip(b *testing.B) {
	d := wire.Illumos()
	msg := d.Finish(d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgFlush, SAType: wire.SATypeAH, Seq: 1,
		PID: 1}))
	names := []string{"server", "go", "c"}
	ends := []net.Conn{served(b), bareGo(b), bareC(b)}
	took := make([][]time.Duration, len(ends))
	buf := make([]byte, 1<<16)
	for b.Loop() {
		for i, c := range ends {
			if c == nil {
				continue
			}
			start := time.Now()
			if _, err := c.Write(msg); err != nil {
				b.Fatal(err)
			}
			if n, err := c.Read(buf); err != nil || n != len(msg) {
				b.Fatal(names[i], n, err)
			}
			took[i] = append(took[i], time.Since(start))
		}
	}
	median := make([]float64, len(ends))
	for i := range took {
		if len(took[i]) > 0 {
			slices.Sort(took[i])
			median[i] = float64(took[i][len(took[i])/2])
			b.ReportMetric(median[i], names[i]+"-ns")
		}
	}
	b.ReportMetric(median[0]/median[1], "server/go")
}
