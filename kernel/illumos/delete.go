package illumos

import (
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// delete is DELETE, X_DELPAIR and X_DELPAIR_STATE; sadb_delget_sa. Without an SA extension each of them is a purge by
// address.
func (k *Kernel) delete(p *protocol, r *request) result {
	if !r.has(wire.ExtSA) {
		return k.purge(p, r)
	}
	if r.hdr.Type == wire.IllumosMsgXDelPairState {
		return k.deleteByState(p, r)
	}
	q, res := k.formQuery(p, r, wire.ExtAddressDst, wire.ExtSA)
	if res.failed() {
		return res
	}
	s, partner := q.find()
	if s == nil {
		return result{wire.ESRCH, wire.IllumosDiagSANotFound}
	}
	// The reply describes the SA as it dies: DEAD, and still with its partner's SPI.
	k.kill(s, dropLarvalTimeout)
	reply := k.saMessage(r.hdr, s, false)
	switch {
	case partner != nil && partner == s.peerSA.Load():
		k.kill(partner, dropLarvalTimeout)
	case r.hdr.Type == wire.IllumosMsgXDelPair && partner == nil:
		return result{wire.ESRCH, wire.IllumosDiagPairSANotFound} // although the SA itself is gone
	case r.hdr.Type == wire.IllumosMsgXDelPair:
		k.kill(partner, dropLarvalTimeout)
	case partner != nil:
		partner.unpair()
	}
	k.passUp(reply, r.sender, fromConsumer)
	return result{}
}

// purge deletes every SA but LARVAL ones that matches all that the message gives; sadb_purge_sa. It succeeds even if
// none does.
func (k *Kernel) purge(p *protocol, r *request) result {
	q, res := k.formQuery(p, r)
	switch {
	case res.failed():
		return res
	case !q.withDst && !q.withSrc:
		return missing(wire.ExtSA)
	}
	for _, t := range []*table{&q.f.out, &q.f.in} {
		for s := range t.all {
			if s.State() != sadb.Larval && q.matches(s) {
				k.killWithPeer(s)
			}
		}
	}
	k.echo(r)
	return result{}
}

// matches is the purge's test of an SA.
func (q *query) matches(s *sa) bool {
	return (!q.withSrc || s.src == q.src) && (!q.withDst || s.dst == q.dst) &&
		(q.srcID == nil || q.srcID.equal(s.srcID)) && (q.dstID == nil || q.dstID.equal(s.dstID)) &&
		cookiesAgree(q.cookie, s.cookie)
}

// cookiesAgree compares key management cookies; zero on either side agrees with anything.
func cookiesAgree(a, b wire.KMCookie) bool {
	return (a.Protocol == 0 || b.Protocol == 0 || a.Protocol == b.Protocol) && (a.Cookie == 0 || b.Cookie == 0 ||
		a.Cookie == b.Cookie)
}

// killWithPeer deletes an SA with its copy in the other table. One that it is paired with is not told.
func (k *Kernel) killWithPeer(s *sa) {
	peer := s.peer()
	k.kill(s, dropLarvalTimeout)
	if peer != nil {
		k.kill(peer, dropLarvalTimeout)
	}
}

// deleteByState is what X_DELPAIR_STATE was made for, and what no version that was run has survived: every outbound SA
// from SRC that is in the state of the SA extension goes, together with its inbound copy or pair.
func (k *Kernel) deleteByState(p *protocol, r *request) result {
	q, res := k.formQuery(p, r, wire.ExtAddressDst, wire.ExtAddressSrc, wire.ExtSA)
	if res.failed() {
		return res
	}
	for s := range q.f.out.all {
		if s.State() != sadb.State(q.sa.State) || s.src != q.src {
			continue
		}
		for _, partner := range []*sa{s.peer(), s.pair()} {
			if partner != nil {
				k.kill(partner, dropLarvalTimeout)
			}
		}
		k.kill(s, dropLarvalTimeout)
	}
	k.echo(r)
	return result{}
}
