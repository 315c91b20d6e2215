package conform_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// lab is the smallest machine with a race: one SA, one slot, the four named points. A message of type 2 promotes the
// SA, 4 ends it, 9 is echoed, 66 panics, 67 never returns.
type lab struct{ bent string }

func (l lab) Boot(sc *conform.Scenario, step func(string, *packet.Packet)) (conform.Machine, error) {
	return &labMachine{bent: l.bent, step: step}, nil
}

type labMachine struct {
	bent  string
	step  func(string, *packet.Packet)
	socks []*labSocket
	state int // 0 larval, 1 mature, 2 dead
	slot  *packet.Packet
	log   func(*packet.Packet, packet.Verdict)
	stuck chan struct{}
	sent  int // messages
}

type labSocket struct {
	m     *labMachine
	queue [][]byte
}

func (m *labMachine) Dialect() *wire.Dialect { return wire.Illumos() }
func (m *labMachine) Close()                 {}
func (m *labMachine) InFlight() uint64 {
	if m.bent == "loses packets" {
		return 1
	}
	return 0
}
func (m *labMachine) Watch(f func(*packet.Packet, packet.Verdict)) func() {
	m.log = f
	return func() {}
}
func (m *labMachine) Outbound(p *packet.Packet, tunnel string) {
	p.Done(p, packet.Verdict{Kind: packet.Transmitted, Inner: append([]byte(tunnel), p.Data...)})
}

func (m *labMachine) Open(c pfkey.Cred, typ, proto int) (pfkey.Socket, wire.Errno) {
	if !c.Privileged || m.bent == "dies" && m.sent > 0 {
		return nil, wire.EPERM
	}
	s := &labSocket{m: m}
	m.socks = append(m.socks, s)
	return s, wire.OK
}

func (m *labMachine) Inbound(p *packet.Packet) {
	m.step("store", p)
	switch m.state {
	case 0:
		if old := m.slot; old != nil {
			old.Done(old, packet.Verdict{Kind: packet.Dropped, Reason: packet.LarvalReplaced, Counter: "replaced"})
		}
		m.slot = p
		p.Done(p, packet.Verdict{Kind: packet.Queued})
	case 1:
		p.Done(p, packet.Verdict{Kind: packet.Delivered, Inner: p.Data})
	case 2:
		p.Done(p, packet.Verdict{Kind: packet.Dropped, Reason: packet.NoSA, Counter: "no_sa"})
	}
	m.step("stored", p)
}

func (s *labSocket) Send(msg []byte, _ pfkey.Cred) wire.Errno {
	m := s.m
	m.sent++
	switch {
	case m.bent == "deaf" && m.sent > 1:
		return wire.EINVAL
	case m.bent == "dumb":
		return wire.OK
	}
	if len(msg) < 2 || m.bent == "sane" {
		return wire.EMSGSIZE
	}
	switch msg[1] {
	case 2:
		m.state = 1
		m.step("take", nil)
		p := m.slot
		m.slot = nil
		m.step("taken", nil)
		if p != nil {
			p.Done(p, packet.Verdict{Kind: packet.Delivered, Inner: p.Data})
		}
	case 4:
		m.state = 2
		if p := m.slot; p != nil {
			m.slot = nil
			p.Done(p, packet.Verdict{Kind: packet.Dropped, Reason: packet.LarvalGone, Counter: "gone"})
		}
		m.log(&packet.Packet{}, packet.Verdict{Kind: packet.Sent, Inner: []byte{4}})
	case 66:
		panic("the lab burns")
	case 67:
		<-m.stuck
	}
	for _, s := range m.socks {
		s.queue = append(s.queue, slices.Clone(msg))
	}
	return wire.OK
}

