package conform_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/kernels"
)

// Each rule for volatile bytes lets through what may vary, and nothing else. The machine answers as recorded, with one
// change.
func TestVolatileRules(t *testing.T) {
	u64 := binary.LittleEndian
	// The steps of each scenario that have a span of the name, in order, with where it lies.
	type where struct{ step, message, offset int }
	find := func(sc *conform.Scenario, span string) (ws []where) {
		for i, st := range sc.Steps {
			for k, m := range st.Rx {
				for _, v := range m.Vol {
					if v.Name == span {
						ws = append(ws, where{i, k, v.Offset})
					}
				}
			}
		}
		return ws
	}
	add := func(n int64) func([]byte) {
		return func(b []byte) { u64.PutUint64(b, uint64(int64(u64.Uint64(b))+n)) }
	}
	set := func(hex string) func([]byte) {
		return func(b []byte) {
			for i := range len(hex) / 2 {
				fmt.Sscanf(hex[2*i:2*i+2], "%02x", &b[i])
			}
		}
	}
	for _, tt := range []struct {
		name, scenario, span string
		only                 int // which of the spans is changed, -1: all
		change               func([]byte)
		want                 string // "" passes
	}{
		{"time moved as a whole", "expire/out-soft", "addtime", -1, add(86400), ""},
		{"time zero", "expire/out-soft", "addtime", -1, set("0000000000000000"), "the time is zero"},
		{"one time off by a second", "expire/out-soft", "addtime", 1, add(1), "+1 s off"},
		{"use time against add time", "packet/3des-md5-v6", "usetime", -1, add(-1), "-1 s off"},
		{"another SPI in the range", "getspi/sat3-1000-1001", "spi", -1, set("00001000"), ""},
		{"SPI outside of the range", "getspi/sat3-1000-1001", "spi", -1, set("00001002"),
			"outside of the requested range 0x1000 to 0x1001"},
		{"SPI that changes", "getspi/sat3-1000-1001", "spi", 2, set("00001002"), "before and is 00001002 now"},
		{"limit at the least", "expire/out-soft", "fuzz", -1, set("5c00000000000000"), ""},
		{"limit at the most", "expire/out-soft", "fuzz", -1, set("4d00000000000000"), ""},
		{"limit too near", "expire/out-soft", "fuzz", -1, set("5d00000000000000"), "stated 100: want 8 to 23"},
		{"limit too far", "expire/out-soft", "fuzz", -1, set("4c00000000000000"), "stated 100: want 8 to 23"},
		{"limit that changes", "expire/out-soft", "fuzz", 1, set("4e00000000000000"), "was"},
		{"undefined", "alg/3des-key-00-0", "undefined", -1, set("0102030405060708"), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sc := byName(builtin(t))[tt.scenario]
			if sc == nil {
				t.Fatalf("no scenario %s", tt.scenario)
			}
			bent := sc.Clone()
			for i, w := range find(sc, tt.span) {
				if tt.only < 0 || tt.only == i {
					tt.change(bent.Steps[w.step].Rx[w.message].Hex[w.offset:])
				}
			}
			r := played(t, []*conform.Scenario{sc}, &echo{says: byName([]*conform.Scenario{bent})}).Results[0]
			got := ""
			if len(r.Differences) > 0 {
				got = r.Differences[0].What
			}
			if (tt.want == "") != (r.Status == conform.Passed) || !strings.Contains(got, tt.want) {
				t.Errorf("%s, %q; want %q", r.Status, got, tt.want)
			}
		})
	}
}

// Unpredictable bytes of packets are decrypted: a change of any of them is found, and one of the keys too.
func TestRandomIsDecrypted(t *testing.T) {
	for _, name := range []string{"packet/out-cbc128-sha1", "packet/out-gcm16", "packet/out-ccm8", "acquire/both-steps",
		"expire/bytes-out-150"} {
		sc := byName(builtin(t))[name]
		if sc == nil {
			t.Fatalf("no scenario %s", name)
		}
		n := 0
		for i, st := range sc.Steps {
			for _, v := range st.InnerVol {
				for _, at := range []int{v.Offset, v.Offset + v.Len/2, v.Offset + v.Len - 1} {
					n++
					bent := sc.Clone()
					bent.Steps[i].Inner[at] ^= 0x10
					r := played(t, []*conform.Scenario{sc}, &echo{says: byName([]*conform.Scenario{bent})}).Results[0]
					if r.Status != conform.Failed || !strings.Contains(r.Differences[0].What, "cannot be opened") {
						t.Errorf("%s: byte %d of the packet in step %d: %s %v", name, at, i+1, r.Status, r.Differences)
					}
				}
			}
		}
		if n == 0 {
			t.Errorf("%s has no unpredictable bytes", name)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(passes))
	f.Add([]byte(lines("x", openA, `{"op":"inject","hex":"45","until":"store","ret":0,"id":1,"verdict":"paused"}`,
		`{"op":"resume","at":"taken","ret":0}`,
		`{"op":"send","s":"a","hex":"0000","patch":[{"at":0,"s":"a","msg":-1,"from":1,"len":1}],"sent":"0902","ret":2,"rx":[{"s":"a","hex":"0902"}]}`)))
	for _, sc := range builtin(f)[:40] {
		var b strings.Builder
		if err := sc.Write(&b); err != nil {
			f.Fatal(err)
		}
		if b.Len() < 2000 {
			f.Add([]byte(b.String()))
		}
	}
	for _, sc := range linuxRecordings(f) {
		if strings.HasPrefix(sc.Name, "socket/recv") || strings.HasPrefix(sc.Name, "netlink/") ||
			strings.HasPrefix(sc.Name, "natt/newmapping") || sc.Timed && len(sc.Steps) < 8 {
			var b strings.Builder
			if err := sc.Write(&b); err != nil {
				f.Fatal(err)
			}
			f.Add([]byte(b.String()))
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, k := range kernels.All {
			for sc, err := range conform.Read(strings.NewReader(string(b)), "f", k) {
				if err != nil {
					continue
				}
				// What can be read can be written, and read again.
				var again strings.Builder
				if err := sc.Write(&again); err != nil {
					t.Fatalf("cannot be written: %v", err)
				}
				for _, err := range conform.Read(strings.NewReader(again.String()), "again", k) {
					if err != nil {
						t.Fatalf("%v\n%s", err, again.String())
					}
				}
			}
		}
		// Nor is there a recording that breaks the player or the judge.
		p := write(t, t.TempDir(), "f.jsonl", b)
		rep, err := conform.Run(context.Background(), conform.Config{Kernel: of("illumos"), Paths: []string{p},
			Target: lab{bent: "sane"}})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rep.Results {
			for _, d := range r.Differences {
				_ = d.String()
				if strings.Contains(d.What, "panicked") && !strings.Contains(d.What, "the lab") {
					t.Fatal(d.What)
				}
			}
		}
	})
}
