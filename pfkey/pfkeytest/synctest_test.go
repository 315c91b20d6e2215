package pfkeytest_test

import "testing"

// The test that the documentation shows is one.
func TestSynctestExample(t *testing.T) { testWatchdog(t) }
