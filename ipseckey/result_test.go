package ipseckey_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pfkeyd/pfkeyd/ipseckey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// results reads what --json printed.
func results(t *testing.T, text string) (all []ipseckey.Result) {
	t.Helper()
	for d := json.NewDecoder(strings.NewReader(text)); d.More(); {
		var r ipseckey.Result
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		all = append(all, r)
	}
	return all
}

// TestResults prints an object for every command.
func TestResults(t *testing.T) {
	add := "add esp spi 0x1000" + addTail
	one := func(v int) *int { return &v }
	answer := func(typ string) []ipseckey.Record {
		return []ipseckey.Record{{Type: typ, SAType: "esp", Seq: 1, PID: goldenPID}}
	}
	refused := answer("ADD")
	refused[0].Error = &ipseckey.Fault{Errno: "EINVAL", Text: "Invalid argument", Diagnostic: 45,
		DiagnosticName: "BAD_EKEYBITS", DiagnosticText: "Bad number of encryption bits",
		About: []string{"KEY_ENCRYPT"}}
	all := []ipseckey.Record{{Type: "FLUSH", SAType: "unspec", Seq: 1, PID: goldenPID}}
	for name, c := range map[string]struct {
		start start
		exit  int
		want  []ipseckey.Result
	}{
		"add": {start{args: []string{"-n", "--json"}, stdin: add + "\n"}, 0,
			[]ipseckey.Result{{Command: "add", OK: true, Line: 1, Answers: answer("ADD")}}},
		"delete": {start{args: []string{"-n", "--json", "delete", "esp", "spi", "1", "dst", "192.0.2.1"}}, 0,
			[]ipseckey.Result{{Command: "delete", OK: true, Answers: answer("DELETE")}}},
		"flush": {start{args: []string{"--json", "flush"}}, 0,
			[]ipseckey.Result{{Command: "flush", OK: true, Answers: all}}},
		"get fails": {start{args: []string{"-n", "--json", "get", "esp", "dst", "192.0.2.1"}}, 1,
			[]ipseckey.Result{{Command: "get", Messages: []string{"Need SA parameters for get."}}}},
		"unknown": {start{args: []string{"--json", "frob"}}, 1,
			[]ipseckey.Result{{Command: "frob", Messages: []string{"ipseckey: Unknown command (frob)."}}}},
		"add once": {start{args: []string{"--json", "add"}}, 1,
			[]ipseckey.Result{{Command: "add",
				Messages: []string{"ipseckey: can't do ADD or UPDATE from the command line."}}}},
		"silence": {start{args: []string{"--json", "flush"}, answer: silence}, 1,
			[]ipseckey.Result{{Command: "flush",
				Messages: []string{"ipseckey: Reply message from PF_KEY timed out."}}}},
		"save": {start{args: []string{"--json", "save", "all", "out"}, answer: dumps(benchSA())}, 0,
			[]ipseckey.Result{{Command: "save", OK: true, Saved: one(1)}}},
		"refused": {start{args: []string{"-n", "--json"}, stdin: "\n" + add + "\n", answer: refuse(22, 45)}, 1,
			[]ipseckey.Result{{Command: "add", Line: 2, Answers: refused,
				Messages: []string{"PF_KEY Diagnostic code 45: Bad number of encryption bits."}}}},
		"file": {start{args: []string{"-n", "--json", "-f", "in"}, file: "flush\nfrob\n"}, 1, []ipseckey.Result{
			{Command: "flush", OK: true, Line: 1, Answers: all},
			{Command: "frob", Line: 2, Messages: []string{"ipseckey: Unknown command (frob)."}},
			{Command: "file", File: "in", Done: one(1), Failed: one(1), FailedLines: []int{2}},
		}},
		"good file": {start{args: []string{"-n", "--json", "-f", "in"}, file: "flush\n"}, 0, []ipseckey.Result{
			{Command: "flush", OK: true, Line: 1, Answers: all}, {Command: "file", OK: true, File: "in", Done: one(1),
				Failed: one(0)},
		}},
	} {
		r := c.start.run(t)
		if diff := cmp.Diff(c.want, results(t, r.stdout)); r.exit != c.exit || diff != "" {
			t.Errorf("%s: exit %d (-want +got):\n%s", name, r.exit, diff)
		}
		if strings.Contains(r.stdout+r.stderr, key128[:6]) {
			t.Errorf("%s: a key is shown: %q %q", name, r.stdout, r.stderr)
		}
	}
	// What is for people only goes to standard error.
	r := start{args: []string{"--json", "-v", "-s", "out"}, answer: dumps(benchSA()),
		env: map[string]string{"SMF_FMRI": "x"}}.run(t)
	if diff := cmp.Diff([]ipseckey.Result{{Command: "save", OK: true, Saved: one(1)}},
		results(t, r.stdout)); diff != "" || !strings.Contains(r.stderr, "VERBOSE ON") {
		t.Errorf("-v -s: %q (-want +got):\n%s", r.stderr, diff)
	}
	if r := (start{args: []string{"--json", "help", "dump"}}).run(t); !strings.HasPrefix(r.stdout,
		`{"help":"dump","text":"dump - Display all SAs`) || r.exit != 0 {
		t.Errorf("help: %q", r.stdout)
	}
	if r := (start{args: []string{"--json", "dump"}, answer: refuse(22, 4)}).run(t); r.exit != 1 ||
		!strings.Contains(r.stdout, `"command":"dump","ok":false`) {
		t.Errorf("dump: %q", r.stdout)
	}
}

