package netbsd

import (
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/wire"
)

var acquires = kame.AcquirePage{
	Shape: []wire.ExtType{wire.ExtAddressSrc, wire.ExtAddressDst, wire.KAMEExtXPolicy, wire.ExtProposal},
	Upper: func(*kame.Policy) (proto uint8, sport, dport uint16) { return kame.AnyProto, 0, 0 },
	Comb: wire.Comb{SoftAllocations: 1, HardAllocations: 1, SoftAddTime: 69120, HardAddTime: 86400,
		SoftUseTime: 23040, HardUseTime: 28800},
}

// Acquiring implements [kame.Heir]: the work queue that delivers an ACQUIRE runs a pass first.
func (h *heir) Acquiring() { h.Pass() }

// acquire handles ACQUIRE (key_api_acquire). Asking for an SA of which there is no head makes the original panic; here
// it does what that of 2016 did, which had a request heard by all who had registered.
func acquire(k *kame.Kernel, r *kame.Request) wire.Errno {
	if len(r.Msg) == wire.HeaderLen {
		restart(k, uint32(r.Header.Seq))
		return wire.OK
	}
	x := k.Index(r)
	x.Mode, x.ReqID = wire.ModeAny, 0
	if errno := k.Ask(r, x); errno != wire.OK {
		return errno
	}
	k.Answer(r, kame.ToRegistered, r.Msg)
	return wire.OK
}

// restart has the record of an ACQUIRE begin anew, whatever its SA is.
func restart(k *kame.Kernel, seq uint32) {
	if a := k.FindAcquire(seq); a != nil {
		k.Restart(a)
	}
}

// Answered implements [kame.Heir]: a GETSPI is an answer, whatever it is for.
func (h *heir) Answered(m wire.MsgType, _ *kame.Index, seq uint32) {
	if m == wire.MsgGetSPI {
		restart(h.Kernel, seq)
	}
}
