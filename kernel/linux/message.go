package linux

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Which lifetimes a message about an SA shows beside the current one.
const (
	showHard = 1 << iota
	showSoft
)

// usage is how much an SA has been used.
type usage struct {
	packets, bytes uint64
	useTime        int64
}

func (s *sa) usageLocked() usage { return usage{s.Packets, s.Bytes, s.useTime} }

// showable tells whether messages can describe an SA. A LARVAL one for a template that netlink has made may have a mode
// that PF_KEY has not.
func (s *sa) showable() bool {
	_, ok := s.mode.wire()
	return ok
}

// saMessage describes an SA that is showable. The header is h but for the SA type and the length.
func (k *Kernel) saMessage(h wire.Header, s *sa, keys bool) message {
	b := k.appendNow(make([]byte, 0, 352), h, s, keys)
	return message{bytes: b, size: len(b)}
}

// appendNow is saMessage behind what is in b already.
func (k *Kernel) appendNow(b []byte, h wire.Header, s *sa, keys bool) []byte {
	s.Lock()
	u, l := s.usageLocked(), s.limits
	s.Unlock()
	return k.appendSA(b, h, s, s.State(), u, l, showHard|showSoft, keys)
}

// appendSA appends the description of an SA in a state. It is a message of its own behind what is in b.
func (k *Kernel) appendSA(b []byte, h wire.Header, s *sa, st sadb.State, u usage, l limits, show int,
	keys bool) []byte {
	h.SAType = satypeOf(s.proto)
	start := len(b)
	b = k.d.AppendHeader(b, h)
	b = k.d.AppendSA(b, wire.SA{SPI: s.spi, Replay: s.replay, State: wireState(st), Auth: s.auth,
		Encrypt: s.encrypt | s.compress, Flags: s.flags})
	if show&showHard != 0 {
		b = k.d.AppendLifetime(b, wire.ExtLifetimeHard, l.hard.wire())
	}
	if show&showSoft != 0 {
		b = k.d.AppendLifetime(b, wire.ExtLifetimeSoft, l.soft.wire())
	}
	b = k.d.AppendLifetime(b, wire.ExtLifetimeCurrent, wire.Lifetime{
		Allocations: uint32(u.packets), Bytes: u.bytes, AddTime: uint64(s.addTime), UseTime: uint64(u.useTime)})
	b = k.appendEnd(b, wire.ExtAddressSrc, s.src)
	b = k.appendEnd(b, wire.ExtAddressDst, s.dst)
	if l, ok := s.proxy(); ok {
		b = k.d.AppendAddress(b, wire.ExtAddressProxy, wire.Address{
			Proto: messageProto(l.proto), PrefixLen: l.srcBits, Addr: rawAddr(l.src, s.v6()), Port: l.sport})
	}
	if keys {
		if s.authBits != 0 {
			b = k.d.AppendKey(b, wire.ExtKeyAuth, wire.Key{Bits: s.authBits, Data: s.authKey()})
		}
		if s.encryptBits != 0 {
			b = k.d.AppendKey(b, wire.ExtKeyEncrypt, wire.Key{Bits: s.encryptBits, Data: s.encryptKey()})
		}
	}
	m, _ := s.mode.wire()
	b = k.d.AppendSA2(b, wire.SA2{Mode: m, ReqID: s.reqID})
	if e := s.encap.Load(); e != nil {
		b = k.d.AppendNATTType(b, wire.NATTType{Type: e.typ})
		b = k.d.AppendNATTPort(b, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: e.sport})
		b = k.d.AppendNATTPort(b, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: e.dport})
	}
	k.d.Finish(b[start:])
	return b
}

// wireState is a state as messages show it.
func wireState(st sadb.State) wire.State { return wire.State(min(st, sadb.Dead)) }

// appendEnd appends one end of an SA.
func (k *Kernel) appendEnd(b []byte, t wire.ExtType, a netip.Addr) []byte {
	return k.d.AppendAddress(b, t, wire.Address{PrefixLen: fullBits(a), Addr: a})
}

// resultHeader is that of a result: everything comes from the request but what the kernel never repeats.
func resultHeader(r *request) wire.Header {
	return wire.Header{Version: wire.Version, Type: r.hdr.Type, Seq: r.hdr.Seq, PID: r.hdr.PID}
}

// tellSA sends a result about an SA to everybody, if it can be told.
func (k *Kernel) tellSA(r *request, s *sa) {
	if !s.showable() {
		return
	}
	k.broadcast(k.saMessage(resultHeader(r), s, true), toAll, nil)
}
