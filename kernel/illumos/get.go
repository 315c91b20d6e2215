package illumos

import "github.com/pfkeyd/pfkeyd/wire"

// get describes one SA, keys included, to whoever asks.
func (k *Kernel) get(p *protocol, r *request) result {
	q, res := k.formQuery(p, r, wire.ExtAddressDst, wire.ExtSA)
	if res.failed() {
		return res
	}
	s, _ := q.find()
	if s == nil {
		return result{wire.ESRCH, wire.IllumosDiagSANotFound}
	}
	msg := k.saMessage(r.hdr, s, true)
	k.passUp(msg, r.sender, fromConsumer)
	k.e.Forget(msg) // if nobody has taken it
	return result{}
}
