package wire

import "fmt"

const (
	proposalLen = 8
	combLen     = 72
)

// Proposal is the PROPOSAL extension (RFC 2367 section 2.3.7).
type Proposal struct {
	Number uint8 // OpenBSD: of the proposal
	Replay uint8 // window in packets
	Combs  []Comb
	// Cookie is the X_KM_COOKIE that illumos puts behind the last comb, inside the length of the PROPOSAL. Nil if there
	// is none; not written by dialects that do not have it.
	Cookie *KMCookie
}

// Comb is one combination of a PROPOSAL, preferred first. Times are in seconds; zero means no limit.
type Comb struct {
	Auth, Encrypt                    AlgID
	Flags                            uint16
	AuthMinBits, AuthMaxBits         uint16
	EncryptMinBits, EncryptMaxBits   uint16
	EncryptSaltBits                  uint8 // illumos; reserved elsewhere
	SoftAllocations, HardAllocations uint32
	SoftBytes, HardBytes             uint64
	SoftAddTime, HardAddTime         uint64
	SoftUseTime, HardUseTime         uint64
}

// AppendProposal appends the extension to b: 8 bytes, 72 for each comb, 16 for a cookie.
func (d *Dialect) AppendProposal(b []byte, v Proposal) []byte {
	start := len(b)
	b, p := d.newExt(b, ExtProposal, proposalLen)
	if p[4] = v.Replay; d.t.numberProposal {
		p[4], p[5] = v.Number, v.Replay
	}
	for i := range v.Combs {
		b, p = grow(b, combLen)
		d.putComb(p, &v.Combs[i])
	}
	if v.Cookie != nil && d.t.tuckedCookie {
		b = d.AppendKMCookie(b, *v.Cookie)
	}
	return d.endExt(b, start)
}

func (d *Dialect) putComb(p []byte, c *Comb) {
	p[0], p[1] = d.t.auths.write(c.Auth), d.t.encrypts.write(c.Encrypt)
	d.put16(p[2:], c.Flags)
	d.put16(p[4:], c.AuthMinBits)
	d.put16(p[6:], c.AuthMaxBits)
	d.put16(p[8:], c.EncryptMinBits)
	d.put16(p[10:], c.EncryptMaxBits)
	p[12] = c.EncryptSaltBits
	d.put32(p[16:], c.SoftAllocations)
	d.put32(p[20:], c.HardAllocations)
	d.put64(p[24:], c.SoftBytes)
	d.put64(p[32:], c.HardBytes)
	d.put64(p[40:], c.SoftAddTime)
	d.put64(p[48:], c.HardAddTime)
	d.put64(p[56:], c.SoftUseTime)
	d.put64(p[64:], c.HardUseTime)
}

func (d *Dialect) comb(p []byte) Comb {
	return Comb{
		Auth: d.t.auths.of(p[0]), Encrypt: d.t.encrypts.of(p[1]),
		Flags:       d.u16(p[2:]),
		AuthMinBits: d.u16(p[4:]), AuthMaxBits: d.u16(p[6:]),
		EncryptMinBits: d.u16(p[8:]), EncryptMaxBits: d.u16(p[10:]),
		EncryptSaltBits: p[12],
		SoftAllocations: d.u32(p[16:]), HardAllocations: d.u32(p[20:]),
		SoftBytes: d.u64(p[24:]), HardBytes: d.u64(p[32:]),
		SoftAddTime: d.u64(p[40:]), HardAddTime: d.u64(p[48:]),
		SoftUseTime: d.u64(p[56:]), HardUseTime: d.u64(p[64:]),
	}
}

// ParseProposal reads a PROPOSAL extension. Bytes behind the last whole comb are looked at for the cookie of illumos,
// and otherwise ignored.
func (d *Dialect) ParseProposal(raw []byte) (Proposal, error) {
	if err := d.need(raw, proposalLen); err != nil {
		return Proposal{}, err
	}
	v := Proposal{Replay: raw[4]}
	if d.t.numberProposal {
		v.Number, v.Replay = raw[4], raw[5]
	}
	p := raw[proposalLen:]
	for ; len(p) >= combLen; p = p[combLen:] {
		v.Combs = append(v.Combs, d.comb(p))
	}
	v.Cookie = d.cookieIn(p)
	return v, nil
}

// cookieIn is the X_KM_COOKIE at the start of p if the dialect hides them there.
func (d *Dialect) cookieIn(p []byte) *KMCookie {
	if !d.t.tuckedCookie || len(p) < kmCookieLen || d.u16(p) != kmCookieLen/8 ||
		d.ExtType(d.u16(p[2:])) != IllumosExtXKMCookie {
		return nil
	}
	v, err := d.ParseKMCookie(p[:kmCookieLen])
	if err != nil {
		return nil
	}
	return &v
}

var shapeProposal = &shape{role: RoleProposal, kind: "proposal", fields: []field{
	f("replay", 1, nil, "window size that is wanted"), f("reserved", 3, asBytes, "zero"),
}, rule: func(d *Dialect, raw []byte) error { // whole combs, and behind them nothing but the cookie of illumos
	rest := (len(raw) - proposalLen) % combLen
	if rest == 0 || rest == kmCookieLen && d.cookieIn(raw[len(raw)-rest:]) != nil {
		return nil
	}
	return d.fail(raw, len(raw)-rest, ErrLength)
}, tail: func(p *teller) {
	for i := 1; p.end-p.off >= combLen; i++ {
		p.in("comb %d", i)
		p.fields(combFields)
	}
	p.cookie()
}, brief: func(d *Dialect, r *extRow, raw []byte) string {
	v, _ := d.ParseProposal(raw)
	return briefCombs(r.short, len(v.Combs), v.Replay, v.Cookie)
}, part: func(*Dialect) []field { return combFields }}

var combFields = append([]field{
	f("auth", 1, asAuth, "authentication algorithm; 0 is none"),
	f("encrypt", 1, asEncrypt, "encryption algorithm; 0 is none"),
	f("flags", 2, asHex, "options").in("3.9", only(0)), f("auth minbits", 2, nil, "smallest key"),
	f("auth maxbits", 2, nil, "largest key"), f("encrypt minbits", 2, nil, "smallest key"),
	f("encrypt maxbits", 2, nil, "largest key"), f("encrypt saltbits", 1, nil, "behind the key"),
	f("reserved", 3, asBytes, "zero"),
}, limitFields...)

// limitFields end both kinds of combs.
var limitFields = []field{
	f("soft allocations", 4, nil, "connections; 0 is no limit"),
	f("hard allocations", 4, nil, "connections; 0 is no limit"),
	f("soft bytes", 8, nil, "0 is no limit"), f("hard bytes", 8, nil, "0 is no limit"),
	f("soft addtime", 8, nil, "seconds; 0 is no limit"), f("hard addtime", 8, nil, "seconds; 0 is no limit"),
	f("soft usetime", 8, nil, "seconds; 0 is no limit"), f("hard usetime", 8, nil, "seconds; 0 is no limit"),
}

func briefCombs(name string, combs int, replay uint8, c *KMCookie) string {
	cookie := ""
	if c != nil {
		cookie = "cookie:" + c.brief()
	}
	return list(name, fmt.Sprintf("combs:%d", combs), pair("replay", replay), cookie)
}
