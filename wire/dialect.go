package wire

import (
	"encoding/binary"
	"slices"
)

// Dialect is what one family of kernels made of PF_KEY: byte order, address families, numbers, names and layouts. Its
// values are shared and immutable: read the fields, but change the byte order with [Dialect.WithOrder].
type Dialect struct {
	Name            string           // "illumos", "linux", "netbsd", "freebsd", "openbsd"
	Order           binary.ByteOrder // of everything that is not an SPI, a port or an address
	AFInet, AFInet6 uint16           // address families
	SockaddrLen     bool             // sockaddrs begin with a length byte, as on the BSDs

	big bool // Order is big endian
	t   *tables
}

// tables is what does not depend on the byte order.
type tables struct {
	msgs                         *numbers[MsgType]
	satypes                      *numbers[SAType]
	auths, encrypts              *numbers[AlgID]
	modes                        *numbers[Mode]
	states, flags, diags, idents []name

	exts      []extRow
	extOf     []*extRow        // by type
	extNumber [extTypes]uint16 // by type; noExtNumber where the dialect does not have it
	extAt     []ExtType        // by number: its symbol, for the walk
	errnos    *errnoTable

	sockaddrIn6     int  // size of a sockaddr_in6
	spiRangeNetwork bool // SPIRANGE is in network order
	tuckedCookie    bool // a PROPOSAL may hold an X_KM_COOKIE inside its length
	exactAddress    bool // an address has no more words than its sockaddr needs
	exactLifetime   bool // a lifetime has 32 bytes, no more
	saltApart       bool // see [Dialect.SaltApart]
	bareTunnel      bool // an IPsec request for a tunnel may have no endpoints
	plainAddress    bool // an address has no protocol and no prefix, and may have no sockaddr
	numberProposal  bool // a PROPOSAL has a number in front of the replay window
	openDump        bool // see DumpEnds
	dumpTypes       []SAType

	request requestLayout // of IPsec requests in a policy; zero: KAME's
}

// newDialect finishes a dialect in native byte order.
func newDialect(d Dialect, t tables) *Dialect {
	var types ExtType
	var most uint16
	for i := range t.exts {
		r := &t.exts[i]
		r.finish()
		types, most = max(types, r.typ+1), max(most, r.number+1)
	}
	t.extOf, t.extAt = make([]*extRow, types), make([]ExtType, most)
	for n := range t.extAt {
		t.extAt[n] = nobodysExt(uint16(n))
	}
	for n := range t.extNumber {
		t.extNumber[n] = noExtNumber
	}
	t.extNumber[ExtReserved] = uint16(ExtReserved)
	for i := range t.exts {
		r := &t.exts[i]
		// the last row of a type wins; the others are aliases for ExtByName
		t.extOf[r.typ], t.extNumber[r.typ], t.extAt[r.number] = r, r.number, r.typ
	}
	if t.request.len == 0 {
		t.request = shortRequest
	}
	d.t = &t
	return d.WithOrder(binary.NativeEndian)
}

// What any dialect has. The table of a family that is new belongs here.
var (
	allMsgs     = [][]msgRow{rfcMsgs, kameMsgs, nattMsgs, linuxMsgs, illumosMsgs, openbsdMsgs}
	allMsgRows  = msgRows(allMsgs...)
	allSATypes  = [][]row[SAType]{rfcSATypes, kameSATypes, bsdSATypes, illumosSATypes, openbsdSATypes}
	allAuths    = [][]row[AlgID]{authAlgs}
	allEncrypts = [][]row[AlgID]{encryptAlgs}
	allModes    = [][]row[Mode]{kameModes, linuxModes, tcpMD5Modes}
)

// extTypes is how many symbols of extension types there are.
const extTypes = OpenBSDExtXIface + 1

// extNames are the names of extension types in the family that has them first.
var extNames = map[ExtType]string{}

func init() { // or rows would have to be there before their names
	for _, r := range slices.Concat(rfcExts, kameExts, bsdExts, freebsdExts, linuxExts, illumosExts, openbsdExts) {
		if _, ok := extNames[r.typ]; !ok {
			extNames[r.typ] = r.name
		}
	}
}

// Illumos is the dialect of illumos and Solaris, in native byte order.
func Illumos() *Dialect { return illumosDialect }

// Linux is the dialect of Linux' af_key, in native byte order.
func Linux() *Dialect { return linuxDialect }

// NetBSD is the dialect of NetBSD 10.99.12, in native byte order.
func NetBSD() *Dialect { return netbsdDialect }

// FreeBSD is the dialect of FreeBSD 13.0, in native byte order.
func FreeBSD() *Dialect { return freebsdDialect }

// OpenBSD is the dialect of OpenBSD of August 2026, in native byte order.
func OpenBSD() *Dialect { return openbsdDialect }

// Dialects lists all of them in native byte order. The slice belongs to the caller.
func Dialects() []*Dialect {
	return []*Dialect{illumosDialect, linuxDialect, netbsdDialect, freebsdDialect, openbsdDialect}
}

// ByName finds a dialect by its name, in native byte order.
func ByName(name string) (*Dialect, bool) {
	for _, d := range Dialects() {
		if d.Name == name {
			return d, true
		}
	}
	return nil, false
}

// DumpEnds says whether the answer to a DUMP has an end: a message with an errno, or the one with sequence number 0.
// Where it has none, there may be no answer at all, and all has come when a later request is answered.
func (d *Dialect) DumpEnds() bool { return !d.t.openDump }

// DumpTypes lists the SA types for which a DUMP of all SAs is sent, one by one, where the answer to one for all does
// not tell which SA is of which type; a last one, for all, finds the SAs without a type, which are LARVAL. nil: each
// answer has the type of its SA. Do not write to it.
func (d *Dialect) DumpTypes() []SAType { return d.t.dumpTypes }

// WithOrder is a copy of the dialect in another byte order, such as that of a recording from another machine.
func (d *Dialect) WithOrder(o binary.ByteOrder) *Dialect {
	c := *d
	c.Order = o
	c.big = o.Uint16([]byte{1, 0}) != 1
	return &c
}

// ext is the row of an extension type, or nil.
func (d *Dialect) ext(t ExtType) *extRow {
	if int(t) < len(d.t.extOf) {
		return d.t.extOf[t]
	}
	return nil
}

// The numbers of a message go through these; calling Order would make every buffer escape.

func (d *Dialect) u16(b []byte) uint16 {
	if d.big {
		return binary.BigEndian.Uint16(b)
	}
	return binary.LittleEndian.Uint16(b)
}

func (d *Dialect) u32(b []byte) uint32 {
	if d.big {
		return binary.BigEndian.Uint32(b)
	}
	return binary.LittleEndian.Uint32(b)
}

func (d *Dialect) u64(b []byte) uint64 {
	if d.big {
		return binary.BigEndian.Uint64(b)
	}
	return binary.LittleEndian.Uint64(b)
}

func (d *Dialect) put16(b []byte, v uint16) {
	if d.big {
		binary.BigEndian.PutUint16(b, v)
	} else {
		binary.LittleEndian.PutUint16(b, v)
	}
}

func (d *Dialect) put32(b []byte, v uint32) {
	if d.big {
		binary.BigEndian.PutUint32(b, v)
	} else {
		binary.LittleEndian.PutUint32(b, v)
	}
}

func (d *Dialect) put64(b []byte, v uint64) {
	if d.big {
		binary.BigEndian.PutUint64(b, v)
	} else {
		binary.LittleEndian.PutUint64(b, v)
	}
}
