package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// engineFlags are the options that say what an engine is like; commands that make one share them.
type engineFlags struct {
	kernel  string
	addrs   []string
	options []string
	policy  []string
	fault   string
	clock   string
	begin   time.Time // what the clock shows at first if it is virtual; zero: the time of this machine
}

func (f *engineFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.kernel, "kernel", "illumos", "the kernel to emulate: "+strings.Join(kernels.Names(), ", ")+
		"; or "+pfkey.XFRMKernel+", which is this machine's own Linux")
	flags.StringSliceVar(&f.addrs, "addr", nil,
		"an own `ADDRESS` of the emulated host, repeatable (default: those of this machine)")
	flags.StringArrayVarP(&f.options, "option", "o", nil,
		"a tunable of the kernel by its own name, as `NAME=VALUE`, repeatable")
	var forms []string
	for _, name := range kernels.Names() {
		forms = append(forms, name+": "+kernels.PolicyForm(name))
	}
	flags.StringArrayVar(&f.policy, "policy", nil,
		"security policies in the kernel's own form, a `FILE` of at most 1 MiB, repeatable; "+strings.Join(forms, ", "))
	faults := strings.Join(sadb.FaultNames(), ", ")
	flags.StringVar(&f.fault, "fault", "", "a deliberate `DEFECT` of the larval queue: "+faults)
	flags.StringVar(&f.clock, "clock", "real", "real, or virtual: a clock that only 'pfkeyd clock' moves")
	command.Complete(cmd, "kernel", append(kernels.Names(), pfkey.XFRMKernel)...)
	command.Complete(cmd, "fault", sadb.FaultNames()...)
	command.Complete(cmd, "clock", "real", "virtual")
}

// errNotAdmin is for whoever wants to administer the kernel of this machine and may not.
var errNotAdmin = errors.New("xfrm: you may not administer IPsec here: CAP_NET_ADMIN is missing. Run it as root, " +
	"or in namespaces of your own: unshare --user --map-root-user --net")

func isErrno(err error) bool {
	_, ok := errors.AsType[syscall.Errno](err)
	return ok
}

// checkOwn refuses what makes no sense where the kernel is this machine's own.
func (f *engineFlags) checkOwn() error {
	switch {
	case !kernels.Own(f.kernel):
		return nil
	case f.clock != "real":
		return command.Usagef("--clock %s: the time of kernel %s is this machine's", f.clock, f.kernel)
	case f.fault != "":
		return command.Usagef("--fault: kernel %s is no emulated one, and has its own faults", f.kernel)
	case f.addrs != nil:
		return command.Usagef("--addr: the addresses of kernel %s are this machine's", f.kernel)
	case f.policy != nil:
		return command.Usagef("--policy: kernel %s keeps its policies when the engine ends; programs add them",
			f.kernel)
	}
	return nil
}

// start makes the engine, and reads its files until ctx ends. Errors are those of usage.
func (f *engineFlags) start(ctx context.Context, log *slog.Logger) (*engine.Engine, error) {
	o := engine.Options{Fault: f.fault, Log: log, Start: f.begin}
	if f.begin.IsZero() {
		o.Start = time.Now()
	}
	if err := f.checkOwn(); err != nil {
		return nil, err
	}
	switch f.clock {
	case "real":
		o.Clock = time.Now
	case "virtual":
	default:
		return nil, command.Usagef("--clock %q: real or virtual", f.clock)
	}
	var err error
	if o.Tunables, err = parseOptions(f.options); err != nil {
		return nil, err
	}
	if o.Addrs, o.Broadcast, err = f.addresses(); err != nil {
		return nil, err
	}
	e, err := kernels.New(f.kernel, o)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, command.Failed(errNotAdmin)
	case err != nil && kernels.Own(f.kernel) && isErrno(err):
		return nil, command.Failed(err)
	case err != nil:
		return nil, command.Usagef("%w", err)
	}
	if err := f.loadPolicies(ctx, e); err != nil {
		return nil, err
	}
	return e, nil
}

// loadPolicies gives the kernel the files of --policy, in their order.
func (f *engineFlags) loadPolicies(ctx context.Context, e *engine.Engine) error {
	for _, name := range f.policy {
		file, err := files.Open(ctx, name)
		if err == nil {
			err = kernels.LoadPolicy(e, file, name)
			file.Close()
		}
		if err != nil {
			return command.Unreadable(fmt.Errorf("--policy: %w", err))
		}
	}
	return nil
}

// addresses are the own addresses of the emulated host and the broadcast addresses of its networks.
func (f *engineFlags) addresses() (own, broadcast []netip.Addr, err error) {
	if own, err = parseAddrs(f.addrs); err != nil || own != nil {
		return own, nil, err
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil, nil, command.Failed(fmt.Errorf("the addresses of this machine: %w; name them with --addr", err))
	}
	for _, each := range list {
		p, err := netip.ParsePrefix(each.String())
		if err != nil || p.Addr().IsLoopback() {
			continue // the loopback interface's addresses are not the host's own, in the kernel's sense
		}
		own = append(own, p.Addr())
		if b, ok := broadcastOf(p); ok {
			broadcast = append(broadcast, b, p.Masked().Addr())
		}
	}
	return own, broadcast, nil
}

// broadcastOf is the directed broadcast address of an IPv4 network that has one.
func broadcastOf(p netip.Prefix) (netip.Addr, bool) {
	if !p.Addr().Is4() || p.Bits() > 30 {
		return netip.Addr{}, false
	}
	a := p.Masked().Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		a[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(a), true
}

// parseAddrs reads the values of --addr.
func parseAddrs(list []string) (as []netip.Addr, err error) {
	for _, s := range list {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, command.Usagef("--addr %q: not an IP address", s)
		}
		as = append(as, a)
	}
	return as, nil
}

// parseOptions reads the values of -o.
func parseOptions(list []string) (map[string]string, error) {
	if list == nil {
		return nil, nil
	}
	m := map[string]string{}
	for _, s := range list {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, command.Usagef("-o %q: NAME=VALUE is wanted", s)
		}
		m[name] = value
	}
	return m, nil
}
