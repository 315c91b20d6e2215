package pfkey

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/door"
	"github.com/pfkeyd/pfkeyd/wire"
)

// HostKernel is the kernel name in the address of the host's own PF_KEY sockets, "af_key:".
const HostKernel = "af_key"

// XFRMKernel is the kernel name of an engine that emulates none: behind its sockets are the SAs, the policies and the
// packets of this machine's own Linux, which it reaches by NETLINK_XFRM. Its dialect is Linux'.
const XFRMKernel = "xfrm"

// EngineVariable is the environment variable that says which engine programs use.
const EngineVariable = "PFKEY_ENGINE"

// Errors about finding an engine.
var (
	// ErrNoEngine is in the chain of every error that says that there is no kernel to talk to at an address.
	ErrNoEngine = errors.New("no engine")
	// ErrManyEngines is in the chain of [DefaultAddress]'s error when it would have to choose.
	ErrManyEngines = errors.New("several engines")
)

// AddressError says what is wrong with the text of an address.
type AddressError struct {
	Text   string // the address as it was given
	Reason string
	From   string // the environment variable that it came from; empty if none
}

func (e *AddressError) Error() string {
	s := fmt.Sprintf("pfkey: address %q %s", e.Text, e.Reason)
	if e.From != "" {
		s += " (from the environment variable " + e.From + ")"
	}
	return s
}

// Address says where a kernel with PF_KEY sockets is. Written as text it is KERNEL:PATH, such as
// "illumos:/run/user/1000/pfkeyd/illumos.sock"; "af_key:" is the host's own kernel.
type Address struct {
	Kernel string // name of the emulated kernel, or HostKernel
	Path   string // of the Unix socket; empty for HostKernel
}

// ParseAddress reads the textual form. It does not look whether the kernel is known or anything is at the path. The
// error is an [*AddressError].
func ParseAddress(s string) (Address, error) {
	kernel, path, ok := strings.Cut(s, ":")
	switch {
	case !ok || kernel == "" || strings.ContainsAny(kernel, "/ \t"):
		return Address{}, &AddressError{Text: s, Reason: fmt.Sprintf("is neither KERNEL:PATH nor %q", HostKernel+":")}
	case kernel == HostKernel && path != "":
		reason := "has a path: " + HostKernel + ": is the host's own kernel, which has no path"
		return Address{}, &AddressError{Text: s, Reason: reason}
	case kernel != HostKernel && path == "":
		return Address{}, &AddressError{Text: s, Reason: "has no path behind the colon"}
	case strings.IndexByte(path, 0) >= 0:
		return Address{}, &AddressError{Text: s, Reason: "has a NUL in its path"}
	}
	return Address{Kernel: kernel, Path: path}, nil
}

// String is the form that [ParseAddress] reads.
func (a Address) String() string { return a.Kernel + ":" + a.Path }

// Dialect returns the dialect that the kernel at the address speaks. The error is an [*AddressError], or says that the
// host has no PF_KEY.
func (a Address) Dialect() (*wire.Dialect, error) {
	if a.Kernel == HostKernel {
		return hostDialect()
	}
	if a.Kernel == XFRMKernel {
		return wire.Linux(), nil
	}
	if d, ok := wire.ByName(a.Kernel); ok {
		return d, nil
	}
	known := []string{XFRMKernel}
	for _, d := range wire.Dialects() {
		known = append(known, d.Name)
	}
	slices.Sort(known)
	reason := fmt.Sprintf("names the unknown kernel %q; known are %s", a.Kernel, strings.Join(known, ", "))
	return nil, &AddressError{Text: a.String(), Reason: reason}
}

// DefaultPath is where an engine of the named kernel listens unless told otherwise. It is in the default directory:
// $XDG_RUNTIME_DIR/pfkeyd, else a directory of the user in the temporary one. That need not exist; [Listen] makes it.
func DefaultPath(kernel string) string { return filepath.Join(door.DefaultDir(), kernel+socketSuffix) }

// NamedPath is where one more engine of the named kernel listens, so that [Running] finds it too. The name tells it
// from others; it has no slash.
func NamedPath(kernel, name string) string {
	return filepath.Join(door.DefaultDir(), kernel+"."+name+socketSuffix)
}

const socketSuffix = ".sock"
