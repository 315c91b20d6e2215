//go:build !linux

package pfkeytest

import (
	"context"
	"os"
	"os/exec"

	"github.com/pfkeyd/pfkeyd/launch"
)

// A Program is an unmodified program on the kernel of a [Host]. There are none on this system.
type Program struct{ name string }

// Start runs an unmodified program on Linux, and skips the test elsewhere.
func (h *Host) Start(t TB, cmd *exec.Cmd, options ...ProgramOption) *Program {
	t.Helper()
	t.Skipf("%s cannot be started: %v", cmd.Path, launch.Supported())
	return nil
}

// PID is the number of the process.
func (p *Program) PID() int { return 0 }

// Signal sends a signal to the program.
func (p *Program) Signal(os.Signal) error { return launch.Supported() }

// Wait waits for the end of the program.
func (p *Program) Wait(context.Context) error { return launch.Supported() }

// Stop ends the program.
func (p *Program) Stop() error { return launch.Supported() }

func (p *Program) end()          {}
func (p *Program) state() string { return "cannot run here" }
