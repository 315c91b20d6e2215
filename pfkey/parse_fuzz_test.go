package pfkey_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// recorded calls f for every message that a real kernel has sent, one of each shape.
func recorded(t testing.TB, f func(d *wire.Dialect, where string, msg []byte)) {
	t.Helper()
	for _, d := range wire.Dialects() {
		d := d.WithOrder(binary.LittleEndian)
		file, err := os.Open("../wire/testdata/" + d.Name + ".messages")
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			columns := strings.Fields(lines.Text())
			if len(columns) < 4 || columns[2] != "rx" {
				continue
			}
			msg, err := hex.DecodeString(columns[3])
			if err != nil {
				t.Fatal(err)
			}
			f(d, d.Name+" "+columns[0]+" "+columns[1], msg)
		}
		if lines.Err() != nil {
			t.Fatal(lines.Err())
		}
	}
}

// What real kernels have said is understood: every ACQUIRE, EXPIRE and NEW_MAPPING of theirs, every policy and every
// SA.
func TestParseRecorded(t *testing.T) {
	seen := map[string]int{}
	recorded(t, func(d *wire.Dialect, where string, msg []byte) {
		h, err := d.Header(msg)
		if err != nil || h.Errno != 0 || len(msg) == wire.HeaderLen {
			return
		}
		name := d.MsgName(h.Type)
		switch {
		case h.PID == 0 && (h.Type == wire.MsgAcquire || h.Type == wire.MsgExpire) || name == "X_NAT_T_NEW_MAPPING":
			e, perr := pfkey.ParseEvent(d, msg)
			if err = perr; err == nil && h.Type == wire.MsgExpire && e.(*pfkey.Expire).Limit == 0 {
				t.Errorf("%s: an EXPIRE of no limit", where)
			}
		case name == "X_SPDDELETE2" && d.SockaddrLen: // which says no more than the id
			return
		case d.Name == "openbsd" && name == "X_SPDDUMP": // a flow, which is no policy
			return
		case strings.HasPrefix(name, "X_SPD"):
			_, err = pfkey.ParsePolicy(d, msg)
		default:
			return
		}
		seen[d.Name+" "+name]++
		if err != nil {
			t.Errorf("%s: %s: %v", where, d.Line(msg), err)
		}
	})
	for _, name := range []string{"linux ACQUIRE", "linux EXPIRE", "linux X_SPDADD", "linux X_SPDGET",
		"linux X_SPDDUMP", "linux X_NAT_T_NEW_MAPPING", "illumos ACQUIRE", "illumos EXPIRE"} {
		if seen[name] == 0 {
			t.Errorf("no %s among the recordings: %v", name, seen)
		}
	}
}

func sampleMessages(f *testing.F) {
	recorded(f, func(d *wire.Dialect, _ string, msg []byte) { f.Add(d.Name == "linux", msg) })
}

func dialectOf(linux bool) *wire.Dialect {
	d := wire.Illumos()
	if linux {
		d = wire.Linux()
	}
	return d.WithOrder(binary.LittleEndian)
}

// Whatever comes, reading it ends; and what it gives is what the message says, for it says the same when it is written
// again.
func FuzzParseEvent(f *testing.F) {
	sampleMessages(f)
	f.Fuzz(func(t *testing.T, linux bool, msg []byte) {
		d := dialectOf(linux)
		kept := bytes.Clone(msg)
		e, err := pfkey.ParseEvent(d, msg)
		if !bytes.Equal(kept, msg) {
			t.Fatal("the message was changed")
		}
		if (e == nil) != (err != nil) {
			t.Fatalf("%v with %v", e, err)
		}
		a, ok := e.(*pfkey.Acquire)
		if !ok || a.Err != nil {
			return
		}
		h, _ := d.Header(msg)
		again, err := pfkey.ParseEvent(d, d.Finish(a.AppendExtensions(d, d.AppendHeader(nil, h))))
		if err != nil {
			t.Fatalf("%+v: written again: %v", a, err)
		}
		if diff := cmp.Diff(pfkey.Event(a), again, cmp.Comparer(sameAddr)); diff != "" {
			t.Fatalf("written again (-first +second)\n%s", diff)
		}
	})
}

// The same for policies.
func FuzzParsePolicy(f *testing.F) {
	sampleMessages(f)
	f.Fuzz(func(t *testing.T, linux bool, msg []byte) {
		d := dialectOf(linux)
		kept := bytes.Clone(msg)
		p, err := pfkey.ParsePolicy(d, msg)
		if !bytes.Equal(kept, msg) {
			t.Fatal("the message was changed")
		}
		if (p == nil) != (err != nil) {
			t.Fatalf("%v with %v", p, err)
		}
		if p == nil {
			return
		}
		h, _ := d.Header(msg)
		again, err := pfkey.ParsePolicy(d, d.Finish(p.AppendExtensions(d, d.AppendHeader(nil, h))))
		if err != nil {
			t.Fatalf("%+v: written again: %v", p, err)
		}
		if p.Current != nil { // only kernels write it
			again.Current = p.Current
		}
		for _, pair := range [][2]**wire.Lifetime{{&p.Hard, &again.Hard}, {&p.Soft, &again.Soft}} {
			if *pair[0] == nil && *pair[1] != nil && **pair[1] == (wire.Lifetime{}) {
				*pair[1] = nil // requests have both or none
			}
		}
		if diff := cmp.Diff(p, again, cmp.Comparer(sameAddr)); diff != "" {
			t.Fatalf("written again (-first +second)\n%s", diff)
		}
	})
}
