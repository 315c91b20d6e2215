package freebsd

import (
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Bucket implements [kame.Heir]: there is one.
func (h *heir) Bucket(*kame.Index) int { return 0 }

// showReplay shows a window that the SA extension has no room for.
func showReplay(k *kame.Kernel, b []byte, s *kame.SA) []byte {
	if s.Window <= 8*255 {
		return b
	}
	return k.Dialect().AppendSAReplay(b, wire.SAReplay{Window: s.Window})
}

// showCurrent shows the first use.
func showCurrent(k *kame.Kernel, b []byte, s *kame.SA) []byte { return k.AppendCurrent(b, s, 0) }

// appendWholeBytes shows as many bytes of a key as its bits fill.
func appendWholeBytes(d *wire.Dialect, b, ext []byte) []byte {
	key, _ := d.ParseKey(ext)
	key.Data = key.Data[:min(int(key.Bits)/8, len(key.Data))]
	return d.AppendKey(b, d.ExtType(d.Order.Uint16(ext[2:])), key)
}

func showNATT(k *kame.Kernel, b []byte, s *kame.SA) []byte {
	n := s.NATT
	if n == nil {
		return b
	}
	b = k.AppendNATT(b, n)
	if n.OAI.Len() != 0 {
		b = k.AppendAddress(b, wire.KAMEExtXNATTOA, n.OAI, n.OAI.Bits(), kame.AnyProto)
	}
	if n.OAR.Len() != 0 {
		b = k.AppendAddress(b, wire.KAMEExtXNATTOAR, n.OAR, n.OAR.Bits(), kame.AnyProto)
	}
	return b
}
