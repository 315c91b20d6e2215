package netbsd

import (
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// alive are the states in which an SA is found by its SPI (saorder_state_alive), in the order of looking.
var alive = []sadb.State{sadb.Mature, sadb.Dying, sadb.Larval}

// Find implements [kame.Heir]: the newest head only.
func (h *heir) Find(x *kame.Index, spi uint32) (*kame.SA, wire.Errno) {
	if g := h.FindHead(x); g != nil {
		if s := h.InHead(g, spi, alive...); s != nil {
			return s, wire.OK
		}
	}
	return nil, wire.ENOENT
}

// DeleteAll implements [kame.Heir]: the newest head only.
func (h *heir) DeleteAll(x *kame.Index) {
	if g := h.FindHead(x); g != nil {
		h.KillAll(g)
	}
}
