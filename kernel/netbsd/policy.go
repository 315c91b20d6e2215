package netbsd

import (
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/wire"
)

// madeByKernel is the flag of a policy that an interface has made, IPSEC_POLICY_FLAG_ORIGIN_KERNEL.
const madeByKernel = 0x80

var policies = kame.PolicyPage{
	Refuses: func(m wire.MsgType, t wire.PolicyType) bool {
		return m != wire.KAMEMsgXSPDDelete && (t == wire.KAMEPolicyEntrust || t == wire.KAMEPolicyBypass)
	},
	Bare:     []wire.MsgType{wire.KAMEMsgXSPDSetIdx},
	Ends:     requestEnds,
	IDTries:  func(k *kame.Kernel) int64 { return k.Knob(spis.Tries) - 1 }, // what the last try finds is refused
	Priority: func(uint32) uint32 { return 0 },                             // the word is reserved
	Mark: func(p *kame.Policy) uint8 {
		if p.Kernel {
			return madeByKernel
		}
		return 0
	},
	Shape: []wire.ExtType{wire.ExtAddressSrc, wire.ExtAddressDst, wire.KAMEExtXPolicy},
}

// requestEnds reads two addresses by the lengths that they say themselves. The original reads on behind the message,
// whatever stands in memory there; here those are zeros.
func requestEnds(q *kame.PolicyRequest, rest []byte, counted, _ int) bool {
	if counted == 0 {
		return true
	}
	for _, s := range []*kame.Sockaddr{&q.Src, &q.Dst} {
		if len(rest) == 0 {
			return true
		}
		n := int(rest[0])
		if n > len(s) {
			return false
		}
		copy(s[:n], rest)
		rest = rest[min(n, len(rest)):]
	}
	return true
}

// upper is [kame.Upper], and the type and code of ICMP in the place of ports. IPv4 hides an ICMP message that is
// shorter than the longest header (ipsec4_get_ulp).
func upper(v6 bool, proto uint8, payload []byte) (shown uint8, sport, dport uint16) {
	const longestICMP, icmpv6Len = 28, 8
	switch {
	case !v6 && proto == ip.ProtoICMP && len(payload) < longestICMP:
		return kame.AnyProto, 0, 0
	case !v6 && proto == ip.ProtoICMP, v6 && proto == ip.ProtoICMPv6 && len(payload) >= icmpv6Len:
		return proto, uint16(payload[0]), uint16(payload[1])
	}
	return kame.Upper(v6, proto, payload)
}

const (
	enabled = "net.inet.ipsec.enabled" // 0: never, 1: from the first policy on, 2: always
	used    = "net.inet.ipsec.used"
)

// Looks implements [kame.Heir].
func (h *heir) Looks() bool { return h.used.Load() }

// PolicyAdded implements [kame.Heir] (key_update_used).
func (h *heir) PolicyAdded() {
	if h.Knob(enabled) == 1 {
		h.used.Store(true)
	}
}

// Setting implements [kame.Heir]. What has once been used stays so.
func (h *heir) Setting(name string, value int64) wire.Errno {
	switch {
	case name != enabled:
	case value == 0 && h.Policies() > 0:
		return wire.EBUSY
	case value == 2, value == 1 && h.Policies() > 0:
		h.used.Store(true)
	}
	return wire.OK
}

// Shows implements [kame.Heir].
func (h *heir) Shows(name string) (value int64, ok bool) {
	if h.used.Load() {
		value = 1
	}
	return value, name == used
}
