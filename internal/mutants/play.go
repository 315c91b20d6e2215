package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/kernels"
	"github.com/pfkeyd/pfkeyd/testdata/golden"
)

// hits tells which functions that have mutants have run since it was called last, by their numbers. The overlay sets
// it.
var hits func() []int

// folders of the recordings of a kernel, in testdata/golden.
var folders = map[string][]string{"illumos": {"illumos"}, "linux": {"linux-6.1", "linux-live"}}

// patience is how long one recording may take, which is a thousand times what it takes.
const patience = 3 * time.Second

// player plays recordings on the kernel that is built into this program.
type player struct {
	kernel string
	lines  [][]byte // one recording each
	file   string   // where they are put to be played
}

func newPlayer(kernel, dir string) (*player, error) {
	p := &player{kernel: kernel, file: filepath.Join(dir, fmt.Sprintf("play%d.jsonl", os.Getpid()))}
	if folders[kernel] == nil {
		return nil, fmt.Errorf("there are no recordings of %q", kernel)
	}
	for _, folder := range folders[kernel] {
		if err := fs.WalkDir(golden.Files, folder, p.take); err != nil {
			return nil, err
		}
	}
	// Mixed, so that the first few are of all kinds; always in the same way.
	r := rand.New(rand.NewPCG(1, 1))
	r.Shuffle(len(p.lines), func(i, j int) { p.lines[i], p.lines[j] = p.lines[j], p.lines[i] })
	return p, nil
}

// take adds the recordings of a file; it is a [fs.WalkDirFunc].
func (p *player) take(name string, _ fs.DirEntry, err error) error {
	if err != nil || !strings.HasSuffix(name, ".jsonl.gz") {
		return err
	}
	file, err := golden.Files.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(unzipped)
	for line := range strings.Lines(string(text)) {
		p.lines = append(p.lines, []byte(line))
	}
	return err
}

// play plays some of the recordings, with a fault of that name if it has one, and returns the place in which of the
// first that fails, -1 if none does.
func (p *player) play(which []int, fault string) (failed int, err error) {
	var text []byte
	for _, i := range which {
		text = append(text, p.lines[i]...)
	}
	if err := os.WriteFile(p.file, text, 0o600); err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	failed = -1
	played := 0
	k, err := kernels.ByName(p.kernel)
	if err != nil {
		return 0, err
	}
	_, err = conform.Run(ctx, conform.Config{Kernel: k, Paths: []string{p.file}, Fault: fault, Workers: 1,
		Patience: patience, Observe: func(r conform.Result) {
			if r.Status == conform.Failed && failed < 0 {
				failed = played
				stop()
			}
			played++
		}})
	if failed >= 0 {
		err = nil
	}
	return failed, err
}

// reach plays every recording on the unbroken kernel and writes, for each function that has mutants, which recordings
// run it.
func reach(kernel, dir string) error {
	p, err := newPlayer(kernel, dir)
	if err != nil {
		return err
	}
	reached := map[int][]int{}
	hits()
	for i := range p.lines {
		if failed, err := p.play([]int{i}, ""); err != nil || failed >= 0 {
			return fmt.Errorf("a recording fails on the unbroken kernel: %.100s (%v)", p.lines[i], err)
		}
		for _, fn := range hits() {
			reached[fn] = append(reached[fn], i)
		}
	}
	b, err := json.Marshal(reached)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "reached.json"), b, 0o600)
}

// playAll reads lines of a mutant's number and that of its function, and answers each with the recording that catches
// it, or "survives".
func playAll(kernel, dir string, in io.Reader, out io.Writer) error {
	p, err := newPlayer(kernel, dir)
	if err != nil {
		return err
	}
	reached := map[int][]int{}
	b, err := os.ReadFile(filepath.Join(dir, "reached.json"))
	if err == nil {
		err = json.Unmarshal(b, &reached)
	}
	if err != nil {
		return err
	}
	all := make([]int, len(p.lines))
	raced := map[int]bool{} // recordings of a race, which pass with the fault that the real kernel has, too
	for i := range all {
		all[i] = i
		raced[i] = bytes.Contains(p.lines[i][:min(64, len(p.lines[i]))], []byte(`"interleave/`)) &&
			!bytes.Contains(p.lines[i], []byte(`"panic"`))
	}
	killers := map[int][]int{} // what has caught other mutants of a function is played first
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var number, fn int
		if _, err := fmt.Sscan(lines.Text(), &number, &fn); err != nil {
			return err
		}
		os.Setenv(environment, fmt.Sprint(number))
		which := reached[fn]
		if fn == everywhere {
			which = all
		}
		start := time.Now()
		by := -1
		for _, some := range pieces(killers[fn], which) {
			failed, err := p.play(some, "")
			if err != nil {
				return err
			}
			if failed >= 0 {
				by = some[failed]
				break
			}
		}
		if some := only(which, raced); by < 0 && kernel == "illumos" && len(some) > 0 {
			failed, err := p.play(some, "larval-window")
			if err != nil {
				return err
			}
			if failed >= 0 {
				by = some[failed]
			}
		}
		if by < 0 {
			fmt.Fprintln(out, "survives")
			continue
		}
		var sc struct{ Name string }
		if err := json.Unmarshal(p.lines[by], &sc); err != nil {
			return err
		}
		fmt.Fprintln(out, sc.Name)
		if time.Since(start) > patience {
			return nil // perhaps something still runs wild
		}
		if killers[fn] = append([]int{by}, killers[fn]...); len(killers[fn]) > 8 {
			killers[fn] = killers[fn][:8]
		}
	}
	return nil
}

func only(which []int, of map[int]bool) (some []int) {
	for _, i := range which {
		if of[i] {
			some = append(some, i)
		}
	}
	return some
}

// pieces divides what is to be played, a few first.
func pieces(first, all []int) (p [][]int) {
	if len(first) > 0 {
		p = append(p, first)
	}
	for n := 16; len(all) > 0; n *= 4 {
		n := min(n, len(all))
		p, all = append(p, all[:n]), all[n:]
	}
	return p
}
