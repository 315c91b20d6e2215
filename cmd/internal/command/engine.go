package command

import (
	"errors"
	"io/fs"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/words"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// EngineHelp is what the option --engine means.
const EngineHelp = "`ADDRESS` of the engine, KERNEL:PATH (default: $" + pfkey.EngineVariable +
	", else the one that runs)"

// Engine finds an engine: the one at the address that --engine has, or if that is empty the one that is meant without.
// Errors have their exit codes: a wrong address is wrong usage, wherever it comes from.
func Engine(address string) (pfkey.Address, error) {
	var a pfkey.Address
	var err error
	if address != "" {
		a, err = pfkey.ParseAddress(address)
	} else {
		a, err = pfkey.DefaultAddress()
	}
	if err == nil && a.Kernel != pfkey.HostKernel {
		_, err = a.Dialect()
	}
	return a, Reached(err)
}

// Reached gives an error of finding or reaching an engine its exit code; nil stays nil.
func Reached(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Failure](err); ok {
		return err
	}
	if _, ok := errors.AsType[*pfkey.AddressError](err); ok {
		return Usagef("%w", err)
	}
	if isNoEngine(err) {
		return NoEngine(err)
	}
	if errors.Is(err, pfkey.ErrManyEngines) {
		return Usagef("%w", err)
	}
	return Failed(err)
}

// isNoEngine tells errors of connecting that mean that nobody is there, or somebody else.
func isNoEngine(err error) bool {
	for _, none := range []error{
		pfkey.ErrNoEngine, fs.ErrNotExist, syscall.ECONNREFUSED, syscall.EPROTOTYPE, syscall.ENOTSOCK,
	} {
		if errors.Is(err, none) {
			return true
		}
	}
	return false
}

// At says which engine an error is about.
func At(a pfkey.Address, err error) error {
	if err == nil || errors.Is(err, pfkey.ErrNoEngine) {
		return err
	}
	return &reached{a, err}
}

// reached is an error on the way to an engine.
type reached struct {
	address pfkey.Address
	err     error
}

func (r *reached) Error() string {
	start := r.address.String()
	if isNoEngine(r.err) {
		start = "no engine at " + start
	}
	return start + ": " + words.Reason(r.err)
}

func (r *reached) Unwrap() error { return r.err }

// CompleteEngine completes the value of --engine with the engines that run.
func CompleteEngine(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	running, err := pfkey.Running()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var names []string
	for _, a := range running {
		names = append(names, a.String())
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
