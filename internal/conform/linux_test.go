package conform_test

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/linux"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// linuxRecordings is the recordings of Linux, shared.
func linuxRecordings(t testing.TB) []*conform.Scenario { return allOf(t, "linux-6.1", "linux") }

// linuxResults plays recordings of Linux on target, nil for the emulator.
func linuxResults(t testing.TB, target conform.Target, recorded ...*conform.Scenario) []conform.Result {
	t.Helper()
	return report(t, conform.Config{Kernel: of("linux"), Target: target, Patience: 20 * time.Second}, recorded).Results
}

// The emulator passes every recording, without a deviation.
func TestLinuxPasses(t *testing.T) {
	scs := linuxRecordings(t)
	const recorded = 3348
	if len(scs) != recorded {
		t.Errorf("%d recordings, want %d", len(scs), recorded)
	}
	for _, r := range linuxResults(t, nil, scs...) {
		if r.Status != conform.Passed {
			t.Errorf("%s: %s %v", r.Scenario, r.Skipped, r.Differences)
		}
		if r.Deviations != nil {
			t.Errorf("%s deviates: %v", r.Scenario, r.Deviations)
		}
	}
}

// The rule for references is for recordings of packets beside policies; it loosens none of the others.
func TestLinuxSpans(t *testing.T) {
	want := []string{"acqseq", "addtime", "msg_reserved", "reqid", "spi", "usetime"}
	seen := map[string]bool{}
	for _, sc := range linuxRecordings(t) {
		for _, st := range sc.Steps {
			for _, m := range st.Rx {
				for _, v := range m.Vol {
					seen[v.Name] = true
				}
			}
		}
	}
	if got := slices.Sorted(maps.Keys(seen)); !slices.Equal(got, want) {
		t.Errorf("volatile spans %q, want %q", got, want)
	}
	for _, sc := range recordingsOf(t, "linux-live/live.jsonl.gz", "linux") {
		sent := false
		for i, st := range sc.Steps {
			inject, _ := st.Args.(*linux.Datagram)
			sent = sent || st.Op == "traffic" || inject != nil && inject.Dst.Is6()
			for _, m := range st.Rx {
				if !sent && slices.ContainsFunc(m.Vol, func(v conform.Span) bool { return v.Name == "references" }) {
					t.Errorf("%s: step %d: references vary although no packet was sent", sc.Name, i+1)
				}
			}
		}
	}
}

// What random conversations with a live kernel have shown stays mended.
func TestLinuxLivePasses(t *testing.T) {
	results := linuxResults(t, nil, recordingsOf(t, "linux-live/live.jsonl.gz", "linux")...)
	if len(results) < 163 {
		t.Errorf("%d recordings", len(results))
	}
	for _, r := range results {
		if r.Status != conform.Passed {
			t.Errorf("%s: %v", r.Scenario, r.Differences)
		}
	}
}

// Whatever the emulator does otherwise than recorded is found where it is: every result of every step is changed in
// turn, in one scenario of each class and in those that read in unusual ways.
func TestLinuxDifferencesAreFound(t *testing.T) {
	extra := []string{"socket/recv-trunc-buf24", "socket/send-toobig", "expire/soft1-hard3-v6", "acquire/answer-tunnel",
		"natt/newmapping-addr", "socket/sysc-sendto-addr"}
	seen := map[string]bool{}
	var bent []*conform.Scenario
	steps := map[string]int{}
	for _, sc := range linuxRecordings(t) {
		class, _, _ := strings.Cut(sc.Name, "/")
		if !slices.Contains(extra, sc.Name) && (seen[class] || len(sc.Steps) > 30 || len(sc.Steps) < 2) {
			continue
		}
		seen[class] = true
		for i := range sc.Steps {
			all := changes(&sc.Steps[i])
			for k, m := range sc.Steps[i].Rx {
				all[fmt.Sprintf("message %d: trunc", k)] = func(s *conform.Step) { s.Rx[k].Trunc = !m.Trunc }
				all[fmt.Sprintf("message %d: ret", k)] = func(s *conform.Step) { s.Rx[k].Ret++ }
				all[fmt.Sprintf("message %d: late", k)] = func(s *conform.Step) { s.Rx[k].T += 100 }
				all[fmt.Sprintf("message %d: early", k)] = func(s *conform.Step) { s.Rx[k].T -= 100 }
			}
			for what, change := range all {
				c := sc.Clone()
				c.Name = fmt.Sprintf("%s step %d %s", sc.Name, i+1, what)
				change(&c.Steps[i])
				bent = append(bent, c)
				steps[c.Name] = i + 1
			}
		}
	}
	if len(seen) < 20 || len(bent) < 1000 {
		t.Errorf("%d changes in the classes %v only", len(bent), seen)
	}
	for _, r := range linuxResults(t, nil, bent...) {
		if r.Status != conform.Failed {
			t.Errorf("%s: not found", r.Scenario)
		} else if r.Differences[0].Step != steps[r.Scenario] {
			t.Errorf("%s: found as %v", r.Scenario, r.Differences[0])
		}
	}
}

