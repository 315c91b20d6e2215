package ipseckey_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pfkeyd/pfkeyd/ipseckey"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

var little = wire.Illumos().WithOrder(binary.LittleEndian)

// answerer is an engine that answers every request as answer says, nil being silence.
type answerer struct {
	d      *wire.Dialect
	answer func(h wire.Header, msg []byte) [][]byte
	queue  [][]byte
	sent   [][]byte
}

// agree answers with the header of the request.
func agree(h wire.Header, _ []byte) [][]byte {
	h.Len = 2
	if h.Type == wire.MsgDump {
		h.Seq = 0
	}
	return [][]byte{little.AppendHeader(nil, h)}
}

// refuse answers with an errno of illumos and a diagnostic.
func refuse(errno uint8, diagnostic uint16) func(wire.Header, []byte) [][]byte {
	return func(h wire.Header, _ []byte) [][]byte {
		h.Len, h.Errno, h.Reserved = 2, errno, diagnostic
		return [][]byte{little.AppendHeader(nil, h)}
	}
}

func (a *answerer) Send(_ context.Context, msg []byte) error {
	a.sent = append(a.sent, bytes.Clone(msg))
	h, err := a.d.Header(msg)
	if err == nil && a.answer != nil {
		a.queue = append(a.queue, a.answer(h, msg)...)
	}
	return err
}

func (a *answerer) Recv(ctx context.Context, buf []byte) (int, error) {
	if len(a.queue) == 0 {
		return 0, context.DeadlineExceeded
	}
	m := a.queue[0]
	a.queue = a.queue[1:]
	return copy(buf, m), nil
}

func (a *answerer) Close() error { return nil }

// start is how a test runs the command.
type start struct {
	args     []string
	stdin    string
	file     string // content of the file "in"
	uid      int
	env      map[string]string
	terminal ipseckey.Terminal
	dialect  *wire.Dialect
	answer   func(wire.Header, []byte) [][]byte // nil: agree
	dial     error
	location *time.Location
	colour   bool // the terminal may have it
	more     func(*ipseckey.Program)
}

type ran struct {
	exit           int
	stdout, stderr string
	sent           [][]byte
	files          map[string]string
}

func (s start) run(t testing.TB) ran {
	t.Helper()
	if s.dialect == nil {
		s.dialect = little
	}
	conn := &answerer{d: s.dialect, answer: s.answer}
	if s.answer == nil {
		conn.answer = agree
	}
	files := newMemFiles(&goldenCase{Files: map[string]string{"in": s.file}})
	var stdout, stderr bytes.Buffer
	p := &ipseckey.Program{
		Stdin: strings.NewReader(s.stdin), Stdout: &stdout, Stderr: &stderr, Terminal: s.terminal,
		Dial: func(context.Context, string) (ipseckey.Conn, *wire.Dialect, error) { return conn, s.dialect, s.dial },
		Names: ipseckey.NewTable(
			strings.NewReader(
				"192.0.2.10 west.example west\n2001:db8::10 west.example\n192.0.2.30 multi\n192.0.2.31 multi\n"),
			strings.NewReader("tcp 6 TCP\n")),
		Files: files, PID: goldenPID, UID: s.uid, Location: s.location,
		Env: func(name string) (string, bool) {
			if name == "NO_COLOR" && !s.colour {
				return "1", true
			}
			v, ok := s.env[name]
			return v, ok
		},
		Now: func() time.Time { return time.Unix(goldenNow, 0) },
	}
	if s.more != nil {
		s.more(p)
	}
	r := ran{files: map[string]string{}}
	r.exit = p.Run(t.Context(), s.args)
	r.stdout, r.stderr, r.sent = stdout.String(), stderr.String(), conn.sent
	for name := range files.changed {
		r.files[name] = files.files[name].data.String()
	}
	return r
}

const (
	key128  = "00112233445566778899aabbccddeeff"
	addTail = " src 192.0.2.10 dst 198.51.100.20 encr_alg aes encrkey " + key128
)

