package wire

// extRow is what a dialect knows of one extension type. Names, validation and printing all read it.
type extRow struct {
	typ  ExtType
	name string                       // without SADB_EXT_
	min  int                          // smallest size in bytes
	rule func(*Dialect, []byte) error // what else its size or content must agree with; raw has min bytes
}

// rfcExtRows are the rows of RFC 2367. A dialect with a new meaning for one appends its own row, which wins.
func rfcExtRows() []extRow {
	return []extRow{
		{typ: ExtSA, name: "SA", min: saLen},
		{typ: ExtLifetimeCurrent, name: "LIFETIME_CURRENT", min: lifetimeLen},
		{typ: ExtLifetimeHard, name: "LIFETIME_HARD", min: lifetimeLen},
		{typ: ExtLifetimeSoft, name: "LIFETIME_SOFT", min: lifetimeLen},
		{typ: ExtAddressSrc, name: "ADDRESS_SRC", min: addressLen, rule: ruleAddress},
		{typ: ExtAddressDst, name: "ADDRESS_DST", min: addressLen, rule: ruleAddress},
		{typ: ExtAddressProxy, name: "ADDRESS_PROXY", min: addressLen, rule: ruleAddress},
		{typ: ExtKeyAuth, name: "KEY_AUTH", min: keyLen, rule: ruleKey},
		{typ: ExtKeyEncrypt, name: "KEY_ENCRYPT", min: keyLen, rule: ruleKey},
		{typ: ExtIdentitySrc, name: "IDENTITY_SRC", min: identityLen},
		{typ: ExtIdentityDst, name: "IDENTITY_DST", min: identityLen},
		{typ: ExtSensitivity, name: "SENSITIVITY", min: sensitivityLen, rule: ruleSensitivity},
		{typ: ExtProposal, name: "PROPOSAL", min: proposalLen, rule: ruleProposal},
		{typ: ExtSupportedAuth, name: "SUPPORTED_AUTH", min: supportedLen},
		{typ: ExtSupportedEncrypt, name: "SUPPORTED_ENCRYPT", min: supportedLen},
		{typ: ExtSPIRange, name: "SPIRANGE", min: spiRangeLen},
	}
}

func ruleAddress(d *Dialect, raw []byte) error     { _, err := d.ParseAddress(raw); return err }
func ruleKey(d *Dialect, raw []byte) error         { _, err := d.ParseKey(raw); return err }
func ruleSensitivity(d *Dialect, raw []byte) error { _, err := d.ParseSensitivity(raw); return err }
func ruleEProp(d *Dialect, raw []byte) error       { _, err := d.ParseEProp(raw); return err }

// ruleProposal wants whole combs, and behind them nothing but the cookie of illumos.
func ruleProposal(d *Dialect, raw []byte) error {
	rest := (len(raw) - proposalLen) % combLen
	if rest == 0 || rest == kmCookieLen && d.cookieIn(raw[len(raw)-rest:]) != nil {
		return nil
	}
	return d.fail(raw, len(raw)-rest, ErrLength)
}
