//go:build !linux

package cli

import (
	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/launch"
)

func (e *env) runProgram(*runFlags, []string) error {
	return command.Failed(launch.Supported())
}
