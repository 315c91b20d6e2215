package pfkeytest_test

import (
	"os"
	"os/exec"
	"testing"
)

// insideVariable is set in a network namespace of the test's own, where nobody else has iked's ports.
const insideVariable = "PFKEYTEST_IKED_INSIDE"

// The test that the documentation shows is one, where Debian's openiked is installed and the test is root.
func TestIkedExample(t *testing.T) {
	if os.Getenv(insideVariable) != "" {
		testIked(t)
		return
	}
	if testing.Short() {
		t.Skip("runs real daemons, which take their time on a busy machine")
	}
	for _, program := range []string{"iked", "unshare"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("iked reads files in /etc that are root's, and wants to become another user")
	}
	if out, err := exec.Command("unshare", "--net", "true").CombinedOutput(); err != nil {
		t.Skipf("no network namespace to be had: %s", out)
	}
	if _, err := os.Stat("/etc/iked/private/local.key"); err != nil {
		t.Skipf("iked has no key: %v", err)
	}
	cmd := exec.Command("unshare", "--net", os.Args[0], "-test.run=^TestIkedExample$", "-test.v")
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
}
