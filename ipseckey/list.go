package ipseckey

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// view reads numbers of a message that may end anywhere: behind the end everything is zero.
type view struct {
	d *wire.Dialect
	b []byte
}

// part is n bytes at off, shorter or empty where the message ends.
func (v view) part(off, n int) []byte {
	if off < 0 || off >= len(v.b) || n <= 0 {
		return nil
	}
	return v.b[off:min(off+n, len(v.b))]
}

func (v view) whole(off, n int) []byte {
	p := v.part(off, n)
	if len(p) == n {
		return p
	}
	return append(make([]byte, 0, n), append(p, make([]byte, n-len(p))...)...)
}

func (v view) u8(off int) uint8    { return v.whole(off, 1)[0] }
func (v view) u16(off int) uint16  { return v.d.Order.Uint16(v.whole(off, 2)) }
func (v view) u32(off int) uint32  { return v.d.Order.Uint32(v.whole(off, 4)) }
func (v view) u64(off int) uint64  { return v.d.Order.Uint64(v.whole(off, 8)) }
func (v view) be16(off int) uint16 { return binary.BigEndian.Uint16(v.whole(off, 2)) }
func (v view) be32(off int) uint32 { return binary.BigEndian.Uint32(v.whole(off, 4)) }

// lister prints one message.
type lister struct {
	ctx context.Context
	s   *session
	w   io.Writer
	view

	current, hard, soft, idle int // offsets of the lifetimes, which are printed last; 0 means none
	crashed                   bool
}

func (l *lister) printf(format string, args ...any) { fmt.Fprintf(l.w, format, args...) }

// list prints a message. buf is what a reader of it may look at: the message itself, or the buffer that it begins.
// stamp puts the time in front. The error is the original's crash.
func (s *session) list(ctx context.Context, w io.Writer, buf []byte, stamp bool) error {
	out := &bytes.Buffer{}
	l := &lister{ctx: ctx, s: s, w: out, view: view{s.dial, buf}}
	if now := s.now(); stamp && now != 0 {
		l.printf("Timestamp: %s\n", s.clockTime(uint64(now)))
	}
	l.header()
	words := int(l.u16(4))
	end := words * 8
	off := wire.HeaderLen
	for off < end && off < len(buf) {
		n := int(l.u16(off)) * 8
		l.extension(off, n)
		off += max(n, 8)
	}
	beyond := end > len(buf) // where the original goes on reading
	if off != end && words != 0 && !beyond || beyond && !s.keeps(quirkStaleReply) {
		fmt.Fprint(s.Stderr, "ipseckey: WARNING: insufficient buffer space or corrupt message.\n")
	}
	l.lifetimes()
	if l.crashed {
		return s.crash()
	}
	w.Write(s.coloured(out.Bytes()))
	s.sync()
	return nil
}

var msgNames = map[wire.MsgType]string{
	wire.MsgReserved: "RESERVED (warning: set to 0)", wire.MsgGetSPI: "GETSPI", wire.MsgUpdate: "UPDATE",
	wire.MsgAdd:    "ADD",
	wire.MsgDelete: "DELETE", wire.MsgGet: "GET", wire.MsgAcquire: "ACQUIRE", wire.MsgRegister: "REGISTER",
	wire.MsgExpire: "EXPIRE", wire.MsgFlush: "FLUSH", wire.MsgDump: "DUMP", wire.MsgXPromisc: "X_PROMISC",
	wire.IllumosMsgXInverseAcquire: "X_INVERSE_ACQUIRE", wire.IllumosMsgXUpdatePair: "UPDATE PAIR",
	wire.IllumosMsgXDelPair: "DELETE PAIR",
}

func listedMsgType(d *wire.Dialect, t wire.MsgType) string {
	if name, ok := msgNames[t]; ok {
		return name
	}
	n, _ := d.MsgNumber(t)
	return fmt.Sprintf("Unknown (%d)", n)
}

var saTypeNames = map[wire.SAType]string{
	wire.SATypeUnspec: "<unspecified/all>", wire.SATypeAH: "AH", wire.SATypeESP: "ESP", wire.SATypeRSVP: "RSVP",
	wire.SATypeOSPFv2: "OSPFv2", wire.SATypeRIPv2: "RIPv2", wire.SATypeMIP: "Mobile IP",
}

func listedSAType(d *wire.Dialect, t wire.SAType) string {
	if name, ok := saTypeNames[t]; ok {
		return name
	}
	n, _ := d.SATypeNumber(t)
	return fmt.Sprintf("<unknown %d>", n)
}

