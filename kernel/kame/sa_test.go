package kame_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// says sends a message and returns the errno of the first answer, or of the call if there is none.
func (h *machine) says(msg []byte) string {
	h.t.Helper()
	errno := h.s.Send(msg, superuser)
	got := received(h.s)
	if len(got) == 0 {
		return "send: " + errno.String()
	}
	said, _ := h.d().Errno(got[0][2])
	return said.String()
}

// TestErrorsEchoTheRequest: what is refused comes back as a whole, with an errno, to its sender alone. What cannot be
// read at all is an error of the call.
func TestErrorsEchoTheRequest(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		other := h.open()
		add := h.sa(association{spi: 0x1000})
		h.must(add)
		received(other)
		h.s.Send(add, superuser)
		want := bytes.Clone(add)
		want[2] = h.d().ErrnoNumber(wire.EEXIST)
		if got := received(h.s); len(got) != 1 || !bytes.Equal(got[0], want) {
			t.Errorf("a second ADD is answered with %x, want %x", got, want)
		}
		if got := received(other); len(got) != 0 {
			t.Errorf("others hear of it: %x", got)
		}
		twice := h.d().Finish(append(bytes.Clone(add), add[16:32]...))
		unknown := h.d().Finish(append(bytes.Clone(add), 1, 0, 0xff, 0, 0, 0, 0, 0))
		long := make([]byte, 2056)
		copy(long, h.d().Finish(append(bytes.Clone(add), make([]byte, 2056-len(add))...)))
		for what, c := range map[string]struct {
			msg  []byte
			want string
		}{
			"an extension that comes twice": {twice, "send: EINVAL"},
			"an extension nobody knows":     {unknown, "send: EINVAL"},
			"a length that is wrong":        {add[:len(add)-8], "send: EINVAL"},
			"a message of more than 2048":   {long, "send: ENOBUFS"},
		} {
			if got := h.says(c.msg); got != c.want {
				t.Errorf("%s: %s, want %s", what, got, c.want)
			}
		}
	})
}

// TestHeads: which SAs one message names differs from heir to heir. One has heads of a pair of which only the newest is
// found, the other one space of SPIs.
func TestHeads(t *testing.T) {
	for _, row := range []struct {
		heir                                string
		sameSPI, olderHead, absent, withOld string
	}{
		{"netbsd", "OK", "ENOENT", "ENOENT", "OK"},
		{"freebsd", "EEXIST", "OK", "ESRCH", "EEXIST"},
	} {
		t.Run(row.heir, func(t *testing.T) {
			h := boot(t, row.heir, engine.Options{})
			h.must(h.sa(association{spi: 0x1000, sa2: &wire.SA2{ReqID: 5}}))
			h.must(h.sa(association{spi: 0x1001, sa2: &wire.SA2{ReqID: 6}}))
			get := func(spi wire.SPI) string { return h.says(h.sa(association{typ: wire.MsgGet, spi: spi})) }
			for what, got := range map[string][2]string{
				"GET in the newest head": {get(0x1001), "OK"},
				"GET in an older head":   {get(0x1000), row.olderHead},
				"GET of no SA":           {get(0x1002), row.absent},
				"ADD of an SPI for another pair": {h.says(h.sa(association{spi: 0x1000, src: here, dst: there})),
					row.sameSPI},
				"ADD of an SPI for another head": {h.says(h.sa(association{spi: 0x1000, sa2: &wire.SA2{ReqID: 7}})),
					row.withOld},
			} {
				if got[0] != got[1] {
					t.Errorf("%s: %s, want %s", what, got[0], got[1])
				}
			}
		})
	}
}

