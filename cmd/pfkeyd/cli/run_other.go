//go:build !linux

package cli

import (
	"context"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/launch"
)

func (e *env) runProgram(context.Context, *runFlags, []string) error {
	return command.Failed(launch.Supported())
}