func (l *lister) header() {
	h, _ := l.d.Header(l.whole(0, wire.HeaderLen))
	l.printf("Base message (version %d) type %s, SA type %s.\n", h.Version,
		listedMsgType(l.d, h.Type), listedSAType(l.d, h.SAType))
	if h.Errno != 0 {
		l.printf("Error %s from PF_KEY.\n", strerror(l.s.errno(h)))
		if l.s.hasDiagnostics() {
			l.printf(listedDiagnostic, h.Reserved, diagnosticText(h.Reserved))
		}
	}
	l.printf("Message length %d bytes, seq=%d, pid=%d.\n", int(h.Len)*8, uint32(h.Seq), h.PID)
}

// extension prints the extension of n bytes at off, or remembers it for later.
func (l *lister) extension(off, n int) {
	switch t := l.d.ExtType(l.u16(off + 2)); {
	case t >= firstOwnExt && !l.s.illumos():
		l.foreign(off, n)
		return
	case t == wire.ExtAddressProxy && !l.s.illumos():
		l.address(off, "PRX: ", "Proxy")
		return
	}
	switch t := l.d.ExtType(l.u16(off + 2)); t {
	case wire.ExtSA:
		if n != 16 {
			l.badLength("SA info", n)
		}
		l.sa(off)
	case wire.ExtLifetimeCurrent:
		l.lifetime(&l.current, off, n, "CURRENT lifetime")
	case wire.ExtLifetimeHard:
		l.lifetime(&l.hard, off, n, "HARD lifetime")
	case wire.ExtLifetimeSoft:
		l.lifetime(&l.soft, off, n, "SOFT lifetime")
	case wire.IllumosExtXLifetimeIdle:
		l.lifetime(&l.idle, off, n, "IDLE lifetime")
	case wire.ExtAddressSrc:
		l.address(off, "SRC: ", "Source")
	case wire.ExtAddressDst:
		l.address(off, "DST: ", "Destination")
	case wire.ExtAddressProxy:
		l.address(off, "INS: ", "Inner source")
	case wire.IllumosExtXAddressInnerDst:
		l.address(off, "IND: ", "Inner destination")
	case wire.IllumosExtXAddressNattLoc:
		l.address(off, "NLC: ", "NAT-T local")
	case wire.IllumosExtXAddressNattRem:
		l.address(off, "NRM: ", "NAT-T remote")
	case wire.ExtKeyAuth:
		l.key(off, n, "AKY: ", "Authentication")
	case wire.ExtKeyEncrypt:
		l.key(off, n, "EKY: ", "Encryption")
	case wire.ExtIdentitySrc:
		l.identity(off, n, "SID: ", "Source")
	case wire.ExtIdentityDst:
		l.identity(off, n, "DID: ", "Destination")
	case wire.ExtSensitivity:
		l.sensitivity(off, n, "SNS: ", "Plaintext")
	case wire.IllumosExtXOuterSens:
		l.sensitivity(off, n, "OSN: ", "Ciphertext")
	case wire.ExtProposal:
		l.proposal(off, n)
	case wire.ExtSupportedAuth:
		l.supported(off, n, "SUA: ", "authentication", l.s.algorithms().Auth, l.d.Auth)
	case wire.ExtSupportedEncrypt:
		l.supported(off, n, "SUE: ", "encryption", l.s.algorithms().Encrypt, l.d.Encrypt)
	case wire.ExtSPIRange:
		l.printf("SPR: SPI Range, min=0x%x, max=0x%x\n", l.spi(off+4), l.spi(off+8))
	case wire.IllumosExtXEProp:
		l.extendedProposal(off, n)
	case wire.IllumosExtXKMCookie:
		l.cookie(off)
	case wire.IllumosExtXPair:
		l.printf("OTH: Paired with spi=0x%x\n", l.be32(off+4))
	case wire.IllumosExtXReplayValue:
		l.replay(off)
	default:
		l.unknown(off, n)
	}
}

// firstOwnExt is the first extension type that every dialect uses as it likes.
const firstOwnExt = wire.ExtSPIRange + 1

// foreign prints an extension that is none of RFC 2367 and not of illumos: its name, and its fields as the dialect
// knows them.
func (l *lister) foreign(off, n int) {
	raw := l.part(off, n)
	l.printf("EXT: %s\n", l.d.ExtName(l.d.ExtType(l.u16(off+2))))
	msg := l.d.Finish(append(l.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgGet}), raw...))
	for v := range l.d.Fields(msg, wire.FormatOptions{}) {
		switch {
		case v.Kind != wire.FieldValue, v.Offset < wire.HeaderLen+4, v.Name == "reserved", v.Name == "padding":
		case v.Name == "len": // of a request, in bytes
		case v.Value == "" && v.Bytes != nil:
			l.printf("EXT: %s %x\n", v.Name, v.Bytes)
		default:
			l.printf("EXT: %s\n", v.Text())
		}
	}
}