// TestUpdate: one heir puts a new SA into the place of the old one, the other changes lifetimes and ends of the one
// there is.
func TestUpdate(t *testing.T) {
	for _, row := range []struct {
		heir          string
		keys, noKeys  string
		counts, added int // of the SA after the UPDATE: packets, seconds after the start
	}{
		{"netbsd", "OK", "EINVAL", 0, 5},
		{"freebsd", "EINVAL", "OK", 1, 0},
	} {
		t.Run(row.heir, func(t *testing.T) {
			h := boot(t, row.heir, engine.Options{})
			start := h.e.Now()
			h.must(h.sa(association{spi: 0x1000}))
			if v := h.inbound(h.sealed(0x1000, 1)); v.Kind != packet.Delivered {
				t.Fatalf("a packet: %+v", v)
			}
			h.e.Advance(start.Add(5 * time.Second))
			again := association{typ: wire.MsgUpdate, spi: 0x1000}
			if got := h.says(h.sa(again)); got != row.keys {
				t.Errorf("UPDATE with keys: %s, want %s", got, row.keys)
			}
			again.noKeys = true
			if got := h.says(h.sa(again)); got != row.noKeys {
				t.Errorf("UPDATE without keys: %s, want %s", got, row.noKeys)
			}
			sa := h.e.Status(0).SAs[0]
			if int(sa.Packets) != row.counts || sa.Added != start.Unix()+int64(row.added) {
				t.Errorf("then it has seen %d packets and was added at +%d s", sa.Packets, sa.Added-start.Unix())
			}
			if got := h.says(h.sa(association{typ: wire.MsgUpdate, spi: 0x1001})); got != "EINVAL" {
				t.Errorf("UPDATE of no SA: %s", got)
			}
		})
	}
}

// TestUpdateOfAnotherProcess: only who made an SA may change it.
func TestUpdateOfAnotherProcess(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		spi := h.getSPI(0x2000, 0x20ff)
		got := h.must(spi)
		x, _ := h.d().Find(got, wire.ExtSA)
		sa, _ := h.d().ParseSA(x.Raw)
		update := h.sa(association{typ: wire.MsgUpdate, spi: sa.SPI})
		theirs := bytes.Clone(update)
		theirs[12] = 2
		if got := h.says(theirs); got != "EINVAL" {
			t.Errorf("somebody else's UPDATE: %s", got)
		}
		if got := h.says(update); got != "OK" {
			t.Errorf("UPDATE: %s", got)
		}
	})
}

// TestSoftAndHard: what is told of a lifetime that ends, and by whom it is left out.
func TestSoftAndHard(t *testing.T) {
	for _, row := range []struct {
		heir string
		used bool
		want string // the SPI's messages, each with its second
	}{
		{"netbsd", true, "3:dying"},
		{"netbsd", false, ""},
		{"freebsd", true, "3:dying 6:dead"},
		{"freebsd", false, "3:dying 6:dead"},
	} {
		t.Run(fmt.Sprintf("%s/used=%v", row.heir, row.used), func(t *testing.T) {
			h := boot(t, row.heir, engine.Options{})
			start := h.e.Now()
			h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
			h.must(h.sa(association{spi: 0x1000, soft: &wire.Lifetime{AddTime: 2}, hard: &wire.Lifetime{AddTime: 5}}))
			if row.used {
				h.inbound(h.sealed(0x1000, 1))
			}
			var told []string
			for n := range 10 {
				h.e.Advance(start.Add(time.Duration(n) * time.Second))
				for _, m := range received(h.s) {
					x, _ := h.d().Find(m, wire.ExtSA)
					sa, _ := h.d().ParseSA(x.Raw)
					told = append(told, fmt.Sprintf("%d:%s", n, h.d().StateName(sa.State)))
				}
			}
			if got := strings.Join(told, " "); got != row.want {
				t.Errorf("told %q, want %q", got, row.want)
			}
			if n := h.e.Status(0).SACount; n != 0 {
				t.Errorf("%d SAs are left", n)
			}
		})
	}
}

// TestFullReceiver: a socket that nobody reads costs one heir's sender the answer, and only itself on the other.
func TestFullReceiver(t *testing.T) {
	for _, row := range []struct {
		heir    string
		errno   wire.Errno
		answers int
	}{{"netbsd", wire.ENOBUFS, 0}, {"freebsd", wire.OK, 1}} {
		t.Run(row.heir, func(t *testing.T) {
			h := boot(t, row.heir, engine.Options{})
			deaf := h.open()
			if errno := deaf.SetOption(pfkey.OptionRecvBuffer, 64); errno != wire.OK {
				t.Fatal(errno)
			}
			h.must(h.bare(wire.MsgFlush, 0))
			var errno wire.Errno
			for range 5 {
				received(h.s)
				errno = h.s.Send(h.bare(wire.MsgFlush, 0), superuser)
			}
			if got := len(received(h.s)); errno != row.errno || got != row.answers {
				t.Errorf("send says %v, answers %d; want %v, %d", errno, got, row.errno, row.answers)
			}
			if st := h.e.Status(0).Sockets[1]; st.Queued == 0 || st.Queued > 3 {
				t.Errorf("%d messages wait", st.Queued)
			}
		})
	}
}

