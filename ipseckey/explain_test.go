package ipseckey_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pfkeyd/pfkeyd/ipseckey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// explainable is a message with what a reader wants explained.
func explainable() []byte {
	m := little.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, SAType: 3, Seq: 7, PID: 4242, Errno: 22,
		Reserved: 45})
	m = little.AppendSA(m, wire.SA{SPI: 0x1000, State: wire.StateMature, Auth: 3, Encrypt: 12,
		Flags: wire.IllumosFlagXInbound})
	m = little.AppendAddress(m, wire.ExtAddressDst, wire.Address{Addr: mustAddr("192.0.2.1")})
	return little.Finish(little.AppendKey(m, wire.ExtKeyEncrypt, wire.Key{Bits: 128, Data: []byte("0123456789abcdef")}))
}

const explained = `ADD, 80 bytes, dialect illumos, little endian
add a new SA, complete with its keys (RFC 2367 section 3.1.3)
EINVAL: the engine does not accept the request as it is (RFC 2367 section 3.1.3)
diagnostic BAD_EKEYBITS: Bad number of encryption bits
  about KEY_ENCRYPT: key of the encryption algorithm, and its salt (RFC 2367 section 2.3.4)

base header, 16 bytes: begins every message (RFC 2367 section 2.1)
      0  02                       version = 2                   of PF_KEY: 2
      1  03                       type = 3 (ADD)                (RFC 2367 section 3.1)
      2  16                       errno = 22 (EINVAL)           0, or why it was refused
      3  03                       satype = 3 (esp)              which database; 0 is all (RFC 2367 section 3.4)
      4  0a 00                    len = 10 (80 bytes)           of the message, in words of 8 bytes
      6  2d 00                    diagnostic = 45 (BAD_EKEYBITS)  with an errno: what exactly is wrong
      8  07 00 00 00              seq = 7                       chosen by whoever asks, the same in the answer
     12  92 10 00 00              pid = 4242                    process that asks, the same in the answer; 0 is the kernel

SA, 16 bytes: the association itself: SPI, state, algorithms, flags (RFC 2367 section 2.3.1)
     16  02 00                    len = 2 (16 bytes)            of the extension, in words of 8 bytes
     18  01 00                    exttype = 1 (SA)              kind of the extension (RFC 2367 section 3.6)
     20  00 00 10 00              spi = 0x1000                  number that packets carry; network order
     24  00                       replay = 0                    size of the replay window in packets; 0 is none
     25  01                       state = 1 (mature)            larval, mature, dying, dead (RFC 2367 section 3.3)
     26  03                       auth = 3 (hmac-sha1)          authentication algorithm; 0 is none (RFC 2367 section 3.5)
     27  0c                       encrypt = 12 (aes-cbc)        encryption algorithm; 0 is none (not in RFC 2367, of illumos)
     28  00 40 00 00              flags = 0x4000 (X_INBOUND)    options of the SA (not in RFC 2367, of illumos)

ADDRESS_DST, 24 bytes: destination of the packets (RFC 2367 section 2.3.3)
     32  03 00                    len = 3 (24 bytes)            of the extension, in words of 8 bytes
     34  06 00                    exttype = 6 (ADDRESS_DST)     kind of the extension (RFC 2367 section 3.6)
     36  00                       proto = 0 (any)               IP protocol that it is for; 0 is any
     37  00                       prefixlen = 0                 leading bits of the address that count
     38  00 00                    reserved = 0                  zero
     40  02 00                    family = 2 (inet)             of the socket address
     42  00 00                    port = 0                      network order; 0 is any
     44  c0 00 02 01              address = 192.0.2.1           network order
     48  00 00 00 00 00 00 00 00  zero = 0000000000000000       the end of a sockaddr_in

KEY_ENCRYPT, 24 bytes: key of the encryption algorithm, and its salt (RFC 2367 section 2.3.4)
     56  03 00                    len = 3 (24 bytes)            of the extension, in words of 8 bytes
     58  09 00                    exttype = 9 (KEY_ENCRYPT)     kind of the extension (RFC 2367 section 3.6)
     60  80 00                    bits = 128                    of the key
     62  00 00                    reserved = 0                  on illumos the salt bits behind the key, else zero
     64  (16 bytes)               key = hidden                  most significant bit first
`

