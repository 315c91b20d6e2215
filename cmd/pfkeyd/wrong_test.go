package main_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	injectcli "github.com/pfkeyd/pfkeyd/cmd/ipsecinject/cli"
	keycli "github.com/pfkeyd/pfkeyd/cmd/ipseckey/cli"
	"github.com/pfkeyd/pfkeyd/cmd/pfkeyd/cli"
)

// insideWords are what only who has written a program understands: names of its packages, words of its libraries.
var insideWords = regexp.MustCompile(`(?m)(?:^|[ (])(?:pfkey|kernel|control|packetport|launch|` +
	`pfkeyd conform: conform|racelab|hostile|trace|engine|wire|ipsec|sadb|ipseckey: ipseckey|json|time): ` +
	`|strconv|https?://|context (?:deadline|canceled)|exit status|Get "|dial unix|connect: ` +
	`|invalid syntax|%!|<nil>|goroutine|flag:|arg\(s\)|parsing ` +
	`|unmarshal|EOF|\bnil\b|netip|unixpacket|@->`)

// inProcess runs a command line as main would; one that has ended is interrupted before it begins.
func inProcess(t *testing.T, ended bool, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	if ended {
		cancel() // what would go on for ever does not begin
	}
	defer cancel()
	var out, errs bytes.Buffer
	switch args[0] {
	case "pfkeyd":
		code = cli.Run(ctx, args[1:], strings.NewReader(""), &out, &errs)
	case "ipsecinject":
		code = injectcli.Run(ctx, args[1:], strings.NewReader(""), &out, &errs)
	case "ipseckey":
		code = keycli.Run(t.Context(), args[1:], strings.NewReader(""), &out, &errs)
	default:
		t.Fatalf("no command %q", args[0])
	}
	return code, out.String(), errs.String()
}

// elsewhere has the test work in an empty directory where no engine runs.
func elsewhere(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	t.Setenv("PFKEY_ENGINE", "")
}

