package main

import (
	"bytes"
	"go/format"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Mutants are known by their names, so each has one of its own; and those listed as survivors are among them.
func TestNames(t *testing.T) {
	for _, kernel := range slices.Sorted(maps.Keys(targets)) {
		var dirs, without []string
		for _, dir := range targets[kernel].folders {
			dirs = append(dirs, "../../"+dir)
		}
		for _, name := range targets[kernel].without {
			without = append(without, "../../"+name)
		}
		src, err := load(without, dirs...)
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, m := range src.mutants() {
			if names[m.name()] {
				t.Errorf("two mutants %s", m.name())
			}
			names[m.name()] = true
		}
		if len(names) < 500 {
			t.Errorf("%s: %d mutants only", kernel, len(names))
		}
		known, err := readKnown("known/" + kernel + ".txt")
		if err != nil || len(known.of) == 0 {
			t.Fatalf("known/%s.txt: %d survivors, %v", kernel, len(known.of), err)
		}
		for _, name := range known.gone(src.mutants()) {
			t.Errorf("known/%s.txt: no mutant (any more): %s", kernel, name)
		}
	}
}

func TestOperators(t *testing.T) {
	src, err := load(nil, "testdata/toy")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range src.mutants() {
		got = append(got, strings.TrimPrefix(m.name(), "toy.go "))
	}
	want := []string{
		`names row: drop "one"`,
		`answer check: never a == 0`,
		`answer swap: a == 0 <> a < b`,
		`answer compare: != in a == 0`,
		`answer number: 1, not 0`,
		`answer code: EINTR, not EINVAL`,
		`answer field: drop errno: wire.EINVAL`,
		`answer check: never a < b`,
		`answer compare: <= in a < b`,
		`answer compare: >= in a < b`,
		`answer code: IllumosDiagNone, not IllumosDiagNoExt`,
		`hears recipient: never t == 1 && c`,
		`hears recipient: t == 1 && c without t == 1`,
		`hears compare: != in t == 1`,
		`hears number: 2, not 1`,
		`hears recipient: t == 1 && c without c`,
		`hears recipient: return false, not true`,
		`hears recipient: return true, not c`,
		`hears recipient: return false, not c`,
		`reply field: drop d.AppendAddress(b, 5)`,
		`reply number: 6, not 5`,
		`reply call: drop note(b)`,
		`reply field: drop PutUint16(b, 7)`,
		`reply number: 8, not 7`,
		`tell call: drop k.broadcast(5, toAll, nil)`,
		`tell number: 6, not 5`,
		`tell recipient: toRegistered, not toAll: k.broadcast(5, toAll, nil)`,
		`tell recipient: toPromiscuous, not toAll: k.broadcast(5, toAll, nil)`,
		`tell check: never k.broadcast(6, toRegistered, c)`,
		`tell number: 7, not 6`,
		`tell recipient: toOne, not toRegistered: k.broadcast(6, toRegistered, c)`,
		`tell recipient: toAll, not toRegistered: k.broadcast(6, toRegistered, c)`,
		`tell recipient: toPromiscuous, not toRegistered: k.broadcast(6, toRegistered, c)`,
		`tell recipient: nil, not c: k.broadcast(6, toRegistered, c)`,
		`tell code: EINTR, not ENOENT`,
	}
	slices.Sort(want)
	slices.Sort(got)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("mutants (-want +got):\n%s", d)
	}
}

// Every change is undone: what is written without mutants is the package as it was.
func TestUndo(t *testing.T) {
	src, err := load(nil, "testdata/toy")
	if err != nil {
		t.Fatal(err)
	}
	before := full(t, src)
	for _, m := range src.mutants() {
		m.apply()
		if full(t, src) == before {
			t.Errorf("%s changes nothing", m.name())
		}
		m.undo()
	}
	if after := full(t, src); after != before {
		t.Errorf("not undone:\n%s\n%s", before, after)
	}
}

func full(t *testing.T, src *source) string {
	t.Helper()
	var b bytes.Buffer
	if err := format.Node(&b, src.fset, src.files[0].ast); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestReport(t *testing.T) {
	all := []*mutant{
		{fn: "a.go f", op: "swap", what: "1", caughtBy: "add/x"},
		{fn: "a.go f", op: "swap", what: "2"},
		{fn: "a.go f", op: "code", what: "3"},
	}
	known := &knownList{of: map[string]knownSurvivor{"a.go f swap: 2": {equivalent, "no order"}}}
	var out bytes.Buffer
	if report(&out, all, all, known, options{want: 95}, 0) {
		t.Error("a survivor that is not listed passes")
	}
	known.of["a.go f code: 3"] = knownSurvivor{unrecorded, "nobody has seen it"}
	if report(io.Discard, all, all, known, options{want: 95}, 0) {
		t.Error("a share of 50 % passes")
	}
	if !report(io.Discard, all, all, known, options{want: 95, sample: 3}, 0) {
		t.Error("a sample of which all survivors are listed does not pass")
	}
	delete(known.of, "a.go f code: 3")
	if report(io.Discard, all, all, known, options{want: 95, sample: 3}, 0) {
		t.Error("a survivor that is not listed passes in a sample")
	}
	if !strings.Contains(out.String(), "SURVIVES  a.go f code: 3\n") ||
		!strings.Contains(out.String(), " 50.0 %; 1 not as listed") {
		t.Errorf("report:\n%s", &out)
	}
	out.Reset()
	if !report(&out, all, all[:2], known, options{want: 95}, 0) {
		t.Errorf("all caught but an equivalent one, and it does not pass:\n%s", &out)
	}
	all[1].caughtBy = timeout
	if !report(&out, all, all[:2], known, options{want: 95}, 0) {
		t.Error("an equivalent one that was slow does not pass")
	}
	all[1].caughtBy = "add/y"
	if report(&out, all, all[:2], known, options{want: 95}, 0) {
		t.Error("an equivalent one that was caught passes")
	}
	out.Reset()
	if report(&out, all[:1], all[:1], known, options{want: 95}, 0) ||
		!strings.Contains(out.String(), "no mutant (any more): a.go f swap: 2") {
		t.Errorf("a listed survivor that cannot be made passes:\n%s", &out)
	}
}
