// Package kernels makes engines by the name of the operating system they emulate, and has what else differs between
// kernels outside of their folders. Package kernel is what it looks like from outside of this module.
package kernels

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/freebsd"
	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/kernel/netbsd"
	"github.com/pfkeyd/pfkeyd/kernel/openbsd"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A row is what this package knows of a kernel.
type row struct {
	name     string
	boot     func(*engine.Engine, engine.Options) (engine.Kernel, error)
	policies policyFile
	sealing  sealing
	untold   func(engine.Kernel) []*pfkey.Policy // see [UntoldPolicies]; nil: PF_KEY tells all
	own      bool                                // see [Own]
}

// kernels are those there are, in alphabetical order. To add one: a row.
var kernels = []row{
	{
		name:     "freebsd",
		boot:     func(e *engine.Engine, o engine.Options) (engine.Kernel, error) { return freebsd.New(e, o) },
		policies: setkey,
		sealing:  sealing{suite: freebsd.Suite, alignESP: freebsd.AlignESP},
	},
	{
		name:     "illumos",
		boot:     func(e *engine.Engine, o engine.Options) (engine.Kernel, error) { return illumos.New(e, o) },
		policies: ipsecconf,
		sealing:  sealing{suite: illumos.Suite, ownPort: true},
		untold:   func(k engine.Kernel) []*pfkey.Policy { return k.(*illumos.Kernel).Policies() },
	},
	{
		name:     "linux",
		boot:     func(e *engine.Engine, o engine.Options) (engine.Kernel, error) { return linux.New(e, o) },
		policies: setkeyForward,
		sealing:  sealing{suite: linux.Suite, alignAH: linux.AHAlign},
	},
	{
		name:     "netbsd",
		boot:     func(e *engine.Engine, o engine.Options) (engine.Kernel, error) { return netbsd.New(e, o) },
		policies: setkey,
		sealing:  sealing{suite: netbsd.Suite, alignESP: netbsd.AlignESP},
	},
	{
		name:     "openbsd",
		boot:     func(e *engine.Engine, o engine.Options) (engine.Kernel, error) { return openbsd.New(e, o) },
		policies: ipsecFlows,
		sealing:  sealing{suite: openbsd.Suite, alignESP: openbsd.AlignESP, alignAH: openbsd.AlignAH},
	},
	{
		name:     pfkey.XFRMKernel,
		boot:     func(e *engine.Engine, o engine.Options) (engine.Kernel, error) { return linux.NewBridge(e, o) },
		policies: setkeyForward,
		sealing:  sealing{suite: linux.Suite, alignAH: linux.AHAlign},
		own:      true,
	},
}

func find(name string) (row, error) {
	for _, k := range kernels {
		if k.name == name {
			return k, nil
		}
	}
	var known []string
	for _, k := range kernels {
		known = append(known, k.name)
	}
	return row{}, fmt.Errorf("kernel: unknown kernel %q (known: %s)", name, strings.Join(known, ", "))
}

// Names lists the kernels that are emulated, in alphabetical order.
func Names() (names []string) {
	for _, k := range kernels {
		if !k.own {
			names = append(names, k.name)
		}
	}
	return names
}

// Own says whether the kernel of that name is this machine's own, and none that is emulated: its SAs and policies stay
// when the engine is gone, others change them as well, and its packets and its time are the machine's.
func Own(name string) bool {
	k, err := find(name)
	return err == nil && k.own
}

// Lacks names what this machine's own kernel has not, of what others of its kind have; nothing of an emulated one.
func Lacks(e *engine.Engine) []string {
	if own, ok := e.Kernel().(interface{ Lacks() []string }); ok {
		return own.Lacks()
	}
	return nil
}

// SocketPolicy says what a program of PF_KEY wants for a socket of its own in the words of this machine's kernel, see
// [linux.SocketPolicy]. The error is an errno of Linux.
func SocketPolicy(value []byte, v6 bool) ([]byte, error) {
	policy, errno := linux.SocketPolicy(value, v6)
	if errno != wire.OK {
		return nil, syscall.Errno(wire.Linux().ErrnoNumber(errno))
	}
	return policy, nil
}

// New makes an engine that runs the kernel of that name. The error names what is wrong with the name or the options.
func New(name string, o engine.Options) (*engine.Engine, error) {
	k, err := find(name)
	if err != nil {
		return nil, err
	}
	return engine.New(name, o, func(e *engine.Engine) (engine.Kernel, error) { return k.boot(e, o) })
}

// UntoldPolicies returns the policies of a kernel that does not tell them through PF_KEY; false if it does. They belong
// to the caller.
func UntoldPolicies(e *engine.Engine) (policies []*pfkey.Policy, untold bool) {
	k, err := find(e.Name())
	if err != nil || k.untold == nil {
		return nil, false
	}
	return k.untold(e.Kernel()), true
}