// TestMended tells, quirk by quirk, what a plain run does instead of the original.
func TestMended(t *testing.T) {
	add := "add esp spi 0x1000" + addTail
	for _, c := range []struct {
		quirk  string
		start  start
		exit   int
		stdout string // contained in it; "-" for nothing at all
		stderr string
		sent   int // messages
	}{
		{"root-only", start{args: []string{"flush"}, uid: 1000}, 0, "-", "-", 1},
		{"errors-on-stdout", start{args: []string{"-n", "get", "esp"}}, 1, "-",
			"Need SA parameters for get.\n\nipseckey: Fatal error", 0},
		{"lenient-command", start{args: []string{"flush", "bogus"}}, 1, "-", "Unknown SA type (bogus).", 0},
		{"lenient-command", start{args: []string{"flush", "esp", "ah"}}, 1, "-", "Too many arguments for flush command",
			0},
		{"only-printed", start{stdin: "add esp spi 1 dst 192.0.2.1 encr_alg rot13 encrkey 00\n"}, 1, "-",
			`Unknown encryption algorithm type "rot13"`, 0},
		{"only-printed", start{stdin: "update esp spi 1 dst 192.0.2.1 srcidtype what west\n"}, 1, "-",
			`Unknown identity type "what"`, 0},
		{"only-printed", start{stdin: "add esp spi 1 dst 192.0.2.1 encr_alg aes encrkey 00/9\n"}, 1, "-",
			"bit length 9 is too big for XX.", 0},
		{"unknown-is-larval", start{stdin: "update esp spi 1 dst 192.0.2.1 state 2\n"}, 0, "-", "-", 1},
		{"unknown-is-larval", start{stdin: "update esp spi 1 dst 192.0.2.1 state 4\n"}, 1, "-",
			`Unknown state type "4"`, 0},
		{"silent-cut", start{stdin: "update esp spi 0x100000001 dst 192.0.2.1\n"}, 1, "-",
			"The number 0x100000001 is too big, the limit is 4294967295.", 0},
		{"silent-cut", start{stdin: "get esp spi 1 dst 192.0.2.1 dport 65536\n"}, 1, "-", "the limit is 65535.", 0},
		{"warnings-block", start{stdin: "update esp spi 1 dst 192.0.2.1 state larval\n"}, 1, "-",
			"ERROR: Cannot set LARVAL SA state.", 0},
		{"crash", start{stdin: "update esp inbound spi 1 dst 192.0.2.1\n"}, 0, "-", "-", 1},
		{"crash", start{stdin: "update esp spi 1 isrc\n"}, 1, "-", "was expecting an address.", 0},
		{"crash", start{stdin: "update esp spi 1 encap\n"}, 1, "-", "was expecting an encapsulation.", 0},
		{"crash", start{stdin: "update esp spi 1 label\n"}, 1, "-", "was expecting a label.", 0},
		{"crash", start{stdin: "get esp spi 1 dport 9\n"}, 0, "-", "-", 1},
		{"label-order", start{stdin: "update esp spi 1 dst 192.0.2.1 outer-label 0x0002\n"}, 0, "-", "-", 1},
		{"find-dst6", start{args: []string{"get", "esp", "spi", "1", "dst6", "192.0.2.1"}}, 1, "-",
			`Unknown destination address "192.0.2.1"`, 0},
		{"errno-is-success", start{args: []string{"-n", "-f", "in"}, file: add + "\n", answer: refuse(12, 0)}, 1, "-",
			"Not enough space\nipseckey: Configuration file did not contain any valid SAs", 1},
		{"stdin-exit-0", start{stdin: "frob\nflush\n"}, 1, "-", "Unknown command (frob).", 1},
		{"stdin-exit-0", start{stdin: "frob\nquit\n", terminal: ipseckey.Terminal{Stdin: true}}, 0,
			"ipseckey> ipseckey> ", "Unknown command (frob).", 0},
		{"quit-hides", start{args: []string{"-f", "in"}, file: "flush\nfrob\nquit\nflush\n"}, 1, "-", "Fatal error", 1},
		{"silent-help", start{args: []string{"-f", "in"}, file: "help\n"}, 1, "-",
			"Help not appropriate in config file.", 0},
		{"count-targets", start{args: []string{"-f", "in"}, file: "delete esp spi 1 dst multi\nfrob\n"}, 1, "-",
			"Fatal error", 2},
		{"count-targets", start{args: []string{"-f", "in"}, file: "flush\ndelete esp spi 1 dst multi\nflush\n",
			answer: secondFails()}, 1, "-", "Fatal error", 4},
		{"check-sends", start{args: []string{"-c", "in"}, file: add + "\n",
			env: map[string]string{"SMF_FMRI": "svc:/x"}, dial: fmt.Errorf("not there")}, 0, "-", "1 actions", 0},
		{"echo-keys", start{args: []string{"-f", "in"}, file: add + " foo\n"}, 1, "-",
			"encrkey XXXXXXXXXXXXXXXXXXXXXXXXXXXXXXXX foo", 0},
		{"glued-comment", start{stdin: "update esp spi 1 \\\n# comment\n dst 192.0.2.1\n"}, 0, "-", "-", 1},
		{"seconds-32", start{args: []string{"-n", "dump"}, answer: dumps(lifetime(1 << 32))}, 0,
			"4294967296 seconds (49710.27 days) of post-add", "-", 1},
		{"warning-forgets", start{stdin: "update esp spi 0 spi 5 replay 4 dst 192.0.2.1\n"}, 1, "-",
			"Invalid SPI value \"0\" .\n\n", 0},
		{"warning-forgets", start{stdin: "update esp foo spi 5 isrc multi dst 192.0.2.1\n"}, 1, "-",
			"multi is vague, not using.\n\nUnknown extension field \"foo\"", 0},
		{"alarm-exits", start{stdin: "flush\nquit\n", answer: silence}, 1, "-", "Reply message from PF_KEY timed out.",
			1},
		{"save-blocks", start{stdin: "save all out\nflush\n", answer: silence}, 1, "-",
			"timed out.\nipseckey: Reply message from PF_KEY timed out.\n", 2},
		{"prompt-on-pipe", start{stdin: "flush\n\n"}, 0, "-", "-", 1},
		{"last-line", start{stdin: "flush"}, 0, "-", "-", 1},
		{"last-line", start{args: []string{"-f", "in"}, file: "flush \\"}, 0, "-", "-", 1},
		{"long-line", start{stdin: strings.Repeat("x", 5000) + "\nflush\n"}, 1, "-", "Line too long (max=4096 chars)",
			1},
		{"wrong-address", start{args: []string{"-n"},
			stdin: "add esp spi 1 dst 198.51.100.20 src 192.0.2.10 encr_alg aes encrkey 00\n", answer: refuse(17, 0)},
			1, "-", "\n198.51.100.20 already exists.", 1},
		{"lenient-prefix", start{stdin: "update esp spi 1 dst 192.0.2.1 isrc 10.0.0.0/33\n"}, 1, "-",
			"Invalid prefix /33.\n", 0},
		{"lenient-prefix", start{stdin: "update esp spi 1 dst 192.0.2.1 idst 10.0.0.0/8x\n"}, 1, "-",
			"Invalid prefix /8x.\n", 0},
		{"inet-addr", start{stdin: "get esp spi 1 dst 10\n"}, 1, "-", "Unknown address 10.", 0},
		{"inet-addr", start{stdin: "get esp spi 1 dst 255.255.255.255\n"}, 0, "Base message", "-", 1},
		{"bail-exits-1", start{args: []string{"flush"}, env: map[string]string{"SMF_FMRI": "svc:/x"},
			answer: refuse(1, 0)}, 95, "-", "Service svc:/x fatal error.", 1},
		{"no-destination-exit-0", start{args: []string{"delete", "esp", "spi", "1"}, answer: refuse(22, 19)}, 1, "-",
			"Missing destination address", 1},
		{"stale-reply", start{args: []string{"dump"}, answer: func(h wire.Header, m []byte) [][]byte {
			return append([][]byte{m[:8]}, agree(h, m)...)
		}}, 0, "Dump succeeded", "-", 1},
		{"twice", start{args: []string{"-f", "in"}, file: "monitor\n"}, 1, "-",
			"Monitor not appropriate in config file.\nipseckey: Conf", 0},
		{"no-extras", start{args: []string{"help", "getspi"}}, 0, "spi-min", "-", 0},
	} {
		t.Run(c.quirk, func(t *testing.T) {
			r := c.start.run(t)
			if r.exit != c.exit || !holds(r.stdout, c.stdout) || !holds(r.stderr, c.stderr) || len(r.sent) != c.sent {
				t.Errorf("%q %q: exit %d, %d sent,\nstdout %q\nstderr %q\nwant exit %d, %d sent, %q, %q", c.start.args,
					c.start.stdin+c.start.file,
					r.exit, len(r.sent), r.stdout, r.stderr, c.exit, c.sent, c.stdout, c.stderr)
			}
		})
	}
}

