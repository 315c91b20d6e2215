package ipseckey_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/ipseckey"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// host is an engine in process and the files that the command sees.
type host struct {
	t      *testing.T
	e      *engine.Engine
	traced pfkey.Engine // where sockets are opened instead, if not nil
	files  *memFiles
	pid    uint32
}

func boot(t *testing.T, name string) *host {
	t.Helper()
	e, err := kernels.New(name, engine.Options{
		Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")},
		Start: time.Unix(goldenNow, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return &host{t: t, e: e, files: newMemFiles(&goldenCase{})}
}

func (h *host) client() (*pfkey.Client, error) {
	h.pid++
	cred := pfkey.Cred{PID: 4242, Privileged: true}
	var from pfkey.Engine = h.e
	if h.traced != nil {
		from = h.traced
	}
	sock, errno := from.Open(cred, 3, 2)
	if errno != 0 {
		return nil, fmt.Errorf("open: %v", errno)
	}
	return pfkey.NewClientOn(sock, h.e.Dialect(), cred), nil
}

// run runs the command on the engine.
func (h *host) run(stdin string, args ...string) (code int, stdout, stderr string) {
	h.t.Helper()
	var out, errs bytes.Buffer
	p := &ipseckey.Program{
		Stdin: strings.NewReader(stdin), Stdout: &out, Stderr: &errs, PID: 4242, Files: h.files,
		Dial: func(context.Context, string) (ipseckey.Conn, *wire.Dialect, error) {
			c, err := h.client()
			if err != nil {
				return nil, nil, err
			}
			return ipseckey.ClientConn(c), c.Dialect(), nil
		},
		Supported: func(ctx context.Context, _ string, t wire.SAType) (ipseckey.Supported, error) {
			c, err := h.client()
			if err != nil {
				return ipseckey.Supported{}, err
			}
			defer c.Close()
			return ipseckey.Ask(ctx, c, t)
		},
		Now: h.e.Now, Timeout: 5 * time.Second,
	}
	code = p.Run(h.t.Context(), args)
	return code, out.String(), errs.String()
}

// must is run for what has to succeed without a word about errors.
func (h *host) must(stdin string, args ...string) string {
	h.t.Helper()
	code, out, errs := h.run(stdin, args...)
	if code != 0 {
		h.t.Fatalf("%q: exit %d\n%s%s", args, code, out, errs)
	}
	return out
}

// dumped is what dump lists, but for times, in an order of its own.
func (h *host) dumped() (records []string) {
	h.t.Helper()
	d := json.NewDecoder(strings.NewReader(h.must("", "--json", "--show-keys", "dump")))
	for d.More() {
		var r ipseckey.Record
		if err := d.Decode(&r); err != nil {
			h.t.Fatal(err)
		}
		r.Current, r.Seq = nil, 0
		b, err := json.Marshal(r)
		if err != nil {
			h.t.Fatal(err)
		}
		records = append(records, string(b))
	}
	slices.Sort(records)
	return records
}

// everyKind are commands that make SAs of every kind that the engine of illumos takes.
func everyKind() []string {
	hexKey := func(bits int) string {
		return strings.Repeat("0123456789abcdef", 8)[:bits/4]
	}
	var lines []string
	spi := 0x1000
	add := func(satype, rest string) {
		spi++
		lines = append(lines, fmt.Sprintf("add %s spi 0x%x %s", satype, spi, rest))
	}
	in, in6 := "src 192.0.2.2 dst 192.0.2.1", "src 2001:db8::2 dst 2001:db8::1"
	out := "src 192.0.2.1 dst 192.0.2.2"
	for _, a := range []struct {
		name string
		bits []int
	}{
		{"hmac-md5", []int{128}}, {"hmac-sha1", []int{160}}, {"hmac-sha256", []int{256}}, {"hmac-sha384", []int{384}},
		{"hmac-sha512", []int{512}},
	} {
		for _, bits := range a.bits {
			add("ah", fmt.Sprintf("%s auth_alg %s authkey %s", in, a.name, hexKey(bits)))
			add("esp", fmt.Sprintf("%s encr_alg null auth_alg %s authkey %s", in6, a.name, hexKey(bits)))
		}
	}
	for _, a := range []struct {
		name string
		salt int
		bits []int
	}{
		{"blowfish", 0, []int{128}}, {"aes", 0, []int{128, 192, 256}},
		{"aes-ccm8", 24, []int{128, 256}}, {"aes-ccm12", 24, []int{128}}, {"aes-ccm16", 24, []int{128}},
		{"aes-gcm8", 32, []int{128}}, {"aes-gcm12", 32, []int{128, 192}}, {"aes-gcm16", 32, []int{128, 256}},
	} {
		for _, bits := range a.bits {
			add("esp", fmt.Sprintf("%s encr_alg %s encrkey %s", in, a.name, hexKey(bits+a.salt)))
		}
	}
	aes := " encr_alg aes encrkey " + hexKey(128)
	add("esp", in+" encr_alg 3des encrkey 0123456789abcdef1032547698badcfe2301674589abefcd")
	add("esp", in+" encr_alg des encrkey 0123456789abcdef")
	add("esp", in+aes+" auth_alg sha256 authkey "+hexKey(256)+
		" replay 32 hard_addtime 28800 soft_addtime 24000 hard_bytes 16000000")
	add("esp", in+aes+" hard_usetime 4000 soft_usetime 3000 hard_alloc 3 soft_alloc 2 soft_bytes 9 hard_bytes 10")
	add("esp", in+aes+" idle_addtime 600 idle_usetime 300 hard_addtime 1200")
	add("esp", in+aes+" srcidtype fqdn west.example dstidtype user_fqdn east@example.org")
	add("esp", in+aes+" srcidtype prefix 192.0.2.0/24 dstidtype 6 id")
	add("esp", in+aes+" isrc 10.1.0.0/16 idst 10.2.3.0/24 iproto 6 isport 25 proto 4")
	add("esp", in+aes+" isrc 10.1.0.7 idst 10.2.3.9")
	add("esp", in+aes+" isrc6 2001:db8:1::/48 idst6 2001:db8:2::/48 proto 41")
	add("esp", in+aes+" proto 17 sport 500 dport 4500")
	add("esp", in6+aes+" proto 6 dport 80")
	add("esp", in+aes+" encap udp nat_loc 203.0.113.5 nat_rem 198.51.100.7 nat_lport 4500 nat_rport 4501")
	add("esp", in+aes+" replay 64 replay_value 77 inbound")
	add("esp", out+aes+" outbound")
	add("ah", out+" auth_alg sha1 authkey "+hexKey(160)+" outbound hard_addtime 99")
	add("esp", in+aes+" inbound")
	add("esp", fmt.Sprintf("%s%s outbound pair-spi 0x%x", out, aes, spi))
	return lines
}

// TestRoundTrip saves an engine with SAs of every kind, empties it, loads the file, and finds the same SAs.
func TestRoundTrip(t *testing.T) {
	h := boot(t, "illumos")
	lines := everyKind()
	for _, line := range lines {
		if code, _, errs := h.run(line+"\n", "-n"); code != 0 {
			t.Errorf("%s: exit %d: %s", line, code, errs)
		}
	}
	want := h.dumped()
	if len(want) != len(lines) {
		t.Fatalf("%d SAs of %d commands", len(want), len(lines))
	}
	h.must("", "-s", "saved")
	h.must("", "flush")
	if left := h.dumped(); len(left) != 0 {
		t.Fatalf("%d SAs are left behind flush", len(left))
	}
	h.must("", "-n", "-f", "saved")
	if diff := cmp.Diff(want, h.dumped()); diff != "" {
		t.Errorf("what was loaded is not what was saved (-want +got):\n%s\nfile:\n%s", diff,
			h.files.files["saved"].data.String())
	}
	// The listing for people too.
	first := h.must("", "-n", "dump")
	h.must("", "flush")
	h.must("", "-n", "-f", "saved")
	if a, b := blocks(first), blocks(h.must("", "-n", "dump")); !slices.Equal(a, b) {
		t.Errorf("listings differ:\n%s", cmp.Diff(a, b))
	}
}

// TestEveryKernel makes, saves and loads what every kernel takes: SAs as RFC 2367 has them.
func TestEveryKernel(t *testing.T) {
	for _, name := range kernels.Names() {
		t.Run(name, func(t *testing.T) {
			h := boot(t, name)
			h.must("add esp spi 0x1000 src 192.0.2.2 dst 192.0.2.1 encr_alg aes encrkey "+key128+
				" auth_alg sha1 authkey "+key128+"00112233\n"+
				"add esp spi 0x1001 src6 2001:db8::2 dst6 2001:db8::1 encr_alg aes encrkey "+key128+key128+
				" auth_alg sha256 authkey "+key128+key128+" hard_addtime 900 hard_bytes 9000\n"+
				"add ah spi 0x1002 src 192.0.2.2 dst 192.0.2.1 auth_alg sha1 authkey "+key128+
				"00112233 soft_addtime 100\n", "-n")
			reserved := h.must("", "-n", "getspi", "esp", "src", "192.0.2.2", "dst", "192.0.2.1", "spi-min", "0x2000",
				"spi-max", "0x20ff")
			spi := regexp.MustCompile("spi=(0x20..)").FindStringSubmatch(reserved)
			if spi == nil {
				t.Fatalf("no SPI in %q", reserved)
			}
			h.must("", "-n", "delete", "esp", "spi", spi[1], "src", "192.0.2.2", "dst", "192.0.2.1")
			want := h.dumped()
			if len(want) != 3 {
				t.Fatalf("%d SAs: %q", len(want), want)
			}
			listing := h.must("", "-n", "get", "esp", "spi", "0x1000", "src", "192.0.2.2", "dst", "192.0.2.1")
			for _, line := range []string{"SA: Encryption algorithm = aes-cbc\n",
				"SA: Authentication algorithm = hmac-sha1\n", "EKY: " + key128 + "/128\n"} {
				if !strings.Contains(listing, line) {
					t.Errorf("no %q in %q", line, listing)
				}
			}
			h.must("", "-s", "saved")
			h.must("", "flush")
			if left := h.dumped(); len(left) != 0 {
				t.Errorf("%d SAs are left behind flush", len(left))
			}
			h.must("", "-n", "-f", "saved")
			if diff := cmp.Diff(want, h.dumped()); diff != "" {
				t.Errorf("what was loaded is not what was saved (-want +got):\n%s\nfile:\n%s", diff,
					h.files.files["saved"].data.String())
			}
			code, _, errs := h.run("", "-n", "get", "esp", "spi", "0x9999", "src", "192.0.2.2", "dst", "192.0.2.1")
			if code != 1 || !strings.Contains(errs, "192.0.2.1 does not exist.") {
				t.Errorf("exit %d, %q", code, errs)
			}
			code, _, errs = h.run("add ah spi 0x1002 src 192.0.2.2 dst 192.0.2.1 auth_alg sha1 authkey "+key128+
				"00112233\n", "-n")
			if code != 1 || !strings.Contains(errs, "192.0.2.1 already exists.") {
				t.Errorf("exit %d, %q", code, errs)
			}
		})
	}
}

// blocks are the SAs of a listing, in an order of their own.
func blocks(listing string) []string {
	all := strings.Split(listing, "\n\n")
	slices.Sort(all)
	return all
}

// TestUnsupported refuses what the engine does not have before it is sent, and says what it has.
func TestUnsupported(t *testing.T) {
	h := boot(t, "illumos")
	code, _, errs := h.run(
		"add esp spi 1000 src 192.0.2.2 dst 192.0.2.1 encr_alg 13 encrkey 00112233445566778899aabbccddeeff00112233\n",
		"-n")
	if code != 1 || !strings.Contains(errs, "The engine has no encryption algorithm 13. It has: ") ||
		!strings.Contains(errs, "aes-cbc") ||
		strings.Contains(errs, "PF_KEY Diagnostic") {
		t.Errorf("exit %d, %q", code, errs)
	}
	code, _, errs = h.run(
		"add ah spi 1000 src 192.0.2.2 dst 192.0.2.1 auth_alg 9 authkey 00112233445566778899aabbccddeeff\n", "-n")
	if code != 1 || !strings.Contains(errs, "The engine has no authentication algorithm 9. It has: ") {
		t.Errorf("exit %d, %q", code, errs)
	}
	// The original asks nobody, and is told by the engine.
	code, out, errs := h.run(
		"add ah spi 1000 src 192.0.2.2 dst 192.0.2.1 auth_alg 9 authkey 00112233445566778899aabbccddeeff\n", "--compat",
		"-n")
	if code != 0 || !strings.Contains(out, "PF_KEY Diagnostic code 40: Unsupported authentication algorithm.") ||
		errs != "" {
		t.Errorf("exit %d, %q %q", code, out, errs)
	}
	// Without an engine, the table of the kernel that is named.
	h.files.files["linux"] = &memFile{info: ipseckey.FileInfo{Regular: true, Perm: 0o600}}
	h.files.files["linux"].data.WriteString("add esp spi 1000 src 192.0.2.2 dst 192.0.2.1 encr_alg 15 encrkey 00\n" +
		"add esp spi 1000 src 192.0.2.2 dst 192.0.2.1 encr_alg serpent-cbc encrkey 00\n" +
		"add esp spi 1000 src 192.0.2.2 dst 192.0.2.1 encr_alg 99 encrkey 00\n" +
		"add esp spi 1000 src 192.0.2.2 dst 192.0.2.1 encr_alg aes encrkey 00 inbound\n")
	code, _, errs = h.run("", "--kernel", "linux", "-n", "-c", "linux")
	if code != 1 || strings.Count(errs, "linux has no encryption algorithm") != 1 ||
		!strings.Contains(errs, "linux has no encryption algorithm 99") ||
		!strings.Contains(errs, "2 of 4 commands good, 2 not: lines 3, 4") {
		t.Errorf("exit %d, %q", code, errs)
	}
	if code, _, errs := h.run("", "--kernel", "linux", "dump"); code != 1 ||
		!strings.Contains(errs, "the engine is of illumos, not of linux") {
		t.Errorf("exit %d, %q", code, errs)
	}
	if code, _, errs := h.run("", "--kernel", "plan9", "dump"); code != 1 ||
		!strings.Contains(errs, `no kernel is called "plan9" (known: illumos, linux, netbsd, freebsd, openbsd)`) {
		t.Errorf("exit %d, %q", code, errs)
	}
}
