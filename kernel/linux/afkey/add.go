package afkey

import (
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// add handles ADD and UPDATE. What everybody hears comes from the transforms, see [Manager.StateChanged].
func (k *Manager) add(r *request) wire.Errno {
	if errno := k.stateOf(r); errno != wire.OK {
		return errno
	}
	if r.hdr.Type == wire.MsgAdd {
		return k.transforms.Add(&k.state, r.by())
	}
	return k.transforms.Update(&k.state, r.by())
}

// stateOf makes k.state of a request, checking it in the kernel's order. The keys are copies.
func (k *Manager) stateOf(r *request) (errno wire.Errno) {
	src, dst, ok := k.ends(r)
	if !ok || !r.has(wire.ExtSA) {
		return wire.EINVAL
	}
	if r.hdr.SAType == wire.SATypeESP && !r.has(wire.ExtKeyEncrypt) ||
		r.hdr.SAType == wire.SATypeAH && !r.has(wire.ExtKeyAuth) {
		return wire.EINVAL
	}
	if r.has(wire.ExtLifetimeHard) != r.has(wire.ExtLifetimeSoft) {
		return wire.EINVAL
	}
	proto, ok := protoOf(r.hdr.SAType)
	if !ok {
		return wire.EINVAL
	}
	v, _ := k.d.ParseSA(r.ext[wire.ExtSA])
	auth, _ := k.d.AuthNumber(v.Auth)
	encrypt, _ := k.d.EncryptNumber(v.Encrypt)
	if auth > authMax || proto == ip.ProtoComp && encrypt > compressMax || encrypt > encryptMax {
		return wire.EINVAL
	}
	authKey, encryptKey := k.key(r, wire.ExtKeyAuth), k.key(r, wire.ExtKeyEncrypt)
	if r.has(wire.ExtKeyAuth) && v.Auth != wire.AuthNull && authKey.Bits == 0 ||
		r.has(wire.ExtKeyEncrypt) && v.Encrypt != wire.EncNull && encryptKey.Bits == 0 {
		return wire.EINVAL
	}
	s := &k.state
	*s = transform.State{Limits: k.limitsOf(r), Config: transform.Config{Proto: proto, SPI: uint32(v.SPI),
		Replay: min(v.Replay, 32), Flags: flagsOf(v.Flags), Src: src.Addr, Dst: dst.Addr, MsgSeq: uint32(r.hdr.Seq)}}
	defer func() {
		if errno != wire.OK {
			clear(s.Keys)
		}
	}()
	if v.Auth != 0 {
		if !has(k.auths, v.Auth) {
			return wire.ENOSYS
		}
		s.Auth = v.Auth
		s.AuthBits = authKey.Bits
		s.Keys = append(make([]byte, 0, len(authKey.Data)+len(encryptKey.Data)), authKey.Data...)
	}
	if v.Encrypt != 0 {
		if errno := k.setEncrypt(s, v.Encrypt, encryptKey); errno != wire.OK {
			return errno
		}
	}
	if s.Mode, s.ReqID, ok = k.modeAndReqID(r); !ok {
		return wire.EINVAL
	}
	if r.has(wire.ExtAddressProxy) {
		p := k.address(r, wire.ExtAddressProxy)
		s.Sel = &transform.Selector{Src: transform.Raw(p.Addr), SrcBits: p.PrefixLen, V6: p.Addr.Is6()}
	}
	if r.has(wire.KAMEExtXNATTType) {
		s.Encap = k.encapOf(r)
	}
	return wire.OK
}

// setEncrypt takes over the encryption algorithm, or for IPCOMP that of compression, which has no key.
func (k *Manager) setEncrypt(s *transform.State, id wire.AlgID, key wire.Key) wire.Errno {
	if s.Proto == ip.ProtoComp {
		if id != wire.CompDeflate {
			return wire.ENOSYS
		}
		s.Compress = id
		return wire.OK
	}
	if !has(k.encrypts, id) {
		return wire.ENOSYS
	}
	s.Encrypt = id
	s.EncryptBits, s.Keys = key.Bits, append(s.Keys, key.Data...)
	return wire.OK
}

// key reads a key extension; no key if there is none.
func (k *Manager) key(r *request, t wire.ExtType) (v wire.Key) {
	if r.has(t) {
		v, _ = k.d.ParseKey(r.ext[t])
	}
	return v
}

// encapOf reads the NAT-T extensions. Ports that are not given are 0.
func (k *Manager) encapOf(r *request) *transform.Encap {
	v, _ := k.d.ParseNATTType(r.ext[wire.KAMEExtXNATTType])
	e := &transform.Encap{Type: v.Type}
	for t, to := range map[wire.ExtType]*uint16{
		wire.KAMEExtXNATTSPort: &e.Sport, wire.KAMEExtXNATTDPort: &e.Dport} {
		if r.has(t) {
			p, _ := k.d.ParseNATTPort(r.ext[t])
			*to = p.Port
		}
	}
	return e
}

// limitsOf reads the lifetimes of a request.
func (k *Manager) limitsOf(r *request) transform.Limits {
	l := transform.NoLimits
	for t, to := range map[wire.ExtType]*transform.Lifetime{
		wire.ExtLifetimeHard: &l.Hard, wire.ExtLifetimeSoft: &l.Soft} {
		if r.has(t) {
			v, _ := k.d.ParseLifetime(r.ext[t])
			*to = transform.Lifetime{Packets: limit(uint64(v.Allocations)), Bytes: limit(v.Bytes),
				AddTime: v.AddTime, UseTime: v.UseTime}
		}
	}
	return l
}

// limit reads a limit of a message, and unlimit says it in one.
func limit(v uint64) uint64 {
	if v == 0 {
		return transform.Unlimited
	}
	return v
}

func unlimit(v uint64) uint64 {
	if v == transform.Unlimited {
		return 0
	}
	return v
}