func holds(text, want string) bool {
	if want == "-" {
		return text == ""
	}
	return strings.Contains(text, want)
}

// secondFails refuses the third message, and no other.
func secondFails() func(wire.Header, []byte) [][]byte {
	n := 0
	return func(h wire.Header, m []byte) [][]byte {
		if n++; n == 3 {
			return refuse(22, 0)(h, m)
		}
		return agree(h, m)
	}
}

func silence(wire.Header, []byte) [][]byte { return nil }

// dumps answers a DUMP with one SA of these extensions.
func dumps(exts []byte) func(wire.Header, []byte) [][]byte {
	return func(h wire.Header, msg []byte) [][]byte {
		m := little.Finish(append(little.AppendHeader(nil, h), exts...))
		return append([][]byte{m}, agree(h, msg)...)
	}
}

func lifetime(seconds uint64) []byte {
	return little.AppendLifetime(nil, wire.ExtLifetimeHard, wire.Lifetime{AddTime: seconds})
}

// TestOrder tells which of several errors the original finds, and in which order.
func TestOrder(t *testing.T) {
	for _, c := range []struct {
		command, stdout string
		sent            int
	}{
		{"update esp spi 0 spi 5 replay 4 dst 192.0.2.1",
			"Invalid SPI value \"0\" .\nWARNING:  Replay with manual keying considered harmful.\n\n", 1},
		{"update esp encap udp dst 192.0.2.1", "The SPI value is missing for the association you wish to update.\n" +
			"Must specify NAT-T remote or local address for UDP encapsulation.\n\n", 0},
		{"update esp spi 5 encap udp", "Need destination address for update.\n\n", 0},
		{"update esp iproto 4 proto 6 dst 192.0.2.1",
			"Need to define SPI for update.\nNeed SA parameters for update.\n\n", 0},
		{"update esp spi 5 isrc nobody/99999999999999999999",
			"Invalid prefix /99999999999999999999.Unknown extension field " +
				"\"nobody/99999999999999999999\" \n\n", 0},
		{"update esp spi 5 srcidtype fqdn a srcidtype fqdn", "Unexpected end of command line - Expecting Src Type.\n\n",
			0},
		{"update esp spi 5 dst 192.0.2.1 encrkey 00 reserved_bits x", "Expecting a number, not \"x\"!\n\n", 0},
		{"update esp spi 5 dst 192.0.2.1 encrkey ffzz/8", "WARNING: Lower bits will be truncated for:\n\tffzz/8.\n\n",
			1},
		{"update esp spi 5 dst 192.0.2.1 encrkey zzff/8", "WARNING: Lower bits will be truncated for:\n\tzzff/8.\n\n" +
			"string 'zz' not a hex value.\n\nInvalid encryption key.\n\n", 0},
		{"update esp spi 5 dst 192.0.2.1 encrkey zz/9",
			"bit length 9 is too big for zz.\nstring 'zz' not a hex value.\n\nInvalid encryption key.\n\n", 0},
		{"update esp spi 5 dst 192.0.2.1 encrkey ff/-4", "bit length -4 is too big for ff.\n\n", 1},
		{"update esp spi 5 dst 192.0.2.1 encrkey ff/99999999999999999999",
			"WARNING: Lower bits will be truncated for:\n\tff/-1.\n\n", 1},
	} {
		r := start{args: []string{"--compat", "-n"}, stdin: c.command + "\n"}.run(t)
		if got := strings.TrimSuffix(r.stdout, "ipseckey> "); got != c.stdout || len(r.sent) != c.sent {
			t.Errorf("%s:\n%d messages, %q\nwant %d, %q", c.command, len(r.sent), r.stdout, c.sent, c.stdout)
		}
	}
	r := start{args: []string{"--compat", "add", "bogus"}}.run(t)
	if r.exit != 1 || r.stdout != "Unknown SA type (bogus).\n\n" || !strings.Contains(r.stderr, "can't do ADD") {
		t.Errorf("add bogus: exit %d, %q, %q", r.exit, r.stdout, r.stderr)
	}
}

