package freebsd

import (
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/wire"
)

// spis: of a range of one number the test is the wrong way round.
var spis = kame.SPIPage{Min: "net.key.spi_minval", Max: "net.key.spi_maxval", Tries: "net.key.spi_trycnt",
	OneInUse: true, None: wire.EEXIST, Refuses: reserved}

// reserved are the numbers that no SA of ESP or AH may have.
func reserved(proto uint8, spi uint32) bool {
	return (proto == ip.ProtoESP || proto == ip.ProtoAH) && spi <= 255
}

// InUse implements [kame.Heir]: whether any SA has an SPI (key_checkspidup).
func (h *heir) InUse(spi uint32) bool { return h.newest(spi) != nil }
