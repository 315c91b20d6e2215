package ipseckey_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/ipseckey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// typist is a line editor whose user types lines, and remembers what it was asked and offered.
type typist struct {
	lines     []string
	ask       func(prompt string, complete ipseckey.Completer)
	history   []string
	safe      []string
	abandoned int // index of a line that is given up
}

func (e *typist) ReadLine(prompt string, complete ipseckey.Completer) (string, error) {
	if e.ask != nil {
		e.ask(prompt, complete)
	}
	if len(e.lines) == 0 {
		return "", io.EOF
	}
	line := e.lines[0]
	e.lines = e.lines[1:]
	if e.abandoned--; e.abandoned == 0 {
		return "", ipseckey.ErrAbandoned
	}
	return line, nil
}

func (e *typist) Remember(line, safe string) {
	e.history, e.safe = append(e.history, line), append(e.safe, safe)
}

// atPrompt runs the command on a terminal with this editor.
func (s start) atPrompt(t *testing.T, e *typist) ran {
	s.terminal = ipseckey.Terminal{Stdin: true, Stdout: true, Stderr: true}
	s.more = func(p *ipseckey.Program) { p.Editor = e }
	return s.run(t)
}

// TestComplete offers what the grammar takes, and nothing else. "|" is where the cursor is.
func TestComplete(t *testing.T) {
	const add = "add esp spi 1 "
	for _, c := range []struct {
		line     string
		contains string // words that are offered
		without  string // and that are not
	}{
		{"|", "add delete delete-pair dump exit explain flush get getspi help monitor quit save update", "?"},
		{"de|", "delete delete-pair", "dump"},
		{"help |", "add attr getspi", ""},
		{"add |", "ah esp", "all spi"},
		{"flush |", "ah all esp", ""},
		{"save |", "ah all esp", ""},
		{"flush esp |", "", "esp spi"},
		{"add esp |",
			"spi src dst encr_alg auth_alg encrkey authkey inbound outbound hard_addtime encap pair-spi state",
			"saddr flags spi-min authalg dpd"},
		{"add esp s|", "spi src saddr srcaddr src6 sport state soft_addtime srcidtype", "sens_level dst"},
		{"add ah |", "auth_alg authkey", "encr_alg encrkey reserved_bits"},
		{"update-pair esp |", "spi", "pair-spi"},
		{add + "|", "src", "spi"},
		{add + "src |", "", "src dst"},
		{add + "src 192.0.2.1 |", "dst", "src src6 saddr"},
		{add + "encr_alg |", "aes aes-cbc 3des null", "any aes-ctr hmac-md5"},
		{add + "auth_alg sh|", "sha sha1 sha256", "hmac-md5"},
		{add + "state |", "mature dying dead", "larval"},
		{add + "encap |", "udp", ""},
		{add + "srcidtype |", "fqdn prefix user_fqdn", ""},
		{add + "srcidtype fqdn |", "", "fqdn spi"},
		{add + "srcidtype fqdn west |", "dstidtype", "srcidtype"},
		{add + "hard_addtime 3 hard_|", "hard_bytes hard_usetime", "hard_addtime"},
		{add + "inbound |", "outbound", "inbound"},
		{add + "bogus |", "src", "spi"},
		{"get esp |", "spi src dst inbound dport proto", "encrkey replay"},
		{"getspi |", "ah esp src dst spi-min spi-max", "spi"},
		{"getspi esp spi-min 5 |", "src dst spi-max", "spi-min esp"},
		{"completion |", "bash zsh fish", ""},
		{"# |", "", "add"},
		{"frob |", "", "esp"},
		{`add esp srcidtype fqdn "a |`, "", "spi"},
		{"add es| spi 1", "esp", "ah"},
	} {
		at := strings.IndexByte(c.line, '|')
		line := strings.Replace(c.line, "|", "", 1)
		var got []string
		start{args: []string{"-n"}}.atPrompt(t, &typist{ask: func(_ string, complete ipseckey.Completer) {
			var from int
			from, got = complete(line, at)
			if from > at || from < 0 || strings.ContainsAny(line[from:at], " ") {
				t.Errorf("%q: from %d", c.line, from)
			}
		}})
		for _, w := range strings.Fields(c.contains) {
			if !slices.Contains(got, w) {
				t.Errorf("%q: %q is not offered, %q", c.line, w, got)
			}
		}
		for _, w := range strings.Fields(c.without) {
			if slices.Contains(got, w) {
				t.Errorf("%q: %q is offered", c.line, w)
			}
		}
	}
}