// TestMendedRequests looks at what a plain run sends where the original loses something.
func TestMendedRequests(t *testing.T) {
	r := start{args: []string{"-n"},
		stdin: "get esp inbound spi 1 src 192.0.2.10 dst 198.51.100.20 sport 10 dport 20 proto 6\n"}.run(t)
	if len(r.sent) != 1 {
		t.Fatalf("%d sent, %q", len(r.sent), r.stderr)
	}
	for typ, port := range map[wire.ExtType]uint16{wire.ExtAddressSrc: 10, wire.ExtAddressDst: 20} {
		x, _ := little.Find(r.sent[0], typ)
		if a, err := little.ParseAddress(x.Raw); err != nil || a.Port != port || a.Proto != 6 {
			t.Errorf("%v: %+v, %v", typ, a, err)
		}
	}
	r = start{stdin: "update esp spi 1 dst 192.0.2.1 label 0x0002 label 0x0003\n"}.run(t)
	if len(r.sent) != 1 || little.Validate(r.sent[0]) != nil {
		t.Errorf("two labels: %d sent, %q", len(r.sent), r.stderr)
	}
}

// TestSaveMended saves what the original loses or breaks.
func TestSaveMended(t *testing.T) {
	sa := little.AppendSA(nil, wire.SA{SPI: 0x1000, State: wire.StateDying, Encrypt: 12,
		Flags: wire.IllumosFlagXInbound})
	sa = little.AppendAddress(sa, wire.ExtAddressSrc, wire.Address{Addr: mustAddr("192.0.2.2"), Port: 7})
	sa = little.AppendAddress(sa, wire.ExtAddressDst, wire.Address{Addr: mustAddr("192.0.2.1")})
	sa = little.AppendPair(sa, wire.Pair{SPI: 0x2000})
	sa = little.AppendReplayValue(sa, wire.ReplayValue{})
	r := start{args: []string{"-s", "out"}, answer: dumps(sa)}.run(t)
	want := "# This key file was generated by the ipseckey(1m) command's 'save' feature.\n\n" +
		"# begin assoc\n# WARNING: SA was dying or dead.\nadd esp  \\\n    spi 0x1000 encr_alg aes-cbc replay 0  inbound \\\n" +
		"    src 192.0.2.2 sport 7 \\\n    dst 192.0.2.1 \\\n\n# end assoc\n\n" +
		"# begin pair\nupdate esp  \\\n    spi 0x1000 pair-spi 0x2000  \\\n    src 192.0.2.2 sport 7 \\\n    dst 192.0.2.1 \\\n\n# end pair\n\n"
	want = strings.ReplaceAll(want, "add esp ", "add unspec ")
	want = strings.ReplaceAll(want, "add unspec ", "add all ")
	want = strings.ReplaceAll(want, "update esp ", "update all ")
	if diff := cmp.Diff(want, r.files["out"]); r.exit != 0 || diff != "" {
		t.Errorf("exit %d, %q (-want +got):\n%s", r.exit, r.stderr, diff)
	}
}

