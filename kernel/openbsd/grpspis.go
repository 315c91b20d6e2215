package openbsd

import "github.com/pfkeyd/pfkeyd/wire"

// groupSPIs handles X_GRPSPIS: the second SA protects what the first one has protected. A new link replaces an old one.
func (k *Kernel) groupSPIs(r *request) wire.Errno {
	first := k.subject(r)
	if first == nil {
		return wire.ESRCH
	}
	satype, _ := k.d.ParseFlowProtocol(r.ext(wire.OpenBSDExtXSAType2))
	rdomain := r.rdomain
	if raw := r.ext(wire.OpenBSDExtXRDomain); raw != nil {
		v, _ := k.d.ParseRDomain(raw)
		rdomain = int(v.After)
	}
	second := k.named(rdomain, r.ext(wire.OpenBSDExtXSA2), r.ext(wire.OpenBSDExtXDst2), satype.Value)
	if second == nil {
		return wire.ESRCH
	}
	for s := second; s != nil; s = s.next.Load() {
		if s == first {
			return wire.ESRCH // a circle
		}
	}
	if n := first.next.Load(); n != nil {
		n.before.CompareAndSwap(first, nil)
	}
	if b := second.before.Load(); b != nil {
		b.next.CompareAndSwap(second, nil)
	}
	first.next.Store(second)
	second.before.Store(first)
	return wire.OK
}
