package wire

import (
	"fmt"
	"net/netip"
	"strings"
)

// Line is a message on one line, for logs and traces: type, SA type, seq, pid, errno and diagnostic if any, and every
// extension in short, such as
//
//	GETSPI esp seq=1 pid=1234 src=192.0.2.2 dst=192.0.2.1 spirange=0x1000-0x1fff
//
// Inside an extension what is zero is mostly left out. State 0 is LARVAL where a kernel tells of an SA (GETSPI, DUMP,
// EXPIRE, the answer to GET), and is left out elsewhere: in a request it says nothing. Key bytes never appear; when a
// malformed message could hold one anywhere, the line ends there.
func (d *Dialect) Line(msg []byte) string {
	var b strings.Builder
	h, err := d.Header(msg)
	if err != nil {
		return fmt.Sprintf("malformed: %d bytes are %v", len(msg), ErrShort)
	}
	fmt.Fprintf(&b, "%s %s seq=%d pid=%d", d.MsgName(h.Type), d.SATypeName(h.SAType), h.Seq, h.PID)
	if h.Errno != 0 {
		fmt.Fprintf(&b, " errno=%s", d.ErrnoName(h.Errno))
	}
	if h.Reserved != 0 {
		if len(d.t.diags) != 0 {
			fmt.Fprintf(&b, " diagnostic=%s", d.DiagnosticName(h.Reserved))
		} else {
			fmt.Fprintf(&b, " reserved=%d", h.Reserved)
		}
	}
	if err := d.checkHeader(msg, h); err != nil {
		fmt.Fprintf(&b, " malformed(%v)", err.(*DecodeError).Err)
	}
	valid := d.Validate(msg) == nil
	for x, err := range d.Walk(msg) {
		b.WriteByte(' ')
		if err != nil {
			what := "data"
			if x.Raw != nil {
				what = d.ExtName(x.Type)
			}
			fmt.Fprintf(&b, "malformed(%s at byte %d: %v)", what, x.Offset, err.(*DecodeError).Err)
			break
		}
		s, trusted := d.lineOf(msg, x, valid)
		b.WriteString(s)
		if !trusted {
			b.WriteString(" (the rest is hidden)")
			break
		}
	}
	return b.String()
}

// lineOf is one extension in short; false if what follows it may hold a key under a wrong frame.
func (d *Dialect) lineOf(msg []byte, x Ext, valid bool) (string, bool) {
	r := d.ext(x.Type)
	opaque := fmt.Sprintf("%s=(%d bytes)", d.ExtName(x.Type), len(x.Raw))
	if d.mayHoldKey(msg, x, valid) {
		return opaque, false
	}
	if r == nil || r.brief == nil {
		return opaque, true
	}
	if err := d.checkExt(x); err != nil {
		return fmt.Sprintf("%s=malformed(%v)", r.name, err.(*DecodeError).Err), !r.secret
	}
	if x.Type == ExtSA {
		return lineOfSA(d, x.Raw, d.tellsState(msg)), true
	}
	return r.brief(d, x.Raw), true
}

// tellsState says whether state 0 in msg is that of an SA, LARVAL. That is so in what a kernel says of an SA that it
// has or had. In a request, which its answer may repeat, nobody has said a state: programs leave the field zero where
// it has no meaning, and many where it should be MATURE. A GET without LIFETIME_CURRENT is a request.
func (d *Dialect) tellsState(msg []byte) bool {
	h, err := d.Header(msg)
	switch {
	case err != nil:
		return false
	case h.Type == MsgGet:
		_, ok := d.Find(msg, ExtLifetimeCurrent)
		return ok
	}
	return h.Type == MsgGetSPI || h.Type == MsgDump || h.Type == MsgExpire
}

// list joins the parts of one extension that are not empty; "0" if all are.
func list(name string, parts ...string) string {
	var s []string
	for _, p := range parts {
		if p != "" {
			s = append(s, p)
		}
	}
	if len(s) == 0 {
		s = []string{"0"}
	}
	return name + "=" + strings.Join(s, ",")
}

// pair is name:value, empty for zero.
func pair[T uint8 | uint16 | uint32 | uint64](name string, v T) string {
	if v == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d", name, v)
}