// TestSaveLarval mentions an SA that GETSPI made, and nothing that would fail when it is loaded.
func TestSaveLarval(t *testing.T) {
	r := start{args: []string{"-s", "-"}, answer: dumps(little.AppendSA(nil, wire.SA{SPI: 0x3000}))}.run(t)
	if r.exit != 0 || !strings.Contains(r.stdout, "# SA 0x3000 is LARVAL") || strings.Contains(r.stdout, "\nadd ") {
		t.Errorf("exit %d, %q %q", r.exit, r.stdout, r.stderr)
	}
}

// TestHints shows what a terminal gets behind the errors, and that nothing else does.
func TestHints(t *testing.T) {
	s := start{args: []string{"-n", "-f", "in"}, terminal: ipseckey.Terminal{Stderr: true},
		file: "# keys\nadd esp spi 1 dst 192.0.2.1 \\\n  encr_alg eas \\\n\tencrkye " + key128 + "\n"}
	const hint = "in:3:12:\n      encr_alg eas \n               ^^^\n    eas: did you mean \"aes\"?\n"
	r := s.run(t)
	if !strings.Contains(r.stderr,
		"in:3:12:\n      encr_alg eas  \n               ^^^\n    eas: did you mean \"aes\"?\n") &&
		!strings.Contains(r.stderr, hint) {
		t.Errorf("no hint in %q", r.stderr)
	}
	if !strings.Contains(r.stderr, "encrkye: did you mean \"encrkey\"?\n") || strings.Contains(r.stderr, key128[:8]) {
		t.Errorf("%q", r.stderr)
	}
	s.terminal = ipseckey.Terminal{}
	if r := s.run(t); strings.Contains(r.stderr, "did you mean") {
		t.Errorf("without a terminal: %q", r.stderr)
	}
	s.terminal.Stderr = true
	s.args = append([]string{"--compat"}, s.args...)
	if r := s.run(t); strings.Contains(r.stderr+r.stdout, "did you mean") {
		t.Errorf("with --compat: %q", r.stderr)
	}
	r = start{args: []string{"-n"}, stdin: "add esp spi 1 dst 192.0.2.1 encr_alg aes-gcm encrkey " + key128 + "\n",
		answer:   refuse(22, 45),
		terminal: ipseckey.Terminal{Stderr: true}}.run(t)
	if !strings.Contains(r.stderr,
		"    aes-gcm takes a key of 128 to 256 bits in steps of 64, and 32 salt bits behind it; this one has 128 bits\n") {
		t.Errorf("key size: %q", r.stderr)
	}
	r = start{args: []string{"get", "esp", "spj", "1", "dst", "192.0.2.1"},
		terminal: ipseckey.Terminal{Stderr: true}}.run(t)
	if !strings.Contains(r.stderr,
		"    get esp spj 1 dst 192.0.2.1\n            ^^^ ^\n    spj: did you mean \"spi\"?\n") {
		t.Errorf("one-shot: %q", r.stderr)
	}
}

// TestKeysHidden looks for key bytes everywhere but in listings and save files.
func TestKeysHidden(t *testing.T) {
	const key = "c0ffee0123456789c0ffee0123456789"
	for _, line := range []string{
		"add esp foo spi 1 dst 192.0.2.1 encr_alg aes encrkey " + key,
		"add esp spi 1 encrkey " + key + " encrkey " + key,
		"add esp spi 1 encrkey 0x" + key + "/99",
		"add esp spi 1 encrkey " + key + "/" + key,
		"add esp spi 1 encrkey " + key + "/512",
		"add esp spi 1 encrkey " + key + "zz",
		"add esp spi 1 authkey \"" + key + "\" foo",
		"add esp spi 1 authkey \"" + key[:5] + "\"" + key[5:] + " foo",
		"add esp spi 1 authkye " + key,
		"add esp spi 1 " + key,
		"add esp spi " + key,
		"add esp " + key,
		key,
		"get esp spi 1 dst 192.0.2.1 encrkey " + key,
		"dump " + key,
		"frob encrkey " + key,
	} {
		for _, terminal := range []bool{false, true} {
			for _, start := range []start{
				{args: []string{"-n", "-f", "in"}, file: line + "\n"},
				{args: []string{"-n"}, stdin: line + "\n"},
				{args: append([]string{"-n"}, strings.Fields(line)...)},
			} {
				start.terminal.Stderr = terminal
				if r := start.run(t); strings.Contains(strings.ToLower(r.stdout+r.stderr), key[:5]) {
					t.Errorf("%q %q: %q %q", start.args, line, r.stdout, r.stderr)
				}
			}
		}
	}
}

