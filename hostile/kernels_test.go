package hostile_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/hostile"
	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Every kernel lies, in its own numbers: an answer says that it failed, one lacks an extension, a request is refused,
// and one is answered twice. In between the kernel does what it does.
func TestEveryKernelLies(t *testing.T) {
	for _, name := range kernel.Names() {
		e, err := kernel.New(name, kernel.Options{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		script, err := hostile.Parse(strings.NewReader("full: errno ENOMEM GETSPI times 1\n"+
			"empty: strip SA GETSPI after 1 times 1\nno: refuse ENOBUFS FLUSH times 1\ntwice: duplicate FLUSH\n"),
			e.Dialect())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		liar := hostile.New(e, script)
		cred := pfkey.Cred{PID: 1234, Privileged: true}
		sock, errno := liar.Open(cred, 3, 2)
		if errno != wire.OK {
			t.Fatal(errno)
		}
		client := pfkey.NewClientOn(sock, e.Dialect(), cred)
		defer client.Close()
		spi := pfkey.GetSPIParams{Type: wire.SATypeESP, Src: pfkey.Host(netip.MustParseAddr("192.0.2.2")),
			Dst: pfkey.Host(netip.MustParseAddr("192.0.2.1"))}
		if _, err := client.GetSPI(t.Context(), spi); !errors.Is(err, unix.ENOMEM) {
			t.Errorf("%s: the first GETSPI: %v", name, err)
		}
		if _, err := client.GetSPI(t.Context(), spi); err == nil {
			t.Errorf("%s: a GETSPI without its SPI is taken", name)
		}
		if _, err := client.GetSPI(t.Context(), spi); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := e.Status(0).SACount; n != 3 {
			t.Errorf("%s: %d SAs, want those of all three", name, n)
		}
		if err := client.Flush(t.Context(), wire.SATypeUnspec); !errors.Is(err, unix.ENOBUFS) {
			t.Errorf("%s: the first FLUSH: %v", name, err)
		}
		if err := client.Flush(t.Context(), wire.SATypeUnspec); err != nil || e.Status(0).SACount != 0 {
			t.Errorf("%s: the second FLUSH: %v, and %d SAs", name, err, e.Status(0).SACount)
		}
		for fault, n := range liar.Counters() {
			if n != 1 {
				t.Errorf("%s: %s %d times", name, fault, n)
			}
		}
	}
}
