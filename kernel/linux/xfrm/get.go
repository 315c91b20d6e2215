package xfrm

import (
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Get describes an SA.
func (x *Transforms) Get(name sadb.Key, to *transform.State) wire.Errno {
	s := x.states.find(name)
	if s == nil {
		return wire.ESRCH
	}
	s.describe(to)
	return wire.OK
}
