package xfrm

import (
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Delete removes an SA, and tells of it.
func (x *Transforms) Delete(name sadb.Key, by transform.By) wire.Errno {
	s := x.states.find(name)
	if s == nil {
		return wire.ESRCH
	}
	x.remove(s)
	x.tell(transform.Deleted, s, by)
	return wire.OK
}