// TestExplain explains a message in every form that it may come in.
func TestExplain(t *testing.T) {
	msg := explainable()
	digits := hex.EncodeToString(msg)
	if r := (start{args: []string{"explain", digits}}).run(t); r.exit != 0 || r.stdout != explained ||
		len(r.sent) != 0 {
		t.Errorf("exit %d, %q (-want +got):\n%s", r.exit, r.stderr, cmp.Diff(explained, r.stdout))
	}
	recording := `{"name":"x","steps":[{"op":"inject","hex":"4500"},{"op":"send","s":"a","hex":"` + digits +
		`","rx":[{"s":"b","hex":"` + digits + `"}]}]}` + "\n"
	own := `{"argv":["flush"],"exchange":[{"sent":null,"replies":["@timeout"]},{"sent":"` + digits + `","replies":["` +
		digits + `","@errno:5"]}]}`
	for name, c := range map[string]struct {
		start start
		n     int
	}{
		"file":      {start{args: []string{"explain", "in"}, file: digits}, 1},
		"stdin":     {start{args: []string{"explain"}, stdin: digits + "\n"}, 1},
		"-":         {start{args: []string{"explain", "-"}, stdin: strings.ToUpper(digits)}, 1},
		"words":     {start{args: []string{"explain", digits[:20], digits[20:]}}, 1},
		"two":       {start{args: []string{"explain"}, stdin: digits + digits}, 2},
		"two apart": {start{args: []string{"explain"}, stdin: digits + "\n\n" + digits}, 2},
		"colons": {start{args: []string{"explain"},
			stdin: strings.TrimSuffix(strings.ReplaceAll(spaced(msg), " ", ":"), ":")}, 1},
		"0x":            {start{args: []string{"explain"}, stdin: "0x" + digits}, 1},
		"hexdump -C":    {start{args: []string{"explain"}, stdin: hex.Dump(msg)}, 1},
		"xxd":           {start{args: []string{"explain"}, stdin: xxd(msg)}, 1},
		"od":            {start{args: []string{"explain"}, stdin: od(msg)}, 1},
		"recording":     {start{args: []string{"explain", "in"}, file: recording + recording}, 4},
		"our recording": {start{args: []string{"explain", "in"}, file: own}, 2},
		"bytes":         {start{args: []string{"explain"}, stdin: string(msg) + string(msg)}, 2},
		"compressed":    {start{args: []string{"explain"}, stdin: zipped(recording)}, 2},
		"prompt":        {start{stdin: "explain " + digits + "\n"}, 1},
		"paranoid":      {start{args: []string{"-p", "--show-keys", "explain", digits}}, 1},
	} {
		r := c.start.run(t)
		if want := strings.TrimSuffix(strings.Repeat(explained+"\n", c.n), "\n"); r.exit != 0 || r.stdout != want {
			t.Errorf("%s: exit %d, %q, %q", name, r.exit, r.stderr, r.stdout)
		}
	}
	if r := (start{args: []string{"explain", "--show-keys", digits}}).run(t); !strings.Contains(r.stdout,
		"30 31 32 33") {
		t.Errorf("--show-keys: %q", r.stdout)
	}
	for args, want := range map[string]string{
		"explain nothing":         "nothing: No such file or directory",
		"explain 020":             "an odd number of hexadecimal digits, 3",
		"--kernel x explain 02":   `no kernel is called "x"`,
		"explain --what 02":       "illegal option -- what",
		"--compat explain 02":     "Unknown command (explain).",
		"completion tcsh":         "say for which shell: bash, zsh, fish",
		"--compat completion zsh": "Unknown command (completion).",
	} {
		if r := (start{args: strings.Fields(args)}).run(t); r.exit != 1 || !strings.Contains(r.stderr+r.stdout, want) {
			t.Errorf("%s: exit %d, %q %q", args, r.exit, r.stderr, r.stdout)
		}
	}
	if r := (start{args: []string{"explain"}, stdin: "\n"}).run(t); r.exit != 1 ||
		!strings.Contains(r.stderr, "nothing to explain") {
		t.Errorf("nothing: exit %d, %q", r.exit, r.stderr)
	}
	if r := (start{args: []string{"explain"}, stdin: "02zz"}).run(t); r.exit != 1 ||
		!strings.Contains(r.stderr, `line 1: 'z' is no hexadecimal digit`) {
		t.Errorf("no digit: exit %d, %q", r.exit, r.stderr)
	}
}

func zipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(text))
	z.Close()
	return b.String()
}

func spaced(b []byte) (s string) {
	for i := range b {
		s += hex.EncodeToString(b[i:i+1]) + " "
	}
	return s
}

