package packet

import "fmt"

// Reason is why a packet was dropped: a name people can search for, the same for every kernel. The name of the real
// kernel's counter stands in [Verdict.Counter].
type Reason uint8

// The one registry of reasons. To add one: a constant here and a row in reasonNames.
const (
	NoReason         Reason = iota
	LarvalReplaced          // a newer packet took its place on the LARVAL SA
	LarvalGone              // the LARVAL SA it waited on timed out, was deleted or flushed
	LarvalDropped           // the SA is LARVAL, and the kernel keeps no packets for it
	AcquireGone             // the ACQUIRE it waited for ended without a usable SA
	AcquireUnheard          // no program is registered to hear the ACQUIRE that it needs
	AcquireFull             // pushed out of a full acquire queue
	AcquireNoMemory         // no acquire record could be made, or it may hold no more
	NoSA                    // no usable SA for its SPI and destination
	ReplayEarly             // replayed, found before the ICV was computed
	Replayed                // replayed, found after the ICV was computed; outbound: the sequence number would wrap
	BytesExpired            // it reached the hard byte limit of its SA
	PacketsExpired          // it reached the hard packet limit of its SA
	BadICV                  // the integrity check value is wrong
	CryptoFailed            // the cipher refused it, such as a length that is no multiple of the block
	BadPadLength            // the pad length is larger than the payload
	BadPadding              // the padding bytes are not those of RFC 4303
	BadLength               // a length field of AH lies, or ESP is too short for what it must have
	BadCompression          // IPComp: what is in it cannot be decompressed
	BadHeader               // IP, UDP or IPsec header malformed
	BadChecksum             // the checksum of the IPv4 header is wrong
	BadOption               // IP: an option that is malformed, or unknown and says that the packet must be dropped
	BadAddress              // IP: no packet may come from such an address, or go to it
	Truncated               // its IP header says that it is longer than it is
	SourceRoute             // a source route or routing header that the host does not follow
	Fragment                // a fragment, which IPsec cannot open
	Dummy                   // a dummy packet, which hides how much is sent (RFC 4303 section 2.6)
	BadMode                 // what is inside does not fit the mode of its SA
	EncapMismatch           // in UDP though its SA has none, or not in UDP, or in another kind of it
	SelectorMismatch        // the SA is not for such packets, which its selector says
	TooManyLayers           // protected more often than one packet may be
	IVExhausted             // the counter of the IV is used up
	Keepalive               // a NAT-T keepalive, swallowed
	IdleOverflow            // no room on the IDLE SA
	IdleGone                // the IDLE SA it waited on could not release it
	TaskRefused             // the queue that re-drives packets refused it
	PolicyMismatch          // the policy wants other protection than it had
	PolicyDiscard           // the policy says discard
	NoRoute                 // the host has no address to send it from
	NoMemory                // the packets that wait take all the memory they may, or another stated limit
	Shutdown                // the engine stopped
	NoPackets               // no packets pass through this kernel
)

var reasonNames = [...]string{
	NoReason:         "",
	LarvalReplaced:   "larval-replaced",
	LarvalGone:       "larval-gone",
	LarvalDropped:    "larval-dropped",
	AcquireGone:      "acquire-gone",
	AcquireUnheard:   "acquire-unheard",
	AcquireFull:      "acquire-full",
	AcquireNoMemory:  "acquire-no-memory",
	NoSA:             "no-sa",
	ReplayEarly:      "replay-early",
	Replayed:         "replay",
	BytesExpired:     "bytes-expired",
	PacketsExpired:   "packets-expired",
	BadICV:           "bad-icv",
	CryptoFailed:     "crypto-failed",
	BadPadLength:     "bad-pad-length",
	BadPadding:       "bad-padding",
	BadLength:        "bad-length",
	BadCompression:   "bad-compression",
	BadHeader:        "bad-header",
	BadChecksum:      "bad-checksum",
	BadOption:        "bad-option",
	BadAddress:       "bad-address",
	Truncated:        "truncated",
	SourceRoute:      "source-route",
	Fragment:         "fragment",
	Dummy:            "dummy",
	BadMode:          "bad-mode",
	EncapMismatch:    "encap-mismatch",
	SelectorMismatch: "selector-mismatch",
	TooManyLayers:    "too-many-layers",
	IVExhausted:      "iv-exhausted",
	Keepalive:        "keepalive",
	IdleOverflow:     "idle-overflow",
	IdleGone:         "idle-gone",
	TaskRefused:      "task-refused",
	PolicyMismatch:   "policy-mismatch",
	PolicyDiscard:    "policy-discard",
	NoRoute:          "no-route",
	NoMemory:         "no-memory",
	Shutdown:         "shutdown",
	NoPackets:        "no-packets",
}

// String returns the searchable name, empty for NoReason.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return fmt.Sprintf("unknown(%#x)", uint8(r))
}

// ReasonByName is the inverse of [Reason.String].
func ReasonByName(name string) (Reason, bool) {
	for r, n := range reasonNames {
		if n == name {
			return Reason(r), true
		}
	}
	return 0, false
}

// Reasons lists every reason a packet can be dropped for, in the order of the registry.
func Reasons() []Reason {
	var all []Reason
	for r := range reasonNames {
		if r != int(NoReason) {
			all = append(all, Reason(r))
		}
	}
	return all
}