// TestGetSPIOfOneValue: an SPI that is asked for by its number is given if nobody has it; or, on the heir whose test is
// the wrong way round, only if somebody has.
func TestGetSPIOfOneValue(t *testing.T) {
	for heir, want := range map[string][2]string{"netbsd": {"OK", "EINVAL"}, "freebsd": {"EEXIST", "OK"}} {
		t.Run(heir, func(t *testing.T) {
			h := boot(t, heir, engine.Options{})
			free := h.says(h.getSPI(0x1000, 0x1000))
			h.must(h.sa(association{spi: 0x3000}))
			taken := h.says(h.getSPI(0x3000, 0x3000))
			if got := [2]string{free, taken}; got != want {
				t.Errorf("a free one and one in use: %v, want %v", got, want)
			}
			// All numbers there are: where the original divides by zero.
			if got := h.says(h.getSPI(0, 1<<32-1)); got != "OK" {
				t.Errorf("any SPI: %s", got)
			}
		})
	}
}

// TestStatus tells SAs in the order of a DUMP.
func TestStatus(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		h.must(h.getSPI(0x4000, 0x4fff))
		h.must(h.sa(association{spi: 0x1000, soft: &wire.Lifetime{}, hard: &wire.Lifetime{AddTime: 100}}))
		h.must(h.sa(association{spi: 0x1001, src: here, dst: netip.MustParseAddr("192.0.2.9")}))
		h.inbound(h.sealed(0x1000, 1))
		st := h.e.Status(0)
		h.s.Send(h.bare(wire.MsgDump, 0), superuser)
		dump := received(h.s)
		if st.SACount != 3 || len(st.SAs) != 3 || len(dump) != 3 {
			t.Fatalf("%d SAs, %d listed, %d in a DUMP", st.SACount, len(st.SAs), len(dump))
		}
		for i, m := range dump {
			x, _ := h.d().Find(m, wire.ExtSA)
			sa, _ := h.d().ParseSA(x.Raw)
			if got := st.SAs[i].SPI; got != sa.SPI.String() {
				t.Errorf("place %d: %s, in the DUMP %v", i, got, sa.SPI)
			}
			if sa.SPI != 0x1000 {
				continue
			}
			now := h.e.Now().Unix()
			if s := st.SAs[i]; s.State != "mature" || s.Direction != "inbound" || s.Auth != "hmac-sha1" ||
				s.Encrypt != "aes-cbc" || s.Packets != 1 || s.Bytes == 0 || s.Expires != now+100 || s.Used < now {
				t.Errorf("%+v", s)
			}
		}
		if some := h.e.Status(2); some.SACount != 3 || len(some.SAs) != 2 {
			t.Errorf("of %d SAs %d are listed", some.SACount, len(some.SAs))
		}
	})
}

// TestAnswerWithoutRoom: what finds no room with the sender is lost, and what it was the answer to has been done.
func TestAnswerWithoutRoom(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		h.must(h.sa(association{spi: 0x1000}))
		h.s.SetOption(pfkey.OptionRecvBuffer, 64)
		get := h.sa(association{typ: wire.MsgGet, spi: 0x1000})
		if errno := h.s.Send(get, superuser); errno != wire.ENOBUFS {
			t.Errorf("GET: %v, want ENOBUFS", errno)
		}
		if got := received(h.s); len(got) != 0 {
			t.Errorf("the answer is %x", got)
		}
		if errno := h.s.Send(h.sa(association{typ: wire.MsgDelete, spi: 0x1000}), superuser); errno != wire.ENOBUFS {
			t.Errorf("DELETE: %v, want ENOBUFS", errno)
		}
		if n := h.e.Status(0).SACount; n != 0 {
			t.Errorf("%d SAs are left", n)
		}
	})
}

// TestUnusedSA: an SA that no packet has used shows when it was made, and as the time of its use that of the machine's
// boot, or none.
func TestUnusedSA(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		h.must(h.sa(association{spi: 0x1000}))
		d, now := h.d(), uint64(h.e.Now().Unix())
		x, ok := d.Find(h.must(h.sa(association{typ: wire.MsgGet, spi: 0x1000})), wire.ExtLifetimeCurrent)
		if !ok {
			t.Fatal("no current lifetime")
		}
		got, err := d.ParseLifetime(x.Raw)
		used := map[string]uint64{"netbsd": now - 1, "freebsd": 0}[d.Name]
		if want := (wire.Lifetime{AddTime: now, UseTime: used}); err != nil || got != want {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	})
}