func xxd(b []byte) (s string) {
	for i := 0; i < len(b); i += 16 {
		s += hex.EncodeToString([]byte{0, 0, byte(i >> 8), byte(i)}) + ": "
		for j := i; j < min(i+16, len(b)); j += 2 {
			s += hex.EncodeToString(b[j:j+2]) + " "
		}
		s += " ......\n"
	}
	return s
}

func od(b []byte) (s string) {
	for i := 0; i < len(b); i += 16 {
		s += hex.EncodeToString([]byte{0, byte(i >> 8), byte(i)}) + "  " + spaced(b[i:min(i+16, len(b))]) + "\n"
	}
	return s
}

// TestExplainDialects finds the dialect and the byte order by themselves, unless told.
func TestExplainDialects(t *testing.T) {
	for _, d := range wire.Dialects() {
		for _, order := range []string{"little", "big"} {
			dd := d.WithOrder(little.Order)
			if order == "big" {
				dd = d.WithOrder(binary.BigEndian)
			}
			m := dd.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgGet, SAType: 3})
			if d.Name == "openbsd" { // what tells it from NetBSD
				m = dd.AppendFlowProtocol(m, wire.OpenBSDExtXProtocol, wire.FlowProtocol{})
			}
			m = dd.Finish(dd.AppendAddress(m, wire.ExtAddressDst, wire.Address{Addr: mustAddr("2001:db8::1"),
				PrefixLen: 128}))
			r := start{args: []string{"explain", hex.EncodeToString(m)}}.run(t)
			want := fmt.Sprintf("GET, %d bytes, dialect %s, %s endian\n", len(m), d.Name, order)
			if !strings.HasPrefix(r.stdout, want) {
				t.Errorf("want %q, got %q", want, r.stdout)
			}
		}
	}
	m := hex.EncodeToString([]byte{2, 9, 0, 3, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0})
	if r := (start{args: []string{"--kernel=linux", "explain", m}}).run(t); !strings.HasPrefix(r.stdout,
		"FLUSH, 16 bytes, dialect linux, little endian\n") {
		t.Errorf("%q", r.stdout)
	}
}

// TestExplainEverything looks for a meaning and a reference of every field of every message that any kernel is known to
// send or take, and sees that no key is shown.
func TestExplainEverything(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "wire", "testdata", "*.messages"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no messages: %v", err)
	}
	seen := map[string]bool{}
	n := 0
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		kernel := strings.TrimSuffix(filepath.Base(name), ".messages")
		lines := bufio.NewScanner(f)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			fields := strings.Fields(lines.Text())
			if len(fields) < 4 || fields[0] == "#" {
				continue
			}
			r := start{args: []string{"--kernel", kernel, "--json", "explain", fields[3]}}.run(t)
			var e ipseckey.Explanation
			if err := json.Unmarshal([]byte(r.stdout), &e); r.exit != 0 || err != nil {
				t.Fatalf("%s: exit %d, %v, %q", fields[0], r.exit, err, r.stdout)
			}
			n++
			if (e.Meaning == "" || e.Where == "") && e.Record.Broken == "" &&
				!strings.HasPrefix(e.Record.Type, "unknown") {
				t.Errorf("no meaning of %s", e.Record.Type)
			}
			total := 0
			for _, f := range e.Fields {
				total += len(f.Hex) / 2
				what := f.Extension + " " + f.Name
				if seen[what] || f.Problem != "" || strings.HasPrefix(f.Extension, "unknown") || f.Name == "cut" {
					continue
				}
				seen[what] = true
				if f.Meaning == "" && what != "base header type" || f.Where == "" {
					t.Errorf("%s: no meaning of %q, %q", e.Record.Type, what, f.Where)
				}
				if f.Name == "key" && f.Hex != "" {
					t.Errorf("%s: a key is shown", fields[0])
				}
			}
			b, _ := hex.DecodeString(fields[3])
			if total > len(b) || total == 0 {
				t.Errorf("%s: %d bytes explained of %d", fields[0], total, len(b))
			}
		}
	}
	if n < 500 || len(seen) < 150 {
		t.Errorf("%d messages, %d fields", n, len(seen))
	}
}

