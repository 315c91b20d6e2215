//go:build !(linux || darwin || freebsd)

package pfkey

import (
	"fmt"
	"runtime"
)

// peerCred fails: who connects cannot be found out here without cgo, so that everybody is refused.
func peerCred(int) (Cred, error) {
	return Cred{}, fmt.Errorf("credentials of a Unix socket cannot be read on %s", runtime.GOOS)
}