// The briefs run after validation, so their Parse does not fail.

func briefSA(d *Dialect, raw []byte) string { return lineOfSA(d, raw, true) }

// lineOfSA leaves state 0 out unless it is that of an SA; see tellsState.
func lineOfSA(d *Dialect, raw []byte, tells bool) string {
	v, _ := d.ParseSA(raw)
	s := fmt.Sprintf("spi=%v", v.SPI)
	if v.State != 0 || tells {
		s += " state=" + d.StateName(v.State)
	}
	if v.Replay != 0 {
		s += fmt.Sprintf(" replay=%d", v.Replay)
	}
	if v.Auth != 0 {
		s += " auth=" + d.AuthName(v.Auth)
	}
	if v.Encrypt != 0 {
		s += " encr=" + d.EncryptName(v.Encrypt)
	}
	if v.Flags != 0 {
		s += " flags=" + d.FlagNames(v.Flags)
	}
	return s
}

func briefLifetime(name string) func(*Dialect, []byte) string {
	return func(d *Dialect, raw []byte) string {
		v, _ := d.ParseLifetime(raw)
		return list(name, pair("allocations", v.Allocations), pair("bytes", v.Bytes), pair("add", v.AddTime),
			pair("use", v.UseTime))
	}
}

func briefAddress(name string) func(*Dialect, []byte) string {
	return func(d *Dialect, raw []byte) string {
		v, _ := d.ParseAddress(raw)
		s := v.Addr.String()
		if v.PrefixLen != 0 && int(v.PrefixLen) != v.Addr.BitLen() {
			s += fmt.Sprintf("/%d", v.PrefixLen)
		}
		proto := ""
		if v.Proto != 0 {
			proto = "proto:" + protoOrNumber(uint64(v.Proto))
		}
		return list(name, s, pair("scope", v.Scope), pair("port", v.Port), proto)
	}
}

func protoOrNumber(n uint64) string {
	if s := protoName(n); !strings.HasPrefix(s, "unknown") {
		return s
	}
	return fmt.Sprintf("%d", n)
}

func briefKey(name string) func(*Dialect, []byte) string {
	return func(d *Dialect, raw []byte) string {
		v, _ := d.ParseKey(raw)
		return fmt.Sprintf("%s=(%d bits)", name, v.Bits)
	}
}

func briefIdentity(name string) func(*Dialect, []byte) string {
	return func(d *Dialect, raw []byte) string {
		v, _ := d.ParseIdentity(raw)
		return fmt.Sprintf("%s=%s:%s", name, d.IdentName(v.Type), text(v.Name))
	}
}

func briefSensitivity(name string) func(*Dialect, []byte) string {
	return func(d *Dialect, raw []byte) string {
		v, _ := d.ParseSensitivity(raw)
		return list(name, pair("dpd", v.DPD), pair("level", v.Level), pair("integrity", v.Integrity))
	}
}

func briefProposal(d *Dialect, raw []byte) string {
	v, _ := d.ParseProposal(raw)
	return briefCombs("proposal", len(v.Combs), v.Replay, v.Cookie)
}

func briefCombs(name string, combs int, replay uint8, c *KMCookie) string {
	cookie := ""
	if c != nil {
		cookie = "cookie:" + c.brief()
	}
	return list(name, fmt.Sprintf("combs:%d", combs), pair("replay", replay), cookie)
}

func briefSupported(name string, alg func(*Dialect, AlgID) string) func(*Dialect, []byte) string {
	return func(d *Dialect, raw []byte) string {
		v, _ := d.ParseSupported(raw)
		var s []string
		for _, a := range v.Algs {
			s = append(s, alg(d, a.ID))
		}
		return list(name, s...)
	}
}

func briefSPIRange(d *Dialect, raw []byte) string {
	v, _ := d.ParseSPIRange(raw)
	return fmt.Sprintf("spirange=%v-%v", v.Min, v.Max)
}

// illumos

func briefEReg(d *Dialect, raw []byte) string {
	v, _ := d.ParseEReg(raw)
	var s []string
	for _, t := range v.Types {
		s = append(s, d.SATypeName(t))
	}
	return list("ereg", s...)
}

