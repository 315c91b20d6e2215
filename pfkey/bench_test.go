package pfkey_test

import (
	"net"
	"testing"

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

func connPair(b *testing.B) (client, server *net.UnixConn) {
	e, f := pair(b)
	return e.netConn(), fileConn(b, f.Fd())
}

// BenchmarkRoundTrip is a request and its answer through a server, with an engine that only echoes. The bare echo beside it
// reads and writes in the same way and does nothing else.
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
		c, s := connPair(b)
		defer s.Close()
		defer c.Close()
		raw, err := s.SyscallConn()
		if err != nil {
			b.Fatal(err)
		}
		go func() {
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
		roundTrips(b, c)
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