func (s *labSocket) Recv(buf []byte, _ pfkey.RecvFlags) (n, size int, e wire.Errno) {
	if len(s.queue) == 0 {
		return 0, 0, wire.EAGAIN
	}
	msg := s.queue[0]
	s.queue = s.queue[1:]
	return copy(buf, msg), len(msg), wire.OK
}
func (s *labSocket) SetOption(pfkey.Option, int) wire.Errno { return wire.EINVAL }
func (s *labSocket) GetOption(o pfkey.Option) (int, wire.Errno) {
	if o != pfkey.OptionRecvBuffer {
		return 0, wire.ENOPROTOOPT
	}
	return 8192, wire.OK
}
func (s *labSocket) Notify(func()) {}
func (s *labSocket) Close() {
	s.m.socks = slices.DeleteFunc(s.m.socks, func(o *labSocket) bool { return o == s })
}

// msg is a message of the lab, 16 bytes.
func msg(typ byte) string { return fmt.Sprintf("02%02x000002000000%016x", typ, 1) }

// sent is the step that sends one on socket a, to be heard by the sockets named.
func sent(typ byte, more, heard string) string {
	var rx []string
	for _, s := range heard {
		rx = append(rx, fmt.Sprintf(`{"s":"%c","hex":"%s"}`, s, msg(typ)))
	}
	return fmt.Sprintf(`{"op":"send","s":"a","hex":"%s"%s,"ret":16,"rx":[%s]}`, msg(typ), more, strings.Join(rx, ","))
}

const (
	openA = `{"op":"open","s":"a","ret":0}`
	openB = `{"op":"open","s":"b","ret":0}`
)

func lines(name string, steps ...string) string {
	return fmt.Sprintf(`{"name":%q,"steps":[%s]}`, name, strings.Join(steps, ",")) + "\n"
}

func playOn(t *testing.T, target conform.Target, text string) conform.Report {
	t.Helper()
	p := write(t, t.TempDir(), "r.jsonl", []byte(text))
	c := conform.Config{Kernel: of("illumos"), Paths: []string{p}, Target: target, Patience: time.Minute}
	rep, err := conform.Run(context.Background(), c)
	if err != nil || rep.Unreadable != nil {
		t.Fatal(err, rep.Unreadable)
	}
	return rep
}

