package xfrm

import (
	"time"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// firstLook is when the timer of a new SA first looks at its lifetimes.
const firstLook = time.Second

// Add puts a new SA into the database, and tells of it. Phase and Usage are not looked at. The keys are taken over, and
// overwritten when nobody needs them any more, also if the SA is refused.
func (x *Transforms) Add(st *transform.State, by transform.By) wire.Errno {
	s, errno := x.make(st)
	if errno != wire.OK {
		return errno
	}
	if x.shortCPIs && s.Proto == ip.ProtoComp && s.SPI > cpiMost {
		s.forgetKeys()
		return wire.EINVAL
	}
	if errno = x.addSA(s); errno != wire.OK {
		s.forgetKeys()
		return errno
	}
	x.tell(transform.Added, s, by)
	return wire.OK
}

// make makes an SA that can be used, which is not in the database yet.
func (x *Transforms) make(st *transform.State) (*sa, wire.Errno) {
	s := &sa{Config: st.Config, limits: st.Limits, addTime: x.now()}
	s.encap.Store(st.Encap)
	if errno := s.check(); errno != wire.OK {
		s.forgetKeys()
		return nil, errno
	}
	s.Become(sadb.Mature)
	return s, wire.OK
}

// check is the setting up of an SA: its mode, its protocol, its algorithms with their keys.
func (s *sa) check() wire.Errno {
	encap := s.encap.Load()
	if !s.Mode.Encapsulates() && s.Sel != nil && s.Sel.V6 != s.V6() {
		return wire.EPROTONOSUPPORT
	}
	switch s.Proto {
	case ip.ProtoESP:
		if !takes(ciphers[s.Encrypt].takes, s.EncryptKey()) ||
			s.Auth != 0 && !takes(macs[s.Auth].takes, s.AuthKey()) {
			return wire.EINVAL
		}
		if encap != nil && encap.Type != encapNonIKE && encap.Type != encapESP {
			return wire.EINVAL
		}
	case ip.ProtoAH:
		if encap != nil || !takes(macs[s.Auth].takes, s.AuthKey()) {
			return wire.EINVAL
		}
	case ip.ProtoComp:
		if s.Compress == 0 || encap != nil || s.Mode == transform.BEET {
			return wire.EINVAL
		}
	default:
		return wire.EPROTONOSUPPORT
	}
	return wire.OK
}

// takes tells whether an algorithm accepts a key; one that is not there accepts none.
func takes(sizes func(int) bool, key []byte) bool { return sizes != nil && sizes(len(key)) }

// addSA puts a new SA into the database. A LARVAL one that it is the answer to goes.
func (x *Transforms) addSA(s *sa) wire.Errno {
	t := &x.states
	if t.find(s.Key()) != nil {
		return wire.EEXIST
	}
	if t.n >= maxSAs {
		return wire.ENOBUFS
	}
	larval := t.findAcquired(s.MsgSeq)
	if larval != nil && (larval.Proto != s.Proto || larval.Dst != s.Dst) {
		larval = nil
	}
	if larval == nil {
		larval = t.findLarval(s.flowKey())
	}
	x.insert(s, firstLook)
	if larval != nil {
		x.remove(larval)
	}
	return wire.OK
}
