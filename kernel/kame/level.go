package kame

import (
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/wire"
)

// defaultLevels are the knobs that say what level DEFAULT is.
var defaultLevels = map[PolicyRequest]string{
	{Proto: ip.ProtoESP, Mode: wire.ModeTransport}: "net.inet.ipsec.esp_trans_deflev",
	{Proto: ip.ProtoESP, Mode: wire.ModeTunnel}:    "net.inet.ipsec.esp_net_deflev",
	{Proto: ip.ProtoAH, Mode: wire.ModeTransport}:  "net.inet.ipsec.ah_trans_deflev",
	{Proto: ip.ProtoAH, Mode: wire.ModeTunnel}:     "net.inet.ipsec.ah_net_deflev",
}

// level is how much a request of a policy is demanded: USE or REQUIRE (ipsec_get_reqlevel). IPComp is never required by
// default.
func (k *Kernel) level(q *PolicyRequest) wire.Level {
	switch q.Level {
	case wire.KAMELevelDefault:
		if knob, ok := defaultLevels[PolicyRequest{Proto: q.Proto, Mode: q.Mode}]; ok {
			return wire.Level(k.Knob(knob))
		}
		return wire.KAMELevelUse
	case wire.KAMELevelUnique:
		return wire.KAMELevelRequire
	}
	return q.Level
}
