package pfkeytest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// careless is a client as they are written: it works with every kernel that does what one expects. It has three bugs,
// which real programs have had.
type careless struct {
	sock pfkey.Socket
	d    *wire.Dialect
	cred pfkey.Cred
	seq  wire.Seq
}

// errLoop stands for a program that does not come back: its walk made more steps than a message has bytes.
var errLoop = errors.New("it loops")

func openCareless(t *testing.T, h *pfkeytest.Host) *careless {
	t.Helper()
	c := &careless{d: h.Engine().Dialect(), cred: pfkey.Cred{PID: 4711, Privileged: true}}
	var errno pfkey.Errno
	if c.sock, errno = h.Open(c.cred); errno != wire.OK {
		t.Fatal(errno)
	}
	t.Cleanup(c.sock.Close)
	return c
}

func (c *careless) ask(typ wire.MsgType, ext []byte) []byte {
	c.seq++
	msg := c.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: typ, SAType: wire.SATypeESP, Seq: c.seq,
		PID: 4711})
	if errno := c.sock.Send(c.d.Finish(append(msg, ext...)), c.cred); errno != wire.OK {
		return nil
	}
	buf := make([]byte, 65536)
	n, _, errno := c.sock.Recv(buf, 0)
	if errno != wire.OK {
		return nil
	}
	return buf[:n] // bug: whatever comes next is the answer, also to somebody else's or an older question
}

// used returns how many bytes an SA has protected.
func (c *careless) used(sa pfkey.SA) (uint64, error) {
	ext := c.d.AppendSA(nil, wire.SA{SPI: sa.SPI, State: wire.StateMature})
	ext = c.d.AppendAddress(ext, wire.ExtAddressSrc, sa.Src)
	ext = c.d.AppendAddress(ext, wire.ExtAddressDst, sa.Dst)
	msg := c.ask(wire.MsgGet, ext)
	if len(msg) < wire.HeaderLen || msg[2] != 0 {
		return 0, errors.New("no answer, or an error")
	}
	var current *wire.Lifetime
	steps := 0
	for off := wire.HeaderLen; off+4 <= len(msg); {
		if steps++; steps > len(msg) {
			return 0, errLoop
		}
		n := 8 * int(c.d.Order.Uint16(msg[off:])) // bug: 0 is not looked for
		if c.d.ExtType(c.d.Order.Uint16(msg[off+2:])) == wire.ExtLifetimeCurrent {
			l, err := c.d.ParseLifetime(msg[off:min(off+n, len(msg))])
			if err == nil {
				current = &l
			}
		}
		off += n
	}
	return current.Bytes, nil // bug: it is always there
}

// outcome runs the careless client and says what became of it.
func outcome(c *careless, sa pfkey.SA) (s string) {
	defer func() {
		if r := recover(); r != nil {
			s = "crash"
		}
	}()
	switch n, err := c.used(sa); {
	case errors.Is(err, errLoop):
		return "loop"
	case err != nil:
		return "error"
	default:
		return fmt.Sprintf("%d bytes", n)
	}
}

func carelessSA(spi wire.SPI) pfkey.SA {
	return pfkey.SA{
		SAID: pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: pfkey.Host(peer), Dst: pfkey.Host(own)},
		Auth: wire.AuthSHA1HMAC, Encrypt: wire.EncNull,
		AuthKey: pfkey.NewKey([]byte("twenty bytes of a key"[:20])),
	}
}

// Each planted bug shows under the script that is meant for it, and not with an honest kernel; the counter proves that
// the lie was told; and the client of package pfkey comes through it.
func TestHostileFindsBugs(t *testing.T) {
	for _, tt := range []struct {
		bug, script, fault string
		want               string // becomes of the careless client
		careful            string // says the careful one; "" if it gets the right answer
	}{
		{bug: "none", want: "0 bytes"},
		{bug: "trusts that LIFETIME_CURRENT is there", script: "strip LIFETIME_CURRENT GET",
			fault: "strip LIFETIME_CURRENT GET", want: "crash"},
		{bug: "loops on length 0", script: "length SA 0 GET", fault: "length SA GET", want: "loop", careful: "GET: "},
		{bug: "takes any seq", script: "stale: delay 1 ADD times 1", fault: "stale", want: "crash", careful: ""},
		{bug: "takes any pid", script: "pid 99 GET times 1", fault: "pid GET", want: "0 bytes",
			careful: "receive GET: "},
		{bug: "none is planted", script: "errno ENOMEM GET", fault: "errno ENOMEM GET", want: "error",
			careful: "GET: "},
	} {
		t.Run(tt.bug, func(t *testing.T) {
			sa := carelessSA(0x1000)
			host := pfkeytest.New(t, pfkeytest.Hostile(tt.script))
			c := openCareless(t, host)
			ext := sa.AppendExtensions(c.d, nil)
			c.ask(wire.MsgAdd, ext)
			if got := outcome(c, sa); got != tt.want {
				t.Errorf("the careless client: %s, want %s", got, tt.want)
			}
			if tt.fault != "" && host.Faults()[tt.fault] == 0 {
				t.Errorf("the kernel has not lied: %v", host.Faults())
			}

			// Another host that tells the same lies.
			host = pfkeytest.New(t, pfkeytest.Hostile(tt.script))
			careful := host.Client()
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if tt.fault == "stale" {
				// The answer comes late; nobody takes it for that to the next question.
				if err := careful.Add(ctx, sa, 0); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("add: %v", err)
				}
				ctx = t.Context()
			} else if err := careful.Add(ctx, sa, 0); err != nil {
				t.Fatal(err)
			}
			got, err := careful.Get(ctx, sa.SAID)
			switch {
			case tt.careful == "" && err != nil:
				t.Errorf("the careful client: %v", err)
			case tt.careful == "" && got.SPI != sa.SPI:
				t.Errorf("the careful client gets %v", got)
			case tt.careful != "" && err == nil:
				t.Errorf("the careful client notices nothing")
			}
			if host.Faults()[tt.fault] == 0 && tt.fault != "" {
				t.Errorf("the kernel has not lied: %v", host.Faults())
			}
		})
	}
}

func TestHostileErrno(t *testing.T) {
	host := pfkeytest.New(t, pfkeytest.Hostile("errno EEXIST ADD times 1\nrefuse ENOBUFS FLUSH"))
	c := host.Client()
	if err := c.Add(t.Context(), carelessSA(0x1000), 0); !errors.Is(err, unix.EEXIST) {
		t.Errorf("add: %v", err)
	}
	if err := c.Flush(t.Context(), wire.SATypeESP); !errors.Is(err, unix.ENOBUFS) {
		t.Errorf("flush: %v", err)
	}
	if f := host.Faults(); f["errno EEXIST ADD"] != 1 || f["refuse ENOBUFS FLUSH"] != 1 {
		t.Errorf("faults %v", f)
	}
	if pfkeytest.New(t).Faults() != nil {
		t.Error("an honest kernel has faults")
	}
	if _, err := pfkeytest.NewHost(pfkeytest.Hostile("drop everything")); err == nil {
		t.Error("a wrong script is no error")
	}
}