// bending is the emulator, with every message it gives changed on the way out.
type bending struct {
	conform.InProcess
	bend func(n int, msg []byte) // n counts the messages of a scenario
}

func (b bending) Boot(sc *conform.Scenario, step func(string, *packet.Packet)) (conform.Machine, error) {
	m, err := b.InProcess.Boot(sc, step)
	if err != nil {
		return nil, err
	}
	return &bentMachine{Machine: m, Passing: m.(conform.Passing), Network: m.(linux.Network), bend: b.bend}, nil
}

type bentMachine struct {
	conform.Machine
	conform.Passing
	linux.Network
	bend func(int, []byte)
	n    int
}

func (m *bentMachine) Open(c pfkey.Cred, typ, proto int) (pfkey.Socket, pfkey.Errno) {
	s, errno := m.Machine.Open(c, typ, proto)
	if errno != wire.OK {
		return nil, errno
	}
	return bentSocket{s, m}, wire.OK
}

type bentSocket struct {
	pfkey.Socket
	m *bentMachine
}

func (s bentSocket) Recv(buf []byte, flags pfkey.RecvFlags) (int, int, pfkey.Errno) {
	n, size, errno := s.Socket.Recv(buf, flags)
	if errno == wire.OK {
		s.m.bend(s.m.n, buf[:n])
		s.m.n++
	}
	return n, size, errno
}

// Each rule for volatile bytes lets through what may vary, and nothing else.
func TestLinuxVolatileRules(t *testing.T) {
	type change func(b []byte)
	u32, u64 := binary.LittleEndian.PutUint32, binary.LittleEndian
	add := func(n int64) change { return func(b []byte) { u64.PutUint64(b, uint64(int64(u64.Uint64(b))+n)) } }
	set := func(v uint32) change { return func(b []byte) { u32(b, v) } }
	zero := func(b []byte) { clear(b[:8]) }
	spi := func(v uint32) change { return func(b []byte) { binary.BigEndian.PutUint32(b, v) } }
	for _, tt := range []struct {
		name, scenario, span string
		only                 int // which of the spans is changed, -1: all
		change               change
		want                 string // "" passes
	}{
		{"time moved as a whole", "dump/many-10", "addtime", -1, add(86400), ""},
		{"time zero", "dump/many-10", "addtime", -1, zero, "the time is zero"},
		{"one time off by a second", "dump/many-10", "addtime", 3, add(1), ""},
		{"one time off by two seconds", "dump/many-10", "addtime", 3, add(2), "+2 s off"},
		{"two times off, apart by two seconds", "dump/many-10", "addtime", 3, add(-2), "-2 s off"},
		{"use time against add time", "expire/use-time", "usetime", 1, add(-2), "-2 s off"},
		{"another counter", "acquire/two-registered", "acqseq", -1, set(77), ""},
		{"counter zero", "acquire/two-registered", "acqseq", -1, set(0), "the number is zero"},
		{"counter that changes", "acquire/two-registered", "acqseq", 1, set(78), "before and is 4e000000 now"},
		{"two counters become one", "acquire/two-dests", "acqseq", -1, set(77), "stands for the recorded"},
		{"another reqid", "spd/req-unique-0-v4", "reqid", -1, set(0x12345), ""},
		{"named reqid", "spd/req-unique-0-v4", "reqid", -1, set(0x3fff), "want one above 0x3fff"},
		{"reqid that changes", "spd/req-unique-0-v4", "reqid", 1, set(0x5000), "before and is"},
		{"another SPI", "getspi/range-1000-1fff-st3", "spi", -1, spi(0x1fff), ""},
		{"SPI outside of the range", "getspi/range-1000-1fff-st3", "spi", -1, spi(0x2000),
			"outside of the requested range 0x1000 to 0x1fff"},
		{"SPI outside of the range that nobody named", "getspi/satype-3-norange", "spi", -1, spi(0x10000000),
			"outside of the requested range 0x100 to 0xfffffff"},
		{"references, as many as packets", "live/references-discard", "references", 0, func(b []byte) { b[0] = 2 }, ""},
		{"references, more than packets", "live/references-discard", "references", 0, func(b []byte) { b[0] = 5 },
			"5 references instead of 3, with 1 routes taken"},
		{"no references", "live/references-discard", "references", 0, func(b []byte) { b[0] = 0 }, "0 references"},
		{"reserved", "netlink/acquire-combs-proto108-v6", "msg_reserved", -1, func(b []byte) { b[0], b[1] = 7, 7 }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			sc := byName(linuxRecordings(t))[tt.scenario]
			if strings.HasPrefix(tt.scenario, "live/") {
				sc = byName(recordingsOf(t, "linux-live/live.jsonl.gz", "linux"))[tt.scenario]
			}
			if sc == nil {
				t.Fatalf("no scenario %s", tt.scenario)
			}
			// The messages are numbered as they are read: socket after socket, step after step, which is the order of
			// the recording as long as a socket is not read twice in between.
			at := map[int][]int{}
			n, k := 0, 0
			for _, st := range sc.Steps {
				for _, m := range st.Rx {
					for _, v := range m.Vol {
						if v.Name == tt.span {
							if tt.only < 0 || tt.only == k {
								at[n] = append(at[n], v.Offset)
							}
							k++
						}
					}
					n++
				}
			}
			if len(at) == 0 {
				t.Fatal("no such span")
			}
			target := bending{conform.InProcess{Kernel: of("linux")}, func(n int, msg []byte) {
				for _, off := range at[n] {
					tt.change(msg[off:])
				}
			}}
			r := linuxResults(t, target, sc)[0]
			got := ""
			if len(r.Differences) > 0 {
				got = r.Differences[0].What
			}
			if (tt.want == "") != (r.Status == conform.Passed) || !strings.Contains(got, tt.want) {
				t.Errorf("%s, %v; want %q", r.Status, r.Differences, tt.want)
			}
		})
	}
}

