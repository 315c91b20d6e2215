package pfkeytest_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// testIked is a test of an unmodified OpenIKED. In a file of yours it is called TestIked.
func testIked(t *testing.T) {
	dir := t.TempDir()
	conf := filepath.Join(dir, "iked.conf")
	text := `ikev2 esp from 10.0.1.0/24 to 10.0.2.0/24 peer 192.0.2.2 psk "a secret for the test"` + "\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	host := pfkeytest.New(t, pfkeytest.Kernel("linux"), pfkeytest.Addr("192.0.2.1"))
	program := host.Start(t, exec.Command("iked", "-d", "-f", conf, "-s", filepath.Join(dir, "control")))

	host.ExpectRequest(wire.MsgFlush) // it wants a kernel without old SAs
	for range 2 {
		t.Log(host.ExpectRequest(wire.MsgRegister)) // ESP and AH
	}
	if err := program.Stop(); err != nil {
		t.Error(err)
	}
	if n := len(host.SAs()); n != 0 {
		t.Errorf("it leaves %d SAs", n)
	}
}

// A test of an unmodified program.
func Example_program() {
	_ = testIked // called TestIked in a file of yours
	// Output:
}
