package fidelity_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/fidelity"
	"github.com/pfkeyd/pfkeyd/internal/conform/kernels"
)

var update = flag.Bool("update", false, "write docs/fidelity.md anew")

// accountOf plays the conversations of a kernel.
func accountOf(t *testing.T, kernel string, change func(*conform.Config)) *fidelity.Account {
	t.Helper()
	k, err := kernels.ByName(kernel)
	if err != nil {
		t.Fatal(err)
	}
	c := conform.Config{Kernel: k}
	if change != nil {
		change(&c)
	}
	a, err := fidelity.Of(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The page says what the recordings and the emulated kernels say now.
func TestPage(t *testing.T) {
	var accounts []*fidelity.Account
	for _, k := range kernels.Names() {
		accounts = append(accounts, accountOf(t, k, nil))
	}
	var got bytes.Buffer
	fidelity.Page(&got, accounts)
	const file = "../../../docs/fidelity.md"
	if *update {
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); d != "" {
		t.Errorf("docs/fidelity.md is not what the recordings say (-page +recordings):\n%s\n"+
			"go test ./internal/conform/fidelity -update writes it", d)
	}
	for _, a := range accounts {
		for _, s := range a.Sets {
			if s.Answers == "" {
				t.Errorf("%s/%s: its MANIFEST does not say who answered", a.Kernel, s.Name)
			}
		}
	}
}

// row finds one by its name.
func row(t *testing.T, rows []fidelity.Row, name string) fidelity.Row {
	t.Helper()
	for _, r := range rows {
		if r.Name == name {
			return r
		}
	}
	t.Fatalf("there is no row %s", name)
	return fidelity.Row{}
}

// The account of a few conversations is what anybody can count in them, and a recording that is taken away is missing.
func TestCounts(t *testing.T) {
	const open = `{"op":"open","s":"a","ret":0},`
	const spi = `{"op":"send","s":"a","hex":"020100020a00000003000000d2040000030005000000000002000000c000020200000` +
		`00000000000030006000000000002000000c0000201000000000000000002001000000000000000000000000000","ret":80,` +
		`"rx":[{"s":"a","hex":"0201XX020a00000003000000d2040000030005000000000002000000c00002020000000000000000` +
		`030006000000000002000000c0000201000000000000000002000100000000000000000000000000"}]}]}` + "\n"
	good := strings.ReplaceAll(`{"name":"getspi/sat2-0-0","steps":[`+open+spi, "XX", "00")
	mutated := strings.ReplaceAll(`{"name":"mut/1","steps":[`+open+spi, "XX", "00")
	wrong := strings.ReplaceAll(`{"name":"getspi/no","steps":[`+open+spi, "XX", "16")
	count := func(lines string) *fidelity.Account {
		file := filepath.Join(t.TempDir(), "f.jsonl")
		if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
			t.Fatal(err)
		}
		return accountOf(t, "illumos", func(c *conform.Config) { c.Paths = []string{file} })
	}
	a := count(good + mutated + wrong)
	want := fidelity.Row{Name: "GETSPI", Sent: 3, Heard: 3, Mutated: 1, Failing: 1}
	if d := cmp.Diff(want, row(t, a.Messages, "GETSPI")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	want = fidelity.Row{Name: "SPIRANGE", Sent: 3, Mutated: 1, Failing: 1}
	if d := cmp.Diff(want, row(t, a.Extensions, "SPIRANGE")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"getspi/no"}, a.Failing); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if !row(t, a.Messages, "ADD").Read() || row(t, a.Messages, "GETSPI").Read() {
		t.Error("what no recording has is by reading only, and nothing else is")
	}
	want = fidelity.Row{Name: "GETSPI", Sent: 2, Heard: 2, Failing: 1}
	if d := cmp.Diff(want, row(t, count(good+wrong).Messages, "GETSPI")); d != "" {
		t.Errorf("without one recording (-want +got):\n%s", d)
	}
}

// A kernel with a rule broken fails, and the account says with which message that begins.
func TestBrokenRule(t *testing.T) {
	only := func(fault string) *fidelity.Account {
		return accountOf(t, "illumos", func(c *conform.Config) { c.Run, c.Fault = "^interleave/esp-", fault })
	}
	whole, broken := only(""), only("larval-unlocked")
	if len(whole.Failing) != 0 || len(whole.Deviations) == 0 {
		t.Errorf("without a fault %v fail, with the deviations %v", whole.Failing, whole.Deviations)
	}
	if len(broken.Failing) == 0 || row(t, broken.Messages, "UPDATE").Failing == 0 {
		t.Errorf("with a fault %v fail", broken.Failing)
	}
	var before, after bytes.Buffer
	fidelity.Section(&before, whole)
	fidelity.Section(&after, broken)
	if before.String() == after.String() {
		t.Error("the page is the same")
	}
	// A deviation that is no recording's begins with the message that crashes the original.
	got := accountOf(t, "freebsd", func(c *conform.Config) { c.Run = "^freebsd-crash/." }).Deviations
	if len(got) != 1 || got[0].Name != "division-panic" || !cmp.Equal(got[0].Messages, []string{"GETSPI"}) {
		t.Errorf("%+v", got)
	}
}

// What was kept is of kernels that there are, names rows that they have, and was played whole.
func TestKept(t *testing.T) {
	for _, k := range fidelity.AllKept() {
		if k.Of == "" || k.Date == "" || (k.Seed == 0) != (k.Kind == fidelity.Played) {
			t.Errorf("%s %s: which kernel, when, and with what seed? %q %q %d", k.Kernel, k.Kind, k.Of, k.Date, k.Seed)
		}
		now := accountOf(t, k.Account.Kernel, func(c *conform.Config) { c.Run = "^base/" })
		for _, r := range k.Account.Messages {
			row(t, now.Messages, r.Name)
		}
		for _, r := range k.Account.Extensions {
			row(t, now.Extensions, r.Name)
		}
	}
}