// TestJSON shows the records of a message.
func TestJSON(t *testing.T) {
	sa := little.AppendSA(nil, wire.SA{SPI: 0x1a2b3c4d, Replay: 64, State: wire.StateMature, Auth: 5, Encrypt: 20,
		Flags: 0x80004000 | 1<<25})
	sa = little.AppendLifetime(sa, wire.ExtLifetimeCurrent, wire.Lifetime{Bytes: 20480, AddTime: 1700000000,
		UseTime: 1700000100})
	sa = little.AppendLifetime(sa, wire.ExtLifetimeHard, wire.Lifetime{AddTime: 28800})
	sa = little.AppendAddress(sa, wire.ExtAddressSrc, wire.Address{Addr: mustAddr("192.0.2.2"), Port: 500, Proto: 17})
	sa = little.AppendAddress(sa, wire.ExtAddressDst, wire.Address{Addr: mustAddr("2001:db8::1"), PrefixLen: 64})
	salted, _ := hex.DecodeString(key128 + "a0a1a2a3" + "00000000")
	sa = little.AppendKey(sa, wire.ExtKeyEncrypt, wire.Key{Bits: 128, Reserved: 32, Data: salted})
	sa = little.AppendIdentity(sa, wire.ExtIdentitySrc, wire.Identity{Type: 2, Name: "west.example"})
	sa = little.AppendPair(sa, wire.Pair{SPI: 7})
	sa = little.AppendKMCookie(sa, wire.KMCookie{Protocol: 1, Cookie: 2})
	const want = `{"type":"DUMP","satype":"unspec","seq":1,"pid":4242,"spi":"0x1a2b3c4d","state":"mature","replay":64,` +
		`"auth":"hmac-sha256","encrypt":"aes-gcm16","flags":["X_INBOUND","X_KM1","X_USED"],` +
		`"src":{"addr":"192.0.2.2","port":500,"proto":17},"dst":{"addr":"2001:db8::1","prefix":64},` +
		`"current":{"bytes":20480,"added":1700000000,"used":1700000100},"hard":{"addtime":28800},` +
		`"encrypt_key":{"bits":128,"salt_bits":32%s},"src_id":{"type":"fqdn","name":"west.example"},"pair_spi":"0x7","other":["X_KM_COOKIE"]}` + "\n"
	for _, c := range []struct {
		args []string
		hex  string
	}{
		{[]string{"--json", "dump"}, ""},
		{[]string{"--json", "--show-keys", "dump"}, `,"hex":"` + key128 + `a0a1a2a3"`},
		{[]string{"--json", "--show-keys", "-p", "dump"}, ""},
	} {
		r := start{args: c.args, answer: dumps(sa)}.run(t)
		if diff := cmp.Diff(fmt.Sprintf(want, c.hex), r.stdout); r.exit != 0 || diff != "" {
			t.Errorf("%q: exit %d, %q (-want +got):\n%s", c.args, r.exit, r.stderr, diff)
		}
	}
	broken := little.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgGet, SAType: 3, Errno: 22, Reserved: 20,
		Len: 3})
	rec := ipseckey.NewRecord(little, append(broken, 0, 0, 1, 0, 0, 0, 0, 0), false)
	if rec.Error == nil || rec.Error.Errno != "EINVAL" || rec.Error.DiagnosticName != "MISSING_SA" || rec.Broken == "" {
		b, _ := json.Marshal(rec)
		t.Errorf("%s", b)
	}
}

