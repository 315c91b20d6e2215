package ipseckey_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/wire"
)

// What only an engine of Linux can be told arrives there, and comes back from a saved file: ESP without encryption,
// modes, request ids, ESP in UDP.
func TestLinuxWords(t *testing.T) {
	if !slices.Contains(kernels.Names(), "linux") {
		t.Skip("there is no kernel linux")
	}
	h := boot(t, "linux")
	const ends = " src 192.0.2.2 dst 192.0.2.1"
	h.must("add esp spi 0x1001"+ends+" encralg null authalg md5 authkey "+key128+"\n"+
		"add esp spi 0x1002"+ends+" authalg sha1 authkey "+key128+"00112233 mode tunnel reqid 16385\n"+
		"add esp spi 0x1003"+ends+" encralg aes encrkey "+key128+" encap udp\n"+
		"add esp spi 0x1004"+ends+" encralg aes encrkey "+key128+
		" mode beet encap udp nat_sport 10000 nat_dport 4501\n"+
		"add ah spi 0x1005"+ends+" authalg md5 authkey "+key128+" mode transport\n", "-n")
	for spi, want := range map[string][]string{
		"0x1001": {"SA: Encryption algorithm = null\n", "SA: Authentication algorithm = hmac-md5\n"},
		"0x1002": {"EXT: mode = 2 (tunnel)\n", "EXT: reqid = 16385\n", "SA: Encryption algorithm = null\n"},
		"0x1003": {
			"EXT: natttype = 2 (esp-in-udp)\n",
			"EXT: X_NAT_T_SPORT\nEXT: port = 4500\n",
			"EXT: X_NAT_T_DPORT\nEXT: port = 4500\n",
		},
		"0x1004": {
			"EXT: mode = 3 (beet)\n",
			"EXT: X_NAT_T_SPORT\nEXT: port = 10000\n",
			"EXT: X_NAT_T_DPORT\nEXT: port = 4501\n",
		},
	} {
		listing := h.must("", "-n", "get", "esp", "spi", spi, "dst", "192.0.2.1")
		for _, text := range want {
			if !strings.Contains(listing, text) {
				t.Errorf("%s: no %q in\n%s", spi, text, listing)
			}
		}
	}
	before := h.dumped()
	h.must("", "-s", "saved")
	file := h.files.files["saved"].data.String()
	if strings.Contains(file, "not saved") {
		t.Errorf("something is not saved:\n%s", file)
	}
	h.must("", "flush")
	h.must("", "-n", "-f", "saved")
	if diff := cmp.Diff(before, h.dumped()); diff != "" {
		t.Errorf("loaded again (-before +after):\n%s\n%s", diff, file)
	}
	sa := "add esp spi 1" + ends + " encralg "
	null := sa + "null authalg md5 authkey " + key128
	for line, want := range map[string]string{
		sa + "null mode":                "was expecting a mode",
		null + " mode funnel":           `Unknown mode "funnel"`,
		null + " nat_dport 7":           "Must specify 'encap udp'",
		null + " mode beet mode beet":   "Can only specify single mode.",
		null + " encap udp nat_lport 7": "An engine of linux knows no nat_loc",
		sa + "aes encrkey 00":           "Refused with EINVAL: ",
	} {
		code, out, errs := h.run(line+"\n", "-n")
		if code != 1 || !strings.Contains(errs, want) {
			t.Errorf("%s: exit %d, %q, want %q", line, code, errs, want)
		}
		if strings.Contains(out+errs, "iagnostic") {
			t.Errorf("%s: Linux has no diagnostics: %q %q", line, out, errs)
		}
	}
	if help := h.must("", "--kernel", "linux", "help", "attr"); !strings.Contains(help, "nat_dport") {
		t.Errorf("%q", help)
	}

	// illumos has other words for it, and says so.
	r := start{
		args:  []string{"-n"},
		stdin: "add esp spi 1" + ends + " encralg aes encrkey " + key128 + " mode tunnel\n",
	}.run(t)
	if r.exit != 1 || !strings.Contains(r.stderr, "An engine of illumos knows no mode.") || len(r.sent) != 0 {
		t.Errorf("exit %d, %q", r.exit, r.stderr)
	}
	for _, line := range []string{"add esp spi 1 mode tunnel", "add esp spi 1 reqid 7"} {
		r := start{args: []string{"--compat", "-n"}, stdin: line + "\n"}.run(t)
		if !strings.Contains(r.stdout, "Unknown extension field") {
			t.Errorf("the original: %q %q", r.stdout, r.stderr)
		}
	}
}

