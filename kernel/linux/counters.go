package linux

import (
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

// dropCause is a counter of /proc/net/xfrm_stat. Each packet dropped here counts in one; see also [Kernel.connect].
type dropCause uint8

const (
	dropInBufferError dropCause = iota
	dropInHdrError
	dropInNoStates
	dropInStateProtoError
	dropInStateModeError
	dropInStateSeqError
	dropInStateExpired
	dropInStateMismatch
	dropInStateInvalid
	dropInTmplMismatch
	dropInNoPols
	dropInPolBlock
	dropOutError
	dropOutNoStates
	dropOutStateProtoError
	dropOutStateSeqError
	dropOutStateExpired
	dropOutPolBlock
	dropOutStateInvalid
	dropAcquireError // a packet for a LARVAL SA
	dropFragment     // these are none of the transform's own
	dropNoRoute
	dropNotIP
	dropEncap
	dropShortEncap
	dropsEnd
)

var dropRows = [dropsEnd]struct {
	name   string
	reason ipsec.Reason
}{
	dropInBufferError:      {"XfrmInBufferError", ipsec.BadHeader}, // more layers than a packet may have
	dropInHdrError:         {"XfrmInHdrError", ipsec.BadHeader},
	dropInNoStates:         {"XfrmInNoStates", ipsec.NoSA},
	dropInStateProtoError:  {"XfrmInStateProtoError", ipsec.BadICV},
	dropInStateModeError:   {"XfrmInStateModeError", ipsec.BadHeader},
	dropInStateSeqError:    {"XfrmInStateSeqError", ipsec.Replayed},
	dropInStateExpired:     {"XfrmInStateExpired", ipsec.BytesExpired},
	dropInStateMismatch:    {"XfrmInStateMismatch", ipsec.NoSA},
	dropInStateInvalid:     {"XfrmInStateInvalid", ipsec.NoSA},
	dropInTmplMismatch:     {"XfrmInTmplMismatch", ipsec.PolicyMismatch},
	dropInNoPols:           {"XfrmInNoPols", ipsec.PolicyMismatch},
	dropInPolBlock:         {"XfrmInPolBlock", ipsec.PolicyDiscard},
	dropOutError:           {"XfrmOutError", ipsec.CryptoFailed},
	dropOutNoStates:        {"XfrmOutNoStates", ipsec.NoSA},
	dropOutStateProtoError: {"XfrmOutStateProtoError", ipsec.CryptoFailed},
	dropOutStateSeqError:   {"XfrmOutStateSeqError", ipsec.Replayed},
	dropOutStateExpired:    {"XfrmOutStateExpired", ipsec.BytesExpired},
	dropOutPolBlock:        {"XfrmOutPolBlock", ipsec.PolicyDiscard},
	dropOutStateInvalid:    {"XfrmOutStateInvalid", ipsec.NoSA},
	dropAcquireError:       {"XfrmAcquireError", ipsec.LarvalDropped},
	dropFragment:           {"", ipsec.Fragment},
	dropNoRoute:            {"", ipsec.NoRoute},
	dropNotIP:              {"", ipsec.BadHeader},
	dropEncap:              {"", ipsec.Keepalive},
	dropShortEncap:         {"", ipsec.BadLength},
}

// counters are atomic, because packets count without a lock.
type counters [dropsEnd]atomic.Uint64

// Counters reads the counters of /proc/net/xfrm_stat that are not zero, by name.
func (k *Kernel) Counters() map[string]uint64 {
	m := map[string]uint64{}
	for i := range k.counters {
		if n := k.counters[i].Load(); n != 0 && dropRows[i].name != "" {
			m[dropRows[i].name] += n
		}
	}
	return m
}
