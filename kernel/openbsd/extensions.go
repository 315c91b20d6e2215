package openbsd

import (
	"bytes"

	"github.com/pfkeyd/pfkeyd/wire"
)

// maxExt is the largest number of an extension.
const maxExt = 40

// extSet is a set of extensions, by their numbers.
type extSet uint64

// exts is the set of these numbers.
func exts(numbers ...int) (s extSet) {
	for _, n := range numbers {
		s |= 1 << n
	}
	return s
}

func (s extSet) without(numbers ...int) extSet { return s &^ exts(numbers...) }

// The extensions of a flow are there all or none.
const (
	firstFlowExt, lastFlowExt = 17, 22
)

// extRules say which extensions a message may have and must have in a request, and may and must have in the answer.
type extRules struct{ in, needs, out, gives extSet }

var (
	saIn   = exts(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 17, 18, 19, 20, 21, 22, 31, 33, 34, 36, 37, 39, 40)
	flowIn = exts(5, 6, 10, 11, 17, 18, 19, 20, 21, 22, 37)
	saRef  = exts(1, 5, 6, 37)
	group  = exts(1, 6, 23, 24, 35)
)

// messages are the rules of all messages, by their numbers. Those of X_SPDDUMP (16) are never asked for.
var messages = [...]extRules{
	1:  {in: exts(5, 6, 16), needs: exts(5, 6, 16), out: exts(1, 5, 6), gives: exts(1, 5, 6)},
	2:  {in: saIn, needs: exts(1, 5, 6), out: saIn.without(8, 9, 36, 39), gives: exts(1, 5, 6)},
	3:  {in: saIn.without(7) | exts(32), needs: exts(1, 6), out: saIn.without(7, 8, 9, 36, 39), gives: exts(1, 6)},
	4:  {in: saRef, needs: exts(1, 6), out: saRef, gives: exts(1, 6)},
	5:  {in: saRef, needs: exts(1, 6), out: saIn | exts(32, 38), gives: exts(1, 6)},
	6:  {in: exts(5, 6, 10, 11, 13), out: exts(5, 6, 10, 11, 13)},
	7:  {out: exts(14, 15, 30)},
	8:  {in: exts(1, 5, 6), needs: exts(1, 5, 6), out: exts(1, 2, 3, 4, 5, 6), gives: exts(1)},
	9:  {},
	10: {},
	11: {},
	12: {in: flowIn, needs: exts(17, 18, 20, 21, 22), out: flowIn, gives: exts(17, 18, 20, 21, 22)},
	13: {in: flowIn.without(5, 6, 10, 11), needs: exts(17, 18, 20, 21, 22), out: flowIn.without(5, 6, 10, 11),
		gives: exts(17, 18, 20, 21, 22)},
	14: {in: group | exts(37), needs: group, out: group | exts(37), gives: group},
	15: {in: exts(25), needs: exts(25), out: exts(17, 18, 20, 21, 22, 25), gives: exts(17, 18, 20, 21, 22, 25)},
	16: {},
}

// Lengths in bytes.
const (
	extHeaderLen = 4
	addressLen   = 8 // without the address
	sockaddrIn   = 16
	sockaddrIn6  = 28
)

// checkExt tells whether the contents of an extension will do (pfkeyv2_parsemessage). raw has its length.
func (k *Kernel) checkExt(n int, raw []byte, satype uint8) bool {
	o := k.d.Order
	switch n {
	case 1, 23:
		const most, dead = 64, 3
		return len(raw) == 16 && raw[8] <= most && raw[9] < dead && raw[10] <= maxAuth && raw[11] <= maxEncrypt
	case 2, 3, 4, 32:
		return len(raw) == 32
	case 5, 6, 7, 17, 18, 21, 22, 24:
		return k.checkAddress(n, raw, satype)
	case 8, 9:
		return len(raw) >= 8 && o.Uint16(raw[6:]) == 0 && o.Uint16(raw[4:]) != 0 &&
			(int(o.Uint16(raw[4:]))+63)/64*8+8 == len(raw)
	case 10, 11:
		return k.checkIdentity(raw)
	case 13:
		return k.checkProposal(raw)
	case 16:
		return len(raw) == 16 && o.Uint32(raw[4:]) <= o.Uint32(raw[8:])
	case 19, 20, 25, 31, 34, 35, 37:
		return len(raw) == 8
	case 33:
		return len(raw) >= 8 && len(raw) <= 72
	case 36:
		return len(raw) == 72
	case 39, 40:
		return len(raw) == 16
	}
	return false
}

// checkAddress: only flows have ports.
func (k *Kernel) checkAddress(n int, raw []byte, satype uint8) bool {
	if len(raw) < addressLen+sockaddrIn || k.d.Order.Uint32(raw[4:]) != 0 {
		return false
	}
	sa := raw[addressLen:]
	port := sa[2] != 0 || sa[3] != 0
	if port && (n < firstFlowExt || n > lastFlowExt) {
		return false
	}
	switch uint16(sa[1]) {
	case k.d.AFInet:
		return sa[0] == sockaddrIn && len(sa) == sockaddrIn && allZero(sa[8:])
	case k.d.AFInet6:
		return sa[0] == sockaddrIn6 && len(sa) == sockaddrIn6+4 && allZero(sa[4:8])
	case 0:
		return satype == tcpSigNumber
	}
	return false
}

func allZero(b []byte) bool { return len(bytes.TrimLeft(b, "\x00")) == 0 }

// checkIdentity: the name, if there is one, ends with a zero, and is no shorter than it may be.
func (k *Kernel) checkIdentity(raw []byte) bool {
	const fixed, most = 16, 4
	if len(raw) < fixed || k.d.Order.Uint16(raw[4:]) > most || k.d.Order.Uint16(raw[6:]) != 0 {
		return false
	}
	name := raw[fixed:]
	if len(name) == 0 {
		return true
	}
	end := bytes.IndexByte(name, 0)
	return end >= 0 && name[len(name)-1] == 0 && (end+1+7)&^7 == len(name)
}

// checkProposal: of several combinations only the first one is looked at.
func (k *Kernel) checkProposal(raw []byte) bool {
	const fixed, comb, reservedAt = 8, 72, 12
	if len(raw) < fixed || (len(raw)-fixed)%comb != 0 || k.d.Order.Uint16(raw[6:]) != 0 {
		return false
	}
	if len(raw) == fixed {
		return true
	}
	c := raw[fixed:]
	return c[0] <= maxAuth && c[1] <= maxEncrypt && k.d.Order.Uint32(c[reservedAt:]) == 0
}

// The largest numbers of algorithms.
const (
	maxAuth    = 12
	maxEncrypt = 22
)

// has tells whether an extension is in the set.
func (s extSet) has(n int) bool { return s>>n&1 != 0 }

// number is that of an extension.
func (k *Kernel) number(t wire.ExtType) int {
	n, _ := k.d.ExtNumber(t)
	return int(n)
}
