package illumos

import (
	"cmp"
	"math"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// add makes an SA whose keys are known; esp_add_sa and ah_add_sa.
func (k *Kernel) add(p *protocol, r *request) result {
	if res := k.checkAdd(p, r); res.failed() {
		return res
	}
	return k.finishAdd(p, r, false)
}

// checkAdd is what ESP and AH look at, each in its order, before they touch anything.
func (k *Kernel) checkAdd(p *protocol, r *request) result {
	for _, t := range []wire.ExtType{wire.ExtAddressSrc, wire.ExtAddressDst, wire.ExtSA} {
		if !r.has(t) {
			return missing(t)
		}
	}
	sa := k.readSA(r)
	state := sadb.State(sa.State)
	goodState := state == sadb.Mature || state == stateActiveElsewhere
	if p.isESP() {
		switch {
		case !r.has(wire.ExtKeyEncrypt) && sa.Encrypt != wire.EncNull:
			return missing(wire.ExtKeyEncrypt)
		case !goodState:
			return einval(wire.IllumosDiagBadSAState)
		case sa.Encrypt == wire.EncNone:
			return einval(wire.IllumosDiagBadEAlg)
		case sa.Encrypt == wire.EncNull && sa.Auth == wire.AuthNone:
			return einval(wire.IllumosDiagBadAAlg)
		}
	} else {
		switch {
		case !r.has(wire.ExtKeyAuth):
			return missing(wire.ExtKeyAuth)
		case !goodState:
			return einval(wire.IllumosDiagBadSAState)
		case sa.Encrypt != wire.EncNone:
			return einval(wire.IllumosDiagEncrNotSupp)
		}
	}
	if sa.Flags&^p.settableFlags(true) != 0 {
		return einval(wire.IllumosDiagBadSAFlags)
	}
	if res := k.readLifetimes(r).check(); res.failed() {
		return res
	}
	switch {
	case sa.Flags&flagNATTLoc != 0 && !r.has(wire.IllumosExtXAddressNattLoc):
		return einval(wire.IllumosDiagMissingNATTLoc)
	case sa.Flags&flagNATTRem != 0 && !r.has(wire.IllumosExtXAddressNattRem):
		return einval(wire.IllumosDiagMissingNATTRem)
	case r.has(wire.ExtLifetimeCurrent):
		return result{errno: wire.EOPNOTSUPP}
	case k.labeled(r) && p.isESP():
		return einval(wire.IllumosDiagBadLabel)
	case k.labeled(r):
		return result{errno: wire.EOPNOTSUPP}
	}
	if r.has(wire.ExtKeyAuth) {
		if res := k.checkAuthKey(r, sa.Auth); res.failed() {
			return res
		}
	}
	if r.has(wire.ExtKeyEncrypt) {
		return k.checkEncryptKey(r, sa.Encrypt)
	}
	return result{}
}

// labeled says whether the message carries a label, for which this system, an unlabeled one, has no use.
func (k *Kernel) labeled(r *request) bool {
	return r.has(wire.ExtSensitivity) || r.has(wire.IllumosExtXOuterSens)
}

func (k *Kernel) checkAuthKey(r *request, id wire.AlgID) result {
	alg := authAlg(id)
	switch key := k.readKey(r.ext[wire.ExtKeyAuth]); {
	case alg == nil:
		return einval(wire.IllumosDiagBadAAlg)
	case !alg.keySizeOK(int(key.Bits)):
		return einval(wire.IllumosDiagBadAKeyBits)
	}
	return result{}
}

// checkEncryptKey checks the length of what is left when the salt and the IV that follow the key have been taken off.
func (k *Kernel) checkEncryptKey(r *request, id wire.AlgID) result {
	alg := encryptAlg(id)
	if alg == nil {
		return einval(wire.IllumosDiagBadEAlg)
	}
	key := k.readKey(r.ext[wire.ExtKeyEncrypt])
	bits := int(key.Bits) - int(key.Reserved) - alg.saltLen*8
	switch {
	case id == wire.EncNull || !alg.keySizeOK(bits):
		return einval(wire.IllumosDiagBadEKeyBits)
	case alg.weak == nil:
	case key.Bits != alg.minBits: // the framework is shown the IV as part of the key
		return einval(wire.IllumosDiagBadEKeyBits)
	case alg.weak(key.Data[:bits/8]):
		return einval(wire.IllumosDiagWeakEKey)
	}
	return result{}
}

// readKey reads a key that keysock has found well formed; its data is a view into the message.
func (k *Kernel) readKey(raw []byte) wire.Key {
	key := wire.Key{Bits: k.d.Order.Uint16(raw[4:]), Reserved: k.d.Order.Uint16(raw[6:])}
	key.Data = raw[8:min(8+(int(key.Bits)+7)/8, len(raw))]
	return key
}

// direction says into which table an SA goes first, and whether a copy goes into the other one. It depends on the flags
// of the request, or, without them, on whose addresses they are. It may add flags.
func direction(r *request, flags uint32) (outFlags uint32, inbound, clone bool) {
	switch {
	case flags&flagInbound != 0:
		return flags, true, flags&flagOutbound != 0
	case flags&flagOutbound != 0:
		return flags, false, false
	}
	switch r.dst {
	case classMBcast:
		return flags | flagOutbound | flagInbound, true, true
	case classMe:
		return flags | flagInbound, true, r.src != classNotMe
	}
	flags |= flagOutbound
	if r.src != classMe {
		return flags | flagInbound, false, true
	}
	return flags, false, false
}

// finishAdd puts an SA into the tables: a new one, or the LARVAL that an UPDATE is for. When it returns, the reply has
// been given, and the packets that waited will be driven on; esp_add_sa_finish, ah_add_sa_finish.
func (k *Kernel) finishAdd(p *protocol, r *request, update bool) result {
	v := k.readSA(r)
	dst := r.address(k, wire.ExtAddressDst).addr()
	f := p.familyOf(dst)
	res := k.addOrComplete(p, f, r, v, dst, update)
	if r.hdr.Seq&acquireSeqBit == 0 {
		return res
	}
	// The message answers an ACQUIRE. Its packets are taken only now: whoever came late has either joined them, or sees
	// the SA.
	asked := k.takeAcquire(f, dst, uint32(r.hdr.Seq))
	switch {
	case asked == nil:
	case res.failed():
		k.giveUp(asked)
	default:
		k.e.After(func() {
			for pkt := asked.queue.Pop(); pkt != nil; pkt = asked.queue.Pop() {
				k.satisfy(pkt, pkt.Made, &asked.need, asked.p) // again
			}
		})
	}
	return res
}

func (k *Kernel) addOrComplete(p *protocol, f *family, r *request, v wire.SA, dst netip.Addr, update bool) result {
	flags, inbound, clone := direction(r, v.Flags)
	var larval *sa
	if update {
		if larval = f.in.find(v.SPI, dst); larval == nil || larval.State() != sadb.Larval {
			return result{wire.ESRCH, wire.IllumosDiagSANotFound}
		}
		k.preserve(larval)
	}
	return k.commonAdd(p, f, r, larval, v, flags, inbound, clone)
}

// giveUp ends the packets of an ACQUIRE whose answer has failed.
func (k *Kernel) giveUp(a *acquire) {
	k.countFor(a.p, outDiscards, uint64(a.queue.Len()))
	k.endHeld(a.queue, dropAcquireTimeout)
}

// commonAdd fills in an SA, links it and makes it usable; sadb_common_add. A LARVAL that has begun to be filled in does
// not survive a failure. Packets may look at a LARVAL all the while: it leaves that state as the last thing, with all
// checks done, and takes its queue along.
func (k *Kernel) commonAdd(p *protocol, f *family, r *request, larval *sa, v wire.SA, flags uint32, inbound,
	clone bool) result {
	if clone && r.has(wire.IllumosExtXPair) {
		return einval(wire.IllumosDiagPairInappropriate)
	}
	names := len(r.ext[wire.ExtIdentitySrc]) + len(r.ext[wire.ExtIdentityDst])
	n := 0
	if larval == nil {
		n++
	}
	if clone {
		n++
		names *= 2
	}
	if k.noRoomFor(n, names) {
		return noMemory
	}
	s := larval
	if s == nil {
		s = &sa{p: p, spi: v.SPI, src: r.address(k, wire.ExtAddressSrc).addr(),
			dst: r.address(k, wire.ExtAddressDst).addr()}
	}
	if res := k.fill(s, r, v, flags, clone); res.failed() {
		k.spoil(s, larval != nil)
		return res
	}
	primary, other := &f.out, &f.in
	if inbound {
		primary, other = other, primary
	}
	state := sadb.State(v.State)
	if larval == nil {
		s.Become(state) // before any packet can find it: a new SA is never LARVAL
	}
	if res := k.place(s, primary, other, clone, state); res.failed() {
		return res
	}
	if r.has(wire.IllumosExtXPair) {
		if res := k.setPair(s, r); res.failed() {
			k.spoil(s, true)
			return res
		}
	}
	k.promote(s, larval != nil, state, r)
	return result{}
}

// fill takes everything but the state from the message, in the kernel's order.
func (k *Kernel) fill(s *sa, r *request, v wire.SA, flags uint32, clone bool) result {
	src, dst := r.address(k, wire.ExtAddressSrc), r.address(k, wire.ExtAddressDst)
	if r.has(wire.IllumosExtXAddressInnerSrc) {
		if res := k.fillInner(s, r, src, dst); res.failed() {
			return res
		}
	} else {
		s.setUnique(src.port(), dst.port(), dst.proto(), 0)
	}
	if s.unique.Load() != nil {
		flags |= flagUnique
	}
	s.nat = k.readNAT(r)
	if alg := encryptAlg(v.Encrypt); s.p.isESP() && alg != nil {
		if alg.combined() {
			flags |= flagEAlg1
		}
		if alg.counter() {
			flags |= flagEAlg2
		}
	}
	s.setFlags(flags, math.MaxUint32&^flagPaired) // a LARVAL may be paired already
	s.auth, s.encrypt = v.Auth, v.Encrypt
	if flags&flagTunnel != 0 && !s.tunnelMode() {
		return einval(wire.IllumosDiagMissingInnerSrc)
	}
	if s.replayWindow = v.Replay; src.addr().IsUnspecified() {
		s.replayWindow = 0
	}
	now := k.now()
	s.addTime = now
	if raw := r.ext[wire.IllumosExtXKMCookie]; raw != nil {
		s.cookie = k.readCookie(raw)
	}
	s.Lock()
	s.setLifetimesLocked(k.readLifetimes(r), now)
	s.Unlock()
	if res := k.fillKeys(s, r); res.failed() {
		return res
	}
	s.srcID, s.dstID = k.readIdentity(r.ext[wire.ExtIdentitySrc]), k.readIdentity(r.ext[wire.ExtIdentityDst])
	s.countStored()
	s.Lock()
	defer s.Unlock()
	s.window = window{size: uint32(s.replayWindow)}
	if raw := r.ext[wire.IllumosExtXReplayValue]; raw != nil {
		value, _ := k.d.ParseReplayValue(raw)
		if value.Replay32 == 0 && value.Replay64 != 0 {
			return result{wire.EOPNOTSUPP, wire.IllumosDiagInvalidReplay}
		}
		s.setCounterLocked(value.Replay32)
	}
	if flags&flagOutbound != 0 && !clone && flags&flagInbound == 0 {
		k.fuzzLocked(s)
	}
	return result{}
}

// fillInner takes the addresses of tunnel mode. The outer protocol must be that of the inner family. Only the source's
// is looked at: a 0 there is filled in on both sides, and what the destination says beside a source that is right
// stays, and is what the SA keeps.
func (k *Kernel) fillInner(s *sa, r *request, src, dst address) result {
	innerSrc, innerDst := r.address(k, wire.IllumosExtXAddressInnerSrc), r.address(k, wire.IllumosExtXAddressInnerDst)
	want := uint8(ip.ProtoIPv4)
	if innerSrc.is6() {
		want = ip.ProtoIPv6
	}
	switch src.proto() {
	case 0:
		src.setProto(want)
		dst.setProto(want)
	case want:
	default:
		return result{wire.EPROTOTYPE, wire.IllumosDiagInnerAFMismatch}
	}
	s.inner = &innerAddrs{netip.PrefixFrom(innerSrc.addr(), innerSrc.prefix()), netip.PrefixFrom(innerDst.addr(),
		innerDst.prefix())}
	s.setUnique(innerSrc.port(), innerDst.port(), dst.proto(), innerDst.proto())
	return result{}
}

func (s *sa) setUnique(sport, dport uint16, proto, innerProto uint8) {
	s.Lock()
	defer s.Unlock()
	s.setUniqueLocked(newUnique(sport, dport, proto, innerProto))
}

// readNAT reads the addresses of NAT traversal, whatever the flags say of them; nil if there is none. Port 0 is kept,
// and means the usual one to packets.
func (k *Kernel) readNAT(r *request) *natAddrs {
	loc, rem := r.address(k, wire.IllumosExtXAddressNattLoc), r.address(k, wire.IllumosExtXAddressNattRem)
	if !loc.present() && !rem.present() {
		return nil
	}
	nat := &natAddrs{}
	if loc.present() {
		nat.loc = netip.AddrPortFrom(loc.addr(), loc.port())
	}
	if rem.present() {
		nat.rem = netip.AddrPortFrom(rem.addr(), rem.port())
	}
	return nat
}

// fillKeys copies the keys and sets up what packets need of them.
func (k *Kernel) fillKeys(s *sa, r *request) result {
	c := &config{replay: s.replayWindow != 0, inner: s.inner, auth: s.auth, encrypt: s.encrypt, cookie: s.cookie,
		align: 4}
	if s.has(flagNATT) {
		c.nat = cmp.Or(s.nat, &natAddrs{})
	}
	suite := ipsec.Suite{Proto: ipsec.Proto(s.p.proto)}
	if r.has(wire.ExtKeyAuth) {
		key := k.readKey(r.ext[wire.ExtKeyAuth])
		s.authKey, s.authBits = append([]byte(nil), key.Data...), key.Bits
	}
	if s.p.isESP() {
		alg := encryptAlg(s.encrypt)
		c.align = max(alg.block, 4)
		if r.has(wire.ExtKeyEncrypt) {
			key := k.readKey(r.ext[wire.ExtKeyEncrypt])
			bits := alg.keyBits(key)
			n := bits / 8
			s.encryptKey = append([]byte{}, key.Data[:n]...)
			s.encryptBits = uint16(bits)
			s.salt = append([]byte(nil), key.Data[n:n+alg.saltLen]...)
			if alg.counter() {
				s.ivCounter.init(k, key.Data[n+alg.saltLen:], int(key.Reserved))
			}
		}
		if s.encryptBits%8 != 0 {
			return einval(wire.IllumosDiagBadCtx)
		}
	}
	fillSuite(&suite, s.auth, s.encrypt, s.authKey, s.encryptKey, s.salt)
	t, err := suite.New()
	if err != nil { // a key length that the table allows and the cipher does not have
		return einval(wire.IllumosDiagBadCtx)
	}
	t.OwnKeys()
	c.transform, c.authentic, c.encryptBits = t, t.Authenticated(), s.encryptBits
	s.conf.Store(c)
	return result{}
}

// place links the SA into its primary table, and a copy, in the given state, into the other one if it is wanted. On
// collision nothing stays. A LARVAL moves to the head of its bucket, where packets find it all the while, or into the
// outbound table.
func (k *Kernel) place(s *sa, primary, other *table, clone bool, state sadb.State) result {
	exists := result{errno: wire.EEXIST}
	if s.in == primary {
		s.moveToFront()
	} else if s.unlink(); !primary.insert(s) {
		k.bury(s, dropLarvalTimeout)
		return exists
	}
	switch {
	case clone:
		c := k.clone(s)
		c.Become(state)
		if other.insert(c) {
			s.peerSA.Store(c)
			c.peerSA.Store(s)
			return result{}
		}
	case other.find(s.spi, s.dst) == nil:
		return result{}
	}
	s.unlink()
	k.bury(s, dropLarvalTimeout)
	return exists
}

// clone makes a second SA with the same contents, for the other table.
func (k *Kernel) clone(s *sa) *sa {
	c := &sa{p: s.p, spi: s.spi, src: s.src, dst: s.dst, replayWindow: s.replayWindow, auth: s.auth, encrypt: s.encrypt,
		authKey: s.authKey, encryptKey: s.encryptKey, salt: s.salt, authBits: s.authBits, encryptBits: s.encryptBits,
		inner: s.inner, nat: s.nat, cookie: s.cookie, srcID: s.srcID,
		dstID: s.dstID, hard: s.hard, soft: s.soft, idleAddTime: s.idleAddTime, idleUseTime: s.idleUseTime,
		idleTime: s.idleTime,
		addTime:  s.addTime, hardExpire: s.hardExpire, softExpire: s.softExpire, idleExpire: s.idleExpire}
	c.unique.Store(s.unique.Load())
	s.Lock()
	c.window, c.Seq, c.ivCounter = s.window, s.Seq, s.ivCounter
	s.Unlock()
	c.conf.Store(s.conf.Load())
	c.flags.Store(s.flags.Load())
	return c
}

// spoil is what becomes of an SA whose making failed half-way: it is DEAD, and if it is linked it stays so until the
// next pass reaps it. The packets of a LARVAL wait for that, too.
func (k *Kernel) spoil(s *sa, linked bool) {
	s.Lock()
	if held := k.fault.DieLocked(&s.SA, false); held.Len() != 0 {
		s.kept = &kept{doomed: held}
	}
	s.hardExpire = 1
	s.Unlock()
	k.tellState(s)
	if linked {
		k.dueAt(1)
	} else {
		s.forgetKeys()
	}
}

// promote makes an SA usable, answers, and drives on what waited on it.
func (k *Kernel) promote(s *sa, wasLarval bool, state sadb.State, r *request) {
	var held packet.Queue
	if k.fault == sadb.LarvalUnlocked && wasLarval {
		k.e.Step("take", nil)
		held = k.fault.Take(&s.SA)
		k.e.Step("taken", nil)
	} else if wasLarval {
		k.e.Step("promote", nil)
	}
	s.Lock()
	if wasLarval {
		_, taken := k.fault.PromoteLocked(&s.SA, state)
		s.taking = k.fault == sadb.LarvalWindow
		if k.fault == sadb.NoFault {
			held = taken
		}
	}
	due := earlier(earlier(s.hardExpire, s.softExpire), s.idleExpire)
	s.Unlock()
	k.tellState(s)
	k.dueAt(due)
	if s.has(flagNATTLoc) && s.in.isOutbound() {
		k.dueAt(k.now())
	}
	k.noteNewOutbound(s)
	k.echoWithFlags(r, s)
	if !wasLarval {
		return
	}
	refuse := k.refuse
	k.e.After(func() {
		if k.fault != sadb.LarvalUnlocked {
			k.e.Step("take", nil)
		}
		if k.fault == sadb.LarvalWindow {
			held = k.fault.Take(&s.SA)
			s.Lock()
			s.taking = false
			s.Unlock()
		}
		if k.fault != sadb.LarvalUnlocked {
			k.e.Step("taken", nil)
		} else {
			k.e.Step("drive", nil)
		}
		for p := held.Pop(); p != nil; p = held.Pop() {
			if refuse {
				k.drop(p, dropTaskRefused)
				continue
			}
			k.inboundAgain(p)
		}
	})
}

// echoWithFlags is the reply to an ADD: the echo of the request, with the flags that were stored.
func (k *Kernel) echoWithFlags(r *request, s *sa) {
	k.d.Order.PutUint32(r.ext[wire.ExtSA][12:], s.flags.Load())
	k.echo(r)
}
