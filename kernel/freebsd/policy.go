package freebsd

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/wire"
)

var policies = kame.PolicyPage{
	Refuses:     func(_ wire.MsgType, t wire.PolicyType) bool { return t > wire.KAMEPolicyIPsec },
	MaxRequests: 4,
	Ends:        requestEnds,
	Chosen: func(d *wire.Dialect, request []byte, id uint32) {
		d.Order.PutUint16(request[6:], uint16(id))
	},
	IDTries:  func(k *kame.Kernel) int64 { return k.Knob(spis.Tries) },
	Priority: func(word uint32) uint32 { return word },
	Mark:     func(*kame.Policy) uint8 { return wire.FreeBSDScopeGlobal },
	Shape: []wire.ExtType{wire.ExtAddressSrc, wire.ExtAddressDst, wire.KAMEExtXPolicy, wire.ExtLifetimeCurrent,
		wire.ExtLifetimeHard},
	Dumps:    func(scope uint8) bool { return scope == 0 || scope == wire.FreeBSDScopeGlobal },
	Expiring: slices.Reverse[[]*kame.Policy],
}

// requestEnds reads two addresses of one family and length. A request for a tunnel must have them.
func requestEnds(q *kame.PolicyRequest, rest []byte, counted, left int) bool {
	const least = 16 // of a sockaddr of any family
	if counted == 0 {
		return q.Mode != wire.ModeTunnel
	}
	if left < least || len(rest) < least {
		return false
	}
	n := int(rest[0])
	if n > len(q.Src) || counted < 2*n || left < 2*n || len(rest) < 2*n {
		return false
	}
	copy(q.Src[:], rest[:n])
	copy(q.Dst[:], rest[n:2*n])
	return q.Src.Len() == q.Dst.Len() && q.Src.Family() == q.Dst.Family()
}

// Looks implements [kame.Heir]: always.
func (h *heir) Looks() bool { return true }

// PolicyAdded implements [kame.Heir].
func (h *heir) PolicyAdded() {}

// Setting implements [kame.Heir].
func (h *heir) Setting(string, int64) wire.Errno { return wire.OK }

// Shows implements [kame.Heir].
func (h *heir) Shows(string) (value int64, ok bool) { return 0, false }
