package openbsd_test

import (
	"bufio"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/testdata/golden"
	"github.com/pfkeyd/pfkeyd/wire"
)

// FuzzOpenBSD plays a row of messages, packets, calls and steps of time, whatever they are: nothing may panic, every
// packet must end, and after a flush nothing may be left.
func FuzzOpenBSD(f *testing.F) {
	for _, c := range recorded(f) {
		f.Add(c)
	}
	f.Fuzz(converse)
}

// What an item of a conversation is. Each is a byte that says so, two bytes of length, and its bytes.
const (
	send      = iota // a message on the first socket
	sendB            // on the second
	inbound          // a packet
	outbound         // a packet
	advance          // the clock, by so many tenths of a second
	call             // another call on the second socket
	buffer           // of the second, in units of 16 bytes
	reopen           // the second is closed, and there is another
	again            // the last packet that went out comes in
	knob             // all of the SAs and flows are read, and what of IPComp is allowed changes
	itemKinds        //
)

// recorded are conversations that were recorded, as rows of items: few of each class, and no long ones.
func recorded(t testing.TB) (all [][]byte) {
	const often, longest = 20, 4096
	files, err := fs.Glob(golden.Files, "openbsd*/*.jsonl.gz")
	if err != nil || len(files) == 0 {
		t.Fatalf("no recordings (%v)", err)
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
		what, text := byte(itemKinds), cmp.Or(st.Sent, st.Hex)
		switch st.Op {
		case "open":
			sockets[st.S] = byte(len(sockets) % 2)
		case "send":
			what = send + sockets[st.S]
		case "inbound":
			if what, text = inbound, st.Pkt; text == "" {
				what = again
			}
		case "output":
			what, text = outbound, st.Pkt
		case "clock":
			what, text = advance, hex.EncodeToString([]byte{byte(min(10*st.Secs, 255))})
		case "sysctl", "keydump":
			what = knob
		case "close":
			what = reopen
		}
		if b, err := hex.DecodeString(text); err == nil && what < itemKinds {
			c = append(binary.BigEndian.AppendUint16(append(c, what), uint16(len(b))), b...)
		}
	}
	return c
}

// converse plays the items of data.
func converse(t *testing.T, data []byte) {
	h := boot(t)
	socks := []pfkey.Socket{h.s, h.open()}
	var sent []byte
	through := func(way func(*packet.Packet), b []byte) {
		ended := false
		way(&packet.Packet{Data: slices.Clone(b), Done: func(_ *packet.Packet, v packet.Verdict) {
			if ended = true; v.Kind == packet.Transmitted {
				sent = slices.Clone(v.Inner)
			}
		}})
		if !ended {
			t.Error("a packet has not ended")
		}
	}
	for len(data) >= 3 {
		what, n := data[0]%itemKinds, min(int(binary.BigEndian.Uint16(data[1:])), len(data)-3)
		b := data[3 : 3+n]
		data = data[3+n:]
		switch first := append(b, 0)[0]; what {
		case send, sendB:
			socks[what].Send(b, superuser)
		case inbound:
			through(h.e.Inbound, b)
		case outbound:
			through(func(p *packet.Packet) { h.e.Outbound(p, "") }, b)
		case advance:
			h.later(time.Duration(first) * 100 * time.Millisecond)
		case call:
			socks[1].(pfkey.Caller).Call(pfkey.Call(first % 16))
		case buffer:
			socks[1].SetOption(pfkey.OptionRecvBuffer, 16*int(first))
		case reopen:
			socks[1].Close()
			socks[1] = h.open()
		case again:
			through(h.e.Inbound, sent)
		case knob:
			h.set("net.inet.ipcomp.enable", int64(first&1))
			h.k.SysctlDump("sadb", int(first), 0)
			h.k.SysctlDump("spd", 0, 0)
			h.e.Status(0)
		}
		if n%3 == 0 {
			continue // they pile up
		}
		for _, s := range socks {
			for _, msg := range takeAll(s) {
				if len(msg) < wire.HeaderLen || int(h.d.Order.Uint16(msg[4:]))*8 != len(msg) {
					t.Errorf("a message of %d bytes: %x", len(msg), msg[:min(len(msg), wire.HeaderLen)])
				}
			}
		}
	}
	if b := h.e.Ledger().Balance(); b.InFlight != 0 || b.Held != 0 || b.Injected != b.Ended {
		t.Errorf("ledger at rest: %+v", b)
	}
	for _, s := range socks {
		s.Close()
	}
	h.s = h.open()
	h.must(h.bare(wire.MsgFlush, wire.SATypeUnspec))
	h.later(time.Hour)
	if st := h.e.Status(0); st.SACount != 0 || len(st.Acquires) != 0 || st.PolicyCount != 0 {
		t.Errorf("after FLUSH: %d SAs, %d policies, acquires %v", st.SACount, st.PolicyCount, st.Acquires)
	}
	if at, ok := h.e.Next(); ok {
		t.Errorf("a timer is set, for %v, though nothing is left", at)
	}
}