// Whatever is wrong with a command line, the message says what in words of its user, and the exit code is the one that
// is promised.
func TestWrongUsage(t *testing.T) {
	elsewhere(t)
	if err := os.WriteFile("text", []byte("something else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		line string
		code int
		says string
	}{
		{"pfkeyd stauts", 2, `has no command "stauts"; did you mean "status"?`},
		{"pfkeyd 000102030405060708090a0b0c0d0e0f", 2, "pfkeyd: no such command"},
		{"pfkeyd status foo", 2, "pfkeyd status takes no arguments, there is 1"},
		{"pfkeyd status --engin x", 2, `unknown option --engin; did you mean "--engine"?`},
		{"pfkeyd status -q", 2, "unknown option -q"},
		{"pfkeyd status --sas x", 2, `--sas "x": a whole number is wanted`},
		{"pfkeyd status --sas 99999999999999999999", 2, "too large"},
		{"pfkeyd status --sas", 2, "option --sas needs a value"},
		{"pfkeyd status --sas -1", 2, "--sas -1"},
		{"pfkeyd status --wait soon", 2, "a time is wanted, such as"},
		{"pfkeyd status --wait -1s", 2, "--wait -1s"},
		{"pfkeyd status --color maybe", 2, "auto, always or never"},
		{"pfkeyd status --engine foo", 2, `"foo" is neither KERNEL:PATH nor`},
		{"pfkeyd serve --kernel xfrm --clock virtual", 2, "the time of kernel xfrm is this machine's"},
		{"pfkeyd serve --kernel xfrm --fault larval-unlocked", 2, "--fault: kernel xfrm"},
		{"pfkeyd serve --kernel xfrm --addr 192.0.2.1", 2, "--addr: the addresses"},
		{"pfkeyd serve --kernel xfrm --policy text", 2, "--policy: kernel xfrm"},
		{"pfkeyd serve --kernel xfrm --tun tun0", 2, "the packets of kernel xfrm"},
		{"pfkeyd serve --kernel xfrm --pcap out.pcapng", 2, "the packets of kernel xfrm"},
		{"pfkeyd run --kernel xfrm --udp-encap -- true", 2, "--udp-encap: kernel xfrm"},
		{"pfkeyd run --engine xfrm:/nowhere --udp-encap -- true", 2, "--udp-encap: kernel xfrm"},
		{"pfkeyd clock --engine foo", 2, `"foo" is neither KERNEL:PATH nor`},
		{"pfkeyd run --engine foo -- true", 2, `"foo" is neither KERNEL:PATH nor`},
		{"pfkeyd conform --kernel linux --against xfrm:/nowhere", 2, "removes all SAs and policies of this machine"},
		{"pfkeyd record --against xfrm:/nowhere --random 9", 2, "removes all SAs and policies of this machine"},
		{"pfkeyd record --against xfrm:/nowhere --flush-this-host --random 9", 3, "no engine"},
		{"pfkeyd record --kernel xfrm --against linux:/nowhere --random 9", 2, "--against is for another one"},
		{"pfkeyd conform --against foo", 2, `"foo" is neither KERNEL:PATH nor`},
		{"pfkeyd record --against foo x", 2, `"foo" is neither KERNEL:PATH nor`},
		{"pfkeyd headers include", 2, "--kernel NAME is needed: freebsd, linux, netbsd, openbsd"},
		{"pfkeyd headers --kernel netbsd", 2, "one directory is wanted, there are 0"},
		{"pfkeyd headers --kernel plan9 include", 2, `--kernel "plan9": freebsd, linux, netbsd, openbsd`},
		{"pfkeyd headers --kernel illumos include", 2, "no headers of illumos, only of freebsd, linux, netbsd, openbsd"},
		{"pfkeyd headers --kernel netbsd text", 1, "text"},
		{"pfkeyd run --hosted --kernel illumos -- true", 2, "a sockaddr_in6 has 32 bytes on illumos, and 28 on linux"},
		{"pfkeyd run --hosted --engine illumos:/nonexistent/e -- true", 2, "a sockaddr_in6 has 32 bytes on illumos"},
		{"ipsecinject watch --engine foo", 2, `"foo" is neither KERNEL:PATH nor`},
		{"PFKEY_ENGINE=foo pfkeyd status", 2, "environment variable PFKEY_ENGINE"},
		{"PFKEY_ENGINE=foo pfkeyd clock +1s", 2, "environment variable PFKEY_ENGINE"},
		{"PFKEY_ENGINE=foo ipsecinject watch", 2, "environment variable PFKEY_ENGINE"},
		{"pfkeyd status --engine plan9:/x", 2, `unknown kernel "plan9"`},
		{"ipsecinject watch --engine plan9:/x", 2, `unknown kernel "plan9"`},
		{"pfkeyd run --engine plan9:/x -- true", 2, `unknown kernel "plan9"`},
		{"pfkeyd status --engine linux:/nonexistent/e", 3,
			"no engine at linux:/nonexistent/e: no such file or directory"},
		{"pfkeyd clock +1s --engine linux:/nonexistent/e", 3,
			"no engine at linux:/nonexistent/e: no such file or directory"},
		{"ipsecinject watch --engine linux:/nonexistent/e", 3,
			"no engine at linux:/nonexistent/e: no such file or directory"},
		{"ipsecinject send --engine linux:/nonexistent/e --src 192.0.2.1 --dst 192.0.2.2 --spi 7", 3,
			"no engine at linux:/nonexistent/e"},
		{"pfkeyd run --engine linux:/nonexistent/e -- true", 3, "no engine"},
		{"pfkeyd status", 3, "--engine"},
		{"ipsecinject watch", 3, "--engine"},
		{"pfkeyd status --engine linux:text", 3, "text"},
		{"pfkeyd help foo", 2, `has no command "foo"`},
		{"pfkeyd help statsu", 2, `did you mean "status"?`},
		{"ipsecinject help rac", 2, `did you mean "race"?`},
		{"pfkeyd completion basj", 2, `did you mean "bash"?`},
		{"pfkeyd clock 8h", 2, "such as +90s or +8h"},
		{"pfkeyd clock +1h +2h", 2, "at most 1 argument, there are 2"},
		{"pfkeyd serve --addr=", 2, "--addr"},
		{"pfkeyd serve --addr 1.2.3", 2, `--addr "1.2.3": not an IP address`},
		{"pfkeyd serve --socket=", 2, "--socket"},
		{"pfkeyd serve --kernel linx", 2, "illumos, linux"},
		{"pfkeyd serve --ready-fd 99", 2, "--ready-fd 99"},
		{"pfkeyd serve --ready-fd -7", 2, "--ready-fd -7"},
		{"pfkeyd serve --policy nofile", 2, "nofile: no such file"},
		{"pfkeyd serve --policy text", 2, "text:1"},
		{"pfkeyd serve --kernel linux --policy text", 2, "text:1"},
		{"pfkeyd serve --hostile text", 2, "text"},
		{"pfkeyd serve --fault x", 2, "larval-unlocked"},
		{"pfkeyd demo --fault x", 2, "larval-unlocked"},
		{"pfkeyd conform /nofile", 2, "/nofile: no such file"},
		{"pfkeyd conform --kernel linx", 2, "linx"},
		{"pfkeyd conform --run (", 2, "--run"},
		{"pfkeyd conform text", 2, "text"},
		{"pfkeyd conform --fault x", 2, "larval-unlocked"},
		{"pfkeyd record --against linux:/nonexistent/e /nofile", 2, "/nofile: no such file"},
		{"pfkeyd record text", 2, "--against"},
		{"ipsecinject", 2, "which command?"},
		{"ipsecinject sned", 2, `did you mean "send"?`},
		{"ipsecinject send 000102030405060708090a0b0c0d0e0f", 2, "takes no arguments, there is 1"},
		{"ipsecinject send --spi x --src 192.0.2.1 --dst 192.0.2.2", 2, "--spi"},
		{"ipsecinject send --src x --dst 192.0.2.2 --spi 7", 2, "--src"},
		{"ipsecinject send --wait 5", 2, "a time is wanted"},
		{"ipsecinject watch --count -1", 2, "--count"},
		{"ipsecinject send --count 0 --src 192.0.2.1 --dst 192.0.2.2 --spi 7", 2, "nothing to send"},
		{"ipsecinject race --arrivals 0", 2, "--arrivals 0"},
		{"ipsecinject race --trials 0", 2, "--trials"},
		{"ipsecinject race --replay x", 2, "VARIANT/ENDING/SCHEDULE"},
		{"ipsecinject race --replay a/b/c", 2, ""},
		{"ipsecinject race --fault x", 2, "larval-unlocked"},
		{"ipsecinject pcap", 2, ""},
		{"ipsecinject pcap nofile --engine linux:/nonexistent/e", 2, "nofile"},
		{"ipsecinject pcap text --engine linux:/nonexistent/e", 2, "text"},
		{"ipseckey --engine foo dump", 1, `"foo" is neither KERNEL:PATH nor`},
		{"PFKEY_ENGINE=foo ipseckey dump", 1, "environment variable PFKEY_ENGINE"},
		{"ipseckey --engine linux:/nonexistent/e dump", 3, "no engine at linux:/nonexistent/e"},
		{"ipseckey --engine linux:text dump", 3, "text"},
		{"ipseckey dump", 3, "--engine"},
		{"ipseckey --kernel linx help", 1, `"linx"`},
		{"ipseckey --jsn dump", 1, `did you mean "--json"?`},
		{"ipseckey --compat=nothing dump", 1, `"nothing"`},
		{"ipseckey explain text", 1, "text"},
		{"ipseckey completion cmd", 1, "cmd"},
	} {
		t.Run(tt.line, func(t *testing.T) {
			words := strings.Fields(tt.line)
			if value, ok := strings.CutPrefix(words[0], "PFKEY_ENGINE="); ok {
				t.Setenv("PFKEY_ENGINE", value)
				words = words[1:]
			}
			code, _, stderr := inProcess(t, false, words...)
			if code != tt.code || !strings.Contains(stderr, tt.says) {
				t.Errorf("exit %d, want %d and %q:\n%s", code, tt.code, tt.says, stderr)
			}
			checkWords(t, stderr)
		})
	}
}

// checkWords looks for what no message may have.
func checkWords(t *testing.T, text string) {
	t.Helper()
	if found := insideWords.FindString(text); found != "" {
		t.Errorf("%q is no word for a user:\n%s", found, text)
	}
	if text == "" {
		t.Error("nothing was said")
	}
}

// option is a line of the help that tells of an option with a value.
var option = regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z-]+) ([A-Za-z][A-Za-z:]*)(?: |$)`)

// Every option of every command, with nothing, something absurd and no value.
func TestWrongValues(t *testing.T) {
	elsewhere(t)
	for _, program := range []string{"pfkeyd", "ipsecinject"} {
		_, help, _ := inProcess(t, true, program, "--help")
		_, list, _ := strings.Cut(help, "Available Commands:")
		list, _, _ = strings.Cut(list, "Flags:")
		tried := 0
		for row := range strings.Lines(list) {
			if strings.TrimSpace(row) == "" {
				continue
			}
			command := strings.Fields(row)[0]
			_, help, _ := inProcess(t, true, program, command, "--help")
			for line := range strings.Lines(help) {
				if len(line) > 81 {
					t.Errorf("%s %s --help: %d columns: %s", program, command, len(line)-1, line)
				}
			}
			for _, m := range option.FindAllStringSubmatch(help, -1) {
				for _, value := range []string{
					"", "?!", "-1", "99999999999999999999", filepath.Join("no", "such", "file"),
				} {
					code, _, stderr := inProcess(t, true, program, command, "--"+m[1]+"="+value)
					tried++
					if found := insideWords.FindString(stderr); found != "" {
						t.Errorf("%s %s --%s=%s: exit %d: %q is no word for a user:\n%s",
							program, command, m[1], value, code, found, stderr)
					}
				}
				code, _, stderr := inProcess(t, true, program, command, "--"+m[1])
				if code != 2 || !strings.Contains(stderr, "needs a value") {
					t.Errorf("%s %s --%s: exit %d\n%s", program, command, m[1], code, stderr)
				}
			}
		}
		if tried < 50 {
			t.Errorf("%s: only %d options were tried", program, tried)
		}
	}
}
