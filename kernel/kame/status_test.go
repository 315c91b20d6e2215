package kame_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestStatusOfLost: messages for which a socket has no room are counted as lost for it.
func TestStatusOfLost(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		deaf, errno := h.e.Open(superuser, 3, 2)
		if errno != wire.OK {
			t.Fatal(errno)
		}
		defer deaf.Close()
		for range 2000 { // each goes to everybody; on NetBSD until somebody has no room, which send() says
			deaf.Send(h.bare(wire.MsgFlush, 0), superuser)
		}
		var lost uint64
		for _, s := range h.e.Status(0).Sockets {
			lost += s.Lost
		}
		if lost < 1000 {
			t.Errorf("%d messages are lost", lost)
		}
	})
}

// TestStatusOfSAs: all that is told of SAs, of one that came in, one that goes out, and one without keys.
func TestStatusOfSAs(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		start := h.e.Now()
		hour := &wire.Lifetime{AddTime: 3600}
		h.must(h.sa(association{spi: 0x1000, hard: hour, soft: hour}))
		h.e.Advance(start.Add(7 * time.Second))
		pkt := h.sealed(0x1000, 1)
		h.inbound(pkt)
		h.must(h.sa(association{spi: 0x1001, src: here, dst: there}))
		d := h.d()
		x, _ := d.Find(h.must(h.getSPI(0x2000, 0x2fff)), wire.ExtSA)
		larval, _ := d.ParseSA(x.Raw)
		in := status.SA{Type: "esp", SPI: "0x1000", Src: "192.0.2.2", Dst: "192.0.2.1", State: "mature",
			Direction: "inbound", Auth: d.AuthName(wire.AuthSHA1HMAC), Encrypt: d.EncryptName(wire.EncAESCBC),
			Packets: 1, Bytes: 32, Added: start.Unix(), Used: start.Unix() + 7, Expires: start.Unix() + 3600}
		out, bare := in, in
		out.SPI, out.Src, out.Dst, out.Direction = "0x1001", in.Dst, in.Src, "outbound"
		out.Packets, out.Bytes, out.Used, out.Expires, out.Added = 0, 0, 0, 0, start.Unix()+7
		bare.SPI, bare.State, bare.Auth, bare.Encrypt = larval.SPI.String(), "larval", "", ""
		bare.Packets, bare.Bytes, bare.Used, bare.Expires, bare.Added = 0, 0, 0, 0, start.Unix()+7
		got := map[string]status.SA{}
		st := h.e.Status(0)
		for _, sa := range st.SAs {
			got[sa.SPI] = sa
		}
		got["0x1000"] = withBytes(got["0x1000"], in.Bytes) // which a test of packets counts
		want := map[string]status.SA{in.SPI: in, out.SPI: out, bare.SPI: bare}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got)\n%s", diff)
		}
		if n := len(h.e.Status(2).SAs); st.SACount != 3 || n != 2 {
			t.Errorf("%d SAs, of which %d are shown", st.SACount, n)
		}
	})
}

// withBytes is an SA with so many bytes, if it has any.
func withBytes(sa status.SA, n uint64) status.SA {
	if sa.Bytes != 0 {
		sa.Bytes = n
	}
	return sa
}

// TestExpiryAcrossHeads: in which order SAs of different heads are told that expire together.
func TestExpiryAcrossHeads(t *testing.T) {
	for heir, want := range map[string][]string{"netbsd": {"0x1001", "0x1000"}, "freebsd": {"0x1000", "0x1001"}} {
		t.Run(heir, func(t *testing.T) {
			h := boot(t, heir, bootOptions)
			start := h.e.Now()
			h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
			one, long := &wire.Lifetime{AddTime: 1}, &wire.Lifetime{AddTime: 100}
			for i, req := range []uint32{1, 2} {
				spi := wire.SPI(0x1000 + i)
				h.must(h.sa(association{spi: spi, soft: one, hard: long, sa2: &wire.SA2{ReqID: req}}))
				h.inbound(h.sealed(spi, 1))
			}
			h.e.Advance(start.Add(5 * time.Second))
			var got []string
			for _, m := range received(h.s) {
				x, _ := h.d().Find(m, wire.ExtSA)
				sa, _ := h.d().ParseSA(x.Raw)
				got = append(got, sa.SPI.String())
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// TestSameSPIOfThree: of three SAs with one SPI, that in the middle goes, and the others are found.
func TestSameSPIOfThree(t *testing.T) {
	h := boot(t, "netbsd", bootOptions)
	third := association{spi: 0x1000, src: there, dst: here, sa2: &wire.SA2{ReqID: 9}}
	h.must(h.sa(association{spi: 0x1000, src: here, dst: there}))
	h.must(h.sa(association{spi: 0x1000, src: there, dst: there}))
	for i := range 20 {
		third.spi = wire.SPI(0x1000 + (i+1)%20)
		h.must(h.sa(third))
	}
	h.must(h.sa(association{typ: wire.MsgDelete, spi: 0x1000, src: there, dst: there}))
	for _, a := range []association{{src: here, dst: there}, {src: there, dst: here}} {
		a.typ, a.spi = wire.MsgGet, 0x1000
		if got := h.says(h.sa(a)); got != "OK" {
			t.Errorf("from %v: %s", a.src, got)
		}
	}
}

// TestOneTry: an SPI that is in use is given all the same when all tries have found one.
func TestOneTry(t *testing.T) {
	for heir, knob := range map[string]string{"netbsd": "net.key.spi_try", "freebsd": "net.key.spi_trycnt"} {
		t.Run(heir, func(t *testing.T) {
			h := boot(t, heir, bootOptions)
			if errno := h.k.SetSysctl(knob, 1); errno != wire.OK {
				t.Fatal(errno)
			}
			h.must(h.sa(association{spi: 0x1000}))
			h.must(h.sa(association{spi: 0x1001}))
			if got := h.says(h.getSPI(0x1000, 0x1001)); got != "OK" {
				t.Errorf("both in use: %s", got)
			}
			if got := h.says(h.getSPI(0x2000, 0x2001)); got == "OK" {
				t.Error("a free one is given at the last try")
			}
		})
	}
}

// TestQueuedDump: each message of a DUMP counts for the memory that it takes, which is more than its bytes.
func TestQueuedDump(t *testing.T) {
	h := boot(t, "freebsd", bootOptions)
	h.must(h.sa(association{spi: 0x1000}))
	h.must(h.sa(association{spi: 0x1001}))
	const room = 8 * 8192 / 512 // for messages that are as short as can be
	for range room - 1 {
		h.s.Send(h.bare(wire.MsgFlush, wire.SATypeAH), superuser)
	}
	h.s.Send(h.bare(wire.MsgDump, wire.SATypeESP), superuser)
	if n := len(received(h.s)); n != room {
		t.Errorf("%d messages, want %d", n, room)
	}
}