func briefEProp(d *Dialect, raw []byte) string {
	v, _ := d.ParseEProp(raw)
	return briefCombs("eproposal", len(v.Combs), v.Replay, v.Cookie)
}

func briefKMCookie(d *Dialect, raw []byte) string {
	v, _ := d.ParseKMCookie(raw)
	return "cookie=" + v.brief()
}

func (v KMCookie) brief() string {
	return fmt.Sprintf("%s/%#x", nameOf(uint64(v.Protocol), illumosKMPs), v.Cookie)
}

func briefPair(d *Dialect, raw []byte) string {
	v, _ := d.ParsePair(raw)
	return fmt.Sprintf("pair=%v", v.SPI)
}

func briefReplayValue(d *Dialect, raw []byte) string {
	v, _ := d.ParseReplayValue(raw)
	return list("replayvalue", pair("32", v.Replay32), pair("64", v.Replay64))
}

func briefEDump(d *Dialect, raw []byte) string {
	v, _ := d.ParseEDump(raw)
	return fmt.Sprintf("edump=%d", v.Timeout)
}

// Linux

func briefPolicy(d *Dialect, raw []byte) string {
	v, _ := d.ParsePolicy(raw)
	s := []string{nameOf(uint64(v.Type), kamePolicyTypes), nameOf(uint64(v.Direction), kameDirs), pair("id", v.ID)}
	if v.Priority != 0 {
		s = append(s, fmt.Sprintf("prio:%#x", v.Priority))
	}
	for _, r := range v.Requests {
		t := fmt.Sprintf("%s/%s/", protoOrNumber(uint64(r.Proto)), r.Mode)
		if r.Src.Addr.IsValid() {
			t += addrPort(r.Src) + "-" + addrPort(r.Dst)
		}
		t += "/" + nameOf(uint64(r.Level), kameLevels)
		if r.ReqID != 0 {
			t += fmt.Sprintf(":%d", r.ReqID)
		}
		s = append(s, t)
	}
	return list("policy", s...)
}

func addrPort(a Sockaddr) string {
	if a.Port == 0 {
		return a.Addr.String()
	}
	return netip.AddrPortFrom(a.Addr, a.Port).String()
}

func briefSA2(d *Dialect, raw []byte) string {
	v, _ := d.ParseSA2(raw)
	return list("sa2", v.Mode.String(), pair("seq", v.Sequence), pair("reqid", v.ReqID))
}

func briefNATTType(d *Dialect, raw []byte) string {
	v, _ := d.ParseNATTType(raw)
	return "natt=" + nameOf(uint64(v.Type), kameNATTs)
}

func briefNATTPort(name string) func(*Dialect, []byte) string {
	return func(d *Dialect, raw []byte) string {
		v, _ := d.ParseNATTPort(raw)
		return fmt.Sprintf("%s=%d", name, v.Port)
	}
}

func briefSecCtx(d *Dialect, raw []byte) string {
	v, _ := d.ParseSecCtx(raw)
	s := strings.TrimSuffix(string(v.Context), "\x00")
	return fmt.Sprintf("secctx=doi:%d,alg:%d,%s", v.DOI, v.Alg, text(s))
}

func briefKMAddress(d *Dialect, raw []byte) string {
	v, _ := d.ParseKMAddress(raw)
	return "kmaddress=" + addrPort(v.Local) + "-" + addrPort(v.Remote)
}

func briefFilter(d *Dialect, raw []byte) string {
	v, _ := d.ParseFilter(raw)
	side := func(a [16]byte, prefix uint8) string {
		if prefix == 0 {
			return "any"
		}
		if v.Family == d.AFInet {
			return fmt.Sprintf("%v/%d", netip.AddrFrom4([4]byte(a[:4])), prefix)
		}
		return fmt.Sprintf("%v/%d", netip.AddrFrom16(a), prefix)
	}
	return fmt.Sprintf("filter=%s,%s-%s", d.familyName(v.Family), side(v.Src, v.SrcPrefix), side(v.Dst, v.DstPrefix))
}