// TestRefusals says on a terminal what an errno and a diagnostic mean, marks the words they are about, and leaves the
// text of the original in front.
func TestRefusals(t *testing.T) {
	const add = "add esp spi 0x1000 replay 32 src 192.0.2.10 dst 198.51.100.20 encr_alg aes encrkey " + key128 +
		" auth_alg sha1 authkey 00 " +
		"soft_addtime 5 hard_addtime 44 state dying pair-spi 7 inbound isrc 10.0.0.0/8 idst 10.1.0.0/16"
	tty := ipseckey.Terminal{Stderr: true}
	for diagnostic, marked := range map[uint16]string{
		8: "src 192.0.2.10", 13: "dst 198.51.100.20", 16: "soft_addtime 5 hard_addtime 44",
		20: "spi 0x1000 replay 32 encr_alg aes auth_alg sha1 state dying inbound",
		22: "authkey XX", 40: "auth_alg sha1", 41: "encr_alg aes", 43: "state dying",
		45: "encrkey " + strings.Repeat("X", 32), 64: "isrc 10.0.0.0/8",
		67: "isrc 10.0.0.0/8 idst 10.1.0.0/16", 76: "pair-spi 7", 77: "inbound", 1: "add", 52: "add", 200: "add",
	} {
		r := start{args: []string{"-n"}, stdin: add + "\n", answer: refuse(22, diagnostic), terminal: tty}.run(t)
		plain := start{args: []string{"-n"}, stdin: add + "\n", answer: refuse(22, diagnostic)}.run(t)
		if !strings.HasPrefix(r.stderr, plain.stderr) || len(r.stderr) == len(plain.stderr) {
			t.Errorf("%d: %q does not begin with %q", diagnostic, r.stderr, plain.stderr)
			continue
		}
		lines := strings.Split(strings.TrimPrefix(r.stderr, plain.stderr), "\n")
		if len(lines) < 4 {
			t.Errorf("%d: %q", diagnostic, lines)
			continue
		}
		var words []string
		for _, w := range strings.Fields(lines[0]) {
			if at := strings.Index(lines[0], " "+w+" "); at >= 0 && at+1 < len(lines[1]) && lines[1][at+1] == '^' ||
				strings.HasSuffix(lines[0], " "+w) && len(lines[1]) == len(lines[0]) {
				words = append(words, w)
			}
		}
		if got := strings.Join(words, " "); got != marked {
			t.Errorf("%d: marked %q, want %q\n%s\n%s", diagnostic, got, marked, lines[0], lines[1])
		}
		if !strings.Contains(r.stderr,
			"EINVAL: the engine does not accept the request as it is (RFC 2367 section 3.1.3)\n") {
			t.Errorf("%d: %q", diagnostic, r.stderr)
		}
	}
	for diagnostic := uint16(1); diagnostic < 87; diagnostic++ {
		r := start{args: []string{"-n"}, stdin: add + "\n", answer: refuse(22, diagnostic), terminal: tty}.run(t)
		if want := "diagnostic " + little.DiagnosticName(diagnostic) + ": "; !strings.Contains(r.stderr, want) {
			t.Errorf("no %q in %q", want, r.stderr)
		}
	}
	for _, c := range []struct {
		args  []string
		errno uint8
		want  string
	}{
		{[]string{"flush"}, 1,
			"ipseckey: return message (in doflush): Not owner\nipseckey: Fatal error - exiting.\n    flush\n    ^^^^^\n    EPERM: only a privileged user may do this (RFC 2367 section 3.1.9)\n"},
		{[]string{"dump", "ah"}, 12,
			"Fatal error - exiting.\n    dump ah\n    ^^^^\n    ENOMEM: the engine is out of memory (RFC 2367 section 3.1.10)\n"},
		{[]string{"-s", "out"}, 12,
			"Fatal error - exiting.\n    ENOMEM: the engine is out of memory (RFC 2367 section 3.1.10)\n"},
		{[]string{"delete", "esp", "spi", "1"}, 22,
			"Fatal error - exiting.\n    delete esp spi 1\n    ^^^^^^\n    EINVAL"},
		{[]string{"get", "esp", "spi", "1", "dst", "192.0.2.1"}, 3,
			"does not exist.\n\nipseckey: Fatal error - exiting.\n    get esp spi 1 dst 192.0.2.1\n    ^^^\n    ESRCH: there is no such SA"},
		{[]string{"get", "esp", "spi", "1", "dst", "192.0.2.1"}, 12,
			"Not enough space\nipseckey: Fatal error - exiting.\n    get esp spi 1 dst 192.0.2.1\n    ^^^\n    ENOMEM"},
	} {
		if r := (start{args: c.args, answer: refuse(c.errno, 0), terminal: tty}).run(t); !strings.Contains(r.stderr,
			c.want) {
			t.Errorf("%q: no %q in %q", c.args, c.want, r.stderr)
		}
	}
}