func (l *lister) badLength(what string, n int) {
	fmt.Fprintf(l.s.Stderr, "ipseckey: WARNING: %s extension length (%d) is bad.\n", what, n)
}

func (l *lister) lifetime(at *int, off, n int, what string) {
	if n != 32 {
		l.badLength(what, n)
	}
	*at = off
}

// spi is an SPI of an SPI range.
func (l *lister) spi(off int) uint32 {
	if l.s.illumos() {
		return l.be32(off)
	}
	return l.u32(off)
}

var stateTexts = []string{"LARVAL", "MATURE", "DYING", "DEAD", "ACTIVE_ELSEWHERE", "IDLE"}

// listedFlags are the SA flags that have a name, in the order in which they are printed.
var listedFlags = []struct {
	bit  uint32
	name string
}{
	{0x1, "PFS"}, {0x2, "NOREPLAY"}, {0x80000000, "X_USED"}, {0x10000, "X_PAIRED"}, {0x8000, "X_OUTBOUND"},
	{0x4000, "X_INBOUND"}, {0x40000000, "X_UNIQUE"}, {0x20000000, "X_AALG1"}, {0x10000000, "X_AALG2"},
	{0x8000000, "X_EALG1"},
	{0x4000000, "X_EALG2"}, {0x100000, "X_NATT_LOC"}, {0x80000, "X_NATT_REM"}, {0x20000, "X_TUNNEL"},
	{0x1000, "X_NATTED"},
}

func (l *lister) sa(off int) {
	state, auth, encrypt, flags := l.u8(off+9), l.u8(off+10), l.u8(off+11), l.u32(off+12)
	stateText := fmt.Sprintf("<unknown %d>", state)
	if int(state) < len(stateTexts) {
		stateText = stateTexts[state]
	}
	l.printf("SA: SADB_ASSOC spi=0x%x, replay window size=%d, state=%s\n", l.be32(off+4), l.u8(off+8), stateText)
	if auth != 0 {
		l.printf("SA: Authentication algorithm = %s\n", listedName(l.s.algorithms().Auth, l.d.Auth(auth)))
	}
	if encrypt != 0 {
		l.printf("SA: Encryption algorithm = %s\n", listedName(l.s.algorithms().Encrypt, l.d.Encrypt(encrypt)))
	}
	l.printf("SA: flags=0x%x < ", flags)
	if !l.s.illumos() {
		if flags != 0 {
			l.printf("%s ", strings.ReplaceAll(l.d.FlagNames(flags), "|", " "))
		}
		l.printf(">\n")
		return
	}
	for _, f := range listedFlags {
		if flags&f.bit != 0 {
			l.printf("%s ", f.name)
		}
	}
	l.printf(">\n")
}

// sockaddr reads the socket address at off; the address is invalid when the family is unknown.
func (v view) sockaddr(off int) (a netip.Addr, port uint16) {
	family := v.u16(off)
	if v.d.SockaddrLen {
		family = uint16(v.u8(off + 1))
	}
	switch family {
	case v.d.AFInet:
		return netip.AddrFrom4([4]byte(v.whole(off+4, 4))), v.be16(off + 2)
	case v.d.AFInet6:
		return netip.AddrFrom16([16]byte(v.whole(off+8, 16))), v.be16(off + 2)
	}
	return netip.Addr{}, 0
}

func (l *lister) address(off int, tag, kind string) {
	proto := l.u8(off + 4)
	l.printf("%s%s address (proto=%d", tag, kind, proto)
	if !l.s.numeric {
		l.printf("/%s", l.protocol(proto))
	}
	l.printf(")\n%s", tag)
	a, port := l.sockaddr(off + 8)
	if !a.IsValid() {
		return // and no newline
	}
	family := "AF_INET"
	if a.Is6() {
		family = "AF_INET6"
	}
	l.printf("%s: port %d, %s", family, port, showAddr(a))
	if prefix := l.u8(off + 5); prefix != 0 {
		l.printf("/%d", prefix)
	}
	if !l.s.numeric {
		l.printf("%s", l.hostName(a))
	}
	l.printf(".\n")
}

