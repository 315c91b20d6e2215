package kame

import "github.com/pfkeyd/pfkeyd/wire"

// Echo is an answer with a request's header and those of its extensions that are named, in their order
// (key_gather_mbuf).
func (k *Kernel) Echo(r *Request, exts []wire.ExtType) []byte {
	n := wire.HeaderLen
	for _, t := range exts {
		n += len(r.Ext(t))
	}
	b := append(make([]byte, 0, n), r.Msg[:wire.HeaderLen]...)
	for _, t := range exts {
		b = append(b, r.Ext(t)...)
	}
	b[2] = 0
	return k.d.Finish(b)
}

// A Show appends what an SA has of one extension; nothing if it has none.
type Show func(k *Kernel, b []byte, s *SA) []byte

// describeSA is a message about an SA. Version, SA type and references are put into the header.
func (k *Kernel) describeSA(s *SA, h wire.Header) []byte {
	return k.appendSA(make([]byte, 0, room(s)), s, h)
}

// room is how many bytes a message about an SA has at most: one that grew as it was made would leave a copy of the
// keys.
func room(s *SA) int {
	n := 512 // without keys
	for _, key := range []*Key{s.Auth, s.Encrypt} {
		if key != nil {
			n += len(key.ext)
		}
	}
	return n
}

func (k *Kernel) appendSA(b []byte, s *SA, h wire.Header) []byte {
	return k.appendShown(b, s, h, k.page.SAShows)
}

// appendShown appends a message with a header and what rows show of an SA.
func (k *Kernel) appendShown(b []byte, s *SA, h wire.Header, rows []Show) []byte {
	start := len(b)
	h.Version, h.SAType, h.Reserved = wire.Version, k.saTypeOf(s.Head.Proto), k.page.References[h.Type]
	b = k.d.AppendHeader(b, h)
	for _, show := range rows {
		b = show(k, b, s)
	}
	k.d.Finish(b[start:])
	return b
}

// The rows of messages about SAs. Heirs have others, and put all into their order.

// ShowSA shows the SA extension.
func ShowSA(k *Kernel, b []byte, s *SA) []byte {
	v := s.Shown
	v.SPI, v.State = wire.SPI(s.SPI), wire.State(s.State())
	return k.d.AppendSA(b, v)
}

// ShowSA2 shows mode, request id and the last sequence number that went out.
func ShowSA2(k *Kernel, b []byte, s *SA) []byte {
	s.Lock()
	seq := s.Traffic.Seq
	s.Unlock()
	return k.d.AppendSA2(b, wire.SA2{Mode: s.Head.Mode, ReqID: s.Head.ReqID, Sequence: uint32(seq)})
}

// ShowHard shows the hard limits.
func ShowHard(k *Kernel, b []byte, s *SA) []byte {
	return k.showLifetime(b, wire.ExtLifetimeHard, s.Hard)
}

// ShowSoft shows the soft limits.
func ShowSoft(k *Kernel, b []byte, s *SA) []byte {
	return k.showLifetime(b, wire.ExtLifetimeSoft, s.Soft)
}

func (k *Kernel) showLifetime(b []byte, t wire.ExtType, l *wire.Lifetime) []byte {
	if l == nil {
		return b
	}
	return k.d.AppendLifetime(b, t, *l)
}

// AppendCurrent appends how much an SA has been used. unused is the time that is shown if it never was.
func (k *Kernel) AppendCurrent(b []byte, s *SA, unused uint64) []byte {
	s.Lock()
	v := wire.Lifetime{Allocations: uint32(s.Packets), Bytes: s.Bytes, AddTime: k.Wall(s.Added), UseTime: unused}
	if s.used != 0 {
		v.UseTime = k.Wall(s.used)
	}
	s.Unlock()
	return k.d.AppendLifetime(b, wire.ExtLifetimeCurrent, v)
}

// ShowSrc shows the source.
func ShowSrc(k *Kernel, b []byte, s *SA) []byte {
	return k.AppendAddress(b, wire.ExtAddressSrc, s.Head.Src, s.Head.Src.Bits(), AnyProto)
}

// ShowDst shows the destination.
func ShowDst(k *Kernel, b []byte, s *SA) []byte {
	return k.AppendAddress(b, wire.ExtAddressDst, s.Head.Dst, s.Head.Dst.Bits(), AnyProto)
}

// ShowAuth shows the key of authentication.
func ShowAuth(k *Kernel, b []byte, s *SA) []byte { return k.showKey(b, s.Auth) }

// ShowEncrypt shows the key of encryption.
func ShowEncrypt(k *Kernel, b []byte, s *SA) []byte { return k.showKey(b, s.Encrypt) }

func (k *Kernel) showKey(b []byte, key *Key) []byte {
	if key == nil {
		return b
	}
	return k.page.AppendKey(k.d, b, key.ext)
}
