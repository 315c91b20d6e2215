package freebsd

import (
	"math"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/wire"
)

var acquires = kame.AcquirePage{
	Shape: []wire.ExtType{wire.ExtAddressSrc, wire.ExtAddressDst, wire.KAMEExtXPolicy, wire.KAMEExtXSA2,
		wire.ExtProposal},
	Upper: func(p *kame.Policy) (proto uint8, sport, dport uint16) {
		if p != nil && (p.Proto == ip.ProtoTCP || p.Proto == ip.ProtoUDP) {
			return p.Proto, p.Src.Port(), p.Dst.Port()
		}
		return kame.AnyProto, 0, 0
	},
	Again: func(k *kame.Kernel, a *kame.Acquire) { a.Created = k.Uptime() },
	Comb:  wire.Comb{SoftAllocations: 1, HardAllocations: 1, HardAddTime: 86400, SoftUseTime: 28800},
}

// Acquiring implements [kame.Heir]: nothing comes before an ACQUIRE.
func (h *heir) Acquiring() {}

// acquire handles ACQUIRE (key_acquire2). An error has the record of the ACQUIRE begin anew that it is about.
func acquire(k *kame.Kernel, r *kame.Request) wire.Errno {
	if len(r.Msg) > wire.HeaderLen {
		return k.Ask(r, k.Index(r))
	}
	if a := k.FindAcquire(uint32(r.Header.Seq)); a != nil && r.Header.Errno != 0 {
		k.Restart(a)
	}
	return wire.OK
}

// Answered implements [kame.Heir]: the record of an ACQUIRE ends at the next pass, if its SA has been made exactly as
// it was asked for (key_acqdone).
func (h *heir) Answered(_ wire.MsgType, x *kame.Index, seq uint32) {
	if a := h.FindAcquire(seq); a != nil && a.Index == *x {
		a.Created = math.MinInt64 / 2
	}
}
