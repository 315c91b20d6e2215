package netlink

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"sync"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Host is what the host's kernel has.
type Host struct {
	ESP, AH, IPComp bool
	Migrate         bool         // CONFIG_XFRM_MIGRATE
	Auth, Encrypt   []wire.AlgID // in the order of the kernel's tables
	Compress        []wire.AlgID
	AEAD            []wire.AlgID // algorithms of encryption that authenticate as well
}

// lists are the tables in which names are looked for, and what was found.
func (h *Host) lists() []found {
	return []found{{auths[:len(auths)-1], h.Auth}, {crypts[:len(crypts)-1], h.Encrypt}, {comps[:1], h.Compress}}
}

type found struct {
	table []algorithm
	have  []wire.AlgID
}

// Lacks names what AF_KEY offers on Linux 6.1 and this host has not: protocols, MIGRATE, and algorithms by the kernel's
// names.
func (h *Host) Lacks() (names []string) {
	for _, p := range []struct {
		name string
		has  bool
	}{{"ESP", h.ESP}, {"AH", h.AH}, {"IPCOMP", h.IPComp}, {"MIGRATE", h.Migrate}} {
		if !p.has {
			names = append(names, p.name)
		}
	}
	for _, l := range h.lists() {
		for _, a := range l.table {
			if !slices.Contains(l.have, a.id) {
				names = append(names, a.name)
			}
		}
	}
	return names
}

// Look says what the host's kernel has. It is asked once a process, by requests that fail for another reason if it has
// what they name, so that nothing is left behind; they have modules loaded, seconds long perhaps, before a client waits
// for that. Where the process may, it is done in a network namespace of its own, otherwise in that of the calling
// thread. An error is as that of [New].
var Look = sync.OnceValues(func() (h Host, err error) {
	apart(func() { h, err = look() })
	return h, err
})

func look() (h Host, err error) {
	p, err := open()
	if err != nil {
		return h, err
	}
	defer p.close()
	l := &looker{t: &Transforms{d: wire.Linux(), c: Codec{Order: binary.NativeEndian}, port: p}}
	for _, a := range auths {
		if l.known(transform.Config{Proto: ip.ProtoESP, Auth: a.id}) {
			h.Auth = append(h.Auth, a.id)
		}
	}
	for _, a := range crypts {
		if l.known(transform.Config{Proto: ip.ProtoESP, Encrypt: a.id}) {
			h.Encrypt = append(h.Encrypt, a.id)
		}
	}
	for _, a := range aeads {
		if l.known(transform.Config{Proto: ip.ProtoESP, Encrypt: a.id}) {
			h.AEAD = append(h.AEAD, a.id)
		}
	}
	for _, a := range comps {
		if l.known(transform.Config{Proto: ip.ProtoComp, Compress: a.id}) {
			h.Compress = append(h.Compress, a.id)
		}
	}
	h.ESP = l.served(withKeys(ip.ProtoESP, wire.AuthNone, wire.EncNull), unfit)
	h.AH = l.served(withKeys(ip.ProtoAH, wire.AuthNull, wire.EncNone), unfit)
	h.IPComp = l.served(compressed, nil)
	h.Migrate = l.migrates()
	l.warmUp(&h)
	return h, l.err
}

// looker makes requests that fail.
type looker struct {
	t   *Transforms
	err error
}

// The ends of SAs that cannot be made (RFC 5737, RFC 3849).
var nowhere, nowhere6 = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")

// add asks for an SA that is refused. more appends attributes.
func (l *looker) add(c transform.Config, six bool, more func(*writer)) wire.Errno {
	if c.Src, c.Dst = nowhere, nowhere; six {
		c.Src, c.Dst = nowhere6, nowhere6
	}
	c.SPI = 0xff // one of those that are reserved (RFC 4303)
	s := &transform.State{Config: c, Limits: transform.NoLimits}
	w := l.t.c.beginState(l.t.out[:0], s, NewState, transform.By{})
	if more != nil {
		more(w)
	}
	errno := l.t.ask(w.end(), nil)
	if errno == wire.OK { // a kernel that is not as strict as those that were looked at
		l.t.ask(l.t.c.AppendDelState(l.t.out[:0], s.Key(), transform.By{}), nil)
	}
	if errno == wire.EPERM && l.err == nil {
		l.err = errPermission
	}
	return errno
}

