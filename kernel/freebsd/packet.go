package freebsd

import (
	"net/netip"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

var packets = kame.PacketPage{
	Counters: counters,
	Replays:  replays,
	Permits: map[uint8]string{ip.ProtoESP: "net.inet.esp.esp_enable", ip.ProtoAH: "net.inet.ah.ah_enable",
		ip.ProtoComp: "net.inet.ipcomp.ipcomp_enable"},
	Discarded:       wire.EACCES,
	KnobsFirst:      true,
	CountsOptional:  true,
	Choose:          choose,
	Opened:          opened,
	Satisfies:       satisfies,
	PolicyBeforeUDP: true,
}

// choose takes the oldest SA, or the newest (key_allocsa_policy).
func choose(k *kame.Kernel, h *kame.Head) (found *kame.SA) {
	oldest := k.Knob(preferredOldSA) != 0
	for _, st := range []sadb.State{sadb.Mature, sadb.Dying} {
		for s := range h.List(st) {
			if found == nil || kame.Older(s, found) < 0 == oldest {
				found = s
			}
		}
	}
	return found
}

// opened sends what was in the tunnel of an SA to IP again, and what an IPv4 packet carried in transport mode, too
// (ipsec4_common_input_cb, ipsec6_common_input_cb).
func opened(o *kame.Opened) kame.Course {
	inner := o.Next == ip.ProtoIPv4 || o.Next == ip.ProtoIPv6
	switch {
	case inner && o.Mode != wire.ModeTransport:
		return kame.Course{Strip: true, Via: engine.ViaInput}
	case o.V6:
		return kame.Course{}
	case o.Mode == wire.ModeTunnel:
		return kame.Course{Drop: true}
	}
	return kame.Course{Via: engine.ViaInput}
}

// satisfies wants an SA of the request's protocol and mode, to its end (ipsec_check_history).
func satisfies(p *kame.Policy, q *kame.PolicyRequest, had []kame.Layer) bool {
	ends := netip.PrefixFrom(p.Dst.Addr(), int(p.DstBits))
	if q.Mode == wire.ModeTunnel {
		ends = netip.PrefixFrom(q.Dst.Addr(), int(q.Dst.Bits()))
	}
	return slices.ContainsFunc(had, func(l kame.Layer) bool {
		return l.Proto == q.Proto && (l.Mode == q.Mode || l.Mode == wire.ModeAny) && ends.Contains(l.Dst)
	})
}
