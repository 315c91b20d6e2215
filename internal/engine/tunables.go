package engine

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A Tunable is a number of a kernel that whoever runs it may choose: a name of sysctl(8), ndd(8) or ipadm(8).
type Tunable struct {
	Name              string // as its system writes it
	Min, Max, Default int64

	base int // that of its module
}

// A Module is a part of a kernel with tunables of its own. Their names are MODULE:NAME; without a module the name is
// meant for all that have it.
type Module struct {
	Name string // empty: the tunables have none before their names
	Base int    // in which whoever runs it writes numbers; 0: they say so themselves, as 0x10 does
	Rows []Tunable
}

// Tunables are the values in force. A tunable is known by its place in the rows of all modules. The methods are safe
// for concurrent use.
type Tunables struct {
	rows   []Tunable
	values []atomic.Int64
}

// NewTunables gives every tunable its default, or the value with its name. The error says what is wrong with a name or
// a value.
func NewTunables(values map[string]string, modules ...Module) (*Tunables, error) {
	t := &Tunables{}
	for _, m := range modules {
		for _, row := range m.Rows {
			if m.Name != "" {
				row.Name = m.Name + ":" + row.Name
			}
			row.base = m.Base
			t.rows = append(t.rows, row)
		}
	}
	t.values = make([]atomic.Int64, len(t.rows))
	for i, row := range t.rows {
		t.values[i].Store(row.Default)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) { // so that of several errors the same one is told
		if err := t.parse(name, values[name]); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Get returns a value.
func (t *Tunables) Get(i int) int64 { return t.values[i].Load() }

// Put changes a tunable of a running kernel by its name: EINVAL for a value out of bounds, ENOENT for a name that has
// no effect here.
func (t *Tunables) Put(name string, value int64) pfkey.Errno {
	found := t.find(name)
	if len(found) == 0 {
		return wire.ENOENT
	}
	for _, i := range found {
		if !t.rows[i].takes(value) {
			return wire.EINVAL
		}
	}
	for _, i := range found {
		t.values[i].Store(value)
	}
	return wire.OK
}

func (row *Tunable) takes(value int64) bool { return value >= row.Min && value <= row.Max }

func (t *Tunables) parse(name, text string) error {
	found := t.find(name)
	if len(found) == 0 {
		return fmt.Errorf("unknown tunable %q (known: %s)", name, strings.Join(t.names(), ", "))
	}
	for _, i := range found {
		row := &t.rows[i]
		n, err := strconv.ParseInt(text, row.base, 64)
		if err != nil || !row.takes(n) {
			return fmt.Errorf("tunable %s: %q is not a number from %d to %d", name, text, row.Min, row.Max)
		}
		t.values[i].Store(n)
	}
	return nil
}

// find returns the places of the tunables that a name is meant for; it may be written as a path.
func (t *Tunables) find(name string) (found []int) {
	name = strings.ReplaceAll(name, "/", ".")
	for i, row := range t.rows {
		if row.Name == name || strings.HasSuffix(row.Name, ":"+name) {
			found = append(found, i)
		}
	}
	return found
}

// names lists every name once: what several modules have is named without them.
func (t *Tunables) names() (names []string) {
	for _, row := range t.rows {
		name := row.Name
		if _, short, ok := strings.Cut(name, ":"); ok && len(t.find(short)) > 1 {
			name = short
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}
