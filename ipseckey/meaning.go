package ipseckey

import "github.com/pfkeyd/pfkeyd/wire"

// reference names where something is written: "RFC 2367 section 2.3.1", or that it is the dialect's own.
func reference(d *wire.Dialect, section string) string {
	if section == "" {
		return "not in RFC 2367, of " + d.Name
	}
	return "RFC 2367 section " + section
}

// meaningOf is what an extension, or the base header, is for, by its name.
func meaningOf(d *wire.Dialect, ext string) (text, section string) {
	if t, ok := d.ExtByName(ext); ok {
		return d.ExtMeaning(t)
	}
	for v := range d.Fields(nil, wire.FormatOptions{}) { // the base header, if nothing else
		return v.Meaning, v.Section
	}
	return "", ""
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