func TestLinuxReadRefuses(t *testing.T) {
	step := func(s string) string {
		return `{"name":"t/x","steps":[{"op":"open","s":"a","ret":0},` + s + `]}`
	}
	for _, tt := range []struct{ name, line, want string }{
		{"unknown flag of recv", step(`{"op":"recv","s":"a","flags":"peek,now"}`), `unknown flag "now"`},
		{"unknown flag of send", step(`{"op":"send","s":"a","hex":"","flags":"peek"}`), `unknown flag "peek"`},
		{"unknown call", step(`{"op":"sysc","s":"a","name":"dance"}`), `unknown call "dance"`},
		{"a long sleep", step(`{"op":"sleep","ms":86400001}`), "waits for 86400001 ms"},
		{"a sleep backwards", step(`{"op":"sleep","ms":-1}`), "waits for -1 ms"},
		{"a huge buffer", step(`{"op":"recv","s":"a","buf":1000000000}`), "buf = 1000000000"},
		{"a huge message", step(`{"op":"send","s":"a","hex":"","len":1000000000}`), "len = 1000000000"},
		{"sysctl elsewhere", step(`{"op":"sysctl","name":"../../etc/passwd","val":1}`), `name "../../etc/passwd"`},
		{"sysctl without name", step(`{"op":"sysctl","val":1}`), "no name"},
		{"traffic of no protocol", step(`{"op":"traffic","dst":"192.0.2.2"}`), "protocol 0"},
		{"traffic to nowhere", step(`{"op":"traffic","proto":17}`), "without an address"},
		{"too much traffic", step(`{"op":"traffic","proto":17,"dst":"192.0.2.2","len":65536}`), "65536 bytes"},
		{"encap nowhere", step(`{"op":"encap","src":"x","val":2}`), "unable to parse IP"},
		{"datagram without bytes", step(`{"op":"inject","src":"127.0.0.1","dst":"127.0.0.2"}`), "without hex"},
		{"datagram to nowhere", step(`{"op":"inject","hex":"00","src":"127.0.0.1"}`), "without an address"},
		{"policy of two families", step(`{"op":"xfrmpol","proto":50,"src":"192.0.2.1","dst":"2001:db8::1"}`),
			"two families"},
		{"policy of no protocol", step(`{"op":"xfrmpol","proto":256,"src":"192.0.2.1","dst":"192.0.2.2"}`),
			`field "proto": cannot unmarshal number 256`},
		{"clock of illumos", step(`{"op":"age","advance":1}`), `unknown op "age"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, err := range conform.Read(strings.NewReader(tt.line), "f.jsonl", of("linux")) {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
				return
			}
			t.Error("nothing came")
		})
	}
}
