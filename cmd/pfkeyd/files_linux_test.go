package main_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fileOption is an option or argument of a command that names a file.
type fileOption struct {
	args   string // FILE is the file, DIR a directory of the test, ENGINE the address of an engine that runs
	output bool   // it is written
	takes  string // what can be taken all the same: the command is done then
	serves string // what can be taken: then an engine runs until it is interrupted
	gz     bool   // may be compressed
	ext    string // what its name ends with
}

const sendESP = "ipsecinject send --src 192.0.2.2 --dst 192.0.2.1 --spi 0x1000 "

var fileOptions = []fileOption{
	{args: "pfkeyd serve --kernel linux --socket DIR/e --policy FILE"},
	{args: "pfkeyd serve --kernel illumos --socket DIR/e --policy FILE"},
	{args: "pfkeyd serve --kernel netbsd --socket DIR/e --policy FILE"},
	{args: "pfkeyd serve --socket DIR/e --hostile FILE"},
	{args: "pfkeyd serve --socket DIR/e --pcap FILE", output: true, serves: "pipe endless nothing"},
	{args: "pfkeyd serve --socket FILE/e", serves: "directory"},
	{args: "pfkeyd serve --socket FILE", serves: "nothing"},
	{args: "pfkeyd run --policy FILE -- true"},
	{args: "pfkeyd run --hostile FILE -- true"},
	{args: "pfkeyd run --pcap FILE -- true", output: true},
	{args: "pfkeyd run --trace FILE -- true", output: true},
	{args: "pfkeyd run --trace FILE -- true", output: true, ext: ".pcapng"},
	{args: "pfkeyd run --engine linux:FILE -- true"},
	{args: "pfkeyd status --engine illumos:FILE"},
	{args: "pfkeyd conform FILE", gz: true, ext: ".jsonl.gz"},
	{args: "pfkeyd conform FILE", ext: ".jsonl"},
	{args: "pfkeyd conform FILE", gz: true, ext: ".pcap"},
	{args: "pfkeyd record --against ENGINE FILE", gz: true, ext: ".jsonl.gz"},
	{args: "pfkeyd record --against ENGINE -o FILE DIR/one.jsonl", output: true},
	{args: "pfkeyd conform --compare illumos,linux FILE", gz: true, ext: ".jsonl.gz"},
	{args: "pfkeyd live --engine ENGINE --export FILE", output: true},
	{args: "pfkeyd man FILE", takes: "directory"},
	{args: "pfkeyd headers --kernel freebsd FILE", takes: "directory nothing"},
	{args: "ipsecinject pcap --engine ENGINE FILE", gz: true},
	{args: sendESP + "--enc aes-cbc --enc-key @FILE --dry-run"},
	{args: sendESP + "--auth hmac-sha1 --auth-key @FILE --dry-run"},
	{args: sendESP + "--inner @FILE --dry-run"},
	{args: "ipsecinject send --hex @FILE --dry-run"},
	{args: sendESP + "--write FILE", output: true},
	{args: "ipsecinject send --engine illumos:FILE --outbound --src 192.0.2.1 --dst 192.0.2.2"},
	{args: "ipsecinject race --free --trials 1 --delay 0s --plot=FILE", output: true},
	{args: "ipseckey --engine ENGINE -f FILE"},
	{args: "ipseckey -c -f FILE"},
	{args: "ipseckey --engine ENGINE -s FILE", output: true},
	{args: "ipseckey --engine ENGINE save all FILE", output: true},
	{args: "ipseckey explain FILE", gz: true},
	{args: "ipseckey --engine illumos:FILE dump"},
}

// oneScenario asks for a flush.
const oneScenario = `{"name":"a/flush","steps":[{"op":"open","s":"a","ret":0},` +
	`{"op":"send","s":"a","hex":"02090003020000000100000001000000","ret":16}]}` + "\n"

// maxMemory is what a command may have of memory while it finds out what is in a file, in bytes.
const maxMemory = 1 << 30

// Whatever stands in the place of a file, a command ends: by itself, or with the first signal. It says what is wrong
// and where, and does not read without bound.
func TestFiles(t *testing.T) {
	needRun(t)
	dir, err := os.MkdirTemp("", "files")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	engine := filepath.Join(dir, "engine.sock")
	startRun(t, "serve", "--kernel", "linux", "--clock", "virtual", "--socket", engine).expect(t, "ready")
	bomb := zipBomb(t, 1<<30)
	for i, o := range fileOptions {
		for _, what := range []string{"pipe", "endless", "directory", "bomb", "nothing"} {
			if what == "bomb" && !o.gz {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s%s", what, o.args, o.ext), func(t *testing.T) {
				at := filepath.Join(dir, fmt.Sprintf("%d%s", i, what))
				if err := os.Mkdir(at, 0o700); err != nil {
					t.Fatal(err)
				}
				name := filepath.Join(at, "x"+o.ext)
				if err := os.WriteFile(filepath.Join(at, "one.jsonl"), []byte(oneScenario), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := place(what, name, bomb, o.output); err != nil {
					t.Fatal(err)
				}
				words := strings.Fields(strings.NewReplacer("FILE", name, "DIR", at, "ENGINE",
					"linux:"+engine).Replace(o.args))
				var out bytes.Buffer
				cmd, err := oneEnd(t, words, &out, what == "pipe" || strings.Contains(o.serves, what))
				taken := o.output && (what == "endless" || what == "nothing") ||
					strings.Contains(o.serves, what) && what != "pipe" ||
					strings.Contains(o.takes, what)
				switch {
				case bytes.Contains(out.Bytes(), []byte("goroutine ")):
					t.Errorf("a panic:\n%s", &out)
				case taken && err != nil:
					t.Errorf("%v\n%s", err, &out)
				case !taken && err == nil:
					t.Errorf("no error\n%s", &out)
				// ipseckey says nothing of an interrupt, as the original
				case !taken && out.Len() == 0 && exitCode(err) != 130:
					t.Error("nothing is said")
				}
				if rss := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10; rss > maxMemory {
					t.Errorf("%d MB of memory", rss>>20)
				}
			})
		}
	}
}