func (l *lister) protocol(proto uint8) string {
	if proto == 0 {
		return "<unspecified>"
	}
	if l.s.Names != nil {
		if name, ok := l.s.Names.Protocol(proto); ok {
			return name
		}
	}
	return "<unknown>"
}

// hostName is what stands behind an address: its name, or that there is none.
func (l *lister) hostName(a netip.Addr) string {
	if a.IsUnspecified() {
		return " <unspecified>"
	}
	if b := a.As16(); a.Is4In6() || a.Is6() && scopeOf(a) == scopeV4Compatible {
		a = netip.AddrFrom4([4]byte(b[12:]))
	}
	if l.s.Names != nil {
		if name, ok := l.s.Names.HostOf(l.ctx, a); ok {
			return " (" + name + ")"
		}
	}
	return " <unknown>"
}

func (l *lister) key(off, n int, tag, kind string) {
	bits, salt := l.u16(off+4), l.u16(off+6)
	l.printf("%s%s key.\n%s", tag, kind, tag)
	keyLen, saltLen := (int(bits)+7)/8, int(salt)/8
	for i, b := range l.part(off+8, keyLen+saltLen) {
		if salt != 0 && i == keyLen {
			l.printf("[")
		}
		l.hex(b)
	}
	if salt != 0 {
		l.printf("]/%d+%d\n", bits, salt)
		return
	}
	l.printf("/%d\n", bits)
}

// hex prints one byte of a key.
func (l *lister) hex(b byte) {
	if l.s.paranoid {
		l.printf("XX")
		return
	}
	l.printf("%02x", b)
}

var identityTexts = []string{1: "prefix", 2: "FQDN", 3: "user-FQDN (mbox)", 4: "ASN.1 DER Distinguished Name",
	5: "ASN.1 DER Generic Name", 6: "Generic key id", 7: "Address range"}

func (l *lister) identity(off, n int, tag, kind string) {
	typ := l.u16(off + 4)
	text := fmt.Sprintf("<unknown %d>", uint8(typ))
	if t := uint8(typ); int(t) < len(identityTexts) && identityTexts[t] != "" {
		text = identityTexts[t]
	}
	l.printf("%s%s identity, uid=%d, type %s\n%s", tag, kind, int32(l.u64(off+8)), text, tag)
	data := l.part(off+16, n-16)
	if typ := uint8(typ); typ == 4 || typ == 5 {
		l.printf("%s\n", distinguishedName(data))
		return
	}
	l.printf("%s\n", cString(data))
}

// cString is data up to its first zero byte.
func cString(data []byte) []byte {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return data[:i]
	}
	return data
}

func (l *lister) supported(off, n int, tag, kind string, rows []Algorithm,
	symbol func(uint8) wire.AlgID) {
	l.printf("%sSupported %s algorithms.\n", tag, kind)
	for p := off + 8; p+8 <= off+n; p += 8 {
		l.printf("%s%s minbits=%d, maxbits=%d, ivlen=%d, saltbits=%d", tag, listedName(rows, symbol(l.u8(p))),
			l.u16(p+2), l.u16(p+4), l.u8(p+1), l.u8(p+7))
		if kind == "encryption" {
			l.printf(", increment=%d", l.u8(p+6))
		}
		l.printf(".\n")
	}
}

const combLen = 72

func (l *lister) proposal(off, n int) {
	l.printf("PRP: Proposal, replay counter = %d.\n", l.u8(off+4))
	for i, p := 1, off+8; p+combLen <= off+n; i, p = i+1, p+combLen {
		l.printf("PRP:  Combination #%d ", i)
		if id := l.u8(p); id != 0 {
			l.printf("Authentication = %s  minbits=%d, maxbits=%d.\nPRP:  ",
				listedName(l.s.algorithms().Auth, l.d.Auth(id)),
				l.u16(p+4), l.u16(p+6))
		}
		if id := l.u8(p + 1); id != 0 {
			l.printf("Encryption = %s  minbits=%d, maxbits=%d.\nPRP:  ",
				listedName(l.s.algorithms().Encrypt, l.d.Encrypt(id)),
				l.u16(p+8), l.u16(p+10))
		}
		l.limits("HARD: ", uint64(l.u32(p+20)), l.u64(p+32), l.u64(p+48), l.u64(p+64))
		l.printf("PRP:  ")
		l.limits("SOFT: ", uint64(l.u32(p+16)), l.u64(p+24), l.u64(p+40), l.u64(p+56))
	}
}

