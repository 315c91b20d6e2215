package pfkeytest_test

import (
	"testing"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// testOwnKernel is a test on the kernel of the machine that it runs on. In a file of yours it is called TestOwnKernel.
// It is skipped where no network namespace can be made.
func testOwnKernel(t *testing.T) {
	host := pfkeytest.New(t, pfkeytest.Kernel("xfrm"), pfkeytest.Addr("192.0.2.1"))
	client := host.Client()
	if _, err := client.Register(t.Context(), wire.SATypeESP); err != nil {
		t.Fatal(err)
	}
	spi, err := client.GetSPI(t.Context(), pfkey.GetSPIParams{Type: wire.SATypeESP,
		Src: pfkey.Host(peer), Dst: pfkey.Host(own)})
	if err != nil {
		t.Fatal(err)
	}
	for _, sa := range host.SAs() { // as "ip xfrm state" has them in that namespace
		if sa.SPI != spi {
			t.Errorf("there is an SA %v", sa.SPI)
		}
	}
}

// A test on the kernel of the machine that it runs on, in a network namespace of its own.
func Example_ownKernel() {
	_ = testOwnKernel // called TestOwnKernel in a file of yours
	// Output:
}
