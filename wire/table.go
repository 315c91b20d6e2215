package wire

// extRow is what a dialect knows of one extension type. Names, validation and printing all read it.
type extRow struct {
	typ     ExtType
	number  uint16                       // on the wire; 0: that of its symbol in RFC 2367, KAME or Linux
	name    string                       // without SADB_EXT_
	fields  []field                      // the fixed part behind the extension header, in order, without gaps
	rule    func(*Dialect, []byte) error // what else size or content must agree with; raw has the fixed part
	tail    func(*printer)               // prints what follows the fixed part, within the extension
	brief   func(*Dialect, []byte) string
	secret  bool // what follows the fixed part is key material
	address bool // what follows the fixed part is one sockaddr
	min     int  // smallest size in bytes: the fixed part, at least one word
}

// field is one field of a fixed part.
type field struct {
	name string
	size int
	show func(*Dialect, []byte) string // nil: as a decimal number
}

// bit stands for the extension in a set; none for an unknown one. The numbers of all dialects are below 64.
func (r *extRow) bit() uint64 {
	if r == nil {
		return 0
	}
	return 1 << (r.number & 63)
}

// finish computes the smallest size from the fields.
func (r *extRow) finish() {
	if r.number == 0 {
		r.number = uint16(r.typ)
	}
	r.min = extHeaderLen
	for _, f := range r.fields {
		r.min += f.size
	}
	r.min = max(r.min, 8)
}

// rfcExtRows are the rows of RFC 2367. A dialect with a new meaning for one appends its own row, which wins. The rules
// of addresses and lifetimes are the dialect's.
func rfcExtRows(address, lifetime func(*Dialect, []byte) error) []extRow {
	return []extRow{
		{typ: ExtSA, name: "SA", fields: saFields, brief: briefSA},
		{typ: ExtLifetimeCurrent, name: "LIFETIME_CURRENT", fields: lifetimeFields, rule: lifetime,
			brief: briefLifetime("current")},
		{typ: ExtLifetimeHard, name: "LIFETIME_HARD", fields: lifetimeFields, rule: lifetime,
			brief: briefLifetime("hard")},
		{typ: ExtLifetimeSoft, name: "LIFETIME_SOFT", fields: lifetimeFields, rule: lifetime,
			brief: briefLifetime("soft")},
		addressRow(ExtAddressSrc, 0, "ADDRESS_SRC", "src", address),
		addressRow(ExtAddressDst, 0, "ADDRESS_DST", "dst", address),
		addressRow(ExtAddressProxy, 0, "ADDRESS_PROXY", "proxy", address),
		{typ: ExtKeyAuth, name: "KEY_AUTH", fields: keyFields, rule: ruleKey, tail: tailKey, brief: briefKey("authkey"),
			secret: true},
		{typ: ExtKeyEncrypt, name: "KEY_ENCRYPT", fields: keyFields, rule: ruleKey, tail: tailKey,
			brief: briefKey("encrkey"), secret: true},
		{typ: ExtIdentitySrc, name: "IDENTITY_SRC", fields: identityFields, tail: tailIdentity,
			brief: briefIdentity("srcid")},
		{typ: ExtIdentityDst, name: "IDENTITY_DST", fields: identityFields, tail: tailIdentity,
			brief: briefIdentity("dstid")},
		{typ: ExtSensitivity, name: "SENSITIVITY", fields: sensitivityFields, rule: ruleSensitivity,
			tail:  tailSensitivity,
			brief: briefSensitivity("sens")},
		{typ: ExtProposal, name: "PROPOSAL", fields: proposalFields, rule: ruleProposal, tail: tailProposal,
			brief: briefProposal},
		{typ: ExtSupportedAuth, name: "SUPPORTED_AUTH", fields: supportedFields,
			tail:  tailSupported(ExtSupportedAuth, (*Dialect).AuthName),
			brief: briefSupported("supported-auth", (*Dialect).AuthName)},
		{typ: ExtSupportedEncrypt, name: "SUPPORTED_ENCRYPT", fields: supportedFields,
			tail:  tailSupported(ExtSupportedEncrypt, (*Dialect).EncryptName),
			brief: briefSupported("supported-encr", (*Dialect).EncryptName)},
		{typ: ExtSPIRange, name: "SPIRANGE", fields: []field{
			{"min", 4, asRangeSPI}, {"max", 4, asRangeSPI}, {"reserved", 4, nil},
		}, brief: briefSPIRange},
	}
}