// The BSDs are told the same, in their own layouts; they have no mode beet.
func TestBSDWords(t *testing.T) {
	for _, kernel := range []string{"netbsd", "freebsd"} {
		h := boot(t, kernel)
		const ends = " src 192.0.2.2 dst 192.0.2.1" // of each SA others: NetBSD's SAs of one pair share mode and ports
		const akey = " authalg sha1 authkey " + key128 + "00112233"
		h.must("add esp spi 0x1001"+ends+" encralg null"+akey+"\n"+
			"add esp spi 0x1002"+ends+"1 encralg aes encrkey "+key128+akey+" mode tunnel reqid 16385\n"+
			"add esp spi 0x1003"+ends+"2 encralg aes encrkey "+key128+" encap udp nat_sport 10000 nat_dport 4501\n"+
			"add ah spi 0x1005 src 2001:db8::1 dst 2001:db8::2"+akey+" mode transport\n", "-n")
		listing := h.must("", "-n", "get", "esp", "spi", "0x1002", "src", "192.0.2.2", "dst",
			"192.0.2.11")
		for _, want := range []string{"EXT: mode = 2 (tunnel)\n", "EXT: reqid = 16385\n"} {
			if !strings.Contains(listing, want) {
				t.Errorf("%s: no %q in\n%s", kernel, want, listing)
			}
		}
		before := h.dumped()
		h.must("", "-s", "saved")
		file := h.files.files["saved"].data.String()
		if strings.Contains(file, "not saved") || !strings.Contains(file, "nat_dport 4501") {
			t.Errorf("%s: saved is\n%s", kernel, file)
		}
		h.must("", "flush")
		h.must("", "-n", "-f", "saved")
		if diff := cmp.Diff(before, h.dumped()); diff != "" {
			t.Errorf("%s: loaded again (-before +after):\n%s\n%s", kernel, diff, file)
		}
		line := "add esp spi 0x1009" + ends + " encralg aes encrkey " + key128 + akey + " mode beet\n"
		if code, _, errs := h.run(line, "-n"); code != 1 || !strings.Contains(errs, `Unknown mode "beet"`) {
			t.Errorf("%s: exit %d, %q", kernel, code, errs)
		}
		if help := h.must("", "--kernel", kernel, "help", "attr"); !strings.Contains(help, "nat_dport") {
			t.Errorf("%s: %q", kernel, help)
		}
	}
}

// Flush and dump are refused without a diagnostic where there is none.
func TestNoDiagnostic(t *testing.T) {
	d := wire.Linux()
	refuse := func(h wire.Header, _ []byte) [][]byte {
		h.Len, h.Errno = 2, d.ErrnoNumber(wire.EINVAL)
		return [][]byte{d.AppendHeader(nil, h)}
	}
	for _, args := range [][]string{
		{"flush"},
		{"dump"},
		{"-n", "get", "esp", "spi", "1"},
		{"-n", "delete", "esp", "spi", "1", "dst", "192.0.2.1"},
		{"pmonitor"},
	} {
		r := start{args: args, dialect: d, answer: refuse}.run(t)
		if strings.Contains(r.stdout+r.stderr, "iagnostic") ||
			args[0] != "pmonitor" && !strings.Contains(r.stderr, "Refused with EINVAL") {
			t.Errorf("%v: %q %q", args, r.stdout, r.stderr)
		}
	}
}

// What looks like a comment or a line that goes on, and is none, is told on a terminal.
func TestMisread(t *testing.T) {
	for line, want := range map[string]string{
		"add esp spi 1 # the first":      "A comment has a line of its own.",
		"add esp spi 1 \\ ":              "something stands behind the backslash",
		"delete esp spi 1 #x":            "A comment has a line of its own.",
		"flush esp # all of them":        "A comment has a line of its own.",
		"getspi esp src 192.0.2.1 # two": "A comment has a line of its own.",
	} {
		s := start{args: []string{"-n"}, stdin: line + "\n"}
		if r := s.run(t); strings.Contains(r.stderr, want) {
			t.Errorf("%q: not on a terminal: %q", line, r.stderr)
		}
		s.terminal.Stderr = true
		if r := s.run(t); !strings.Contains(r.stderr, want) {
			t.Errorf("%q: %q, want %q", line, r.stderr, want)
		}
	}
}
