package pfkey_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A step is one message of one of two clients.
type step struct {
	client int
	msg    []byte
}

// script reads steps from the fuzzer's bytes: who, what, which part is changed how. What is a request that makes sense,
// so that the fuzzer gets beyond the first check, or bytes as they are.
func script(d *wire.Dialect, data []byte) (steps []step) {
	next := func() byte {
		if len(data) == 0 {
			return 0
		}
		b := data[0]
		data = data[1:]
		return b
	}
	for len(data) > 0 && len(steps) < 64 {
		who, what := int(next()&1), next()
		spi := wire.SPI(next()%4) + 0x1000
		header := d.AppendHeader(nil, wire.Header{
			Version: wire.Version, Type: d.MsgType(what % 26), SAType: []wire.SAType{3, 2, 0, 9}[what>>6],
			Seq: wire.Seq(next()), PID: uint32(who),
		})
		var msg []byte
		switch t := d.MsgType(what % 26); {
		case what >= 250:
			n := min(int(next()), len(data))
			msg, data = data[:n:n], data[n:]
		case t == wire.MsgGetSPI:
			msg = d.AppendAddress(header, wire.ExtAddressSrc, src)
			msg = d.AppendAddress(msg, wire.ExtAddressDst, dst)
			msg = d.AppendSPIRange(msg, wire.SPIRange{Min: spi, Max: spi + 1})
		case t >= wire.MsgUpdate && t <= wire.MsgGet:
			msg = sampleSA(spi).AppendExtensions(d, header)
		default:
			msg = header
		}
		if len(msg) >= wire.HeaderLen && what < 250 {
			msg = d.Finish(msg)
		}
		if at := int(next()); at > 0 && len(msg) > 0 {
			msg = bytes.Clone(msg)
			msg[at%len(msg)] ^= next()
		}
		steps = append(steps, step{who, msg})
	}
	return steps
}

func newKernel(t testing.TB, name string) *engine.Engine {
	t.Helper()
	e, err := kernels.New(name, engine.Options{
		Addrs: []netip.Addr{dst.Addr},
		Rand:  rand.NewChaCha8([32]byte{1}),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// heard are the messages that both clients got because of one step.
type heard [2][]string

// playLocal plays a script in process, and does by hand what the server's one rule says.
func playLocal(t testing.TB, e *engine.Engine, steps []step) (all []heard) {
	var socks [2]pfkey.Socket
	for i := range socks {
		s, errno := e.Open(owner, 3, 2)
		if errno != wire.OK {
			t.Fatal(errno)
		}
		defer s.Close()
		socks[i] = s
	}
	buf := make([]byte, wire.MaxLen)
	for _, st := range steps {
		var h heard
		errno := socks[st.client].Send(st.msg, owner)
		for i, s := range socks {
			for {
				n, _, errno := s.Recv(buf, 0)
				if errno != wire.OK {
					break
				}
				h[i] = append(h[i], fmt.Sprintf("%x", buf[:n]))
			}
		}
		if errno != wire.OK && len(st.msg) >= wire.HeaderLen {
			header := bytes.Clone(st.msg[:wire.HeaderLen])
			header[2] = e.Dialect().ErrnoNumber(errno)
			e.Dialect().Order.PutUint16(header[4:], 2)
			h[st.client] = append(h[st.client], fmt.Sprintf("%x", header))
		}
		all = append(all, h)
	}
	return all
}

// playServed plays a script through a server and real sockets.
func playServed(t testing.TB, e *engine.Engine, steps []step) (all []heard) {
	s := pfkey.NewServer(e, pfkey.ServerOptions{})
	defer s.Close()
	var clients [2]*end
	var conns [2]*pfkey.Conn
	for i := range clients {
		clients[i], conns[i] = attach(t, s)
		defer clients[i].close()
	}
	for _, st := range steps {
		if _, err := unix.SendmsgN(clients[st.client].fd, st.msg, nil, nil, unix.MSG_NOSIGNAL); err != nil {
			t.Fatal(err)
		}
		conns[st.client].Drain()
		conns[1-st.client].Drain()
		var h heard
		for i, c := range clients {
			for {
				msg, err := c.tryRecv()
				if err != nil || msg == nil {
					break
				}
				h[i] = append(h[i], fmt.Sprintf("%x", msg))
			}
		}
		all = append(all, h)
	}
	if got := s.Counters(); got.Received != uint64(len(steps)) || got.Lost != 0 {
		t.Errorf("counters %+v after %d messages", got, len(steps))
	}
	return all
}

// FuzzConversation lets two clients say anything to a kernel through a server. Nothing breaks, and they hear exactly
// what they would hear from the kernel itself.
func FuzzConversation(f *testing.F) {
	names := kernels.Names()
	for k := range names {
		f.Add(byte(k), []byte{})
		// GETSPI, an UPDATE of it by the other client, DUMP, DELETE; REGISTER; nonsense.
		f.Add(byte(k), []byte{0, 1, 0, 1, 0, 1, 2, 0, 2, 0, 0, 10, 0, 3, 0, 1, 4, 0, 4, 0, 0, 7, 0, 5, 0, 1, 255, 0, 0,
			3, 1, 2, 3, 0})
		var every []byte
		for t := range byte(26) {
			every = append(every, t&1, t, t, t, 0)
		}
		f.Add(byte(k), every)
		f.Add(byte(k), binary.LittleEndian.AppendUint64(bytes.Repeat([]byte{0, 3, 1, 1, 77, 0x80}, 8),
			0x0102030405060708))
	}
	f.Fuzz(func(t *testing.T, which byte, data []byte) {
		name := names[int(which)%len(names)]
		local, served := newKernel(t, name), newKernel(t, name)
		steps := script(local.Dialect(), data)
		want, got := playLocal(t, local, steps), playServed(t, served, steps)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: in process and through the server differ (-in process +server)\n%s", name, diff)
		}
	})
}
