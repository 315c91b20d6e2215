package afkey

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Which lifetimes a message about an SA shows beside the current one.
const (
	showHard = 1 << iota
	showSoft
)

// showable tells whether messages can describe an SA. A LARVAL one for a template that netlink has made may have a mode
// that PF_KEY has not.
func showable(s *transform.State) bool {
	_, ok := wireMode(s.Mode)
	return ok
}

// saMessage describes an SA that is showable. The header is h but for the SA type and the length.
func (k *Manager) saMessage(h wire.Header, s *transform.State, keys bool) message {
	b := k.appendSA(make([]byte, 0, 352), h, s, showHard|showSoft, keys)
	return message{bytes: b, size: len(b)}
}

// appendSA appends the description of an SA. It is a message of its own behind what is in b.
func (k *Manager) appendSA(b []byte, h wire.Header, s *transform.State, show int, keys bool) []byte {
	h.SAType = SATypeOf(s.Proto)
	start := len(b)
	b = k.d.AppendHeader(b, h)
	b = k.d.AppendSA(b, wire.SA{SPI: wire.SPI(s.SPI), Replay: s.Replay, State: wire.State(s.Phase),
		Auth: s.Auth, Encrypt: s.Encrypt | s.Compress, Flags: wireFlags(s.Flags)})
	if show&showHard != 0 {
		b = k.d.AppendLifetime(b, wire.ExtLifetimeHard, wireLifetime(s.Limits.Hard))
	}
	if show&showSoft != 0 {
		b = k.d.AppendLifetime(b, wire.ExtLifetimeSoft, wireLifetime(s.Limits.Soft))
	}
	u := s.Usage
	b = k.d.AppendLifetime(b, wire.ExtLifetimeCurrent, wire.Lifetime{
		Allocations: uint32(u.Packets), Bytes: u.Bytes, AddTime: uint64(u.AddTime), UseTime: uint64(u.UseTime)})
	b = k.appendEnd(b, wire.ExtAddressSrc, s.Src)
	b = k.appendEnd(b, wire.ExtAddressDst, s.Dst)
	if l, ok := proxy(s); ok {
		b = k.d.AppendAddress(b, wire.ExtAddressProxy, wire.Address{
			Proto: messageProto(l.Proto), PrefixLen: l.SrcBits, Addr: transform.Addr(l.Src, s.V6()), Port: l.Sport})
	}
	if keys {
		if s.AuthBits != 0 {
			b = k.d.AppendKey(b, wire.ExtKeyAuth, wire.Key{Bits: s.AuthBits, Data: s.AuthKey()})
		}
		if s.EncryptBits != 0 {
			b = k.d.AppendKey(b, wire.ExtKeyEncrypt, wire.Key{Bits: s.EncryptBits, Data: s.EncryptKey()})
		}
	}
	m, _ := wireMode(s.Mode)
	b = k.d.AppendSA2(b, wire.SA2{Mode: m, ReqID: s.ReqID})
	if e := s.Encap; e != nil {
		b = k.d.AppendNATTType(b, wire.NATTType{Type: e.Type})
		b = k.d.AppendNATTPort(b, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: e.Sport})
		b = k.d.AppendNATTPort(b, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: e.Dport})
	}
	k.d.Finish(b[start:])
	return b
}

// proxy is the source of an SA's selector, if messages show it.
func proxy(s *transform.State) (l transform.Selector, ok bool) {
	if s.Sel != nil {
		l = *s.Sel
	}
	return l, !rawEqual(l.Src, transform.Raw(s.Src), s.V6())
}

// rawEqual compares two addresses as addresses of one family.
func rawEqual(a, b [16]byte, v6 bool) bool {
	if v6 {
		return a == b
	}
	return [4]byte(a[:4]) == [4]byte(b[:4])
}

// wireLifetime is a set of limits as messages have it.
func wireLifetime(l transform.Lifetime) wire.Lifetime {
	return wire.Lifetime{Allocations: uint32(unlimit(l.Packets)), Bytes: unlimit(l.Bytes), AddTime: l.AddTime,
		UseTime: l.UseTime}
}

// appendEnd appends one end of an SA.
func (k *Manager) appendEnd(b []byte, t wire.ExtType, a netip.Addr) []byte {
	return k.d.AppendAddress(b, t, wire.Address{PrefixLen: uint8(a.BitLen()), Addr: a})
}

// by is whose request it is.
func (r *request) by() transform.By {
	return transform.By{Seq: uint32(r.hdr.Seq), PID: uint32(r.hdr.PID)}
}

// resultHeader is that of an answer: everything comes from the request but what the kernel never repeats.
func resultHeader(r *request) wire.Header { return resultOf(r.hdr.Type, r.by()) }

// resultOf is the header of what everybody hears of a request.
func resultOf(t wire.MsgType, by transform.By) wire.Header {
	return wire.Header{Version: wire.Version, Type: t, Seq: wire.Seq(by.Seq), PID: by.PID}
}

// StateChanged implements [transform.Manager]: everybody hears of an SA, if it can be told.
func (k *Manager) StateChanged(c transform.Change, s *transform.State, by transform.By) {
	t := wire.MsgAdd
	switch c {
	case transform.Updated:
		t = wire.MsgUpdate
	case transform.Deleted:
		t = wire.MsgDelete
	}
	if showable(s) {
		k.broadcast(k.saMessage(resultOf(t, by), s, true), toAll, nil)
	}
}
