//go:build unix

package pfkey

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/door"
)

// DefaultAddress is the engine to use when nobody says which: the one that the environment names ([EngineVariable]),
// else the one that is running in the default directory, if there is exactly one. The error is ErrNoEngine or
// ErrManyEngines if there is none or more than one.
func DefaultAddress() (Address, error) {
	if s := os.Getenv(EngineVariable); s != "" {
		a, err := ParseAddress(s)
		if bad, ok := errors.AsType[*AddressError](err); ok {
			bad.From = EngineVariable
		}
		return a, err
	}
	running, err := Running()
	switch {
	case err != nil:
		return Address{}, err
	case len(running) == 0:
		return Address{}, fmt.Errorf("pfkey: %w is running in %s, and %s is not set",
			ErrNoEngine, door.DefaultDir(), EngineVariable)
	case len(running) > 1:
		var list strings.Builder
		for _, a := range running {
			list.WriteString("\n  --engine " + a.String())
		}
		return Address{}, fmt.Errorf("pfkey: %w are running; choose one, or set %s to its address:%s",
			ErrManyEngines, EngineVariable, &list)
	}
	return running[0], nil
}

// Running lists the engines that are running in the default directory, at their [DefaultPath] or a [NamedPath], ordered
// by the kernel's name and then by the path. It connects to none.
func Running() ([]Address, error) {
	dir := door.DefaultDir()
	if err := door.CheckDir(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("pfkey: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("pfkey: %w", err)
	}
	var running []Address
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), socketSuffix)
		kernel, _, _ := strings.Cut(name, ".")
		if !ok || kernel == "" || e.Type() != fs.ModeSocket {
			continue
		}
		a := Address{kernel, filepath.Join(dir, e.Name())}
		if live, err := door.Alive(a.Path); err == nil && live {
			running = append(running, a)
		}
	}
	slices.SortFunc(running, func(a, b Address) int {
		return cmp.Or(cmp.Compare(a.Kernel, b.Kernel), cmp.Compare(a.Path, b.Path))
	})
	return running, nil
}
