package afkey

import (
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// acquireAnswer handles an ACQUIRE of a user: key management has failed. There is no answer to it.
func (k *Manager) acquireAnswer(r *request) wire.Errno {
	if r.hdr.Len != wire.HeaderLen/8 {
		return wire.EOPNOTSUPP
	}
	if r.hdr.Seq == 0 || r.hdr.Errno == 0 {
		return wire.OK
	}
	k.transforms.GiveUp(uint32(r.hdr.Seq))
	return wire.OK
}

// Acquire implements [transform.Manager]: registered sockets are asked for an SA. IPCOMP has no proposal.
func (k *Manager) Acquire(a *transform.Acquisition) (heard bool) {
	const window = 32
	b := k.d.AppendHeader(make([]byte, 0, 160), wire.Header{
		Version: wire.Version, Type: wire.MsgAcquire, SAType: SATypeOf(a.Proto), Seq: wire.Seq(a.Seq)})
	b = k.appendEnd(b, wire.ExtAddressSrc, a.Src)
	b = k.appendEnd(b, wire.ExtAddressDst, a.Dst)
	b = k.d.AppendPolicy(b, wire.Policy{Type: wire.KAMEPolicyIPsec, Direction: wire.KAMEDirOut, ID: a.PolicyID,
		Priority: a.Priority})
	if a.Proto == ip.ProtoAH || a.Proto == ip.ProtoESP {
		b = k.d.AppendProposal(b, wire.Proposal{Replay: window, Combs: k.combs(a)})
	}
	b = k.d.Finish(b)
	return k.broadcast(message{bytes: b, size: len(b)}, toRegistered, nil)
}

// combs are the combinations proposed for a template. It has a bit for algorithms with a number below 32 only.
func (k *Manager) combs(a *transform.Acquisition) (all []wire.Comb) {
	const bits = 32
	each := func(table []algorithm, mask uint32, f func(*algorithm)) {
		for i := range table {
			if id := table[i].id; id < bits && mask&(1<<id) != 0 {
				f(&table[i])
			}
		}
	}
	c := wire.Comb{SoftAddTime: 20 * 3600, HardAddTime: 24 * 3600, SoftUseTime: 7 * 3600, HardUseTime: 8 * 3600}
	auth := func(a *algorithm) {
		c.Auth, c.AuthMinBits, c.AuthMaxBits = a.id, a.minBits, a.maxBits
		all = append(all, c)
	}
	if a.Proto != ip.ProtoESP {
		each(k.auths, a.Auth, auth)
		return all
	}
	each(k.encrypts, a.Encrypt, func(e *algorithm) {
		c.Encrypt, c.EncryptMinBits, c.EncryptMaxBits = e.id, e.minBits, e.maxBits
		each(k.auths, a.Auth, auth)
	})
	return all
}
