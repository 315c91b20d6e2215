package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/cmd/ipseckey/cli"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/ipseckey"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// serve runs an engine of illumos on a socket and returns its address.
func serve(t *testing.T) string {
	t.Helper()
	e, err := kernels.New("illumos", engine.Options{
		Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		Start: time.Unix(1700000000, 0),
	})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := pfkey.Listen(filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	srv := pfkey.NewServer(e, pfkey.ServerOptions{})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		srv.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
		e.Close()
	})
	return "illumos:" + l.Addr().String()
}

// run runs the command with standard input and returns its exit status and what it printed.
func run(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = cli.Run(t.Context(), args, strings.NewReader(stdin), &out, &err)
	return code, out.String(), err.String()
}

const key = "00112233445566778899aabbccddeeff"

// TestEngine takes SAs through their life in a real engine over a real socket.
func TestEngine(t *testing.T) {
	address := serve(t)
	ike := filepath.Join(t.TempDir(), "keys")
	text := "# two directions\n" +
		"add esp spi 0x1000 src 192.0.2.2 dst 192.0.2.1 encr_alg aes encrkey " + key + " \\\n" +
		"\tauth_alg sha1 authkey 000102030405060708090a0b0c0d0e0f10111213 inbound\n" +
		"add esp spi 0x2000 src 192.0.2.1 dst 192.0.2.2 encr_alg aes-gcm encrkey " + key + "a0a1a2a3 pair-spi 0x1000"
	if err := os.WriteFile(ike, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, out, errs := run(t, "", "--engine", address, "-n", "-c", ike); code != 0 || out != "" {
		t.Errorf("-c: exit %d, %q, %q", code, out, errs)
	}
	if code, out, errs := run(t, "", "--engine", address, "-n", "-f", ike); code != 0 || out != "" {
		t.Fatalf("-f: exit %d, %q, %q", code, out, errs)
	}
	code, out, errs := run(t, "", "--engine", address, "-n", "get", "esp", "spi", "0x1000", "src", "192.0.2.2", "dst",
		"192.0.2.1")
	if code != 0 || !strings.Contains(out, "EKY: "+key+"/128\n") || !strings.Contains(out, "X_INBOUND") {
		t.Errorf("get: exit %d, %q, %q", code, out, errs)
	}
	code, out, errs = run(t, "", "--engine", address, "-np", "dump", "esp")
	if code != 0 || strings.Contains(out, key) || !strings.HasSuffix(out, "Dump succeeded for SA type 3.\n") {
		t.Errorf("dump -p: exit %d, %q, %q", code, out, errs)
	}

	code, out, errs = run(t, "", "--engine="+address, "--json", "dump")
	if code != 0 || strings.Contains(out, key[:8]) {
		t.Errorf("dump --json: exit %d, %q, %q", code, out, errs)
	}
	spis := map[string]*ipseckey.Record{}
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var r ipseckey.Record
		if err := d.Decode(&r); err != nil {
			t.Fatalf("%v in %q", err, out)
		}
		spis[r.SPI] = &r
	}
	if a, b := spis["0x1000"], spis["0x2000"]; len(spis) != 2 || a == nil || b == nil ||
		a.PairSPI != "0x2000" || a.Encrypt != "aes-cbc" || b.EncryptKey.SaltBits != 32 || b.Dst.Addr != "192.0.2.2" {
		t.Errorf("dump --json: %q", out)
	}

	code, out, errs = run(t, "", "--engine", address, "--json", "getspi", "src", "192.0.2.2", "dst", "192.0.2.1",
		"spi-min", "0x3000", "spi-max", "0x3000")
	if code != 0 || !strings.Contains(out, `"spi":"0x3000"`) || !strings.Contains(out, `"larval"`) {
		t.Errorf("getspi: exit %d, %q, %q", code, out, errs)
	}
	code, out, errs = run(t, "", "--engine", address, "-n", "getspi", "esp", "src", "192.0.2.2", "dst", "192.0.2.1",
		"spi-min", "0x3000", "spi-max", "0x3000")
	if code != 1 || !strings.Contains(errs, "No SPI was reserved: File exists.") {
		t.Errorf("getspi again: exit %d, %q, %q", code, out, errs)
	}

	code, out, errs = run(t, "delete esp spi 0x1000 dst 192.0.2.1\ndelete esp spi 0x1000 dst 192.0.2.1\n", "--engine",
		address, "-n")
	if code != 1 || out != "" || !strings.Contains(errs, "192.0.2.1 does not exist.") {
		t.Errorf("delete: exit %d, %q, %q", code, out, errs)
	}
	if code, out, errs = run(t, "", "--engine", address, "flush"); code != 0 || out != "" {
		t.Errorf("flush: exit %d, %q, %q", code, out, errs)
	}
	if code, out, errs = run(t, "", "--engine", address, "--json", "dump"); code != 0 || out != "" {
		t.Errorf("dump after flush: exit %d, %q, %q", code, out, errs)
	}
}

