package pfkey_test

import (
	"net"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// roundTrips measures a client that asks and waits, over a connection whose other end somebody serves.
func roundTrips(b *testing.B, c net.Conn) {
	msg, buf := message(wire.MsgFlush, 1, 16), make([]byte, 65536)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(msg); err != nil {
			b.Fatal(err)
		}
		if n, err := c.Read(buf); err != nil || n != len(msg) {
			b.Fatal(n, err)
		}
	}
}

// bareEcho reads and writes as a server does, and does nothing else. It ends when the client's end is closed.
func bareEcho(b *testing.B) (client net.Conn) {
	e, f := pair(b)
	s := fileConn(b, f.Fd())
	raw, err := s.SyscallConn()
	if err != nil {
		b.Fatal(err)
	}
	go func() {
		defer s.Close()
		buf, record := make([]byte, 65536), make([]byte, 32)
		_ = raw.Control(func(fd uintptr) { passCredentials(int(fd)) })
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
	return e.netConn()
}

// BenchmarkRoundTrip is a request and its answer through a server, with an engine that only echoes. The bare echo
// beside it reads and writes in the same way and does nothing else.
func BenchmarkRoundTrip(b *testing.B) {
	b.Run("server", func(b *testing.B) {
		e, f := pair(b)
		c := e.netConn()
		defer c.Close()
		if _, err := newServer(b, newFake(), pfkey.ServerOptions{}).Attach(f, owner); err != nil {
			b.Fatal(err)
		}
		roundTrips(b, c)
	})
	b.Run("bare", func(b *testing.B) {
		c := bareEcho(b)
		defer c.Close()
		roundTrips(b, c)
	})
	// Both in turn, so that whatever else the machine does at the time hits both: the medians, and how they compare.
	b.Run("ratio", func(b *testing.B) {
		e, f := pair(b)
		served, bare := e.netConn(), bareEcho(b)
		defer served.Close()
		defer bare.Close()
		if _, err := newServer(b, newFake(), pfkey.ServerOptions{}).Attach(f, owner); err != nil {
			b.Fatal(err)
		}
		msg, buf := message(wire.MsgFlush, 1, 16), make([]byte, 65536)
		var took [2][]time.Duration
		for b.Loop() {
			for i, c := range []net.Conn{served, bare} {
				start := time.Now()
				if _, err := c.Write(msg); err != nil {
					b.Fatal(err)
				}
				if _, err := c.Read(buf); err != nil {
					b.Fatal(err)
				}
				took[i] = append(took[i], time.Since(start))
			}
		}
		var median [2]float64
		for i := range took {
			slices.Sort(took[i])
			median[i] = float64(took[i][len(took[i])/2])
		}
		b.ReportMetric(median[0], "server-ns")
		b.ReportMetric(median[1], "bare-ns")
		b.ReportMetric(median[0]/median[1], "ratio")
	})
	b.Run("client", func(b *testing.B) {
		for _, tr := range transports {
			b.Run(tr.name, func(b *testing.B) {
				c := tr.dial(b, newFake())
				defer c.Close()
				ctx := b.Context()
				b.ReportAllocs()
				for b.Loop() {
					if err := c.Flush(ctx, 0); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	})
}

// BenchmarkDump reads a paced dump of messages of 232 bytes.
func BenchmarkDump(b *testing.B) {
	e := newFake()
	left := 0
	one := message(wire.MsgDump, 1, 232)
	e.request = func(s *fakeSocket, _ []byte, _ pfkey.Cred) pfkey.Errno {
		s.mu.Lock()
		defer s.mu.Unlock()
		left = 100000
		s.more = func() []byte {
			if left == 0 {
				return nil
			}
			left--
			return one
		}
		return wire.OK
	}
	end, f := pair(b)
	c := end.netConn()
	defer c.Close()
	if _, err := newServer(b, e, pfkey.ServerOptions{}).Attach(f, owner); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 65536)
	for b.Loop() {
		if _, err := c.Write(message(wire.MsgDump, 1, 16)); err != nil {
			b.Fatal(err)
		}
		for range 100000 {
			if _, err := c.Read(buf); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/100000, "us/message")
}