// known tells whether the kernel knows an algorithm: only then does it look whether the selector is of the family of
// the SA, which one in transport mode must have.
func (l *looker) known(c transform.Config) bool {
	c.Sel = &transform.Selector{V6: true}
	return l.add(c, false, nil) != wire.ENOSYS
}

// served tells whether the kernel has a protocol.
func (l *looker) served(c transform.Config, more func(*writer)) bool {
	return l.add(c, false, more) != wire.EPROTONOSUPPORT
}

// compressed is an SA of IPCOMP in a mode that it has not.
var compressed = transform.Config{Proto: ip.ProtoComp, Mode: transform.BEET, Compress: wire.CompDeflate}

// stateESN is XFRM_STATE_ESN.
const stateESN = 0x80

// unfit appends a replay window that is longer than its bitmap (struct xfrm_replay_state_esn). The kernel looks at it
// last, when everything else of an SA has been made.
func unfit(w *writer) {
	const flagsAt = stateLen - 8
	w.b[w.start+headerLen+flagsAt] |= stateESN
	words, window, bitmap := uint32(1), uint32(64), uint32(0)
	w.attr(attrReplayESN, 28, func(c *coder) {
		c.u32(&words)
		c.pad(16)
		c.u32(&window)
		c.u32(&bitmap)
	})
}

// migrates tells whether the kernel has MIGRATE, by a request without pairs.
func (l *looker) migrates() bool {
	host := netip.PrefixFrom(nowhere, 32)
	m := l.t.c.AppendMigrate(l.t.out[:0], &transform.Migration{Selector: spd.Selector{Src: host, Dst: host},
		Direction: transform.Out}, transform.By{})
	return l.t.ask(m, nil) != wire.ENOPROTOOPT
}

// warmUp has the kernel make every algorithm once, alone and for each family.
func (l *looker) warmUp(h *Host) {
	cipher := wire.EncNull
	if slices.Contains(h.Encrypt, wire.EncAESCBC) {
		cipher = wire.EncAESCBC
	}
	for _, a := range h.Auth {
		l.add(withKeys(ip.ProtoAH, a, wire.EncNone), false, unfit)
		l.add(withKeys(ip.ProtoESP, a, cipher), false, unfit)
	}
	for _, e := range slices.Concat(h.Encrypt, h.AEAD) {
		l.add(withKeys(ip.ProtoESP, wire.AuthNone, e), false, unfit)
	}
	l.add(withKeys(ip.ProtoAH, wire.AuthNull, wire.EncNone), true, unfit)
	l.add(withKeys(ip.ProtoESP, wire.AuthNone, cipher), true, unfit)
	l.add(compressed, true, nil)
}

// keyBytes are lengths of keys that algorithms take. All others take 16 bytes.
var keyBytes = map[wire.AlgID]int{wire.EncNull: 0, wire.EncDESCBC: 8, wire.Enc3DESCBC: 24, wire.EncAESCTR: 20,
	wire.EncAESCCM8: 19, wire.EncAESCCM12: 19, wire.EncAESCCM16: 19, wire.EncAESGCM8: 20, wire.EncAESGCM12: 20,
	wire.EncAESGCM16: 20, wire.EncNullAESGMAC: 20}

// withKeys is an SA with keys that nobody uses.
func withKeys(proto uint8, auth, encrypt wire.AlgID) transform.Config {
	c := transform.Config{Proto: proto, Auth: auth, Encrypt: encrypt}
	key := func(n int) uint16 {
		for i := range n {
			c.Keys = append(c.Keys, byte(0x11*i+1)) // three different ones for 3DES
		}
		return uint16(8 * n)
	}
	if auth != wire.AuthNone && auth != wire.AuthNull {
		c.AuthBits = key(16)
	}
	if encrypt != wire.EncNone {
		n, ok := keyBytes[encrypt]
		if !ok {
			n = 16
		}
		c.EncryptBits = key(n)
	}
	return c
}