// TestTable shows the SAs of a dump in columns, on a terminal only, and the colours of a listing.
func TestTable(t *testing.T) {
	sa := benchSA()
	r := start{args: []string{"-n", "dump"}, answer: dumps(sa), terminal: ipseckey.Terminal{Stdout: true}}.run(t)
	plain := start{args: []string{"-n", "dump"}, answer: dumps(sa)}.run(t)
	const table = "\nSPI         TYPE    STATE   DIR  SOURCE      DESTINATION    ALGORITHMS           LEFT\n" +
		"0x1a2b3c4d  unspec  mature  out  192.0.2.10  198.51.100.20  aes-cbc hmac-sha256  expired\n"
	if r.stdout != plain.stdout+table {
		t.Errorf("%q", strings.TrimPrefix(r.stdout, plain.stdout))
	}
	coloured := start{args: []string{"-n", "dump"}, answer: dumps(sa), terminal: ipseckey.Terminal{Stdout: true},
		colour: true}.run(t)
	for _, want := range []string{"\x1b[1mBase message", "\x1b[36mSA:\x1b[0m flags=", "\x1b[36m LT:\x1b[0m "} {
		if !strings.Contains(coloured.stdout, want) {
			t.Errorf("no %q in %q", want, coloured.stdout)
		}
	}
	bare := coloured.stdout
	for _, c := range []string{"0", "1", "36", "31"} {
		bare = strings.ReplaceAll(bare, "\x1b["+c+"m", "")
	}
	if bare != r.stdout {
		t.Errorf("without its colours: %s", cmp.Diff(r.stdout, bare))
	}
	for _, s := range []start{
		{args: []string{"-n", "dump"}, colour: true, env: map[string]string{"TERM": "dumb"},
			terminal: ipseckey.Terminal{Stdout: true}},
		{args: []string{"--compat", "-n", "dump"}, colour: true, terminal: ipseckey.Terminal{Stdout: true}},
		{args: []string{"-n", "dump"}, colour: true},
	} {
		s.answer = dumps(sa)
		if r := s.run(t); strings.Contains(r.stdout, "\x1b") {
			t.Errorf("%q: colours", s.args)
		}
	}
}