// oneEnd runs a command until it ends, which it is interrupted for if so wanted. An interrupt that comes before the
// command has asked for any ends it by itself; then it is begun anew.
func oneEnd(t *testing.T, words []string, out *bytes.Buffer, interrupt bool) (cmd *exec.Cmd, err error) {
	t.Helper()
	for range 5 {
		cmd = pfkeyd(t, words[1:]...)
		cmd.Args[0] = words[0]
		out.Reset()
		cmd.Stdout, cmd.Stderr = out, out
		cmd.WaitDelay = time.Second // if it leaves an engine behind
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		var interrupted bool
		if err, interrupted = await(cmd, ended, interrupt); err == errNoEnd {
			_ = cmd.Process.Kill()
			<-ended
			t.Fatalf("it does not end, %s\n%s", map[bool]string{true: "interrupted",
				false: "not interrupted"}[interrupted], out)
		}
		if s, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !s.Signaled() || s.Signal() != unix.SIGINT {
			break
		}
	}
	return cmd, err
}

// The first signal ends a command that waits for its standard input, or for whoever reads its standard output.
func TestStandardStreams(t *testing.T) {
	needRun(t)
	dir, err := os.MkdirTemp("", "files")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	engine := filepath.Join(dir, "engine.sock")
	startRun(t, "serve", "--kernel", "linux", "--clock", "virtual", "--socket", engine).expect(t, "ready")
	for _, args := range []string{
		"ipsecinject pcap --engine linux:" + engine + " -",
		"ipseckey explain -",
		"ipsecinject send --outbound --src 192.0.2.1 --dst 192.0.2.2 --count 1000000000 --dry-run",
		"ipsecinject send --outbound --src 192.0.2.1 --dst 192.0.2.2 --count 1000000000 --write -",
	} {
		t.Run(args, func(t *testing.T) {
			words := strings.Fields(args)
			cmd := pfkeyd(t, words[1:]...)
			cmd.Args[0] = words[0]
			silent, in, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			unread, out, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			cmd.Stdin, cmd.Stdout = silent, out
			for _, f := range []*os.File{silent, in, unread, out} {
				defer f.Close()
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			if err, _ := await(cmd, ended, true); err == errNoEnd || err == nil {
				_ = cmd.Process.Kill()
				t.Errorf("interrupted: %v", err)
			}
		})
	}
}

// place puts what the test is about to name.
func place(what, name string, bomb []byte, output bool) error {
	switch what {
	case "pipe":
		return unix.Mkfifo(name, 0o600)
	case "endless":
		return os.Symlink("/dev/zero", name)
	case "directory":
		return os.Mkdir(name, 0o700)
	case "bomb":
		return os.WriteFile(name, bomb, 0o600)
	}
	return nil // what has vanished
}

// zipBomb is n bytes of a JSON string without an end, compressed.
func zipBomb(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	piece := bytes.Repeat([]byte{'0'}, 1<<20)
	for range n >> 20 {
		if _, err := z.Write(piece); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var errNoEnd = fmt.Errorf("no end")

// await waits for the end of a command, which it interrupts, if so wanted, once that is listening and waits for
// something.
func await(cmd *exec.Cmd, ended <-chan error, interrupt bool) (err error, interrupted bool) {
	const enough = 40 * time.Second // on a busy machine
	end := time.After(enough)
	for interrupt && !interrupted {
		select {
		case err := <-ended:
			return err, false
		case <-end:
			return errNoEnd, false
		case <-time.After(5 * time.Millisecond): // there is no event
		}
		if catches(cmd.Process.Pid, unix.SIGINT) && waits(cmd.Process.Pid) {
			_ = cmd.Process.Signal(unix.SIGINT)
			interrupted = true
		}
	}
	select {
	case err := <-ended:
		return err, interrupted
	case <-end:
		return errNoEnd, interrupted
	}
}

// catches says whether a process has a handler for a signal.
func catches(pid int, sig syscall.Signal) bool {
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(status)) {
		if mask, ok := strings.CutPrefix(line, "SigCgt:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
			return err == nil && bits>>(sig-1)&1 != 0
		}
	}
	return false
}

// waits says whether every thread of a process sleeps.
func waits(pid int) bool {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	return len(tasks) > 0 && !slices.ContainsFunc(tasks, func(file string) bool {
		stat, _ := os.ReadFile(file)
		_, rest, _ := strings.Cut(string(stat), ") ")
		return !strings.HasPrefix(rest, "S")
	})
}
