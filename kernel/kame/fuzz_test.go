package kame_test

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/testdata/golden"
	"github.com/pfkeyd/pfkeyd/wire"
)

// FuzzNetBSD and FuzzFreeBSD play a row of messages, packets, calls and steps of time, whatever they are: nothing may
// panic, every packet must end, and after a flush nothing may be left.
func FuzzNetBSD(f *testing.F)  { fuzz(f, "netbsd") }
func FuzzFreeBSD(f *testing.F) { fuzz(f, "freebsd") }

// What an item of a conversation is. Each is a byte that says so, two bytes of length, and its bytes.
const (
	send     = iota // a message on the first socket
	sendB           // on the second
	inbound         // a packet
	outbound        // a packet
	advance         // the clock, by so many tenths of a second
	call            // another call on a socket
	buffer          // of the second, in units of 16 bytes
	reopen          // the second is closed, and there is another
	items
)

var root = pfkey.Cred{PID: 1234, Privileged: true}

func fuzz(f *testing.F, kernel string) {
	for _, c := range recorded(f, kernel) {
		f.Add(c)
	}
	f.Fuzz(func(t *testing.T, data []byte) { converse(t, kernel, data) })
}

// recorded are conversations that were recorded, as rows of items: few of each class, and no long ones.
func recorded(t testing.TB, kernel string) (all [][]byte) {
	const often, longest = 20, 4096
	files, err := fs.Glob(golden.Files, kernel+"*/*.jsonl.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings of %s (%v)", kernel, err)
	}
	for _, name := range files {
		file, err := golden.Files.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		unzipped, err := gzip.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(unzipped)
		lines.Buffer(nil, 16<<20)
		for n := 0; lines.Scan(); n++ {
			if n%often != 0 {
				continue
			}
			if c := asItems(t, lines.Bytes()); len(c) <= longest {
				all = append(all, c)
			}
		}
		if lines.Err() != nil {
			t.Fatal(lines.Err())
		}
	}
	return all
}

// asItems makes a conversation of a line of a recording.
func asItems(t testing.TB, line []byte) (c []byte) {
	var sc struct {
		Steps []struct {
			Op, S, Hex, Sent, Pkt string
			Secs                  int
		}
	}
	if err := json.Unmarshal(line, &sc); err != nil {
		t.Fatal(err)
	}
	sockets := map[string]byte{}
	for _, st := range sc.Steps {
		what, text := byte(items), cmp.Or(st.Sent, st.Hex)
		switch st.Op {
		case "open":
			sockets[st.S] = byte(len(sockets) % 2)
		case "send":
			what = send + sockets[st.S]
		case "inbound":
			what, text = inbound, st.Pkt
		case "output":
			what, text = outbound, st.Pkt
		case "clock":
			what, text = advance, hex.EncodeToString([]byte{byte(min(10*st.Secs, 255))})
		case "close":
			what = reopen
		}
		if b, err := hex.DecodeString(text); err == nil && what < items {
			c = append(binary.BigEndian.AppendUint16(append(c, what), uint16(len(b))), b...)
		}
	}
	return c
}

// converse plays the items of data.
func converse(t *testing.T, kernel string, data []byte) {
	e, err := kernels.New(kernel, engine.Options{Addrs: []netip.Addr{
		netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	socks := []pfkey.Socket{open(t, e), open(t, e)}
	for len(data) >= 3 {
		what, n := data[0]%items, min(int(binary.BigEndian.Uint16(data[1:])), len(data)-3)
		b := data[3 : 3+n]
		data = data[3+n:]
		switch first := append(b, 0)[0]; what {
		case send, sendB:
			socks[what].Send(b, root)
		case inbound:
			through(t, e.Inbound, b)
		case outbound:
			through(t, func(p *packet.Packet) { e.Outbound(p, "") }, b)
		case advance:
			e.Advance(e.Now().Add(time.Duration(first) * 100 * time.Millisecond))
		case call:
			socks[1].(pfkey.Caller).Call(pfkey.Call(first % 16))
		case buffer:
			socks[1].SetOption(pfkey.OptionRecvBuffer, 16*int(first))
		case reopen:
			socks[1].Close()
			socks[1] = open(t, e)
		}
		if n%3 == 0 {
			continue // they pile up
		}
		for _, s := range socks {
			read(t, s)
		}
	}
	if b := e.Ledger().Balance(); b.InFlight != 0 || b.Held != 0 || b.Injected != b.Ended {
		t.Errorf("ledger at rest: %+v", b)
	}
	leaveNothing(t, e, socks)
}

// leaveNothing removes all that there is, and looks whether anything is left. A socket that is opened now has room.
func leaveNothing(t *testing.T, e *engine.Engine, socks []pfkey.Socket) {
	for _, s := range socks {
		s.Close()
	}
	s := open(t, e)
	for _, typ := range []wire.MsgType{wire.MsgFlush, wire.KAMEMsgXSPDFlush} {
		d := e.Dialect()
		if errno := s.Send(d.Finish(d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: typ})),
			root); errno != wire.OK {
			t.Errorf("%s: %v", d.MsgName(typ), errno)
		}
		if answers := read(t, s); answers != 1 {
			t.Errorf("%d answers to %s", answers, d.MsgName(typ))
		}
	}
	e.Advance(e.Now().Add(time.Hour)) // records of ACQUIREs go with time only
	if st := e.Status(0); st.SACount != 0 || len(st.SAs) != 0 || len(st.Acquires) != 0 || st.PolicyCount != 0 {
		t.Errorf("after FLUSH: %d SAs, %d policies, acquires %v", st.SACount, st.PolicyCount, st.Acquires)
	}
	if at, ok := e.Next(); ok {
		t.Errorf("a timer is set, for %v, though nothing is left", at)
	}
}

func open(t testing.TB, e *engine.Engine) pfkey.Socket {
	s, errno := e.Open(root, 3, 2)
	if errno != wire.OK {
		t.Fatalf("open: %v", errno)
	}
	return s
}

// through sends a packet, whose verdict is there when the call is over: no packet waits here.
func through(t *testing.T, way func(*packet.Packet), b []byte) {
	ended := false
	way(&packet.Packet{Data: slices.Clone(b), Done: func(*packet.Packet, packet.Verdict) { ended = true }})
	if !ended {
		t.Error("a packet has not ended")
	}
}

// read counts the messages that wait on a socket.
func read(t *testing.T, s pfkey.Socket) (n int) {
	buf := make([]byte, 8192)
	for {
		size, whole, errno := s.Recv(buf, 0)
		switch {
		case errno != wire.OK || whole == 0:
			return n
		case size != whole || size < 8:
			t.Errorf("a message of %d bytes, read as %d", whole, size)
		}
		n++
	}
}
