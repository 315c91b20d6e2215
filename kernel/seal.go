package kernel

import (
	"fmt"
	"io"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/spd"
)

// Seal protects inner, an IP packet, as the sender of sa does, which is the peer of e or e itself: in the mode and with
// the UDP encapsulation that sa says in the dialect of e. e need not have the SA, and takes no notice.
//
// seq is the sequence number; rand makes the IV. The result belongs to the caller. Errors say what of sa the kernel of
// e does not have, or why inner cannot be protected with it.
func Seal(e *engine.Engine, sa *pfkey.SA, inner []byte, seq uint64, rand io.Reader) ([]byte, error) {
	describe, align, inward := linux.Suite, linux.AHAlign, false
	if _, ok := e.Kernel().(*illumos.Kernel); ok {
		describe, align, inward = illumos.Suite, 0, e.Host().Own(sa.Dst.Addr)
	}
	suite, tunnel, udp, err := describe(e.Dialect(), sa)
	if err != nil {
		return nil, fmt.Errorf("kernel: seal: %w", err)
	}
	t, err := suite.New()
	if err != nil {
		return nil, fmt.Errorf("kernel: seal: %w", err)
	}
	if inward {
		udp.Src, udp.Dst = udp.Dst, udp.Src // illumos says which port is the host's own, whichever way packets go
	}
	s := ipsec.Sealing{SPI: uint32(sa.SPI), Seq: seq}
	if suite.Proto == ipsec.AH {
		s.Align = align
	}
	if s.IV, err = t.AppendIV(nil, seq, rand); err != nil {
		return nil, fmt.Errorf("kernel: seal: %w", err)
	}
	var out []byte
	if tunnel {
		out, err = t.SealTunnel(nil, inner, &ipsec.Outer{Src: sa.Src.Addr, Dst: sa.Dst.Addr}, udp, s)
	} else {
		if err = sameEnds(sa, inner); err == nil {
			out, err = t.SealTransport(nil, inner, udp, s)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("kernel: seal: %w", err)
	}
	return out, nil
}

// sameEnds says whether a packet is between the ends of sa: in transport mode its header stays, and by that the SA is
// found.
func sameEnds(sa *pfkey.SA, inner []byte) error {
	f, err := spd.ParseFlow(inner)
	if err != nil {
		return err
	}
	if f.Dst != sa.Dst.Addr || f.Src != sa.Src.Addr && sa.Src.Addr.IsValid() && !sa.Src.Addr.IsUnspecified() {
		return fmt.Errorf("a packet from %s to %s in transport mode of %s", f.Src, f.Dst, sa.SAID)
	}
	return nil
}
