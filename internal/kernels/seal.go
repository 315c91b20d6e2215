package kernels

import (
	"fmt"
	"io"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// sealing is how a kernel protects packets, as far as its SAs do not say it.
type sealing struct {
	// suite reads an SA: algorithms and keys, tunnel mode or not, and the ports of UDP encapsulation, if any.
	suite   func(*wire.Dialect, *pfkey.SA) (s *ipsec.Suite, tunnel bool, udp ipsec.Ports, err error)
	alignAH int // what the length of an AH header is a multiple of, in bytes; 0: what the address family wants
	// alignESP is what the payload of ESP is made a multiple of, in bytes; nil, or 0: what the cipher wants.
	alignESP func(*ipsec.Suite) int
	ownPort  bool // of the two ports, that of the source is the host's own, whichever way packets go
}

// AlignAH is what the length of an AH header is a multiple of on the kernel of that name, in bytes; 0: what the address
// family wants.
func AlignAH(name string) int {
	k, _ := find(name)
	return k.sealing.alignAH
}

// AlignESP is what the payload of ESP with a suite is made a multiple of on the kernel of that name, in bytes; 0: what
// the cipher wants.
func AlignESP(name string, s *ipsec.Suite) int {
	if k, _ := find(name); k.sealing.alignESP != nil {
		return k.sealing.alignESP(s)
	}
	return 0
}

// Suite is how the kernel of that name protects the packets of an SA in its dialect, keys included. Errors say what of
// sa the kernel does not have.
func Suite(name string, d *wire.Dialect, sa *pfkey.SA) (*ipsec.Suite, error) {
	k, err := find(name)
	if err != nil {
		return nil, err
	}
	s, _, _, err := k.sealing.suite(d, sa)
	return s, err
}

// Seal protects inner, an IP packet, as the sender of sa does, which is the peer of e or e itself: in the mode and with
// the UDP encapsulation that sa says in the dialect of e. e need not have the SA, and takes no notice.
//
// seq is the sequence number; rand makes the IV. The result belongs to the caller. Errors say what of sa the kernel of
// e does not have, or why inner cannot be protected with it.
func Seal(e *engine.Engine, sa *pfkey.SA, inner []byte, seq uint64, rand io.Reader) ([]byte, error) {
	k, err := find(e.Name())
	if err != nil {
		return nil, err
	}
	suite, tunnel, udp, err := k.sealing.suite(e.Dialect(), sa)
	if err != nil {
		return nil, fmt.Errorf("kernel: seal: %w", err)
	}
	t, err := suite.New()
	if err != nil {
		return nil, fmt.Errorf("kernel: seal: %w", err)
	}
	if k.sealing.ownPort && e.Host().Own(sa.Dst.Addr) {
		udp.Src, udp.Dst = udp.Dst, udp.Src
	}
	s := ipsec.Sealing{SPI: uint32(sa.SPI), Seq: seq}
	if suite.Proto == ipsec.AH {
		s.Align = k.sealing.alignAH
	} else {
		s.Align = AlignESP(e.Name(), suite)
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
