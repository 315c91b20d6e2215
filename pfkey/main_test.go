package pfkey_test

import (
	"os"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/leak"
)

// TestMain fails when the tests leave goroutines or descriptors behind.
func TestMain(m *testing.M) { os.Exit(leak.Run(m, "/pfkey.")) }
