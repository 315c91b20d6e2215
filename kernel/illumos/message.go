package illumos

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// saMessage describes an SA in full, as GET and DUMP do with its keys and DELETE without; sadb_sa2msg. The header is
// the request's but for the SA type and the length.
func (k *Kernel) saMessage(h wire.Header, s *sa, keys bool) []byte {
	return k.appendSA(make([]byte, 0, roomFor(s)), h, s, keys)
}

// roomFor is enough for the message about an SA: one that has to grow leaves a copy of the keys behind, which nobody
// overwrites.
func roomFor(s *sa) int {
	const (
		addr = 8 + 32 // an IPv6 one
		rest = 304    // what has no length of its own, and the heads and the padding of what has
	)
	n := rest + 2*addr + len(s.authKey) + len(s.encryptKey) + len(s.salt)
	if s.nat != nil {
		n += 2 * addr
	}
	if s.inner != nil {
		n += 2 * addr
	}
	for _, id := range []*identity{s.srcID, s.dstID} {
		if id != nil {
			n += len(id.name)
		}
	}
	return n
}

// appendSA is saMessage behind what is in b already.
func (k *Kernel) appendSA(b []byte, h wire.Header, s *sa, keys bool) []byte {
	h.SAType = s.p.satype
	start := len(b)
	b = k.d.AppendHeader(b, h)

	s.Lock()
	current := wire.Lifetime{Bytes: s.Bytes, AddTime: uint64(s.addTime), UseTime: uint64(s.useTime)}
	replay := s.counterLocked()
	s.Unlock()
	sport, dport, proto, innerProto := s.uniqueParts()

	b = k.d.AppendSA(b, s.wire())
	b = k.d.AppendLifetime(b, wire.ExtLifetimeCurrent, current)
	if !s.hard.isZero() {
		b = k.d.AppendLifetime(b, wire.ExtLifetimeHard, s.hard.wire())
	}
	if !s.soft.isZero() {
		b = k.d.AppendLifetime(b, wire.ExtLifetimeSoft, s.soft.wire())
	}
	if s.idleAddTime != 0 || s.idleUseTime != 0 {
		b = k.d.AppendLifetime(b, wire.IllumosExtXLifetimeIdle, wire.Lifetime{AddTime: s.idleAddTime,
			UseTime: s.idleUseTime})
	}
	b = k.appendOuter(b, s, sport, dport, proto)
	if s.has(flagNATTLoc) {
		b = k.appendNAT(b, s, wire.IllumosExtXAddressNattLoc)
	}
	if s.has(flagNATTRem) {
		b = k.appendNAT(b, s, wire.IllumosExtXAddressNattRem)
	}
	if s.tunnelMode() {
		b = k.appendInner(b, s, sport, dport, innerProto)
	}
	if s.cookie != (wire.KMCookie{}) {
		b = k.d.AppendKMCookie(b, s.cookie)
	}
	if keys {
		b = k.appendKeys(b, s)
	}
	b = k.appendIdentity(b, wire.ExtIdentitySrc, s.srcID)
	b = k.appendIdentity(b, wire.ExtIdentityDst, s.dstID)
	if s.has(flagPaired) || s.pairSPI != 0 {
		b = k.d.AppendPair(b, wire.Pair{SPI: s.pairSPI})
	}
	if replay != 0 {
		b = k.d.AppendReplayValue(b, wire.ReplayValue{Replay32: replay})
	}
	k.d.Finish(b[start:])
	return b
}

// expireMessage tells key management that an SA has reached a limit; sadb_expire_assoc. Which one shows in its state.
func (k *Kernel) expireMessage(s *sa) []byte {
	b := make([]byte, 0, 192)
	b = k.d.AppendHeader(b, wire.Header{Version: wire.Version, Type: wire.MsgExpire, SAType: s.p.satype})

	s.Lock()
	current := wire.Lifetime{Bytes: s.Bytes, AddTime: uint64(s.addTime), UseTime: uint64(s.useTime)}
	s.Unlock()
	sport, dport, proto, innerProto := s.uniqueParts()

	b = k.d.AppendSA(b, s.wire())
	b = k.d.AppendLifetime(b, wire.ExtLifetimeCurrent, current)
	switch s.State() {
	case sadb.Dead:
		b = k.d.AppendLifetime(b, wire.ExtLifetimeHard, s.hard.wire())
	case sadb.Dying:
		b = k.d.AppendLifetime(b, wire.ExtLifetimeSoft, s.soft.wire())
	default:
		b = k.d.AppendLifetime(b, wire.IllumosExtXLifetimeIdle, wire.Lifetime{AddTime: s.idleAddTime,
			UseTime: s.idleUseTime})
	}
	b = k.appendOuter(b, s, sport, dport, proto)
	if s.has(flagTunnel) {
		b = k.appendInner(b, s, sport, dport, innerProto)
	}
	return k.d.Finish(b)
}