// TestGetSPI shows our own command.
func TestGetSPI(t *testing.T) {
	r := start{args: []string{"-n", "getspi", "src", "192.0.2.2", "dst", "192.0.2.1", "spi-max", "0x1ff"}}.run(t)
	if r.exit != 0 || len(r.sent) != 1 ||
		!strings.HasPrefix(r.stdout, "Base message (version 2) type GETSPI, SA type ESP.\n") {
		t.Fatalf("exit %d, %d sent, %q %q", r.exit, len(r.sent), r.stdout, r.stderr)
	}
	x, _ := little.Find(r.sent[0], wire.ExtSPIRange)
	if v, err := little.ParseSPIRange(x.Raw); err != nil || v != (wire.SPIRange{Min: 0x100, Max: 0x1ff}) {
		t.Errorf("%+v, %v", v, err)
	}
	if err := little.Validate(r.sent[0]); err != nil {
		t.Error(err)
	}
	checked := start{args: []string{"-n", "-c", "in"}, file: "getspi esp src 192.0.2.2 dst 192.0.2.1\n",
		dial: fmt.Errorf("not there")}.run(t)
	if checked.exit != 0 || checked.stderr != "" || len(checked.sent) != 0 {
		t.Errorf("-c: exit %d, %q, %d messages", checked.exit, checked.stderr, len(checked.sent))
	}
	for args, want := range map[string]string{
		"ah src 192.0.2.2": "Need destination address for getspi.",
		"dst 192.0.2.1":    "Need source address for getspi.",
		"src 192.0.2.2 dst 192.0.2.1 spi-min 9 spi-max 8":          "spi-min 0x9 is greater than spi-max 0x8.",
		"src 192.0.2.2 dst 192.0.2.1 spi-min 0x100000000":          "too big",
		"all src 192.0.2.2 dst 192.0.2.1":                          "single SA type",
		"src 192.0.2.2 dst 192.0.2.1 spi 4":                        `Unknown extension field "spi"`,
		"src 192.0.2.2 src 192.0.2.3 dst 192.0.2.1":                "Can only specify single src address.",
		"src 192.0.2.2 dst multi":                                  "vague",
		"src 192.0.2.2 dst 2001:db8::1":                            "No IPv6 source address",
		"esp src 192.0.2.2 dst 192.0.2.1 spi-min 1x":               "Expecting a number",
		"esp src nowhere dst 192.0.2.1 spi-min 0x200 spi-max 0x20": "Unknown src address",
	} {
		r := start{args: append([]string{"getspi"}, strings.Fields(args)...)}.run(t)
		if r.exit != 1 || len(r.sent) != 0 || !strings.Contains(r.stderr, want) {
			t.Errorf("%q: exit %d, %d sent, %q", args, r.exit, len(r.sent), r.stderr)
		}
	}
}

// TestOtherDialect speaks to an engine of Linux what it can, and says what it cannot.
func TestOtherDialect(t *testing.T) {
	linux := wire.Linux().WithOrder(binary.LittleEndian)
	echo := func(h wire.Header, m []byte) [][]byte {
		h.Len = 2
		return [][]byte{linux.AppendHeader(nil, h)}
	}
	r := start{dialect: linux, answer: echo, args: []string{"-n"}, stdin: "add esp spi 0x1000" + addTail + "\n"}.run(t)
	if r.exit != 0 || len(r.sent) != 1 {
		t.Fatalf("exit %d, %q", r.exit, r.stderr)
	}
	x, _ := linux.Find(r.sent[0], wire.ExtAddressDst)
	if a, err := linux.ParseAddress(x.Raw); err != nil || a.Addr != mustAddr("198.51.100.20") || a.PrefixLen != 32 {
		t.Errorf("%+v, %v", a, err)
	}
	if err := linux.Validate(r.sent[0]); err != nil {
		t.Error(err)
	}
	for _, line := range []string{"add esp spi 1 inbound" + addTail, "update-pair esp spi 1" + addTail,
		"delete-pair esp spi 1 dst 192.0.2.1"} {
		r := start{dialect: linux, answer: echo, args: []string{"-n"}, stdin: line + "\n"}.run(t)
		if r.exit != 1 || len(r.sent) != 0 || !strings.Contains(r.stderr, "An engine of linux knows no") {
			t.Errorf("%q: exit %d, %d sent, %q", line, r.exit, len(r.sent), r.stderr)
		}
	}
	// The last SA of a dump has the sequence number that ends it; an empty one is refused with ENOENT.
	last := func(h wire.Header, m []byte) [][]byte {
		h.Seq = 0
		return [][]byte{linux.Finish(linux.AppendSA(linux.AppendHeader(nil, h), wire.SA{SPI: 5}))}
	}
	r = start{dialect: linux, answer: last, args: []string{"dump"}}.run(t)
	if r.exit != 0 || !strings.Contains(r.stdout, "spi=0x5") ||
		!strings.HasSuffix(r.stdout, "Dump succeeded for SA type 0.\n") {
		t.Errorf("exit %d, %q %q", r.exit, r.stdout, r.stderr)
	}
	none := func(h wire.Header, m []byte) [][]byte {
		h.Errno, h.Len = linux.ErrnoNumber(wire.ENOENT), 2
		return [][]byte{linux.AppendHeader(nil, h)}
	}
	r = start{dialect: linux, answer: none, args: []string{"dump"}}.run(t)
	if r.exit != 0 || r.stdout != "Dump succeeded for SA type 0.\n" {
		t.Errorf("exit %d, %q %q", r.exit, r.stdout, r.stderr)
	}
}