func addressRow(t ExtType, number uint16, name, short string, rule func(*Dialect, []byte) error) extRow {
	return extRow{typ: t, number: number, name: name, fields: addressFields, rule: rule, tail: tailAddress,
		brief: briefAddress(short), address: true}
}

var (
	saFields = []field{
		{"spi", 4, asSPI}, {"replay", 1, nil}, {"state", 1, asState}, {"auth", 1, asAuth}, {"encrypt", 1, asEncrypt},
		{"flags", 4, asFlags},
	}
	lifetimeFields = []field{{"allocations", 4, nil}, {"bytes", 8, nil}, {"addtime", 8, nil}, {"usetime", 8, nil}}
	addressFields  = []field{{"proto", 1, asProto}, {"prefixlen", 1, nil}, {"reserved", 2, nil}}
	keyFields      = []field{{"bits", 2, nil}, {"reserved", 2, nil}}
	identityFields = []field{{"identtype", 2, asIdent}, {"reserved", 2, nil}, {"id", 8, nil}}
	// The flags are reserved outside of illumos.
	sensitivityFields = []field{
		{"dpd", 4, nil}, {"level", 1, nil}, {"bitmap words", 1, nil}, {"integrity", 1, nil},
		{"integrity bitmap words", 1, nil},
		{"flags", 4, asHex},
	}
	proposalFields  = []field{{"replay", 1, nil}, {"reserved", 3, asBytes}}
	supportedFields = []field{{"reserved", 4, nil}}
)

// Rules.

func ruleAddress(d *Dialect, raw []byte) error     { _, err := d.ParseAddress(raw); return err }
func ruleKey(d *Dialect, raw []byte) error         { _, err := d.ParseKey(raw); return err }
func ruleSensitivity(d *Dialect, raw []byte) error { _, err := d.ParseSensitivity(raw); return err }
func ruleEProp(d *Dialect, raw []byte) error       { _, err := d.ParseEProp(raw); return err }
func ruleKMCookie(d *Dialect, raw []byte) error    { _, err := d.ParseKMCookie(raw); return err }
func ruleKMAddress(d *Dialect, raw []byte) error   { _, err := d.ParseKMAddress(raw); return err }

// ruleAddressExact wants no more words than the sockaddr has.
func ruleAddressExact(d *Dialect, raw []byte) error {
	v, err := d.ParseAddress(raw)
	if err != nil {
		return err
	}
	return d.exact(raw, addressLen+pad8(d.sockaddrLen(v.sockaddr())))
}

func ruleLifetimeExact(d *Dialect, raw []byte) error { return d.exact(raw, lifetimeLen) }

// ruleProposal wants whole combs, and behind them nothing but the cookie of illumos.
func ruleProposal(d *Dialect, raw []byte) error {
	rest := (len(raw) - proposalLen) % combLen
	if rest == 0 || rest == kmCookieLen && d.cookieIn(raw[len(raw)-rest:]) != nil {
		return nil
	}
	return d.fail(raw, len(raw)-rest, ErrLength)
}

// rulePolicy wants endpoints in every request for a tunnel.
func rulePolicy(d *Dialect, raw []byte) error {
	v, err := d.ParsePolicy(raw)
	if err != nil || v.Type != KAMEPolicyIPsec {
		return err
	}
	off := policyLen
	for _, r := range v.Requests {
		end := off + int(d.u16(raw[off:]))
		if r.Mode == ModeTunnel {
			if _, _, _, err := d.parsePair(raw[off+ipsecRequestLen : end]); err != nil {
				return d.fail(raw, off+ipsecRequestLen, err)
			}
		}
		off = end
	}
	return nil
}

// ruleSecCtx wants no more words than the context has, and no more than the kernel's limit.
func ruleSecCtx(d *Dialect, raw []byte) error {
	v, err := d.ParseSecCtx(raw)
	if err != nil {
		return err
	}
	if len(v.Context) > secCtxMax {
		return d.fail(raw, 6, ErrLength)
	}
	return d.exact(raw, pad8(secCtxLen+len(v.Context)))
}

func (d *Dialect) exact(raw []byte, n int) error {
	if len(raw) != n {
		return d.fail(raw, min(n, len(raw)), ErrLength)
	}
	return nil
}
