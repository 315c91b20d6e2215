package conform_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/linux/converse"
	"github.com/pfkeyd/pfkeyd/wire"
)

// seeded plays a scenario on an emulated Linux with its own randomness.
func seeded(t *testing.T, seed uint64, sc *conform.Scenario) *conform.Scenario {
	t.Helper()
	rec, err := conform.Play(conform.InProcess{Kernel: of("linux"), Seed: seed}, of("linux"), sc)
	if err != nil {
		if strings.Contains(err.Error(), "did not come") { // what it was to repeat got lost on the way
			return nil
		}
		t.Fatalf("%s: %v", sc.Name, err)
	}
	return rec
}

// What is recorded on one kernel passes on another one, whose SPIs are others: the marks are enough, in recordings and
// in random conversations. Without them it does not.
func TestMarksAreEnough(t *testing.T) {
	scs := slices.DeleteFunc(slices.Clone(linuxRecordings(t)), func(sc *conform.Scenario) bool {
		return len(sc.Steps) > 40
	})
	scs = append(scs, converse.Scenarios(1, 2000)...)
	var marked, bare []*conform.Scenario
	for _, sc := range scs {
		rec := seeded(t, 7, sc)
		if rec == nil {
			continue
		}
		marked = append(marked, rec)
		var spis int
		without := rec.Clone()
		for i := range without.Steps {
			for k := range without.Steps[i].Rx {
				m := &without.Steps[i].Rx[k]
				m.Vol = slices.DeleteFunc(m.Vol, func(s conform.Span) bool {
					spi := s.Name == "spi"
					if spi {
						spis++
					}
					return spi
				})
			}
		}
		if spis > 0 {
			bare = append(bare, without)
		}
	}
	if len(marked) < len(scs)*9/10 || len(bare) < 20 {
		t.Fatalf("%d of %d recorded, %d with SPIs that were picked", len(marked), len(scs), len(bare))
	}
	for _, r := range linuxResults(t, nil, marked...) {
		if r.Status != conform.Passed {
			t.Errorf("%s: %v", r.Scenario, r.Differences)
		}
	}
	lucky := 0 // in a range of two
	for _, r := range linuxResults(t, nil, bare...) {
		if r.Status == conform.Passed {
			lucky++
		}
	}
	if lucky > len(bare)/10 {
		t.Errorf("%d of %d pass though their SPIs are not marked", lucky, len(bare))
	}
}

// What a real kernel had marked by several recordings is marked by the format alone.
func TestMarksAreTheRecordedOnes(t *testing.T) {
	bySocket := func(ms []conform.Message) []conform.Message {
		ms = slices.Clone(ms)
		slices.SortStableFunc(ms, func(a, b conform.Message) int { return strings.Compare(a.Socket, b.Socket) })
		return ms
	}
	n := 0
	for _, sc := range linuxRecordings(t) {
		rec := seeded(t, 0, sc)
		for i := range sc.Steps {
			ours := bySocket(rec.Steps[i].Rx)
			for k, m := range bySocket(sc.Steps[i].Rx) {
				for _, s := range m.Vol {
					n++
					if !slices.ContainsFunc(ours[k].Vol, func(o conform.Span) bool {
						return o.Offset == s.Offset &&
							o.Len == s.Len
					}) {
						t.Errorf("%s: step %d: %+v is not marked", sc.Name, i+1, s)
					}
				}
			}
		}
	}
	if n < 4000 {
		t.Errorf("only %d spans", n)
	}
}

// The answers to DUMP count down to 0. One of them may well be the number of an ACQUIRE that a program has answered,
// and is not marked as such.
func TestMarksTellCountsFromNumbers(t *testing.T) {
	var marked, bare int
	for _, sc := range recordingsOf(t, "linux-live/live.jsonl.gz", "linux") {
		if sc.Name != "live/netlink-mode2-getspi" {
			continue
		}
		for _, st := range seeded(t, 7, sc).Steps {
			for _, m := range st.Rx {
				h, err := wire.Linux().Header(m.Hex)
				if err != nil || h.Seq != 1 {
					continue
				}
				named := slices.ContainsFunc(m.Vol, func(s conform.Span) bool { return s.Name == "acqseq" })
				if dumped := h.Type == wire.MsgDump && h.Errno == 0; dumped && named {
					t.Error("a count is marked as the number of an ACQUIRE")
				} else if dumped {
					bare++
				} else if named {
					marked++
				}
			}
		}
	}
	if bare != 1 || marked != 4 {
		t.Errorf("%d counts and %d numbers of ACQUIREs, want 1 and 4", bare, marked)
	}
}

func TestConversations(t *testing.T) {
	const messages = 3000
	scs := converse.Scenarios(5, messages)
	if d := cmp.Diff(text(t, scs), text(t, converse.Scenarios(5, messages))); d != "" {
		t.Errorf("the same seed gives two conversations (-first +second):\n%s", d)
	}
	if text(t, scs) == text(t, converse.Scenarios(6, messages)) {
		t.Error("two seeds give the same conversations")
	}
	for _, seed := range []uint64{1, 2, 3, 77} { // 77 once opened a socket twice
		for _, sc := range converse.Scenarios(seed, 4000) {
			open := map[string]bool{}
			for i, st := range sc.Steps {
				if st.Op == "open" && open[st.Socket] {
					t.Errorf("seed %d, %s: step %d: socket %s is open already", seed, sc.Name, i+1, st.Socket)
				}
				open[st.Socket] = st.Op != "close"
			}
		}
	}
	types, ops, sent := map[byte]bool{}, map[string]bool{}, 0
	for _, sc := range scs {
		for _, st := range sc.Steps {
			ops[st.Op] = true
			if st.Op == "send" {
				sent++
				if msg := st.Message().Hex; len(msg) > 1 {
					types[msg[1]] = true
				}
			}
		}
	}
	if sent < messages || sent > messages+200 {
		t.Errorf("%d messages", sent)
	}
	for typ := wire.MsgGetSPI; typ <= wire.LinuxMsgXMigrate; typ++ {
		if !types[byte(typ)] {
			t.Errorf("no message of type %d", typ)
		}
	}
	for _, op := range []string{"open", "close", "send", "recv", "rcvbuf", "traffic"} {
		if !ops[op] {
			t.Errorf("no step %s", op)
		}
	}
	// What can be read is what was made.
	for sc, err := range conform.Read(strings.NewReader(text(t, scs)), "f", of("linux")) {
		if err != nil {
			t.Fatalf("%v %v", sc, err)
		}
	}
}

func text(t testing.TB, scs []*conform.Scenario) string {
	t.Helper()
	var b bytes.Buffer
	for _, sc := range scs {
		if err := sc.Write(&b); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}