// limits prints the limits of a combination that are not zero.
func (l *lister) limits(what string, alloc, bytes, add, use uint64) {
	l.printf("%s", what)
	if alloc != 0 {
		l.printf("alloc=%d ", alloc)
	}
	if bytes != 0 {
		l.printf("bytes=%d ", bytes)
	}
	if add != 0 {
		l.printf("post-add secs=%d ", add)
	}
	if use != 0 {
		l.printf("post-use secs=%d", use)
	}
	l.printf("\n")
}

func (l *lister) extendedProposal(off, n int) {
	combs := int(l.u16(off + 6))
	l.printf("EPR: Extended Proposal, replay counter = %d, number of combinations = %d.\n", l.u8(off+4), combs)
	p := off + 8
	for i := 1; i <= combs && p < off+n && p < len(l.b); i++ {
		l.printf("EPR:  Extended combination #%d:\n", i)
		for _, f := range []struct {
			name                  string
			alloc, byts, add, use int
		}{{"HARD", 12, 24, 40, 56}, {"SOFT", 8, 16, 32, 48}} {
			l.printf("EPR:  %s: alloc=%d, bytes=%d, post-add secs=%d, post-use secs=%d\n", f.name,
				l.u32(p+f.alloc), l.u64(p+f.byts), l.u64(p+f.add), l.u64(p+f.use))
		}
		algs := int(l.u8(p))
		p += 64
		for j := 1; j <= algs && p < len(l.b); j, p = j+1, p+8 {
			l.printf("EPR:  Alg #%d for ", j)
			switch t := l.u8(p); l.d.SAType(t) {
			case wire.SATypeESP:
				l.printf("ESP ")
			case wire.SATypeAH:
				l.printf("AH ")
			default:
				l.printf("satype=%d ", t)
			}
			switch id := l.u8(p + 2); l.u8(p + 1) {
			case 1:
				l.printf("Authentication = %s", listedName(l.s.algorithms().Auth, l.d.Auth(id)))
			case 2:
				l.printf("Encryption = %s", listedName(l.s.algorithms().Encrypt, l.d.Encrypt(id)))
			default:
				l.printf("algtype(%d) = alg(%d)", l.u8(p+1), id)
			}
			l.printf("  minbits=%d, maxbits=%d, saltbits=%d\n", l.u16(p+4), l.u16(p+6), l.u8(p+3))
		}
	}
}

func (l *lister) cookie(off int) {
	proto, cookie := l.u32(off+4), l.u32(off+8)
	label := "<Label not found.>"
	if l.s.Cookies != nil {
		if text, ok := l.s.Cookies(proto, cookie); ok {
			label = text
		}
	}
	l.printf("KMC: Protocol %d, cookie=\"%s\" (%d)\n", proto, label, cookie)
}

func (l *lister) replay(off int) {
	r32, r64 := l.u32(off+4), l.u64(off+8)
	l.printf("RPL: Replay Value ")
	if r32 == 0 && r64 == 0 {
		l.printf("<Value not found.>")
	}
	if r32 == 0 {
		l.printf("%d\n", r64)
		return
	}
	l.printf("%d\n", r32)
}

func (l *lister) unknown(off, n int) {
	l.printf("UNK: Unknown ext. %d, len %d.\n", l.u16(off+2), n)
	for p := off; p < off+n && p < len(l.b); p += 8 {
		l.printf("UNK: 0x%x\n", l.u64(p))
	}
}

func (l *lister) sensitivity(off, n int, tag, kind string) {
	dpd, flags := l.u32(off+4), l.u32(off+12)
	level, words := l.u8(off+8), int(l.u8(off+9))
	integ, iwords := l.u8(off+10), int(l.u8(off+11))
	l.printf("%s%s Sensitivity DPD %d, sens level=%d, integ level=%d, flags=%x\n", tag, kind, int32(dpd), level, integ,
		flags)
	label := labelText(level, l.part(off+16, 8*words))
	if l.s.numeric {
		l.printf("%s %s Sensitivity Label: %s\n", tag, kind, label)
		for i := range words {
			l.printf("%s %s Sensitivity BM extended word %d 0x%x\n", tag, kind, i, l.u64(off+16+8*i))
		}
	} else {
		l.printf("%s %s Sensitivity Label: ** Label conversion failed ** (%s)\n", tag, kind, label)
	}
	skip := words
	if l.s.keeps(quirkIntegrityWords) {
		skip *= 2
	}
	for i := range iwords {
		l.printf("%s Integrity BM extended word %d 0x%x\n", tag, i, l.u64(off+16+8*(skip+i)))
	}
}