// How steps are played, and the packets' fates put into the order of the recordings.
func TestPlay(t *testing.T) {
	inject := func(n int, verdict, more string) string {
		return fmt.Sprintf(`{"op":"inject","hex":"%02x","ret":0,"id":%d,"verdict":"%s"%s}`, n, n, verdict, more)
	}
	for _, tt := range []struct{ name, text string }{
		{"queue and promote", lines("x", openA, inject(1, "queued", ""),
			`{"op":"send","s":"a","hex":"`+msg(2)+`","ret":16,"rx":[{"s":"a","hex":"`+msg(2)+
				`"}],"packets":[{"id":1,"verdict":"delivered","inner":"01"}]}`)},
		{"replace", lines("x", openA, inject(1, "queued", ""),
			inject(2, "queued", `,"packets":[{"id":1,"verdict":"dropped","reason":"replaced"}]`))},
		{"send inside inject", lines("x", openA, `{"op":"send","s":"a","hex":"`+msg(2)+`","at":"store","ret":0}`,
			inject(1, "delivered", `,"inner":"01","rx":[{"s":"a","hex":"`+msg(2)+`"}]`))},
		{"send after the store: it waited, then it went",
			lines("x", openA, `{"op":"send","s":"a","hex":"`+msg(2)+`","at":"stored","ret":0}`,
				inject(1, "queued", `,"packets":[{"id":1,"verdict":"delivered","inner":"01"}],"rx":[{"s":"a","hex":"`+
					msg(2)+`"}]`))},
		{"end after the store: dropped out of the queue within the call",
			lines("x", openA, `{"op":"send","s":"a","hex":"`+msg(4)+`","at":"stored","ret":0}`,
				inject(1, "dropped",
					`,"reason":"gone","packets":[{"id":0,"verdict":"sent","inner":"04"}],"rx":[{"s":"a","hex":"`+msg(4)+
						`"}]`))},
		{"inject inside inject", lines("x", openA, `{"op":"inject","hex":"02","at":"store","ret":0}`,
			inject(1, "queued",
				`,"packets":[{"id":2,"verdict":"queued"},{"id":2,"verdict":"dropped","reason":"replaced"}]`))},
		{"two inside: the second inside the first", lines("x", openA, `{"op":"inject","hex":"02","at":"store","ret":0}`,
			`{"op":"send","s":"a","hex":"`+msg(2)+`","at":"stored","ret":0}`,
			inject(1, "delivered",
				`,"inner":"01","packets":[{"id":2,"verdict":"queued"},{"id":2,"verdict":"delivered","inner":"02"}],"rx":[{"s":"a","hex":"`+msg(2)+`"}]`))},
		{"a point that is never reached",
			lines("x", openA, `{"op":"send","s":"a","hex":"`+msg(2)+`","at":"taken","ret":0}`,
				inject(1, "queued", ""))},
		{"executed once", lines("x", openA, `{"op":"send","s":"a","hex":"`+msg(9)+`","at":"store","ret":0}`,
			inject(1, "queued", `,"rx":[{"s":"a","hex":"`+msg(9)+`"}]`),
			inject(2, "queued", `,"packets":[{"id":1,"verdict":"dropped","reason":"replaced"}]`))},
		{"held over a promotion", lines("x", openA, inject(1, "paused", `,"until":"store"`), sent(2, "", "a"),
			`{"op":"resume","ret":0,"packets":[{"id":1,"verdict":"delivered","inner":"01"}]}`)},
		{"held while another is stored", lines("x", openA, inject(1, "paused", `,"until":"store"`),
			inject(2, "queued", ""),
			`{"op":"resume","ret":0,"packets":[{"id":2,"verdict":"dropped","reason":"replaced"},{"id":1,"verdict":"queued"}]}`)},
		{"held behind the store, replaced meanwhile", lines("x", openA, inject(1, "paused", `,"until":"stored"`),
			inject(2, "queued", `,"packets":[{"id":1,"verdict":"dropped","reason":"replaced"}]`),
			`{"op":"resume","ret":0}`)},
		{"held behind the store, then told", lines("x", openA, inject(1, "paused", `,"until":"stored"`),
			`{"op":"resume","ret":0,"packets":[{"id":1,"verdict":"queued"}]}`)},
		{"resumed at a point", lines("x", openA, inject(1, "queued", ""), inject(2, "paused", `,"until":"store"`),
			`{"op":"resume","at":"taken","ret":0}`,
			sent(2,
				`,"packets":[{"id":2,"verdict":"delivered","inner":"02"},{"id":1,"verdict":"delivered","inner":"01"}]`,
				"a"))},
		{"two held, first in first out", lines("x", openA, inject(1, "paused", `,"until":"store"`),
			inject(2, "paused", `,"until":"store"`),
			`{"op":"resume","ret":0,"packets":[{"id":1,"verdict":"queued"}]}`,
			`{"op":"resume","ret":0,"packets":[{"id":1,"verdict":"dropped","reason":"replaced"},{"id":2,"verdict":"queued"}]}`)},
		{"until a point that is not reached", lines("x", openA, inject(1, "queued", `,"until":"taken"`))},
		{"left held at the end", lines("x", openA, inject(1, "paused", `,"until":"store"`))},
		{"output through a tunnel",
			lines("x",
				`{"op":"output","hex":"ff","tunnel":"t0","ret":0,"id":1,"verdict":"transmitted","inner":"7430ff"}`)},
		{"no privilege", lines("x", `{"op":"open","s":"a","nocap":true,"ret":-1,"errno":"EPERM"}`)},
		{"messages by socket", lines("x", openA, openB, sent(9, `,"norx":true`, ""), sent(9, "", "aabb"))},
		{"recv reads no more than it was told", lines("x", openA, openB, sent(9, `,"norx":true`, ""),
			sent(9, `,"norx":true`, ""),
			`{"op":"recv","s":"b","ret":0,"rx":[{"s":"b","hex":"`+msg(9)+`"}]}`,
			`{"op":"recv","s":"b","n":5,"ret":0,"rx":[{"s":"b","hex":"`+msg(9)+`"}]}`,
			sent(9, "", "aaab"))},
		{"close", lines("x", openA, openB, `{"op":"close","s":"b","ret":0}`, sent(9, "", "a"))},
		{"options", lines("x", openA, `{"op":"opt","s":"a","name":"loopback","ret":-1,"errno":"EINVAL"}`,
			`{"op":"getopt","s":"a","name":"rcvbuf","ret":8192}`,
			`{"op":"getopt","s":"a","name":"4","ret":-1,"errno":"ENOPROTOOPT"}`)},
		{"patch from the first and the last message", lines("x", openA, sent(9, "", "a"),
			sent(4, `,"packets":[{"id":0,"verdict":"sent","inner":"04"}]`, "a"),
			`{"op":"send","s":"a","hex":"0000","patch":[{"at":0,"s":"a","msg":0,"from":1,"len":1},{"at":1,"s":"a","msg":-1,"from":0,"len":1}],"sent":"0902","ret":2,"rx":[{"s":"a","hex":"0902"}]}`)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if r := playOn(t, lab{}, tt.text).Results[0]; r.Status != conform.Passed {
				t.Errorf("%v", r.Differences)
			}
		})
	}
}