// TestQuirkNames finds every quirk by its name, and no other.
func TestQuirkNames(t *testing.T) {
	var names []string
	for _, q := range ipseckey.Quirks() {
		if q.Name == "" || q.Instead == "" || slices.Contains(names, q.Name) {
			t.Errorf("%+v", q)
		}
		names = append(names, q.Name)
	}
	r := start{args: []string{"--compat=" + strings.Join(names, ","), "flush"}}.run(t)
	if r.exit != 0 {
		t.Errorf("exit %d, %q", r.exit, r.stderr)
	}
	r = start{args: []string{"--compat=nonsense", "flush"}}.run(t)
	if r.exit != 1 || !strings.Contains(r.stderr, `"nonsense"`) || len(r.sent) != 0 {
		t.Errorf("exit %d, %q", r.exit, r.stderr)
	}
}

// TestParseTZ reads what stands in TZ.
func TestParseTZ(t *testing.T) {
	at := time.Unix(goldenNow, 0)
	for tz, want := range map[string]string{
		"UTC": "+0000", "UTC-2": "+0200", "XYZ3:30": "-0330", "ABC+01": "-0100", ":UTC": "+0000",
		"": "+0000", "UTC-": "none", "X9": "none", "UTC1x": "none", "UTC200": "none", "UTC1:2:3:4": "none",
	} {
		loc, ok := ipseckey.ParseTZ(tz)
		got := "none"
		if ok {
			got = at.In(loc).Format("-0700")
		}
		if got != want {
			t.Errorf("%q: %s, want %s", tz, got, want)
		}
	}
}

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

// --version and --help are answered before anything else, and without an engine.
func TestVersionAndHelp(t *testing.T) {
	nobody := start{dial: pfkey.ErrNoEngine, more: func(p *ipseckey.Program) { p.Version = "v7 (test)" }}
	for args, want := range map[string]string{
		"--version":        "ipseckey v7 (test)\n",
		"--version dump":   "ipseckey v7 (test)\n",
		"--help":           "--color WHEN  ",
		"-n --help flush":  "Usage:\tipseckey",
		"--json --version": "ipseckey v7 (test)\n",
	} {
		s := nobody
		s.args = strings.Fields(args)
		if r := s.run(t); r.exit != 0 || !strings.Contains(r.stdout, want) || r.stderr != "" || len(r.sent) != 0 {
			t.Errorf("%s: exit %d, %q %q", args, r.exit, r.stdout, r.stderr)
		}
		for line := range strings.Lines(nobodyHelp(t, nobody)) { // a tab is eight columns
			if len(strings.TrimRight(strings.ReplaceAll(line, "\t", "        "), "\n")) > 80 {
				t.Errorf("too wide: %q", line)
			}
		}
	}
	for args, want := range map[string]string{
		"--jsn dump":         `did you mean "--json"?`,
		"--color loud dump":  `--color "loud": auto, always or never is wanted`,
		"--engine= dump":     "--engine is empty",
		"--engine":           "option requires an argument -- engine",
		"--frobnicate":       "illegal option -- frobnicate",
		"--compat --jsn now": "illegal option -- jsn",
	} {
		s := start{args: strings.Fields(args)}
		if r := s.run(t); r.exit != 1 || !strings.Contains(r.stderr, want) ||
			strings.Contains(args, "compat") && strings.Contains(r.stderr, "mean") {
			t.Errorf("%s: exit %d, %q %q", args, r.exit, r.stdout, r.stderr)
		}
	}
}

func nobodyHelp(t *testing.T, s start) string {
	s.args = []string{"--help"}
	return s.run(t).stdout
}

// --color is stronger than what is known of the terminal, and the original knows none.
func TestColourOption(t *testing.T) {
	sa := little.AppendSA(nil, wire.SA{SPI: 5, State: wire.StateMature})
	for _, tt := range []struct {
		args     string
		terminal bool
		env      map[string]string
		want     bool
	}{
		{"dump", false, nil, false},
		{"dump", true, nil, true},
		{"dump", true, map[string]string{"NO_COLOR": "1"}, false},
		{"--color always dump", false, map[string]string{"NO_COLOR": "1"}, true},
		{"--color=never dump", true, nil, false},
		{"--color auto dump", true, nil, true},
		{"--compat --color always dump", true, nil, false},
	} {
		r := start{
			args: strings.Fields(tt.args), answer: dumps(sa),
			terminal: ipseckey.Terminal{Stdout: tt.terminal}, env: tt.env, colour: tt.env == nil,
		}.run(t)
		if got := strings.Contains(r.stdout, "\x1b["); got != tt.want {
			t.Errorf("%q, terminal %v, %v: colour %v: %q", tt.args, tt.terminal, tt.env, got, r.stdout)
		}
	}
}