// TestForeign lists and saves what an engine of Linux says beyond the RFC.
func TestForeign(t *testing.T) {
	d := wire.Linux().WithOrder(little.Order)
	sa := d.AppendSA(nil, wire.SA{SPI: 0x1000, State: wire.StateMature, Auth: 3, Encrypt: 13,
		Flags: wire.LinuxFlagNoECN})
	sa = d.AppendAddress(sa, wire.ExtAddressSrc, wire.Address{Addr: mustAddr("192.0.2.1"), PrefixLen: 32})
	sa = d.AppendAddress(sa, wire.ExtAddressDst, wire.Address{Addr: mustAddr("192.0.2.2"), PrefixLen: 32})
	sa = d.AppendSA2(sa, wire.SA2{Mode: 2, ReqID: 7})
	sa = d.AppendNATTPort(sa, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: 4500})
	oa := d.AppendAddress(nil, wire.KAMEExtXNATTOA, wire.Address{Addr: mustAddr("192.0.2.3")})
	sa = append(sa, oa...)
	answer := func(h wire.Header, m []byte) [][]byte {
		h.Seq = 0
		return [][]byte{d.Finish(append(d.AppendHeader(nil, h), sa...))}
	}
	r := start{args: []string{"-n", "dump"}, dialect: d, answer: answer}.run(t)
	const want = "SA: Encryption algorithm = aes-ctr\nSA: flags=0x80000000 < NOECN >\n"
	const exts = "EXT: X_SA2\nEXT: mode = 2 (tunnel)\nEXT: sequence = 0\nEXT: reqid = 7\n" +
		"EXT: X_NAT_T_SPORT\nEXT: port = 4500\nEXT: X_NAT_T_OA\n"
	if r.exit != 0 || !strings.Contains(r.stdout, want) || !strings.Contains(r.stdout, exts) || r.stderr != "" {
		t.Errorf("exit %d, %q %q", r.exit, r.stdout, r.stderr)
	}
	r = start{args: []string{"-s", "-"}, dialect: d, answer: answer}.run(t)
	if !strings.Contains(r.stdout, "# WARNING: not saved: X_NAT_T_OA.\n"+
		"add all  \\\n    spi 0x1000 encr_alg aes-ctr auth_alg hmac-sha1 replay 0  \\\n") ||
		!strings.Contains(r.stdout, "    mode tunnel reqid 7 \\\n    nat_sport 4500 \\\n") {
		t.Errorf("exit %d, %q %q", r.exit, r.stdout, r.stderr)
	}
	// Both lifetimes or none, and always a source.
	r = start{args: []string{"-n"}, dialect: d, stdin: "add esp spi 1" + addTail +
		" hard_addtime 9\ndelete esp spi 1 dst 2001:db8::1\n"}.run(t)
	if len(r.sent) != 2 {
		t.Fatalf("%d sent, %q", len(r.sent), r.stderr)
	}
	if x, ok := d.Find(r.sent[0], wire.ExtLifetimeSoft); !ok || d.Validate(r.sent[0]) != nil {
		t.Errorf("%v", x)
	}
	x, _ := d.Find(r.sent[1], wire.ExtAddressSrc)
	if a, err := d.ParseAddress(x.Raw); err != nil || a.Addr != mustAddr("::") {
		t.Errorf("%v, %v", a, err)
	}
	r = start{
		args: []string{"-n"}, dialect: d, stdin: "update ah spi 1 dst 192.0.2.1 auth_alg hmac-md5\n",
		terminal: ipseckey.Terminal{Stderr: true},
		answer: func(h wire.Header, _ []byte) [][]byte {
			h.Len, h.Errno = 2, d.ErrnoNumber(wire.EINVAL)
			return [][]byte{d.AppendHeader(nil, h)}
		},
	}.run(t)
	if !strings.Contains(r.stderr, "Perhaps because there is no authkey") {
		t.Errorf("%q", r.stderr)
	}
}
