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

// patience is how long one recording may take, which is a thousand times what it takes.
const patience = 3 * time.Second

// player plays recordings on the kernels that are built into this program.
type player struct {
	lines []line
	file  string // where they are put to be played
}

// line is one recording, and the kernel that it is of.
type line struct {
	kernel string
	text   []byte
}

func newPlayer(name, dir string) (*player, error) {
	p := &player{file: filepath.Join(dir, fmt.Sprintf("play%d.jsonl", os.Getpid()))}
	aim := targets[name]
	if aim.played == nil {
		return nil, fmt.Errorf("there are no recordings of %q", name)
	}
	for _, kernel := range aim.played {
		k, err := kernels.ByName(kernel)
		if err != nil {
			return nil, err
		}
		for _, folder := range k.Builtin {
			if err := p.takeAll(kernel, folder); err != nil {
				return nil, err
			}
		}
	}
	// Mixed, so that the first few are of all kinds; always in the same way.
	r := rand.New(rand.NewPCG(1, 1))
	r.Shuffle(len(p.lines), func(i, j int) { p.lines[i], p.lines[j] = p.lines[j], p.lines[i] })
	return p, nil
}

// takeAll adds the recordings of a folder of testdata/golden.
func (p *player) takeAll(kernel, folder string) error {
	return fs.WalkDir(golden.Files, folder, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".jsonl.gz") {
			return err
		}
		return p.take(kernel, name)
	})
}

// take adds the recordings of a file.
func (p *player) take(kernel, name string) error {
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
	for l := range bytes.Lines(text) {
		p.lines = append(p.lines, line{kernel, l})
	}
	return err
}

// play plays some of the recordings, with a fault of that name if it has one, and returns the place in which of the
// first that fails, -1 if none does.
func (p *player) play(which []int, fault string) (failed int, err error) {
	for first := 0; first < len(which); {
		kernel, end := p.lines[which[first]].kernel, first+1
		for end < len(which) && p.lines[which[end]].kernel == kernel {
			end++
		}
		if failed, err = p.playOn(kernel, which[first:end], fault); err != nil || failed >= 0 {
			return first + failed, err
		}
		first = end
	}
	return -1, nil
}

// playOn is play for recordings of one kernel.
func (p *player) playOn(kernel string, which []int, fault string) (failed int, err error) {
	var text []byte
	for _, i := range which {
		text = append(text, p.lines[i].text...)
	}
	if err := os.WriteFile(p.file, text, 0o600); err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	failed = -1
	played := 0
	k, err := kernels.ByName(kernel)
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
func reach(target, dir string) error {
	p, err := newPlayer(target, dir)
	if err != nil {
		return err
	}
	reached := map[int][]int{}
	hits()
	for i := range p.lines {
		if failed, err := p.play([]int{i}, ""); err != nil || failed >= 0 {
			return fmt.Errorf("a recording fails on the unbroken kernel: %.100s (%v)", p.lines[i].text, err)
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
// it, "survives", or "unreached" if no recording runs the function.
func playAll(target, dir string, in io.Reader, out io.Writer) error {
	p, err := newPlayer(target, dir)
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
		text := p.lines[i].text
		raced[i] = bytes.Contains(text[:min(64, len(text))], []byte(`"interleave/`)) &&
			!bytes.Contains(text, []byte(`"panic"`))
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
		} else if len(which) == 0 {
			fmt.Fprintln(out, unreached)
			continue
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
		if some := only(which, raced); by < 0 && len(some) > 0 {
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
		if err := json.Unmarshal(p.lines[by].text, &sc); err != nil {
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
