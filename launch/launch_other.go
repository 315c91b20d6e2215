//go:build !linux

package launch

import (
	"fmt"
	"runtime"
)

// Supported says what keeps programs from being run here, nil if nothing does.
func Supported() error {
	return fmt.Errorf("launch: %w: it needs seccomp user notification, which Linux has and %s has not", ErrUnsupported,
		runtime.GOOS)
}
