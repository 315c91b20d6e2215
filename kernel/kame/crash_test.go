package kame_test

import (
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// The originals divide by the size of the range, which is 0 for one that holds all numbers, also if the knobs say so.
// Messages that do it stand with the recordings, in testdata/golden.
func TestRangeOfAllByKnobs(t *testing.T) {
	for kernel, knobs := range map[string][2]string{
		"freebsd": {"net.key.spi_minval", "net.key.spi_maxval"},
		"netbsd":  {"net.key.spi_min_value", "net.key.spi_max_value"},
	} {
		e, err := kernels.New(kernel, engine.Options{Tunables: map[string]string{knobs[0]: "5000", knobs[1]: "4999"}})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		s, d := open(t, e), e.Dialect()
		b := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgGetSPI, SAType: wire.SATypeESP})
		for typ, addr := range map[wire.ExtType]string{wire.ExtAddressSrc: "192.0.2.2",
			wire.ExtAddressDst: "192.0.2.1"} {
			b = d.AppendAddress(b, typ, wire.Address{PrefixLen: 32, Addr: netip.MustParseAddr(addr)})
		}
		if errno := s.Send(d.Finish(b), root); errno != wire.OK {
			t.Fatalf("%s: %v", kernel, errno)
		}
		buf := make([]byte, 1024)
		n, _, errno := s.Recv(buf, 0)
		if errno != wire.OK {
			t.Fatalf("%s: no answer: %v", kernel, errno)
		}
		sa, err := pfkey.ParseSA(d, buf[:n])
		if h, _ := d.Header(buf[:n]); err != nil || h.Errno != 0 || sa.SPI == 0 {
			t.Errorf("%s: errno %v, %v, %v", kernel, h.Errno, sa, err)
		}
	}
}
