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
	if r == nil || r.shape.brief == nil {
		return opaque, true
	}
	if err := d.checkExt(x); err != nil {
		return fmt.Sprintf("%s=malformed(%v)", r.name, err.(*DecodeError).Err), !r.secret()
	}
	if x.Type == ExtSA {
		return lineOfSA(d, x.Raw, d.SAType(msg[3]), d.tellsState(msg)), true
	}
	return r.shape.brief(d, r, x.Raw), true
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

func protoOrNumber(n uint64) string {
	if s := protoName(n); !strings.HasPrefix(s, "unknown") {
		return s
	}
	return fmt.Sprintf("%d", n)
}

func addrPort(a Sockaddr) string {
	if a.Port == 0 {
		return a.Addr.String()
	}
	return netip.AddrPortFrom(a.Addr, a.Port).String()
}
