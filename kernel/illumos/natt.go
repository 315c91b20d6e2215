package illumos

import (
	"cmp"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// wantsKeepalive says whether an SA keeps a NAT's mapping alive: it sends, from behind the NAT, and key management has
// said where.
func (s *sa) wantsKeepalive() bool {
	return s.p.isESP() && s.in != nil && s.in.isOutbound() && s.has(flagNATTLoc) && s.p.tun(tunNATKeepalive) != 0 &&
		s.src.Is4()
}

// keepaliveDueLocked says whether a keepalive is due, and notes that one is sent. The SA's lock is held.
func (s *sa) keepaliveDueLocked(now int64) bool {
	st := s.State()
	if !s.wantsKeepalive() || st != sadb.Mature && st != sadb.Dying ||
		now-max(s.lastUse, s.lastKeepalive) < s.p.tun(tunNATKeepalive) {
		return false
	}
	s.lastKeepalive = now
	return true
}

// sendKeepalive sends one byte, 0xff, in UDP from the SA's source to its destination.
func (k *Kernel) sendKeepalive(s *sa) {
	var udp [ip.LenUDP + 1]byte
	ports := s.nat.ports()
	ip.PutUDP(udp[:], ports.Src, ports.Dst, len(udp))
	udp[ip.LenUDP] = 0xff
	head := ip.Fields{Src: s.src, Dst: s.dst, Proto: ip.ProtoUDP, TTL: 255, ID: uint16(s.spi)}
	pkt := head.Make(udp[:])
	ip.SetUDPChecksum(pkt, head.Len())
	k.e.After(func() { k.e.Emit(pkt) })
}

// renumber follows a NAT that has given the peer another port: the paired outbound SA, and the inbound one that noticed
// it, send and expect there from now on; esp_port_freshness. It is called on a packet's way, once the packet has proved
// genuine. Who is behind the NAT itself does not follow, and a stored port of 0 is the usual one already. A port that
// comes while another waits to be noted, comes again with the next packet.
func (k *Kernel) renumber(s *sa, port uint16) {
	known := s.conf.Load().nat.rem.Port()
	if s.has(flagNATTed) || port == 0 || port == known || port == ipsec.NATTPort && known == 0 {
		return
	}
	k.postOnce(s, postedRenumber, func() {
		pair := s.pair()
		if pair == nil || !pair.in.isOutbound() {
			return
		}
		for _, s := range []*sa{s, pair} {
			k.preserve(s)
			nat := *cmp.Or(s.nat, &natAddrs{})
			nat.rem = netip.AddrPortFrom(nat.rem.Addr(), port)
			s.nat = &nat
			if c := *s.conf.Load(); c.nat != nil {
				c.nat = s.nat
				s.conf.Store(&c)
			}
		}
		k.countFor(s.p, portRenumbers, 1)
	})
}
