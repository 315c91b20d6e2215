package conform_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// item is a message of a DUMP about an SA, in illumos' words.
func item(spi wire.SPI, seq wire.Seq) []byte {
	d := wire.Illumos()
	msg := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgDump, SAType: wire.SATypeESP, Seq: seq})
	return d.Finish(d.AppendSA(msg, wire.SA{SPI: spi, State: wire.StateMature}))
}

// Messages that come in any order are compared all the same: each must be there, once.
func TestAnyOrder(t *testing.T) {
	a, b, c := item(1, 7), item(2, 7), item(3, 7)
	for _, tt := range []struct {
		name      string
		want, got [][]byte
		fine      bool
	}{
		{"the same order", [][]byte{a, b, c}, [][]byte{a, b, c}, true},
		{"another", [][]byte{a, b, c}, [][]byte{c, a, b}, true},
		{"one other", [][]byte{a, b, c}, [][]byte{c, a, item(4, 7)}, false},
		{"one twice", [][]byte{a, b, c}, [][]byte{c, a, a}, false},
		{"one less", [][]byte{a, b, c}, [][]byte{c, a}, false},
		{"one more", [][]byte{a, b}, [][]byte{b, a, c}, false},
		{"a shorter one", [][]byte{a, b}, [][]byte{b, a[:16]}, false},
	} {
		ds := differences(t, "", nil, tt.want, tt.got)
		if fine := len(ds) == 0; fine != tt.fine {
			t.Errorf("%s: %v", tt.name, ds)
		}
		if ds := differences(t, "no order", nil, tt.want, tt.got); tt.name == "another" && len(ds) == 0 {
			t.Error("messages whose order is recorded came in another, and nobody minds")
		}
	}
}

// Which SAs a full queue loses hangs on random numbers. Each that is there must be one that was shown before, once.
func TestRandomLosses(t *testing.T) {
	shown := [][]byte{item(1, 0), item(2, 0), item(3, 0), item(4, 0)}
	a, b, c, d := item(1, 7), item(2, 7), item(3, 7), item(4, 7)
	for _, tt := range []struct {
		name, header string
		want, got    [][]byte
		fine         bool
	}{
		{"others", "fixedseed", [][]byte{a, b}, [][]byte{d, c}, true},
		{"one other", "fixedseed", [][]byte{a, b}, [][]byte{d, a}, true},
		{"others, and nothing random", "", [][]byte{a, b}, [][]byte{d, c}, false},
		{"the same twice", "fixedseed", [][]byte{a, b}, [][]byte{d, d}, false},
		{"a recorded one twice", "fixedseed", [][]byte{a, b}, [][]byte{a, a}, false},
		{"one that was not shown", "fixedseed", [][]byte{a, b}, [][]byte{d, item(5, 7)}, false},
		{"one that differs in more", "fixedseed", [][]byte{a, b}, [][]byte{d, item(3, 8)}, false},
	} {
		ds := differences(t, tt.header, shown, tt.want, tt.got)
		if fine := len(ds) == 0; fine != tt.fine {
			t.Errorf("%s: %v", tt.name, ds)
		}
	}
}

// differences plays a scenario of two steps: one that shows messages, as recorded, and one that brings some in any
// order, unless header says that there is one.
func differences(t *testing.T, header string, shown, want, got [][]byte) []conform.Difference {
	t.Helper()
	k := *of("illumos")
	step := 0
	k.Ops = map[string]*conform.Op{"do": {Results: conform.OfDump, Args: func() any {
		step++
		bring := map[int][][]byte{1: shown, 2: got}[step]
		return &brings{func(out *conform.Outcome) {
			for _, m := range bring {
				out.Rx = append(out.Rx, conform.Message{Socket: "a", Hex: m})
			}
		}}
	}}}
	rx := func(ms [][]byte) string {
		var all []string
		for _, m := range ms {
			all = append(all, fmt.Sprintf(`{"s":"a","hex":%q}`, hex.EncodeToString(m)))
		}
		return strings.Join(all, ",")
	}
	text := fmt.Sprintf(`{"name":"t/x","fixedseed":%t,"steps":[{"op":"do","ret":0,"rx":[%s]},`+
		`{"op":"do","ret":0,"unordered":%t,"rx":[%s]}]}`, header == "fixedseed", rx(shown), header != "no order",
		rx(want))
	p := write(t, t.TempDir(), "r.jsonl", []byte(text+"\n"))
	rep, err := conform.Run(t.Context(), conform.Config{Kernel: &k, Paths: []string{p}, Target: lab{}})
	if err != nil || len(rep.Results) != 1 {
		t.Fatal(err, rep.Unreadable)
	}
	return rep.Results[0].Differences
}