func (s *sa) wire() wire.SA {
	return wire.SA{SPI: s.spi, Replay: s.replayWindow, State: wire.State(s.State()), Auth: s.auth, Encrypt: s.encrypt,
		Flags: s.flags.Load()}
}

func (s *sa) tunnelMode() bool { return s.inner != nil }

// appendOuter adds the addresses of the SA. Its ports belong to the inner ones in tunnel mode.
func (k *Kernel) appendOuter(b []byte, s *sa, sport, dport uint16, proto uint8) []byte {
	if s.tunnelMode() {
		sport, dport = 0, 0
	}
	b = k.appendAddress(b, wire.ExtAddressSrc, s.src, sport, proto, 0)
	return k.appendAddress(b, wire.ExtAddressDst, s.dst, dport, proto, 0)
}

func (k *Kernel) appendInner(b []byte, s *sa, sport, dport uint16, proto uint8) []byte {
	b = k.appendPrefix(b, wire.IllumosExtXAddressInnerSrc, s.inner.src, sport, proto)
	return k.appendPrefix(b, wire.IllumosExtXAddressInnerDst, s.inner.dst, dport, proto)
}

// appendNAT adds an address of NAT traversal, which is IPv4 and told in the family of the SA. As an IPv6 address it has
// 16 bytes, of which the address is the first four; the others are those that lie behind it in the original's SA:
// behind the local address the remote one, then four bytes that are never set, then the format of the authentication
// key, an int, then padding.
func (k *Kernel) appendNAT(b []byte, s *sa, t wire.ExtType) []byte {
	a := s.nat.loc
	if t == wire.IllumosExtXAddressNattRem {
		a = s.nat.rem
	}
	addr := a.Addr()
	if s.dst.Is6() {
		const rawKey = 1 // CRYPTO_KEY_RAW
		behind := make([]byte, 0, 24)
		for _, a := range []netip.Addr{s.nat.loc.Addr(), s.nat.rem.Addr()} {
			var b4 [4]byte
			if a.IsValid() {
				b4 = a.As4()
			}
			behind = append(behind, b4[:]...)
		}
		behind = append(behind, make([]byte, 16)...)
		if s.authKey != nil {
			k.d.Order.PutUint32(behind[12:], rawKey)
		}
		if t == wire.IllumosExtXAddressNattRem {
			behind = behind[4:]
		}
		addr = netip.AddrFrom16([16]byte(behind))
	}
	return k.appendAddress(b, t, addr, a.Port(), ip.ProtoUDP, 0)
}

func (k *Kernel) appendAddress(b []byte, t wire.ExtType, addr netip.Addr, port uint16, proto, prefix uint8) []byte {
	return k.d.AppendAddress(b, t, wire.Address{Proto: proto, PrefixLen: prefix, Addr: addr, Port: port})
}

func (k *Kernel) appendPrefix(b []byte, t wire.ExtType, p netip.Prefix, port uint16, proto uint8) []byte {
	return k.appendAddress(b, t, p.Addr(), port, proto, uint8(p.Bits()))
}

// appendKeys adds the keys. KEY_ENCRYPT says how many bits of salt follow the key, and leaves room for an IV that it
// does not carry, so that it would not pass as the key of an ADD.
func (k *Kernel) appendKeys(b []byte, s *sa) []byte {
	if s.authKey != nil {
		b = k.d.AppendKey(b, wire.ExtKeyAuth, wire.Key{Bits: s.authBits, Data: s.authKey})
	}
	if s.encryptKey != nil {
		room := 0
		if alg := encryptAlg(s.encrypt); alg != nil {
			room = alg.ivLen
		}
		start := len(b)
		n := (8 + len(s.encryptKey) + len(s.salt) + room + 7) &^ 7
		b = append(b, make([]byte, n)...)
		raw := b[start:]
		k.d.PutExtHeader(raw, wire.ExtKeyEncrypt, n)
		k.d.Order.PutUint16(raw[4:], s.encryptBits)
		k.d.Order.PutUint16(raw[6:], uint16(len(s.salt)*8))
		copy(raw[8+copy(raw[8:], s.encryptKey):], s.salt)
	}
	return b
}

// appendIdentity adds an identity, if there is one. Even an empty name has its terminating zero.
func (k *Kernel) appendIdentity(b []byte, t wire.ExtType, id *identity) []byte {
	if id == nil {
		return b
	}
	n := (16 + len(id.name) + 1 + 7) &^ 7
	start := len(b)
	b = append(b, make([]byte, n)...)
	raw := b[start:]
	k.d.PutExtHeader(raw, t, n)
	k.d.Order.PutUint16(raw[4:], id.typ)
	copy(raw[16:], id.name)
	return b
}