// TestSaveLoads saves SAs and loads them into an empty engine: the second save is the same as the first.
func TestSaveLoads(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	a, b := serve(t), serve(t)
	commands := "add esp spi 0x1000 src 192.0.2.2 dst 192.0.2.1 encr_alg aes encrkey " + key +
		" hard_addtime 28800 soft_addtime 24000 replay 32\n" +
		"add esp spi 0x2000 src 192.0.2.1 dst 192.0.2.2 encr_alg aes-ccm encrkey " + key +
		"a0a1a2 pair-spi 0x1000 hard_bytes 1000000\n" +
		"add ah spi 0x3000 src6 2001:db8::2 dst6 2001:db8::1 auth_alg sha256 authkey " + key + key +
		" srcidtype fqdn west.example outbound\n"
	if code, out, errs := run(t, commands, "--engine", a, "-n"); code != 0 || out != "" {
		t.Fatalf("add: exit %d, %q, %q", code, out, errs)
	}
	if code, out, errs := run(t, "", "--engine", a, "-s", first); code != 0 || out != "" || errs != "" {
		t.Fatalf("-s: exit %d, %q, %q", code, out, errs)
	}
	if code, out, errs := run(t, "", "--engine", b, "-n", "-f", first); code != 0 || out != "" {
		t.Fatalf("-f: exit %d, %q, %q", code, out, errs)
	}
	if _, out, _ := run(t, "", "--engine", b, "-n", "dump", "esp"); strings.Count(out, "Paired with") != 2 {
		t.Errorf("not paired again: %q", out)
	}
	if code, out, errs := run(t, "", "--engine", b, "save", "all", second); code != 0 || out != "" || errs != "" {
		t.Fatalf("save: exit %d, %q, %q", code, out, errs)
	}
	want, err1 := os.ReadFile(first)
	got, err2 := os.ReadFile(second)
	if err1 != nil || err2 != nil || sortedBlocks(string(want)) != sortedBlocks(string(got)) {
		t.Errorf("saved %v\n%s\nloaded and saved %v\n%s", err1, want, err2, got)
	}
}

// sortedBlocks forgets the order of the SAs: it is that of hash buckets.
func sortedBlocks(text string) string {
	blocks := strings.Split(text, "\n# begin")
	for i := range blocks {
		for j := range i {
			if blocks[i] < blocks[j] {
				blocks[i], blocks[j] = blocks[j], blocks[i]
			}
		}
	}
	return strings.Join(blocks, "\n# begin")
}

// TestNoEngine exits with 3 and says what to start.
func TestNoEngine(t *testing.T) {
	code, out, errs := run(t, "", "--engine", "illumos:"+filepath.Join(t.TempDir(), "none"), "dump")
	if code != ipseckey.ExitNoEngine || out != "" || !strings.Contains(errs, "pfkeyd") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}

// TestMonitor hears of what another client does, until it is cancelled.
func TestMonitor(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if code, errs := monitor(t, ctx, cancel); code == 0 || errs != "" {
		t.Errorf("exit %d, %q", code, errs)
	}
}

// monitor runs a monitor, makes it hear something, ends it, and returns what came of it.
func monitor(t *testing.T, ctx context.Context, end func()) (code int, stderr string) {
	t.Helper()
	address := serve(t)
	out := &notifier{want: `"type":"FLUSH"`, found: make(chan struct{})}
	ended := make(chan int, 1)
	var errs bytes.Buffer
	go func() {
		ended <- cli.Run(ctx, []string{"--engine", address, "--json", "monitor"}, strings.NewReader(""), out, &errs)
	}()
	for heard := false; !heard; {
		if code, o, e := run(t, "", "--engine", address, "flush"); code != 0 {
			t.Fatalf("flush: exit %d, %q, %q", code, o, e)
		}
		select {
		case <-out.found:
			heard = true
		case code := <-ended:
			t.Fatalf("monitor ended with %d: %q %q", code, out.text.String(), errs.String())
		default: // it may not be listening yet
		}
	}
	end()
	return <-ended, errs.String()
}

// notifier tells when a text was written.
type notifier struct {
	text  bytes.Buffer
	want  string
	found chan struct{}
	once  bool
}

func (n *notifier) Write(b []byte) (int, error) {
	n.text.Write(b)
	if !n.once && strings.Contains(n.text.String(), n.want) {
		n.once = true
		close(n.found)
	}
	return len(b), nil
}
