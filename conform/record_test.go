package conform_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/conform"
	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// seeded plays a scenario on an emulated Linux with its own randomness.
func seeded(t *testing.T, seed uint64, sc *conform.Scenario) *conform.Scenario {
	t.Helper()
	rec, err := conform.Play(conform.InProcess{Kernel: "linux", Seed: seed}, "linux", sc)
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
	scs = append(scs, conform.Conversations(1, 2000)...)
	var marked, bare []*conform.Scenario
	for _, sc := range scs {
		rec := seeded(t, 7, sc)
		if rec == nil {
			continue
		}
		marked = append(marked, rec)
		var spis int
		without := clone(t, rec)
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
	scs := conform.Conversations(5, messages)
	if d := cmp.Diff(text(t, scs), text(t, conform.Conversations(5, messages))); d != "" {
		t.Errorf("the same seed gives two conversations (-first +second):\n%s", d)
	}
	if text(t, scs) == text(t, conform.Conversations(6, messages)) {
		t.Error("two seeds give the same conversations")
	}
	for _, seed := range []uint64{1, 2, 3, 77} { // 77 once opened a socket twice
		for _, sc := range conform.Conversations(seed, 4000) {
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
				if len(st.Hex) > 1 {
					types[st.Hex[1]] = true
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
	for sc, err := range conform.Read(strings.NewReader(text(t, scs)), "f", "linux") {
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

// A recording made on a running engine passes on another.
func TestRecord(t *testing.T) {
	a := serve(t, "linux", engine.Options{Clock: time.Now})
	live := conform.Live{Address: a, Clock: time.Now}
	dir := t.TempDir()
	in := write(t, dir, "in.jsonl", []byte(`{"name":"t/add","steps":[`+openA+`,{"op":"send","s":"a","hex":"`+msg(9)+
		`"}]}`+"\n"))
	out := filepath.Join(dir, "out.jsonl")
	record := func(c conform.RecordConfig) (int, string, string) {
		var stdout, stderr bytes.Buffer
		c.Kernel, c.Patience = "linux", 20*time.Second
		if c.Target == nil {
			c.Target = live
		}
		code := conform.Record(t.Context(), c, &stdout, &stderr)
		return code, stdout.String(), stderr.String()
	}
	code, stdout, stderr := record(conform.RecordConfig{Paths: []string{in}, Out: out})
	if code != 0 || stdout != "" || !strings.Contains(stderr, "1 scenario, 1 message sent") {
		t.Fatalf("exit %d, %q, %q", code, stdout, stderr)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var sc conform.Scenario
	if err := json.Unmarshal(b, &sc); err != nil || len(sc.Steps) != 2 || len(sc.Steps[1].Rx) != 1 ||
		sc.Steps[1].Ret != 16 {
		t.Fatalf("%v, recorded %s", err, b)
	}
	code, stdout, stderr = record(conform.RecordConfig{Random: 300, Seed: 3})
	if code != 1 || !strings.Contains(stderr, "seed 3") { // some of it an engine behind a socket cannot do
		t.Errorf("exit %d, %q", code, stderr)
	}
	p := write(t, dir, "random.jsonl", []byte(stdout))
	rep := against(t, serve(t, "linux", engine.Options{Clock: time.Now}), readFile(t, p))
	if rep.Passed == 0 || rep.Failed > 0 {
		t.Errorf("%d passed, %d failed of what was recorded", rep.Passed, rep.Failed)
	}
	for _, tt := range []struct {
		name string
		c    conform.RecordConfig
		code int
		want string
	}{
		{"nobody", conform.RecordConfig{Paths: []string{in},
			Target: conform.Live{Address: pfkey.Address{Kernel: "linux", Path: filepath.Join(dir, "nowhere")},
				Clock: time.Now}}, 3, "no engine"},
		{"no file", conform.RecordConfig{Paths: []string{in + "x"}}, 2, "no such file"},
		{"nowhere to write", conform.RecordConfig{Paths: []string{in}, Out: filepath.Join(dir, "no", "where")}, 2,
			"no such file"},
		{"what a socket cannot do",
			conform.RecordConfig{Paths: []string{write(t, dir, "s.jsonl",
				[]byte(lines("t/s", openA, `{"op":"sysc","s":"a","name":"bind","ret":0}`)))}}, 1, "t/s: options"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if code, _, stderr := record(tt.c); code != tt.code || !strings.Contains(stderr, tt.want) {
				t.Errorf("exit %d, %q; want %d, %q", code, stderr, tt.code, tt.want)
			}
		})
	}
}

func readFile(t *testing.T, name string) (scs []*conform.Scenario) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc, err := range conform.Read(f, name, "linux") {
		if err != nil {
			t.Fatal(err)
		}
		scs = append(scs, sc)
	}
	return scs
}