// What goes wrong with the machine itself is a difference, too.
func TestPlayTrouble(t *testing.T) {
	panics := `{"name":"x","panic":true,"steps":[` + openA + `,{"op":"send","s":"a","hex":"` + msg(9) +
		`","panic":"panic"}]}`
	for _, tt := range []struct {
		name, bent, text, want string
	}{
		{"panic", "", lines("x", openA, sent(66, "", "a")), "the emulator panicked: the lab burns"},
		{"panic at a point", "", lines("x", openA, `{"op":"send","s":"a","hex":"`+msg(66)+`","at":"store","ret":0}`,
			`{"op":"inject","hex":"01","ret":0,"id":1,"verdict":"queued"}`), "the lab burns"},
		{"panic of a held packet", "", lines("x", openA, `{"op":"send","s":"a","hex":"`+msg(66)+
			`","at":"stored","ret":0}`,
			`{"op":"inject","hex":"01","until":"store","ret":0,"id":1,"verdict":"paused"}`, `{"op":"resume","ret":0}`),
			"the lab burns"},
		{"nothing to resume", "", lines("x", `{"op":"resume","ret":0}`), "no packet is held"},
		{"socket not open", "", lines("x", `{"op":"open","s":"a","nocap":true,"ret":-1,"errno":"EPERM"}`,
			`{"op":"send","s":"a","hex":"","ret":0}`), "socket a is not open"},
		{"patch from nowhere", "",
			lines("x", openA,
				`{"op":"send","s":"a","hex":"02090000","patch":[{"at":0,"s":"a","msg":0,"from":0,"len":1}],"ret":4,"rx":[{"s":"a","hex":"02090000"}]}`), "did not come"},
		{"patch from behind the end", "", lines("x", openA, sent(9, "", "a"),
			`{"op":"send","s":"a","hex":"02090000","patch":[{"at":0,"s":"a","msg":0,"from":15,"len":2}],"ret":4,"rx":[{"s":"a","hex":"02090000"}]}`), "did not come"},
		{"a lost packet", "loses packets",
			lines("x", `{"op":"output","hex":"","ret":0,"id":1,"verdict":"transmitted"}`), "neither ended nor waiting"},
		{"dead where the original panics", "dies", panics, "no socket can be opened: EPERM"},
		{"deaf where the original panics", "deaf", panics, "a request gets EINVAL"},
		{"dumb where the original panics", "dumb", panics, "is not answered"},
		{"no clock", "", lines("x", openA, `{"op":"age","advance":1,"ret":0}`), "skipped: op age needs a clock"},
		{"no operations", "", lines("x", openA, `{"op":"counters","ret":0}`),
			"skipped: op counters needs operations of its kernel"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := playOn(t, lab{tt.bent}, tt.text).Results[0]
			got := ""
			if r.Skipped != "" {
				got = "skipped: " + r.Skipped
			}
			for _, d := range r.Differences {
				got += d.What + "\n"
			}
			if r.Status == conform.Passed || !strings.Contains(got, tt.want) {
				t.Errorf("%s: %q, want %q", r.Status, got, tt.want)
			}
		})
	}
	if r := playOn(t, lab{}, panics).Results[0]; r.Status != conform.Passed ||
		!slices.Equal(r.Deviations, []string{"panic"}) {
		t.Errorf("a machine that stays up where the original panics: %s, %v, %v", r.Status, r.Deviations, r.Differences)
	}
}

