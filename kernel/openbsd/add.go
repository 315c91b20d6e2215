package openbsd

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// add handles ADD: it makes an SA with keys.
func (k *Kernel) add(r *request) wire.Errno {
	if !k.fits(r) {
		return wire.EINVAL
	}
	if k.subject(r) != nil {
		return wire.EEXIST
	}
	s, errno := k.draft(r)
	if errno != wire.OK {
		return errno
	}
	if !k.insert(s) {
		s.forgetKeys()
		return wire.ENOBUFS
	}
	k.startTimers(s)
	r.drop(wire.ExtKeyAuth, wire.ExtKeyEncrypt)
	return wire.OK
}

// fits tells whether what a request has of a flow is there as a whole, and UDP encapsulation where it may be.
func (k *Kernel) fits(r *request) bool {
	flow := exts(17, 18, 19, 20, 21, 22)
	if some := r.has() & flow; some != 0 && some != flow {
		return false
	}
	if r.ext(wire.OpenBSDExtXUDPEncap) != nil && (k.Knob(udpEncap) == 0 || r.satype() != espNumber) {
		return false
	}
	return k.tolerable(r)
}

// keptFlags are those that an SA shows.
const keptFlags = wire.FlagPFS | wire.OpenBSDFlagXTunnel | wire.OpenBSDFlagXUDPEncap | wire.OpenBSDFlagXESN

// draft makes the SA that an ADD or UPDATE describes. It is in no table yet, and its timers do not run.
func (k *Kernel) draft(r *request) (*SA, wire.Errno) {
	proto, errno := k.transformOf(r.satype())
	if errno != wire.OK {
		return nil, errno
	}
	v, _ := k.d.ParseSA(r.ext(wire.ExtSA))
	v.Flags &= keptFlags
	s := &SA{RDomain: r.rdomain, After: r.rdomain, Proto: proto, SPI: uint32(v.SPI), SAType: r.satype(),
		Src: k.addressOf(r.ext(wire.ExtAddressSrc)), Dst: k.addressOf(r.ext(wire.ExtAddressDst)),
		Added: k.e.Now().Unix()}
	if raw := r.ext(wire.OpenBSDExtXRDomain); raw != nil {
		x, _ := k.d.ParseRDomain(raw)
		s.After = int(x.After)
	}
	if raw := r.ext(wire.OpenBSDExtXFlowType); raw != nil {
		if s.Filter, errno = k.filterIn(r); errno != wire.OK {
			return nil, errno
		}
	}
	a := keying{proto: proto, auth: v.Auth, encrypt: v.Encrypt, authKey: k.keyIn(r, wire.ExtKeyAuth),
		key: k.keyIn(r, wire.ExtKeyEncrypt), flags: v.Flags}
	suite, errno := a.prepare()
	if errno != wire.OK {
		return nil, errno
	}
	s.Shown = wire.SA{Replay: v.Replay, Auth: a.auth, Encrypt: a.encrypt, Flags: v.Flags}
	s.Auth, s.Encrypt = slices.Clone(a.authKey), slices.Clone(a.key)
	s.IDs = k.identitiesIn(r, false)
	k.setLimits(r, s)
	k.extras(r, s)
	if proto == ip.ProtoESP || proto == ip.ProtoAH {
		s.replay.count = firstReplay
	}
	p := &Protection{Transform: newTransform(suite)}
	if proto == ip.ProtoTCP {
		p.TCP = &ipsec.Suite{AuthKey: ipsec.NewKey(a.authKey)}
		p.TCP.OwnKeys()
	}
	s.protection.Store(p)
	s.protect()
	s.Become(sadb.Mature)
	return s, wire.OK
}

// keyIn is the key in an extension of a request, as many whole bytes as its count of bits says; nil: there is none.
func (k *Kernel) keyIn(r *request, t wire.ExtType) []byte {
	raw := r.ext(t)
	if raw == nil {
		return nil
	}
	area := wire.KeyArea(raw)
	return area[:min(int(k.d.Order.Uint16(raw[4:]))/8, len(area))]
}

// extras takes over what an ADD or any UPDATE may say beside.
func (k *Kernel) extras(r *request, s *SA) {
	if raw := r.ext(wire.OpenBSDExtXUDPEncap); raw != nil {
		v, _ := k.d.ParseNATTPort(raw)
		s.UDPPort = v.Port
	}
	if raw := r.ext(wire.OpenBSDExtXTag); raw != nil {
		v, _ := k.d.ParseTag(raw)
		s.Tag = &v
	}
	if raw := r.ext(wire.OpenBSDExtXTap); raw != nil {
		v, _ := k.d.ParseWord(raw)
		s.Tap = v.Value
	}
	if raw := r.ext(wire.OpenBSDExtXIface); raw != nil {
		v, _ := k.d.ParseIface(raw)
		s.Iface = &v
	}
}

// protect has packets see the SA as it is now.
func (s *SA) protect() {
	p := *s.protection.Load()
	p.Src, p.Dst, p.Flags, p.Window = s.Src, s.Dst, s.Shown.Flags, s.Shown.Replay
	p.UDPPort, p.IDs, p.Filter, p.Iface = s.UDPPort, s.IDs, s.Filter, s.Iface != nil
	s.protection.Store(&p)
}

// filterIn is the flow that an SA is for alone, of a request that has one. Its direction may be any number.
func (k *Kernel) filterIn(r *request) (*filter, wire.Errno) {
	v, _ := k.d.ParseFlowProtocol(r.ext(wire.OpenBSDExtXFlowType))
	key, mask, v6, ok := k.selectorIn(r)
	if !ok {
		return nil, wire.EINVAL
	}
	return &filter{v.Direction, v6, key, mask}, wire.OK
}

// forgetKeys overwrites the keys that messages show.
func (s *SA) forgetKeys() {
	clear(s.Auth)
	clear(s.Encrypt)
}