// TestCompleteSupported offers the algorithms of the engine.
func TestCompleteSupported(t *testing.T) {
	var got []string
	e := &typist{ask: func(_ string, complete ipseckey.Completer) { _, got = complete("add esp encr_alg ", 17) }}
	s := start{terminal: ipseckey.Terminal{Stdin: true, Stdout: true}, more: func(p *ipseckey.Program) {
		p.Editor = e
		p.Supported = func(context.Context, string, wire.SAType) (ipseckey.Supported, error) {
			return ipseckey.Supported{Encrypt: []wire.AlgID{3}, Auth: []wire.AlgID{2}}, nil
		}
	}}
	s.run(t)
	if want := []string{"3des-cbc", "3des", "null"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestPrompt joins lines, gives lines up, and keeps keys out of what is remembered for longer.
func TestPrompt(t *testing.T) {
	var prompts []string
	e := &typist{
		lines: []string{"add esp spi 1 dst 192.0.2.1 \\", " encr_alg aes encrkey " + key128, "flush \\", "given up",
			"", "# comment", "help quit"},
		ask:       func(p string, _ ipseckey.Completer) { prompts = append(prompts, p) },
		abandoned: 4,
	}
	r := start{args: []string{"-n"}}.atPrompt(t, e)
	if r.exit != 0 || len(r.sent) != 1 || !strings.Contains(r.stdout, "quit, exit - Exit the program\n") {
		t.Errorf("exit %d, %d sent, %q %q", r.exit, len(r.sent), r.stdout, r.stderr)
	}
	const p, more = "ipseckey> ", "        > "
	if want := []string{p, more, p, more, p, p, p, p}; !slices.Equal(prompts, want) {
		t.Errorf("prompts %q", prompts)
	}
	line := "add esp spi 1 dst 192.0.2.1 encr_alg aes encrkey "
	if want := []string{line + key128, "help quit"}; !slices.Equal(e.history, want) {
		t.Errorf("history %q", e.history)
	}
	if want := []string{line + strings.Repeat("X", 32), "help quit"}; !slices.Equal(e.safe, want) {
		t.Errorf("kept %q", e.safe)
	}
	// The original completes nothing and keeps nothing.
	e = &typist{lines: []string{"flush"}, ask: func(_ string, complete ipseckey.Completer) {
		if complete != nil {
			t.Error("--compat completes")
		}
	}}
	start{args: []string{"--compat"}}.atPrompt(t, e)
	if !slices.Equal(e.history, []string{"flush"}) || !slices.Equal(e.safe, []string{""}) {
		t.Errorf("--compat: %q %q", e.history, e.safe)
	}
}

// TestCompletionScripts tries the completions of each shell that is here, and looks for every command and option in
// all.
func TestCompletionScripts(t *testing.T) {
	help := start{args: []string{"--help"}}.run(t).stdout
	for _, shell := range []string{"bash", "zsh", "fish"} {
		r := start{args: []string{"completion", shell}}.run(t)
		if r.exit != 0 || len(r.sent) != 0 {
			t.Fatalf("%s: exit %d, %q", shell, r.exit, r.stderr)
		}
		for _, w := range []string{"delete", "delete-pair", "get", "flush", "dump", "save", "monitor", "pmonitor",
			"passive_monitor", "help", "getspi",
			"explain", "completion", "engine", "kernel", "color", "version", "json", "show-keys", "compat"} {
			if !regexp.MustCompile(`[ '-]` + w + `\b`).MatchString(r.stdout) {
				t.Errorf("%s: no %q", shell, w)
			}
			if !strings.Contains(help, w) {
				t.Errorf("help does not tell of %q", w)
			}
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Logf("%s is not here to try its completions", shell)
			continue
		}
		script := filepath.Join(t.TempDir(), "completion")
		if err := os.WriteFile(script, []byte(r.stdout), 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(path, "-n", script).CombinedOutput(); err != nil {
			t.Errorf("%s -n: %v %s", shell, err, out)
		}
		if shell != "bash" {
			continue
		}
		for words, want := range map[string]string{
			"ipseckey ":                       "completion delete delete-pair dump explain flush get getspi help monitor passive_monitor pmonitor save",
			"ipseckey du":                     "dump",
			"ipseckey -n --kernel linux flu":  "flush",
			"ipseckey flush ":                 "ah all esp",
			"ipseckey flush esp ":             "",
			"ipseckey --j":                    "--json",
			"ipseckey --kernel i":             "illumos",
			"ipseckey get esp in":             "inbound",
			"ipseckey completion ":            "bash fish zsh",
			"ipseckey --engine illumos:x del": "delete delete-pair",
			"ipseckey help at":                "attr",
		} {
			list := strings.Split(words, " ")
			quoted := "'" + strings.Join(list, "' '") + "'"
			out, err := exec.Command(path, "--norc", "-c", "source "+script+"; COMP_WORDS=("+quoted+
				"); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); "+
				`_ipseckey; printf '%s\n' "${COMPREPLY[@]}"`).CombinedOutput()
			got := strings.Fields(string(out))
			slices.Sort(got)
			if err != nil || strings.Join(got, " ") != want {
				t.Errorf("%q: %q, want %q, %v", words, got, want, err)
			}
		}
	}
}

// TestManual looks for every command, keyword, option, quirk and name of JSON in the manual page.
func TestManual(t *testing.T) {
	b, err := os.ReadFile("ipseckey.8")
	if err != nil {
		t.Fatal(err)
	}
	page := strings.ReplaceAll(string(b), `\&`, "")
	has := func(macro, word string) {
		t.Helper()
		if !regexp.MustCompile(`(?m)\b` + macro + `( \S+)*? "?-?` + regexp.QuoteMeta(word) +
			`"?( |$)`).MatchString(page) {
			t.Errorf("the manual has no %s %s", macro, word)
		}
	}
	r := start{args: []string{"--json", "help"}}.run(t)
	names := regexp.MustCompile(`"help":"([^"]+)"`)
	commands := names.FindAllStringSubmatch(r.stdout, -1)
	r = start{args: []string{"--json", "--kernel", "linux", "help", "attr"}}.run(t)
	keywords := names.FindAllStringSubmatch(r.stdout, -1)
	if len(commands) < 19 || len(keywords) < 74 {
		t.Fatalf("%d commands, %d keywords", len(commands), len(keywords))
	}
	for _, m := range commands {
		has("Ic", m[1])
	}
	for _, m := range keywords {
		has("Cm", m[1])
	}
	for _, o := range []string{
		"n", "v", "p", "f", "c", "s", "engine", "kernel", "color", "help", "version", "json", "show-keys", "compat",
	} {
		has("Fl", o)
	}
	for _, q := range ipseckey.Quirks() {
		has("It Li", q.Name)
	}
	for _, w := range []string{"spi-min", "spi-max"} {
		has("Cm", w)
	}
	for _, v := range []any{ipseckey.Record{}, ipseckey.Result{}, ipseckey.Explanation{}, ipseckey.HelpEntry{}} {
		for _, name := range jsonNames(v) {
			has("Li", name)
		}
	}
	for _, code := range []string{"0", "1", "2", "3", "95"} {
		has("It", code)
	}
}

// jsonNames are the names of the members of an object.
func jsonNames(v any) (names []string) {
	for f := range reflect.TypeOf(v).Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		names = append(names, name)
	}
	return names
}
