package linux

import (
	"time"

	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// firstLook is when the timer of a new SA first looks at its lifetimes.
const firstLook = time.Second

// add handles ADD and UPDATE.
func (k *Kernel) add(r *request) wire.Errno {
	s, errno := k.saOf(r)
	if errno != wire.OK {
		return errno
	}
	if r.hdr.Type == wire.MsgAdd {
		errno = k.addSA(s)
	} else {
		errno = k.updateSA(s)
	}
	if errno != wire.OK {
		s.forgetKeys()
		return errno
	}
	k.tellSA(r, s)
	return wire.OK
}

// saOf makes an SA of a request, checking it in the kernel's order.
func (k *Kernel) saOf(r *request) (made *sa, errno wire.Errno) {
	src, dst, ok := k.ends(r)
	if !ok || !r.has(wire.ExtSA) {
		return nil, wire.EINVAL
	}
	if r.hdr.SAType == wire.SATypeESP && !r.has(wire.ExtKeyEncrypt) || r.hdr.SAType == wire.SATypeAH &&
		!r.has(wire.ExtKeyAuth) {
		return nil, wire.EINVAL
	}
	if r.has(wire.ExtLifetimeHard) != r.has(wire.ExtLifetimeSoft) {
		return nil, wire.EINVAL
	}
	proto, ok := protoOf(r.hdr.SAType)
	if !ok {
		return nil, wire.EINVAL
	}
	v, _ := k.d.ParseSA(r.ext[wire.ExtSA])
	if v.Auth > authMax || proto == protoComp && v.Encrypt > compressMax || v.Encrypt > encryptMax {
		return nil, wire.EINVAL
	}
	authKey, encryptKey := k.key(r, wire.ExtKeyAuth), k.key(r, wire.ExtKeyEncrypt)
	if r.has(wire.ExtKeyAuth) && v.Auth != wire.AuthNull && authKey.Bits == 0 ||
		r.has(wire.ExtKeyEncrypt) && v.Encrypt != wire.EncNull && encryptKey.Bits == 0 {
		return nil, wire.EINVAL
	}
	const flags = wire.LinuxFlagNoECN | wire.LinuxFlagDecapDSCP | wire.LinuxFlagNoPMTUDisc
	s := &sa{proto: proto, spi: v.SPI, replay: min(v.Replay, 32), flags: v.Flags & flags, limits: k.limitsOf(r),
		src: src.Addr, dst: dst.Addr, seq: uint32(r.hdr.Seq), addTime: k.now()}
	defer func() {
		if errno != wire.OK {
			s.forgetKeys()
		}
	}()
	if v.Auth != 0 {
		if authAlg(v.Auth) == nil {
			return nil, wire.ENOSYS
		}
		s.auth = v.Auth
		s.authBits, s.keys = authKey.Bits, append(make([]byte, 0, len(authKey.Data)+len(encryptKey.Data)),
			authKey.Data...)
	}
	if v.Encrypt != 0 {
		if errno := s.setEncrypt(v.Encrypt, encryptKey); errno != wire.OK {
			return nil, errno
		}
	}
	if s.mode, s.reqID, ok = k.modeAndReqID(r); !ok {
		return nil, wire.EINVAL
	}
	if r.has(wire.ExtAddressProxy) {
		p := k.address(r, wire.ExtAddressProxy)
		s.sel = &selector{src: raw(p.Addr), srcBits: p.PrefixLen, v6: p.Addr.Is6()}
	}
	if r.has(wire.KAMEExtXNATTType) {
		s.encap.Store(k.encapOf(r))
	}
	if errno := s.check(); errno != wire.OK {
		return nil, errno
	}
	s.Become(sadb.Mature)
	return s, wire.OK
}

// setEncrypt takes over the encryption algorithm, or for IPCOMP that of compression, which has no key.
func (s *sa) setEncrypt(id uint8, key wire.Key) wire.Errno {
	if s.proto == protoComp {
		if id != wire.CompDeflate {
			return wire.ENOSYS
		}
		s.compress = id
		return wire.OK
	}
	if encryptAlg(id) == nil {
		return wire.ENOSYS
	}
	s.encrypt = id
	s.encryptBits, s.keys = key.Bits, append(s.keys, key.Data...)
	return wire.OK
}

// key reads a key extension; no key if there is none.
func (k *Kernel) key(r *request, t wire.ExtType) (v wire.Key) {
	if r.has(t) {
		v, _ = k.d.ParseKey(r.ext[t])
	}
	return v
}

// encapOf reads the NAT-T extensions. Ports that are not given are 0.
func (k *Kernel) encapOf(r *request) *encap {
	v, _ := k.d.ParseNATTType(r.ext[wire.KAMEExtXNATTType])
	e := &encap{typ: v.Type}
	for t, to := range map[wire.ExtType]*uint16{wire.KAMEExtXNATTSPort: &e.sport, wire.KAMEExtXNATTDPort: &e.dport} {
		if r.has(t) {
			p, _ := k.d.ParseNATTPort(r.ext[t])
			*to = p.Port
		}
	}
	return e
}

// check is the setting up of an SA: its mode, its protocol, its algorithms with their keys.
func (s *sa) check() wire.Errno {
	encap := s.encap.Load()
	if !s.mode.encapsulates() && s.sel != nil && s.sel.v6 != s.v6() {
		return wire.EPROTONOSUPPORT
	}
	switch s.proto {
	case protoESP:
		a := encryptAlg(s.encrypt)
		if a == nil || !a.takes(len(s.encryptKey())) || s.auth != 0 && !authAlg(s.auth).takes(len(s.authKey())) {
			return wire.EINVAL
		}
		if encap != nil && encap.typ != wire.KAMENATTNonIKE && encap.typ != wire.KAMENATTESP {
			return wire.EINVAL
		}
	case protoAH:
		if s.auth == 0 || encap != nil || !authAlg(s.auth).takes(len(s.authKey())) {
			return wire.EINVAL
		}
	case protoComp:
		if s.compress == 0 || encap != nil || s.mode == modeBEET {
			return wire.EINVAL
		}
	default:
		return wire.EPROTONOSUPPORT
	}
	return wire.OK
}

// addSA puts a new SA into the database. A LARVAL one that it is the answer to goes.
func (k *Kernel) addSA(s *sa) wire.Errno {
	t := &k.states
	if t.find(s.dst, s.spi, s.proto) != nil {
		return wire.EEXIST
	}
	if t.n >= maxSAs {
		return wire.ENOBUFS
	}
	larval := t.findAcquired(s.seq)
	if larval != nil && (larval.proto != s.proto || larval.dst != s.dst) {
		larval = nil
	}
	if larval == nil {
		larval = t.findLarval(s.flowKey())
	}
	k.insert(s, firstLook)
	if larval != nil {
		k.remove(larval)
	}
	return wire.OK
}
