//go:build unix

package cli_test

import (
	"os"
	"syscall"
	"testing"
)

// TestInterrupt ends a monitor as the original ends: with the number of the signal.
func TestInterrupt(t *testing.T) {
	code, errs := monitor(t, t.Context(), func() {
		if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
			t.Error(err)
		}
	})
	if code != 2 || errs != "ipseckey: Bailing on signal 2.\n" {
		t.Errorf("exit %d, %q", code, errs)
	}
}
