//go:build !linux

package cli

import (
	"fmt"
	"runtime"
)

func openTUN(string) (tunDevice, error) {
	return nil, fmt.Errorf("TUN devices are those of Linux, and this is %s", runtime.GOOS)
}
