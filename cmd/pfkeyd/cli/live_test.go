package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/cmd/pfkeyd/cli"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// page reads what is at an address.
func page(t *testing.T, address string) string {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v", address, resp.Status, err)
	}
	return string(text)
}

// Live prints where the page is, and ends with its context.
func TestLive(t *testing.T) {
	host := pfkeytest.New(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	var told bytes.Buffer
	ended := make(chan int)
	go func() { ended <- cli.Run(ctx, []string{"live", "--engine", host.Serve()}, nil, in, &told) }()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	address := strings.TrimSpace(line)
	if !strings.HasPrefix(address, "http://127.0.0.1:") || !strings.Contains(page(t, address), "<title>") ||
		!strings.Contains(page(t, address+"info"), `"title":"pfkeyd live"`) {
		t.Errorf("no page at %q", address)
	}
	cancel()
	if code := <-ended; code != command.ExitDone || told.Len() > 0 {
		t.Errorf("exit %d: %s", code, &told)
	}
}

// An export has what has happened, and is for its owner only.
func TestLiveExport(t *testing.T) {
	host := pfkeytest.New(t)
	if err := host.Client().Flush(t.Context(), wire.SATypeESP); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "page.html")
	var out, told bytes.Buffer
	args := []string{"live", "--engine", host.Serve(), "--export", name}
	if code := cli.Run(t.Context(), args, nil, &out, &told); code != command.ExitDone || out.Len()+told.Len() > 0 {
		t.Fatalf("exit %d: %s%s", code, &out, &told)
	}
	text, err := os.ReadFile(name)
	if err != nil || !bytes.Contains(text, []byte(`"name":"FLUSH"`)) || !bytes.HasSuffix(text, []byte("</html>\n")) {
		t.Errorf("%v: %.200s", err, text)
	}
	if st, err := os.Stat(name); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st.Mode(), err)
	}
}

func TestLiveWrong(t *testing.T) {
	host := pfkeytest.New(t)
	for _, tt := range []struct {
		args string
		code int
	}{
		{"--engine illumos:/none/there.sock", command.ExitNoEngine},
		{"--engine illumos:/none/there.sock --export x", command.ExitNoEngine},
		{"--engine af_key:", command.ExitUsage},
		{"--export x --port 1", command.ExitUsage},
		{"--export x --no-open", command.ExitUsage},
		{"--export x --show-keys", command.ExitUsage},
		{"--export /none/there.html --engine " + host.Serve(), command.ExitFailed},
	} {
		var out, told bytes.Buffer
		if code := cli.Run(t.Context(), append([]string{"live"}, strings.Fields(tt.args)...), nil, &out,
			&told); code != tt.code || told.Len() == 0 || out.Len() > 0 {
			t.Errorf("%s: exit %d, want %d: %s%s", tt.args, code, tt.code, &out, &told)
		}
	}
}

// The demo's page is there while it is played, and stays behind it.
func TestDemoLive(t *testing.T) {
	tmp := emptyTemp(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	out, in := io.Pipe()
	var told bytes.Buffer
	ended := make(chan int)
	go func() { ended <- cli.Run(ctx, []string{"demo", "--live"}, nil, in, &told) }()
	lines := bufio.NewScanner(out)
	address := ""
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "page: "); ok {
			address = text
		}
		if strings.HasPrefix(lines.Text(), "The page and its engine stay") {
			break
		}
	}
	if text := page(t, address+"export"); !strings.Contains(text, `"title":"pfkeyd demo"`) ||
		strings.Count(text, `"verdict":"queued"`) != 4 {
		t.Errorf("the page does not have what was played: %.300s", text)
	}
	cancel()
	if code := <-ended; code != command.ExitDone || told.Len() > 0 {
		t.Errorf("exit %d: %s", code, &told)
	}
	checkEmpty(t, tmp)
}
