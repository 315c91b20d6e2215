package ipseckey_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/ipseckey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// lineSource is a file of n commands that is written while it is read, so that it takes no memory itself.
type lineSource struct {
	n, i int
	rest []byte
	bad  int // number of the line that is not right
}

func (l *lineSource) Read(b []byte) (int, error) {
	for len(l.rest) == 0 {
		if l.i == l.n {
			return 0, io.EOF
		}
		l.i++
		line := fmt.Sprintf("add esp spi 0x%x%s\n", 0x1000+l.i, addTail)
		if l.i == l.bad {
			line = strings.Replace(line, "encr_alg", "encr_agl", 1)
		}
		l.rest = append(l.rest[:0], line...)
	}
	n := copy(b, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func (*lineSource) Close() error { return nil }

// sourceFiles have one file, in.
type sourceFiles struct {
	memFiles
	source *lineSource
}

func (f *sourceFiles) Stat(string) (ipseckey.FileInfo, error) {
	return ipseckey.FileInfo{Regular: true, Perm: 0o600}, nil
}

func (f *sourceFiles) Open(context.Context, string) (io.ReadCloser, ipseckey.FileInfo, error) {
	return f.source, ipseckey.FileInfo{Regular: true, Perm: 0o600}, nil
}

// agreeing answers every request with its own header, and remembers nothing.
type agreeing struct {
	reply []byte
	sent  int
	each  func(n int)
}

func (a *agreeing) Send(_ context.Context, msg []byte) error {
	h, err := little.Header(msg)
	h.Len = 2
	a.reply = little.AppendHeader(a.reply[:0], h)
	a.sent++
	if a.each != nil {
		a.each(a.sent)
	}
	return err
}

func (a *agreeing) Recv(_ context.Context, buf []byte) (int, error) { return copy(buf, a.reply), nil }
func (a *agreeing) Close() error                                    { return nil }

// load loads a file of n commands.
func load(t testing.TB, source *lineSource, conn *agreeing, stderr io.Writer, more func(*ipseckey.Program)) int {
	t.Helper()
	p := &ipseckey.Program{
		Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: stderr, PID: goldenPID,
		Files: &sourceFiles{source: source},
		Dial:  func(context.Context, string) (ipseckey.Conn, *wire.Dialect, error) { return conn, little, nil },
		Now:   func() time.Time { return time.Unix(goldenNow, 0) },
	}
	if more != nil {
		more(p)
	}
	return p.Run(t.Context(), []string{"-n", "-f", "in"})
}

// heapAtEnd is what is reachable on the heap in the middle of the last command of a file of n.
func heapAtEnd(t *testing.T, n int) (heap int64) {
	conn := &agreeing{each: func(i int) {
		if i == n {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			heap = int64(m.HeapAlloc)
		}
	}}
	if code := load(t, &lineSource{n: n}, conn, io.Discard, nil); code != 0 || conn.sent != n {
		t.Fatalf("exit %d, %d sent", code, conn.sent)
	}
	return heap
}

// TestLoadMemory loads 10,000 SAs in no more memory than 1,000. With -v it prints the figures.
func TestLoadMemory(t *testing.T) {
	heapAtEnd(t, 10) // whatever is made once
	small, large := heapAtEnd(t, 1000), heapAtEnd(t, 10000)
	t.Logf("live heap at the last command: %d bytes for 1,000 SAs, %d for 10,000", small, large)
	if large > small+64<<10 {
		t.Errorf("10,000 SAs take %d bytes more than 1,000", large-small)
	}
}

// BenchmarkLoad loads a file, without an engine that does something.
func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if code := load(b, &lineSource{n: n}, &agreeing{}, io.Discard, nil); code != 0 {
					b.Fatal(code)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/SA")
		})
	}
}

// TestBadLine loads a file with one bad line among thousands: it is named, and what was loaded.
func TestBadLine(t *testing.T) {
	var errs bytes.Buffer
	conn := &agreeing{}
	if code := load(t, &lineSource{n: 5000, bad: 4321}, conn, &errs, nil); code != 1 || conn.sent != 4999 {
		t.Errorf("exit %d, %d sent", code, conn.sent)
	}
	text := errs.String()
	for _, want := range []string{
		"Config file entry near line 4321 caused error(s) or warnings:",
		`Unknown extension field "encr_agl"`,
		"ipseckey: Fatal error - exiting.\nipseckey: in: 4999 of 5000 commands carried out, 1 not: line 4321\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %q", want, text)
		}
	}
	if strings.Contains(text, key128[:6]) {
		t.Errorf("the key is shown: %q", text)
	}
	r := start{args: []string{"-n", "-f", "in"}, file: strings.Repeat("frob\n", 30) + "flush\n"}.run(t)
	if !strings.Contains(r.stderr, "in: 1 of 31 commands carried out, 30 not: lines 1, 2, 3,") ||
		!strings.HasSuffix(r.stderr, ", 20 and 10 more\n") {
		t.Errorf("%q", r.stderr)
	}
}

// TestProgress shows a line on a terminal, not before a second has passed, and takes it away in the end.
func TestProgress(t *testing.T) {
	now := time.Unix(goldenNow, 0)
	run := func(step time.Duration, terminal bool) string {
		var errs bytes.Buffer
		conn := &agreeing{each: func(int) { now = now.Add(step) }}
		code := load(t, &lineSource{n: 100}, conn, &errs, func(p *ipseckey.Program) {
			p.Now = func() time.Time { return now }
			p.Terminal.Stderr = terminal
		})
		if code != 0 {
			t.Fatalf("exit %d, %q", code, errs.String())
		}
		return errs.String()
	}
	if text := run(9*time.Millisecond, true); text != "" {
		t.Errorf("in less than a second: %q", text)
	}
	if text := run(30*time.Millisecond, false); text != "" {
		t.Errorf("without a terminal: %q", text)
	}
	text := run(30*time.Millisecond, true)
	if !strings.HasPrefix(text, "\rin: line 34, 34 done, 0 failed, 1 s\x1b[K\rin: line 38,") ||
		!strings.HasSuffix(text, "\r\x1b[K") {
		t.Errorf("%q", text)
	}
	if n := strings.Count(text, "done"); n != 17 {
		t.Errorf("drawn %d times: %q", n, text)
	}
}
