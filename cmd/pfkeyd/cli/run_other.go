//go:build !linux

package cli

import "github.com/pfkeyd/pfkeyd/launch"

func (e *env) runProgram(*runFlags, []string) error {
	return failed(launch.Supported())
}
