package wire

// Grammar is a dialect as data, for programs that make something of it, such as a dissector in another language: what
// [Dialect.Validate] and [Dialect.Fields] go by. It does not depend on the byte order. It belongs to the caller.
type Grammar struct {
	Header, ExtHeader []Slot
	Exts              map[uint16]ExtGrammar // by number
	// Structures are what lies behind the fixed parts of extensions: "inet" and "inet6" are the rest of a sockaddr
	// behind its family, "comb" and "ecomb" combinations of proposals, "request" one of a policy without its endpoints,
	// "cookie32" and "cookie64" what follows the protocol of an X_KM_COOKIE of IKE, and of others.
	Structures map[string][]Slot
	Flags      []FlagName // of SAs, in the order in which they are shown

	Messages, SATypes, Errnos, Auths, Encrypts map[uint64]string // the names of numbers

	Compressions map[uint64]string // in the place of Encrypts, in an SA of type ipcomp
	AlgTypes     map[uint64]string // of the algorithms in an X_EPROP

	// ExactAddress: an address has no more words than its sockaddr needs. PlainAddress: it may have no sockaddr.
	// ExactLifetime: a lifetime has 32 bytes. TuckedCookie: a proposal may hold an X_KM_COOKIE inside its length.
	// BareTunnel: a policy's request for a tunnel may have no endpoints.
	ExactAddress, PlainAddress, ExactLifetime, TuckedCookie, BareTunnel bool
}

// ExtGrammar is one extension.
type ExtGrammar struct {
	Name    string
	Meaning string
	Section string // of RFC 2367; "" if it is not in there
	Min     int    // the smallest size in bytes
	Fields  []Slot // of the fixed part, behind the extension header
	// Kind says what rules it has beyond Min, and what follows the fixed part: "address", "policy", ...; "" if there is
	// neither.
	Kind string
}

// FlagName is the name of a bit.
type FlagName struct {
	Bit  uint32
	Name string
}

// Grammar returns the dialect as data.
func (d *Dialect) Grammar() Grammar {
	t := d.t
	g := Grammar{
		Header: d.HeaderLayout(), ExtHeader: d.ExtHeaderLayout(), Exts: map[uint16]ExtGrammar{},
		Structures: map[string][]Slot{
			"inet": d.slots(sockaddrIn4Fields), "inet6": d.slots(d.sockaddrIn6Fields()), "comb": d.slots(combFields),
			"ecomb": d.slots(ecombFields), "request": d.slots(t.request.fields), "cookie32": d.slots(cookie32Fields),
			"cookie64": d.slots(cookie64Fields),
		},
		Messages: d.names(asMsg.name), SATypes: d.names(asSAType.name),
		Errnos: d.names(asErrno.name), Auths: d.names(asAuth.name),
		Encrypts: d.names(asEncrypt.name), Compressions: d.names(asCompress.name), AlgTypes: d.names(asAlgType.name),
		ExactAddress: t.exactAddress, PlainAddress: t.plainAddress, ExactLifetime: t.exactLifetime,
		TuckedCookie: t.tuckedCookie, BareTunnel: t.bareTunnel,
	}
	for _, f := range t.flags {
		g.Flags = append(g.Flags, FlagName{uint32(f.n), f.name})
	}
	for _, r := range t.extOf {
		if r != nil {
			g.Exts[r.number] = ExtGrammar{Name: r.name, Meaning: r.meaning, Section: r.section, Min: r.min,
				Fields: d.slots(extHeaderFields, r.fields)[len(extHeaderFields):], Kind: r.shape.kind}
		}
	}
	return g
}
