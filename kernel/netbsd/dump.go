package netbsd

import (
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// buckets is how many there are of heads.
const buckets = 128

// Bucket implements [kame.Heir] (key_saidxhash): a hash without a key.
func (h *heir) Bucket(x *kame.Index) int {
	n := uint32(x.Proto)
	for _, c := range x.Src.Addr().AsSlice() {
		n = 257*n + uint32(c)
	}
	n *= 2 * 257
	for _, c := range x.Dst.Addr().AsSlice() {
		n = 257*n + uint32(c)
	}
	n *= 257
	return int(n % buckets)
}

// showCurrent shows the last use, which was when the machine was booted if there was none.
func showCurrent(k *kame.Kernel, b []byte, s *kame.SA) []byte {
	if s.State() == sadb.Larval {
		return b
	}
	return k.AppendCurrent(b, s, k.Wall(0))
}

// appendAsItCame shows a key with all bytes of its extension.
func appendAsItCame(_ *wire.Dialect, b, ext []byte) []byte { return append(b, ext...) }

// showNATT shows the type, 0 for none.
func showNATT(k *kame.Kernel, b []byte, s *kame.SA) []byte {
	d, n := k.Dialect(), s.NATT
	if n == nil || n.Type == 0 {
		return d.AppendNATTType(b, wire.NATTType{})
	}
	b = k.AppendNATT(b, n)
	if n.Frag != kame.NeverCut {
		b = d.AppendNATTFrag(b, wire.NATTFrag{Bytes: n.Frag})
	}
	return b
}