// A machine that does not come back fails its scenario; the others are played.
func TestPatience(t *testing.T) {
	p := write(t, t.TempDir(), "r.jsonl", []byte(lines("one", openA, sent(67, "", "a"))+lines("two", openA,
		sent(9, "", "a"))))
	c := conform.Config{Kernel: of("illumos"), Paths: []string{p}, Target: lab{}, Patience: 50 * time.Millisecond}
	rep, err := conform.Run(context.Background(), c)
	if err != nil || rep.Passed != 1 || rep.Failed != 1 || !strings.Contains(rep.Results[0].Differences[0].What,
		"did not come back within 50ms") {
		t.Errorf("%v, %+v", err, rep)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	p := write(t, t.TempDir(), "r.jsonl", []byte(lines("one", openA, sent(67, "", "a"))))
	rep, err := conform.Run(ctx, conform.Config{Kernel: of("illumos"), Paths: []string{p}, Target: lab{}})
	if err == nil || rep.Passed > 0 {
		t.Errorf("%v, %+v", err, rep)
	}
}

// A scenario whose answers were not recorded is played if a deviation has them; afterwards the machine has to be alive.
func TestPlayWithoutAnswers(t *testing.T) {
	const unanswered = `{"name":"x/y","why":"panic","steps":[{"op":"open","s":"a"},{"op":"send","s":"a","hex":"`
	text := unanswered + msg(9) + `"}]}`
	k := *of("illumos")
	answer := conform.Message{Socket: "a"}
	k.Deviations = []conform.Deviation{{Name: "crash", Amend: func(sc *conform.Scenario) bool {
		sc.Steps[1].Ret, sc.Steps[1].Rx = 16, []conform.Message{answer}
		return sc.Why != ""
	}}}
	p := write(t, t.TempDir(), "r.jsonl", []byte(text))
	for _, tt := range []struct{ bent, hex, want string }{
		{"", msg(9), "passed [crash]"},
		{"", msg(10), "failed []"},
		{"dumb", msg(9), "failed []"},
	} {
		answer.Hex, _ = hex.DecodeString(tt.hex)
		rep, err := conform.Run(t.Context(), conform.Config{Kernel: &k, Paths: []string{p}, Target: lab{tt.bent}})
		if err != nil {
			t.Fatal(err)
		}
		r := rep.Results[0]
		if got := fmt.Sprint(r.Status, " ", r.Deviations); got != tt.want {
			t.Errorf("%q, answer %s: %s, want %s: %v", tt.bent, tt.hex, got, tt.want, r.Differences)
		}
	}
	k.Deviations = nil
	rep, err := conform.Run(t.Context(), conform.Config{Kernel: &k, Paths: []string{p}, Target: lab{}})
	if err != nil || rep.Skipped != 1 || rep.Results[0].Skipped != "no answers were recorded: panic" {
		t.Errorf("without a deviation: %+v, %v", rep, err)
	}
}
