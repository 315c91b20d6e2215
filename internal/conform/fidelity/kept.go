package fidelity

import (
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"sync"
)

// Kept is an account that was made with a kernel which cannot run in a test, and was kept. A file of live/ has one.
type Kept struct {
	Kernel  string  `json:"kernel"` // whose it is
	Kind    Kind    `json:"kind"`
	Of      string  `json:"of"`   // which kernel it was, and where it ran
	Date    string  `json:"date"` // such as 2026-12-01
	Seed    uint64  `json:"seed,omitempty"`
	Account Account `json:"account"`
}

// Kind is what was done.
type Kind string

const (
	// Random conversations were held with the real kernel, and played on the emulated one.
	Random Kind = "random"
	// Played: the recordings were played on it.
	Played Kind = "played"
)

//go:embed live/*.json
var live embed.FS

// AllKept lists what was kept, by the names of the files. Do not write to it.
var AllKept = sync.OnceValue(func() (all []Kept) {
	names, err := fs.Glob(live, "live/*.json")
	if err != nil {
		panic("fidelity: " + err.Error())
	}
	for _, name := range names {
		b, err := live.ReadFile(name)
		var k Kept
		if err == nil {
			d := json.NewDecoder(strings.NewReader(string(b)))
			d.DisallowUnknownFields()
			err = d.Decode(&k)
		}
		if err != nil { // they are part of the program
			panic(fmt.Sprintf("fidelity: %s: %v", name, err))
		}
		all = append(all, k)
	}
	return all
})

// kept are those of one kernel and kind.
func kept(kernel string, kind Kind) (some []Kept) {
	for _, k := range AllKept() {
		if k.Kernel == kernel && k.Kind == kind {
			some = append(some, k)
		}
	}
	return some
}

// mutated is how many messages of a row were sent in random conversations.
func mutated(some []Kept, rows func(*Account) []Row, name string) (n int) {
	for i := range some {
		for _, r := range rows(&some[i].Account) {
			if r.Name == name {
				n += r.Mutated
			}
		}
	}
	return n
}

func messageRows(a *Account) []Row   { return a.Messages }
func extensionRows(a *Account) []Row { return a.Extensions }

// played are the sums of an account.
func (a *Account) played() (sum Set) {
	for _, s := range a.Sets {
		sum.Played += s.Played
		sum.Deviating += s.Deviating
		sum.Failing += s.Failing
		sum.Messages += s.Messages
	}
	return sum
}