// FuzzExplain explains anything. It must come to an end, show no key, and say something.
func FuzzExplain(f *testing.F) {
	msg := explainable()
	for _, seed := range [][]byte{msg, []byte(hex.EncodeToString(msg)), []byte(hex.Dump(msg)), []byte(`{"hex":"02"}`),
		[]byte(xxd(msg)), []byte(explained),
		[]byte(
			"\x0a\x0d\x0d\x0a\x1c\x00\x00\x00\x4d\x3c\x2b\x1a\x01\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff\xff\x1c\x00\x00\x00" +
				"\x01\x00\x00\x00\x14\x00\x00\x00\x93\x00\x00\x00\x00\x00\x00\x00\x14\x00\x00\x00" +
				"\x06\x00\x00\x00\x30\x00\x00\x00" + strings.Repeat("\x00", 12) + "\x10\x00\x00\x00\x10\x00\x00\x00" +
				"\x02\x09\x00\x03\x02\x00\x00\x00" + strings.Repeat("\x00", 8) + "\x30\x00\x00\x00"),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, args := range [][]string{{"explain"}, {"--json", "explain"}, {"--kernel", "linux", "explain"}} {
			r := start{args: args, stdin: string(text)}.run(t)
			if r.exit != 0 && r.exit != 1 || r.stdout == "" && r.stderr == "" {
				t.Errorf("%q: exit %d", args, r.exit)
			}
			if args[0] != "--json" {
				continue
			}
			for d := json.NewDecoder(bytes.NewReader([]byte(r.stdout))); d.More(); {
				var e ipseckey.Explanation
				if err := d.Decode(&e); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// What a dialect has added is not in the RFC, neither the message nor its parts; a request of a policy counts bytes.
func TestExplainPolicy(t *testing.T) {
	d := wire.Linux()
	host := func(last byte) wire.Address {
		return wire.Address{Addr: netip.AddrFrom4([4]byte{10, 0, 0, last}), PrefixLen: 32}
	}
	m := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.KAMEMsgXSPDAdd, Seq: 1})
	m = d.AppendAddress(m, wire.ExtAddressSrc, host(1))
	m = d.AppendAddress(m, wire.ExtAddressDst, host(2))
	m = d.Finish(d.AppendPolicy(m, wire.Policy{
		Type: wire.KAMEPolicyIPsec, Direction: wire.KAMEDirOut,
		Requests: []wire.IPsecRequest{
			{Proto: 50, Mode: wire.ModeTransport, Level: wire.KAMELevelRequire},
		},
	}))
	r := start{args: []string{"--kernel", "linux", "explain", hex.EncodeToString(m)}}.run(t)
	for _, want := range []string{
		`type = 14 \(X_SPDADD\) +\(not in RFC 2367, of linux\)`,
		`satype = 0 \(unspec\) +which database; 0 is all \(RFC 2367 section 3.4\)`,
		`exttype = 5 \(ADDRESS_SRC\) +kind of the extension \(RFC 2367 section 3.6\)`,
		`exttype = 18 \(X_POLICY\) +kind of the extension\n`,
		`len = 4 \(32 bytes\) +of the extension, in words of 8 bytes`,
		`-- request 1\n +80  10 00 +len = 16 bytes +of the request, in bytes\n`,
	} {
		if !regexp.MustCompile(want).MatchString(r.stdout) {
			t.Errorf("nothing like %q in\n%s", want, r.stdout)
		}
	}
	j := start{args: []string{"--kernel", "linux", "--json", "explain", hex.EncodeToString(m)}}.run(t)
	for _, want := range []string{
		`"name":"type","value":"14 (X_SPDADD)","where":"not in RFC 2367, of linux"`,
		`"name":"len","value":"16 bytes","meaning":"of the request, in bytes"`,
	} {
		if !strings.Contains(j.stdout, want) {
			t.Errorf("nothing like %q in\n%s", want, j.stdout)
		}
	}
	setIdx := slices.Clone(m)
	setIdx[1] = uint8(wire.KAMEMsgXSPDSetIdx)
	r = start{args: []string{"--kernel", "linux", "explain", hex.EncodeToString(setIdx)}}.run(t)
	if strings.Contains(r.stdout, "unused") || !strings.Contains(r.stdout, "add a policy") {
		t.Errorf("X_SPDSETIDX:\n%s", r.stdout)
	}
	// On a terminal nothing is wider than it.
	wide := start{
		args:     []string{"--kernel", "linux", "--color", "never", "explain", hex.EncodeToString(m)},
		terminal: ipseckey.Terminal{Stdout: true},
	}.run(t)
	for line := range strings.Lines(wide.stdout) {
		if len(line) > 81 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	if !strings.Contains(wide.stdout, "of the request, in bytes") {
		t.Errorf("%s", wide.stdout)
	}
}
