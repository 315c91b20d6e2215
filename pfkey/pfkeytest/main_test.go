package pfkeytest_test

import (
	"os"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/leak"
)

// TestMain fails when the tests leave goroutines or descriptors behind. With [programVariable] in its environment the
// test binary is one of the programs that the tests run.
func TestMain(m *testing.M) {
	if name := os.Getenv(programVariable); name != "" {
		os.Exit(program(name))
	}
	os.Exit(leak.Run(m, "/pfkeytest.", "/pfkey.", "/launch.", "/station.", "/netlink.", "/netns."))
}
