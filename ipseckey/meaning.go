package ipseckey

import (
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// meaning is what a part of a message is for, and where that is written.
type meaning struct {
	text    string
	section string // of RFC 2367, or "" when it is not in there
}

// reference names where it is written: "RFC 2367 section 2.3.1", or that it is the dialect's own.
func (m meaning) reference(d *wire.Dialect) string {
	if m.section == "" {
		return "not in RFC 2367, of " + d.Name
	}
	return "RFC 2367 section " + m.section
}

// msgMeanings say what a message asks or tells, by its name in any dialect.
var msgMeanings = map[string]meaning{
	"RESERVED":            {"no message", "3.1"},
	"GETSPI":              {"reserve an SPI: makes a larval SA, which UPDATE completes", "3.1.1"},
	"UPDATE":              {"complete a larval SA, or change one that is there", "3.1.2"},
	"ADD":                 {"add a new SA, complete with its keys", "3.1.3"},
	"DELETE":              {"delete one SA", "3.1.4"},
	"GET":                 {"look up one SA", "3.1.5"},
	"ACQUIRE":             {"the kernel needs an SA; with an errno, key management could not make one", "3.1.6"},
	"REGISTER":            {"hear of ACQUIREs for this SA type; the answer lists what the kernel has", "3.1.7"},
	"EXPIRE":              {"a lifetime limit of an SA was reached", "3.1.8"},
	"FLUSH":               {"delete all SAs of this SA type", "3.1.9"},
	"DUMP":                {"list all SAs of this SA type, one in each answer", "3.1.10"},
	"X_PROMISC":           {"hear all messages; around a message, a copy of it", "3.1"},
	"X_INVERSE_ACQUIRE":   {"ask which SAs the policy wants for an outgoing packet", ""},
	"X_UPDATEPAIR":        {"change an SA and the one it is paired with", ""},
	"X_DELPAIR":           {"delete an SA and the one it is paired with", ""},
	"X_DELPAIR_STATE":     {"delete pairs in a given state", ""},
	"X_PCHANGE":           {"unused", ""},
	"X_SPDUPDATE":         {"change a policy, or add it", ""},
	"X_SPDADD":            {"add a policy", ""},
	"X_SPDDELETE":         {"delete the policy of a selector", ""},
	"X_SPDGET":            {"look up a policy by its id", ""},
	"X_SPDACQUIRE":        {"unused", ""},
	"X_SPDDUMP":           {"list all policies", ""},
	"X_SPDFLUSH":          {"delete all policies", ""},
	"X_SPDSETIDX":         {"add a policy, as X_SPDADD does", ""},
	"X_SPDEXPIRE":         {"a lifetime limit of a policy was reached", ""},
	"X_SPDDELETE2":        {"delete a policy by its id", ""},
	"X_NAT_T_NEW_MAPPING": {"the address or port of a peer behind a NAT has changed", ""},
	"X_MIGRATE":           {"move policies and SAs to other addresses", ""},
}

// extMeanings say what an extension is for, by its name in any dialect.
var extMeanings = map[string]meaning{
	"base header":         {"begins every message", "2.1"},
	"SA":                  {"the association itself: SPI, state, algorithms, flags", "2.3.1"},
	"LIFETIME_CURRENT":    {"what was used so far", "2.3.2"},
	"LIFETIME_HARD":       {"limits at which the SA dies", "2.3.2"},
	"LIFETIME_SOFT":       {"limits at which key management is told to make a new one", "2.3.2"},
	"ADDRESS_SRC":         {"source of the packets", "2.3.3"},
	"ADDRESS_DST":         {"destination of the packets", "2.3.3"},
	"ADDRESS_PROXY":       {"whom the source stands for", "2.3.3"},
	"KEY_AUTH":            {"key of the authentication algorithm", "2.3.4"},
	"KEY_ENCRYPT":         {"key of the encryption algorithm, and its salt", "2.3.4"},
	"IDENTITY_SRC":        {"name that the source goes by, for key management", "2.3.5"},
	"IDENTITY_DST":        {"name that the destination goes by, for key management", "2.3.5"},
	"SENSITIVITY":         {"security label of the data", "2.3.6"},
	"PROPOSAL":            {"combinations of algorithms and limits that would do", "2.3.7"},
	"SUPPORTED_AUTH":      {"authentication algorithms that the kernel has", "2.3.8"},
	"SUPPORTED_ENCRYPT":   {"encryption algorithms that the kernel has", "2.3.8"},
	"SPIRANGE":            {"range that the SPI is chosen from", "2.3.9"},
	"trailing bytes":      {"too few for an extension header", "2.2"},
	"X_EREG":              {"SA types whose ACQUIREs may come in one message", ""},
	"X_EPROP":             {"combinations of algorithms of several SA types at once", ""},
	"X_KM_COOKIE":         {"what key management calls this SA", ""},
	"X_ADDRESS_NATT_LOC":  {"our side of the UDP encapsulation", ""},
	"X_ADDRESS_NATT_REM":  {"the peer's side of the UDP encapsulation", ""},
	"X_ADDRESS_INNER_SRC": {"source inside the tunnel", ""},
	"X_ADDRESS_INNER_DST": {"destination inside the tunnel", ""},
	"X_PAIR":              {"the SA of the other direction", ""},
	"X_REPLAY_VALUE":      {"replay counter to go on with", ""},
	"X_EDUMP":             {"limits a DUMP to SAs used of late", ""},
	"X_LIFETIME_IDLE":     {"limits on how long the SA may stay unused", ""},
	"X_OUTER_SENS":        {"security label of the protected packets", ""},
	"X_STR_AUTH":          {"string that authenticates TCP segments", ""},
	"X_KMPRIVATE":         {"for key management's own use", ""},
	"X_POLICY":            {"what the policy does with matching packets", ""},
	"X_SA2":               {"mode and request id of the SA", ""},
	"X_NAT_T_TYPE":        {"kind of the UDP encapsulation", ""},
	"X_NAT_T_SPORT":       {"source port of the UDP encapsulation", ""},
	"X_NAT_T_DPORT":       {"destination port of the UDP encapsulation", ""},
	"X_NAT_T_OA":          {"address in front of the NAT", ""},
	"X_SEC_CTX":           {"security context of the SA or policy", ""},
	"X_KMADDRESS":         {"addresses that key management talks from and to", ""},
	"X_FILTER":            {"limits a DUMP to SAs of these addresses", ""},
}

// fieldMeanings say what a field is for: "EXTENSION field", "*LIFETIME field" for a group, "request field" for a part,
// or just the field.
var fieldMeanings = map[string]string{
	"base header version":    "of PF_KEY: 2",
	"base header type":       "", // the message's own
	"base header errno":      "0, or why it was refused",
	"base header satype":     "which database; 0 is all",
	"base header len":        "of the message, in words of 8 bytes",
	"base header diagnostic": "with an errno: what exactly is wrong",
	"base header reserved":   "zero, or the kernel's own use",
	"base header seq":        "chosen by whoever asks, the same in the answer",
	"base header pid":        "process that asks, the same in the answer; 0 is the kernel",
	"len":                    "of the extension, in words of 8 bytes",
	"exttype":                "kind of the extension",
	"reserved":               "zero",
	"data":                   "not decoded",
	"request len":            "of the request, in bytes",
	"request proto":          "IP protocol that protects: ESP, AH or IPComp",
	"extra":                  "behind what is known of it",
	"padding":                "to a word of 8 bytes",

	"SA spi":     "number that packets carry; network order",
	"SA replay":  "size of the replay window in packets; 0 is none",
	"SA state":   "larval, mature, dying, dead",
	"SA auth":    "authentication algorithm; 0 is none",
	"SA encrypt": "encryption algorithm; 0 is none",
	"SA flags":   "options of the SA",

	"LIFETIME_CURRENT allocations": "connections that use it",
	"LIFETIME_CURRENT bytes":       "bytes protected so far",
	"LIFETIME_CURRENT addtime":     "when it was added, seconds since 1970",
	"LIFETIME_CURRENT usetime":     "when it was first used, seconds since 1970; 0 is never",
	"*LIFETIME allocations":        "connections that may use it; 0 is no limit",
	"*LIFETIME bytes":              "bytes that it may protect; 0 is no limit",
	"*LIFETIME addtime":            "seconds after it was added; 0 is no limit",
	"*LIFETIME usetime":            "seconds after its first use; 0 is no limit",
	"X_LIFETIME_IDLE addtime":      "seconds without use after it was added; 0 is no limit",
	"X_LIFETIME_IDLE usetime":      "seconds since its last use; 0 is no limit",
	"proto":                        "IP protocol that it is for; 0 is any",
	"prefixlen":                    "leading bits of the address that count",
	"family":                       "of the socket address",
	"length, family":               "of the socket address",
	"port":                         "network order; 0 is any",
	"address":                      "network order",
	"zero":                         "the end of a sockaddr_in",
	"flowinfo":                     "flow label and class of IPv6",
	"scope":                        "interface of a link-local address",
	"source id":                    "unused",
	"*KEY bits":                    "of the key",
	"KEY_ENCRYPT reserved":         "on illumos the salt bits behind the key, else zero",
	"X_STR_AUTH bits":              "of the string",
	"key":                          "most significant bit first",
	"identtype":                    "how the name is written",
	"IDENTITY_SRC id":              "user id, when the name is a user's",
	"IDENTITY_DST id":              "user id, when the name is a user's",
	"identity":                     "the name",
	"dpd":                          "protection domain that gives the levels their meaning",
	"level":                        "of sensitivity; of a policy's request, whether it is demanded",
	"bitmap words":                 "64-bit words of the sensitivity bitmap",
	"integrity":                    "integrity level",
	"integrity bitmap words":       "64-bit words of the integrity bitmap",
	"bitmap":                       "sensitivity compartments",
	"integrity bitmap":             "integrity compartments",
	"SENSITIVITY flags":            "zero outside of illumos",
	"X_OUTER_SENS flags":           "bit 0: implicit",
	"PROPOSAL replay":              "window size that is wanted",
	"X_EPROP replay":               "window size that is wanted",
	"PROPOSAL auth":                "authentication algorithm; 0 is none",
	"PROPOSAL encrypt":             "encryption algorithm; 0 is none",
	"flags":                        "options",
	"auth minbits":                 "smallest key",
	"auth maxbits":                 "largest key",
	"encrypt minbits":              "smallest key",
	"encrypt maxbits":              "largest key",
	"encrypt saltbits":             "behind the key",
	"soft allocations":             "connections; 0 is no limit",
	"hard allocations":             "connections; 0 is no limit",
	"soft bytes":                   "0 is no limit",
	"hard bytes":                   "0 is no limit",
	"soft addtime":                 "seconds; 0 is no limit",
	"hard addtime":                 "seconds; 0 is no limit",
	"soft usetime":                 "seconds; 0 is no limit",
	"hard usetime":                 "seconds; 0 is no limit",
	"alg":                          "one algorithm: id, size of the IV in bytes, sizes of the key in bits",
	"SPIRANGE min":                 "lowest that will do",
	"SPIRANGE max":                 "highest that will do",
	"satype":                       "one SA type",
	"ecombs":                       "how many combinations follow",
	"algdescs":                     "how many algorithms the combination has",
	"protocol":                     "of key management",
	"cookie":                       "its name of the SA",
	"X_PAIR spi":                   "of the other SA; network order",
	"replay32":                     "counter of 32 bits",
	"replay64":                     "counter with extended sequence numbers",
	"timeout":                      "seconds since the last use; 0 lists all",
	"policytype":                   "discard, none (let pass) or ipsec (protect)",
	"direction":                    "in, out or forwarded",
	"X_POLICY id":                  "that the kernel gave it",
	"priority":                     "lower ones are asked first",
	"mode":                         "transport, tunnel or beet; 0 is any",
	"reqid":                        "ties SAs to a policy's request; 0 is any",
	"sequence":                     "highest sequence number so far",
	"natttype":                     "2 is ESP in UDP of RFC 3948",
	"doi":                          "domain of interpretation",
	"X_SEC_CTX alg":                "who reads the context: 1 is SELinux",
	"X_SEC_CTX length":             "bytes of the context",
	"context":                      "the text",
	"X_FILTER source":              "prefix that sources must have",
	"X_FILTER destination":         "prefix that destinations must have",
	"prefix":                       "leading bits that must agree",
}

// fieldMeaning finds what a field of an extension, or of a part of it, is for; "" if nothing is known.
func fieldMeaning(ext, part, field string) string {
	group := ""
	switch {
	case strings.Contains(ext, "LIFETIME"):
		group = "*LIFETIME"
	case strings.HasPrefix(ext, "KEY_"):
		group = "*KEY"
	}
	for _, key := range []string{ext + " " + field, group + " " + field, part + " " + field, field} {
		if text, ok := fieldMeanings[key]; ok {
			return text
		}
	}
	for _, prefix := range []string{"source ", "destination ", "local ", "remote "} {
		if rest, ok := strings.CutPrefix(field, prefix); ok {
			return strings.TrimSpace(prefix) + ": " + fieldMeaning(ext, part, rest)
		}
	}
	return ""
}

// aboutDiagnostic is what a diagnostic of illumos is about: extensions, by their names, in the order in which they
// matter.
var aboutDiagnostic = [...][]string{
	1: {"base header"}, 2: nil, 3: nil, 4: {"base header"}, 5: {"base header"}, 6: {"base header"}, 7: {"base header"},
	8: {"ADDRESS_SRC"}, 9: {"ADDRESS_DST"}, 10: {"X_ADDRESS_INNER_SRC"}, 11: {"ADDRESS_SRC", "ADDRESS_DST"},
	12: {"ADDRESS_SRC"}, 13: {"ADDRESS_DST"},
	14: {"LIFETIME_SOFT", "LIFETIME_HARD"}, 15: {"LIFETIME_SOFT", "LIFETIME_HARD"},
	16: {"LIFETIME_SOFT", "LIFETIME_HARD"},
	17: {"LIFETIME_SOFT", "LIFETIME_HARD"},
	18: {"ADDRESS_SRC"}, 19: {"ADDRESS_DST"}, 20: {"SA"}, 21: {"KEY_ENCRYPT"}, 22: {"KEY_AUTH"}, 23: {"SPIRANGE"},
	24: {"ADDRESS_SRC"}, 25: {"ADDRESS_DST"}, 26: {"SA"}, 27: {"KEY_ENCRYPT"}, 28: {"KEY_AUTH"}, 29: {"SPIRANGE"},
	30: {"ADDRESS_SRC"}, 31: {"ADDRESS_DST"}, 32: {"SA"}, 33: {"KEY_ENCRYPT"}, 34: {"KEY_AUTH"}, 35: {"SPIRANGE"},
	36: {"KEY_AUTH"}, 37: {"KEY_ENCRYPT"}, 38: {"PROPOSAL"}, 39: {"SUPPORTED_AUTH"},
	40: {"SA"}, 41: {"SA"}, 42: {"SA"}, 43: {"SA"}, 44: {"KEY_AUTH"}, 45: {"KEY_ENCRYPT"}, 46: {"SA"},
	47: {"KEY_ENCRYPT"}, 48: {"KEY_AUTH"}, 49: {"X_KM_COOKIE"}, 50: {"X_KM_COOKIE"},
	51: {"X_ADDRESS_NATT_LOC"}, 52: {"X_ADDRESS_NATT_REM"}, 53: {"X_ADDRESS_NATT_LOC"}, 54: {"X_ADDRESS_NATT_REM"},
	55: {"X_ADDRESS_NATT_LOC"}, 56: {"X_ADDRESS_NATT_REM"}, 57: {"X_ADDRESS_NATT_LOC", "X_ADDRESS_NATT_REM"},
	58: {"X_ADDRESS_INNER_SRC"}, 59: {"X_ADDRESS_INNER_DST"}, 60: {"X_ADDRESS_INNER_SRC"}, 61: {"X_ADDRESS_INNER_DST"},
	62: {"X_ADDRESS_INNER_SRC"}, 63: {"X_ADDRESS_INNER_DST"}, 64: {"X_ADDRESS_INNER_SRC"}, 65: {"X_ADDRESS_INNER_DST"},
	66: {"X_ADDRESS_INNER_DST"}, 67: {"X_ADDRESS_INNER_SRC", "X_ADDRESS_INNER_DST"},
	68: {"X_ADDRESS_NATT_REM"}, 69: {"X_ADDRESS_NATT_LOC"}, 70: {"ADDRESS_SRC", "ADDRESS_DST"},
	71: {"X_ADDRESS_INNER_SRC", "X_ADDRESS_INNER_DST"}, 72: {"ADDRESS_SRC", "X_ADDRESS_INNER_SRC"},
	73: {"X_PAIR"}, 74: {"X_PAIR", "ADDRESS_SRC", "ADDRESS_DST"}, 75: {"X_PAIR"}, 76: {"X_PAIR"}, 77: {"SA"},
	78: {"SA"}, 79: {"SA"},
	80: {"SA"}, 81: {"X_REPLAY_VALUE"}, 82: {"LIFETIME_HARD", "LIFETIME_SOFT"}, 83: {"SENSITIVITY"},
	84: {"X_STR_AUTH"}, 85: {"X_STR_AUTH"}, 86: {"X_STR_AUTH"},
}

// whereTyped are the keywords whose values travel in an extension, by its name.
var whereTyped = map[string][]kind{
	"SA":                  {kindSPI, kindReplay, kindState, kindAuthAlg, kindEncrAlg, kindDirection, kindEncap},
	"LIFETIME_HARD":       {kindLifetime},
	"LIFETIME_SOFT":       {kindLifetime},
	"X_LIFETIME_IDLE":     {kindLifetime},
	"ADDRESS_SRC":         {kindSrc, kindSrcPort, kindProto},
	"ADDRESS_DST":         {kindDst, kindDstPort, kindProto},
	"KEY_AUTH":            {kindAuthKey},
	"KEY_ENCRYPT":         {kindEncrKey, kindReservedBits},
	"IDENTITY_SRC":        {kindSrcID},
	"IDENTITY_DST":        {kindDstID},
	"SENSITIVITY":         {kindLabel},
	"X_OUTER_SENS":        {kindLabel},
	"SPIRANGE":            {kindSPIMin, kindSPIMax},
	"X_ADDRESS_NATT_LOC":  {kindNATLoc, kindNATLocPort},
	"X_ADDRESS_NATT_REM":  {kindNATRem, kindNATRemPort},
	"X_ADDRESS_INNER_SRC": {kindInnerSrc, kindInnerSrcPort, kindInnerProto},
	"X_ADDRESS_INNER_DST": {kindInnerDst, kindInnerDstPort, kindInnerProto},
	"X_PAIR":              {kindPairSPI},
	"X_REPLAY_VALUE":      {kindReplayValue},
}

// diagnosticKinds narrow a diagnostic about the SA extension down to one of its fields.
var diagnosticKinds = map[uint16][]kind{
	40: {kindAuthAlg}, 41: {kindEncrAlg}, 42: {kindDirection, kindEncap}, 43: {kindState}, 46: {kindEncrAlg},
	77: {kindDirection},
	80: {kindEncrAlg, kindAuthAlg},
}

// errnoWords say what an errno of a key engine means for an SA. They stand beside the errno's own text.
var errnoWords = map[wire.Errno]string{
	wire.EPERM:           "only a privileged user may do this",
	wire.ENOENT:          "there is nothing of that kind",
	wire.ESRCH:           "there is no such SA: SPI, destination and SA type must be those of one that is there, and not yet expired",
	wire.ENOMEM:          "the engine is out of memory",
	wire.EACCES:          "the engine does not let you",
	wire.EBUSY:           "the SA is in use",
	wire.EEXIST:          "an SA with this SPI, destination and SA type is there already: delete it first, or use update",
	wire.EINVAL:          "the engine does not accept the request as it is",
	wire.EMSGSIZE:        "the message is too short, too long, or says another length than it has",
	wire.EOPNOTSUPP:      "the engine does not do this at all",
	wire.ENOSYS:          "the engine has no such algorithm or feature",
	wire.EPROTONOSUPPORT: "the engine has no such SA type",
	wire.ENOBUFS:         "the socket's buffer is full: messages may be lost",
	wire.ETIMEDOUT:       "the SA expired before it was complete",
}
