package pfkey

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// HostKernel is the kernel name in the address of the host's own PF_KEY sockets, "af_key:".
const HostKernel = "af_key"

// EngineVariable is the environment variable that says which engine programs use.
const EngineVariable = "PFKEY_ENGINE"

// Errors about finding an engine.
var (
	// ErrNoEngine is in the chain of every error that says that there is no kernel to talk to at an address.
	ErrNoEngine = errors.New("no engine")
	// ErrManyEngines is in the chain of [DefaultAddress]'s error when it would have to choose.
	ErrManyEngines = errors.New("several engines")
)

// Address says where a kernel with PF_KEY sockets is. Written as text it is KERNEL:PATH, such as
// "illumos:/run/user/1000/pfkeyd/illumos.sock"; "af_key:" is the host's own kernel.
type Address struct {
	Kernel string // name of the emulated kernel, or HostKernel
	Path   string // of the Unix socket; empty for HostKernel
}

// ParseAddress reads the textual form. It does not look whether the kernel is known or anything is at the path.
func ParseAddress(s string) (Address, error) {
	kernel, path, ok := strings.Cut(s, ":")
	switch {
	case !ok || kernel == "" || strings.ContainsAny(kernel, "/ \t"):
		return Address{}, fmt.Errorf("pfkey: address %q is neither KERNEL:PATH nor %q", s, HostKernel+":")
	case kernel == HostKernel && path != "":
		return Address{}, fmt.Errorf("pfkey: address %q: %s: has no path, it is the host's own kernel", s, HostKernel)
	case kernel != HostKernel && path == "":
		return Address{}, fmt.Errorf("pfkey: address %q has no path behind the colon", s)
	case strings.IndexByte(path, 0) >= 0:
		return Address{}, fmt.Errorf("pfkey: address %q has a NUL in its path", s)
	}
	return Address{Kernel: kernel, Path: path}, nil
}

// String is the form that [ParseAddress] reads.
func (a Address) String() string { return a.Kernel + ":" + a.Path }

// Dialect returns the dialect that the kernel at the address speaks.
func (a Address) Dialect() (*wire.Dialect, error) {
	if a.Kernel == HostKernel {
		return hostDialect()
	}
	if d, ok := wire.ByName(a.Kernel); ok {
		return d, nil
	}
	var known []string
	for _, d := range wire.Dialects() {
		known = append(known, d.Name)
	}
	return nil, fmt.Errorf("pfkey: unknown kernel %q, known are %s", a.Kernel, strings.Join(known, ", "))
}

// DefaultDir is the directory of engines that were told no path: $XDG_RUNTIME_DIR/pfkeyd, else a directory of the user in
// the temporary one. It need not exist; [Listen] makes it.
func DefaultDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "pfkeyd")
	}
	return filepath.Join(os.TempDir(), "pfkeyd-"+strconv.Itoa(os.Geteuid()))
}

// DefaultPath is where an engine of the named kernel listens unless told otherwise.
func DefaultPath(kernel string) string { return filepath.Join(DefaultDir(), kernel+socketSuffix) }

const socketSuffix = ".sock"

// DefaultAddress is the engine to use when nobody says which: the one that the environment names ([EngineVariable]), else
// the one that is running at its default path, if there is exactly one. The error is ErrNoEngine or ErrManyEngines if there
// is none or more than one.
func DefaultAddress() (Address, error) {
	if s := os.Getenv(EngineVariable); s != "" {
		a, err := ParseAddress(s)
		if err != nil {
			return Address{}, fmt.Errorf("%w (from the environment variable %s)", err, EngineVariable)
		}
		return a, nil
	}
	running, err := Running()
	switch {
	case err != nil:
		return Address{}, err
	case len(running) == 0:
		return Address{}, fmt.Errorf("pfkey: %w: %s is not set and none is running in %s", ErrNoEngine, EngineVariable, DefaultDir())
	case len(running) > 1:
		names := make([]string, len(running))
		for i, a := range running {
			names[i] = a.String()
		}
		return Address{}, fmt.Errorf("pfkey: %w are running, choose one with %s: %s", ErrManyEngines, EngineVariable, strings.Join(names, " "))
	}
	return running[0], nil
}

// Running lists the engines that are running in the default directory, ordered by the kernel's name. It connects to none.
func Running() ([]Address, error) {
	dir := DefaultDir()
	if err := checkDir(dir); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("pfkey: %w", err)
	}
	var running []Address
	for _, e := range entries {
		kernel, ok := strings.CutSuffix(e.Name(), socketSuffix)
		if !ok || kernel == "" || e.Type() != fs.ModeSocket {
			continue
		}
		a := Address{kernel, filepath.Join(dir, e.Name())}
		if live, err := alive(a.Path); err == nil && live {
			running = append(running, a)
		}
	}
	slices.SortFunc(running, func(a, b Address) int { return cmp.Compare(a.Kernel, b.Kernel) })
	return running, nil
}
