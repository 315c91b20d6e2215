package house_test

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A step of the README is a command of a console block with the output that the README shows. A line "..." stands for
// any lines, and "..." inside a line for anything. What needs other programs, or does not end, belongs into a sh block.
type step struct {
	command string
	output  []string
}

// stepsOf are the steps of the console blocks of a text.
func stepsOf(text string) (steps []step) {
	for _, m := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(m[1]) {
			line = strings.TrimRight(line, " \n")
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				steps = append(steps, step{command: command})
			} else if len(steps) > 0 {
				last := &steps[len(steps)-1]
				last.output = append(last.output, line)
			}
		}
	}
	return steps
}

// readmeHome is a directory with the commands in bin, and the environment that has them find it and no engine of
// others.
func readmeHome(t *testing.T) (dir string, env []string) {
	t.Helper()
	for _, tool := range []string{"go", "sh"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(err)
		}
	}
	dir, err := os.MkdirTemp("", "readme") // short: addresses of Unix sockets are
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	bin, run := filepath.Join(dir, "bin"), filepath.Join(dir, "run")
	for _, d := range []string{bin, run} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	toRoot()
	if out, err := exec.Command("go", "build", "-o", bin, "./cmd/...").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return dir, append(os.Environ(), "PATH="+bin+string(filepath.ListSeparator)+os.Getenv("PATH"),
		"XDG_RUNTIME_DIR="+run, "PFKEY_ENGINE=")
}

// shows says whether output is what the README shows.
func (s step) shows(output string) bool {
	var pattern strings.Builder
	for _, line := range s.output {
		if line == "..." {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		pattern.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), `\.\.\.`, `.*`) + ` *\n`)
	}
	return regexp.MustCompile(`^` + pattern.String() + `$`).MatchString(output)
}

// What the README shows is what its commands print, from the first to the last, in one engine.
func TestReadme(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the commands")
	}
	dir, env := readmeHome(t)
	bin, run := filepath.Join(dir, "bin"), filepath.Join(dir, "run")
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute) // outlives the server
	t.Cleanup(cancel)

	for _, m := range regexp.MustCompile("`(pfkeyd|ipsecinject) ([a-z]+)").FindAllStringSubmatch(read(t, "README.md"),
		-1) {
		help, err := exec.CommandContext(ctx, filepath.Join(bin, m[1]), m[2], "--help").CombinedOutput()
		if err != nil || !bytes.Contains(help, []byte(m[1]+" "+m[2]+" ")) {
			t.Errorf("the README tells of %s %s, which there is not", m[1], m[2])
		}
	}

	ran := 0
	for _, s := range stepsOf(read(t, "README.md")) {
		command := strings.Replace(s.command, "go run ./cmd/pfkeyd ", "pfkeyd ", 1)
		if strings.HasPrefix(command, "go ") {
			continue // would install or run this very test
		}
		ran++
		var output string
		if background, ok := strings.CutSuffix(command, " &"); ok {
			output = startCommand(t, ctx, bin, env, background)
		} else {
			cmd := exec.CommandContext(ctx, "sh", "-c", command)
			cmd.Dir, cmd.Env, cmd.WaitDelay = dir, env, time.Second
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil {
				t.Fatalf("%s: %v\n%s%s", command, err, &stdout, &stderr)
			}
			output = stdout.String()
		}
		output = strings.ReplaceAll(output, run, "/run/user/1000")
		if !s.shows(output) {
			t.Errorf("%s: not what the README shows (-README +printed):\n%s", command,
				cmp.Diff(s.output, strings.Split(output, "\n")))
		}
	}
	if ran < 5 {
		t.Errorf("only %d commands of the README were run", ran)
	}
}

// The commands of the quick start work as one block too, pasted into a shell that does not wait for what each of them
// prints.
func TestReadmeQuickStartAsOneBlock(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the commands")
	}
	_, text, ok := strings.Cut(read(t, "README.md"), "\n## Quick start\n")
	text, _, _ = strings.Cut(text, "\n## ")
	var block strings.Builder
	for _, s := range stepsOf(text) {
		block.WriteString(s.command + "\n")
	}
	if !ok || strings.Count(block.String(), "\n") < 6 {
		t.Fatalf("no quick start in the README: %q", block.String())
	}
	dir, env := readmeHome(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-e")
	cmd.Dir, cmd.Env, cmd.WaitDelay = dir, env, time.Second
	cmd.Stdin = strings.NewReader(block.String() + "kill $!\nwait $!\n")
	out, err := cmd.CombinedOutput()
	if err != nil || !regexp.MustCompile(`(?m)^esp +0x1000 .* mature +in +aes-gcm16 none +1$`).Match(out) {
		t.Errorf("%v\n%s\n%s", err, block.String(), out)
	}
}

// startCommand runs a server until the test ends, and returns the line in which it says that it is ready.
func startCommand(t *testing.T, ctx context.Context, bin string, env []string, command string) string {
	t.Helper()
	words := strings.Fields(command)
	cmd := exec.CommandContext(ctx, filepath.Join(bin, words[0]), words[1:]...)
	cmd.Env, cmd.WaitDelay = env, time.Second
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", command, err)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("%s: no ready line: %v: %s", command, err, &stderr)
	}
	return line
}

// The comparison must be able to fail.
func TestReadmeComparison(t *testing.T) {
	s := step{output: []string{"a", "...", "ok ... b"}}
	for output, want := range map[string]bool{
		"a\nok 1 b\n":            true,
		"a\nx\ny\nok 1 b\n":      true,
		"a\nok 1 c\n":            false,
		"b\nok 1 b\n":            false,
		"a\nok 1 b\nmore\n":      false,
		"a\nok 1 b   \n":         true,
		"before\na\nok 1 b\n":    false,
		"a\nok b\n":              false,
		"a\nx\nok (1.5 s) b  \n": true,
	} {
		if got := s.shows(output); got != want {
			t.Errorf("shows(%q) = %v, want %v", output, got, want)
		}
	}
}
