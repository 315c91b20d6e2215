package openbsd

import (
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// update handles UPDATE: it gives a LARVAL SA its keys, or changes what may change of another.
func (k *Kernel) update(r *request) wire.Errno {
	if !k.fits(r) {
		return wire.EINVAL
	}
	s := k.subject(r)
	switch {
	case s == nil:
		return wire.ESRCH
	case s.State() == sadb.Larval:
		return k.complete(r, s)
	}
	if r.has()&exts(8, 9, 10, 11) != 0 {
		return wire.EINVAL
	}
	dst := s.Dst
	if raw := r.ext(wire.ExtAddressProxy); raw != nil {
		dst = k.addressOf(raw)
	}
	s.Lock()
	s.Src, s.Dst = k.addressOf(r.ext(wire.ExtAddressSrc)), dst
	k.setLimits(r, s)
	s.Unlock()
	k.extras(r, s)
	s.protect()
	k.tdb.replace(s, s) // it is the newest again
	k.startTimers(s)
	return wire.OK
}

// complete gives a LARVAL SA its keys: an SA that has them takes its place.
func (k *Kernel) complete(r *request, larval *SA) wire.Errno {
	s, errno := k.draft(r)
	if errno != wire.OK {
		return errno
	}
	s.IDs, s.Swapped = k.identitiesIn(r, true), true // the request comes from the other end's view
	s.allocations = larval.allocations
	s.protect()
	k.tdb.replace(larval, s) // there are no more of them
	s.told.Inherit(&larval.told)
	k.tellState(s)
	k.end(larval)
	k.startTimers(s)
	r.drop(wire.ExtKeyAuth, wire.ExtKeyEncrypt)
	return wire.OK
}
