package netbsd

import (
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/wire"
)

// spis: a number is refused only if it cannot be had.
var spis = kame.SPIPage{Min: "net.key.spi_min_value", Max: "net.key.spi_max_value", Tries: "net.key.spi_try",
	None: wire.EINVAL}

// InUse implements [kame.Heir]: whether an SA to this host has an SPI (key_checkspidup). IPv6 addresses are not
// recognised as the host's, but for ::1.
func (h *heir) InUse(spi uint32) bool {
	for s := range h.SameSPI(spi) {
		if dst := s.Head.Dst.Addr(); dst.Is4() && h.Own(dst) || dst.Is6() && dst.IsLoopback() {
			return true
		}
	}
	return false
}
