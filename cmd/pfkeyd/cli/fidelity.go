package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/fidelity"
	"github.com/pfkeyd/pfkeyd/internal/conform/kernels"
)

// fidelity plays recordings as c says and prints what they show of each message and extension. With every set this is
// the page of all kernels.
func (e *env) fidelity(ctx context.Context, c conform.Config, asJSON, every bool) error {
	names := []string{c.Kernel.Name}
	if every {
		names = kernels.Names()
	}
	var accounts []*fidelity.Account
	for _, name := range names {
		if every {
			c.Kernel, _ = kernels.ByName(name) // it is in the table
		}
		a, err := fidelity.Of(ctx, c)
		if err != nil {
			return reportError(err)
		}
		accounts = append(accounts, a)
	}
	failing := 0
	for _, a := range accounts {
		failing += len(a.Failing)
		if asJSON {
			b, err := json.Marshal(a)
			if err != nil {
				return command.Failed(err)
			}
			fmt.Fprintf(e.stdout, "%s\n", b)
		}
	}
	switch {
	case asJSON:
	case every:
		fidelity.Page(e.stdout, accounts)
	default:
		fidelity.Section(e.stdout, accounts[0])
	}
	if failing > 0 {
		return command.Failed(fmt.Errorf("%d %s failed", failing, plural(failing, "recording")))
	}
	return nil
}

// reportError is an error of an account with its exit code.
func reportError(err error) error {
	if _, ok := errors.AsType[*conform.UsageError](err); ok {
		return command.Usagef("conform: %w", err)
	}
	if _, ok := errors.AsType[*conform.InputError](err); ok {
		return command.Usagef("conform: %w", err)
	}
	return command.Failed(err)
}
