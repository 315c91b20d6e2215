package browser

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

var (
	imgs  = flag.String("img", "", "the folder that screenshots are written to")
	limit = flag.Duration("limit", 0, "the time in which a click must be answered under a flood; 0: it is only told")
)

// browser is the context of the one browser that all tests have.
var browser context.Context

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(func() int {
		if _, err := exec.LookPath("chromium"); err != nil {
			fmt.Println("skipped: there is no chromium (Debian: apt install chromium)")
			return 0
		}
		dir, err := os.MkdirTemp("", "browser")
		if err != nil {
			fmt.Println(err)
			return 1
		}
		defer os.RemoveAll(dir)
		bin := filepath.Join(dir, "bin")
		build := exec.Command("go", "build", "-o", bin+"/", "./cmd/...", "./examples/iked/...")
		build.Dir = "../../.."
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Printf("%v\n%s", err, out)
			return 1
		}
		os.Setenv("PATH", bin+":"+os.Getenv("PATH"))
		alloc, stop := chromedp.NewExecAllocator(context.Background(), append(chromedp.DefaultExecAllocatorOptions[:],
			chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-dev-shm-usage", true))...)
		defer stop()
		browser, stop = chromedp.NewContext(alloc)
		defer stop()
		if err := chromedp.Do(browser); err != nil {
			fmt.Println(err)
			return 1
		}
		return m.Run()
	}())
}

// machine is where the commands of a test run: engines of their own, which no other test sees.
type machine struct {
	t       *testing.T
	runtime string // XDG_RUNTIME_DIR
}

func newMachine(t *testing.T) *machine {
	return &machine{t, t.TempDir()}
}

// command is a shell command, whose environment has the engines of this machine only.
func (m *machine) command(script string) *exec.Cmd {
	c := exec.Command("bash", "-euc", script)
	c.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+m.runtime, "PFKEY_ENGINE=", "DISPLAY=", "WAYLAND_DISPLAY=")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return c
}

// run runs a shell command to its end, and returns what it prints.
func (m *machine) run(script string) string {
	m.t.Helper()
	out, err := m.command(script).CombinedOutput()
	if err != nil {
		m.t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// start starts a shell command that goes on until the end of the test, and returns what matches the first group of line
// in the first line of its output or errors that line matches.
func (m *machine) start(script, line string) string {
	m.t.Helper()
	c := m.command(script)
	r, w, err := os.Pipe()
	if err != nil {
		m.t.Fatal(err)
	}
	c.Stdout, c.Stderr = w, w
	if err := c.Start(); err != nil {
		m.t.Fatal(err)
	}
	w.Close()
	m.t.Cleanup(func() {
		syscall.Kill(-c.Process.Pid, syscall.SIGTERM)
		c.Wait()
		r.Close()
	})
	found, all := make(chan string, 1), strings.Builder{}
	go func() {
		defer close(found)
		re, sent := regexp.MustCompile(line), false
		for s := bufio.NewScanner(r); s.Scan(); {
			if got := re.FindStringSubmatch(s.Text()); got != nil && !sent {
				found <- got[len(got)-1]
				sent = true
			}
			if !sent {
				all.WriteString(s.Text() + "\n")
			}
		}
	}()
	got, ok := <-found
	if !ok {
		m.t.Fatalf("%s has ended without a line %s:\n%s", script, line, &all)
	}
	return got
}

const address = `(http://127\.0\.0\.1:\d+/[0-9a-f]{32}/)`

// live starts "pfkeyd live" and returns the page's address.
func (m *machine) live(flags string) string {
	m.t.Helper()
	return m.start("exec pfkeyd live --no-open "+flags, address)
}

// page is a page that the browser shows, in a tab of its own.
type page struct {
	t   *testing.T
	ctx context.Context
}

// theme is dark or light.
type theme string

// end is what the page says in the console when all that it had to say before is there.
const end = "the test has ended"

// open shows a page in a window of so many pixels. At the end of the test its console must be empty.
func open(t *testing.T, url string, width, height int64, th theme) *page {
	t.Helper()
	ctx, stop := chromedp.NewContext(browser)
	p := &page{t, ctx}
	console, done := chromedp.Console(ctx), make(chan bool)
	go func() {
		defer close(done)
		for m, err := range console {
			if err != nil || m.Text == end {
				return
			}
			if m.IsException() || m.Type == "error" || m.Type == "warning" {
				t.Errorf("the console: %v", m)
			}
		}
	}()
	t.Cleanup(func() {
		p.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("console.log(%q)", end)))
		<-done
		stop()
	})
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: string(th)}}}); err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.EmulateViewport(width, height), chromedp.Navigate(url))
	return p
}

// step is something to do in a page.
type step = chromedp.Action[chromedp.Void]

func (p *page) do(steps ...step) {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, time.Minute)
	defer stop()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatal(err)
	}
}

// get is what an action comes to.
func get[T any](p *page, a chromedp.Action[T]) T {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, time.Minute)
	defer stop()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		p.t.Fatal(err)
	}
	return v
}

// text is what an expression of JavaScript comes to, as a text.
func (p *page) text(expression string) string {
	p.t.Helper()
	return get(p, chromedp.Evaluate[string]("String("+expression+")"))
}

// wait waits until an expression is true.
func (p *page) wait(expression string) {
	p.t.Helper()
	ctx, stop := context.WithTimeout(p.ctx, 15*time.Second)
	defer stop()
	err := chromedp.Do(ctx, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(20*time.Millisecond)))
	if err != nil {
		p.t.Fatalf("%s is not true: %v\n%s", expression, err, p.text(`document.body.innerText`))
	}
}

// click clicks what a selector finds, as a person does: with the pointer.
func (p *page) click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(selector, chromedp.NodeVisible))
}

// expect compares what an expression comes to.
func (p *page) expect(expression, want string) {
	p.t.Helper()
	if got := p.text(expression); got != want {
		p.t.Errorf("%s is %q, want %q", expression, got, want)
	}
}

// contains looks for a text in what an expression comes to.
func (p *page) contains(expression string, wants ...string) {
	p.t.Helper()
	got := p.text(expression)
	for _, want := range wants {
		if !strings.Contains(got, want) {
			p.t.Errorf("%s lacks %q: %q", expression, want, got)
		}
	}
}

// write saves a picture of the window.
func (p *page) write(name string) {
	p.t.Helper()
	png := get(p, chromedp.CaptureScreenshot())
	if err := os.WriteFile(filepath.Join(*imgs, name+".png"), png, 0o644); err != nil {
		p.t.Fatal(err)
	}
}
