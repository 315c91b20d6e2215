package openbsd_test

import (
	"encoding/binary"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// FuzzInside has peers that have keys, and put anything into their packets: into ESP that nothing authenticates, in
// both modes and in UDP, and into IPComp. Nothing may panic, and every packet must end.
func FuzzInside(f *testing.F) {
	for way := range uint8(4) {
		f.Add(way, false, []byte{1, 2, 2, ip.ProtoUDP})
		f.Add(way, true, append(udp(f, me6, peer6, 3), 1, 1, ip.ProtoIPv6))
		f.Add(way, false, append(udp(f, peer, me, 3), 1, 2, 3, 3, ip.ProtoIPv4))
		f.Add(way, false, append(udp(f, peer, me, 2)[20:], 0, ip.ProtoTCP))
	}
	h := newHost(f)
	h.k.SetSysctl("net.inet.ipcomp.enable", 1)
	h.flows("flow from any to any peer 0.0.0.0 type use\n" +
		"flow in proto tcp from 192.0.2.0/24 to any peer 192.0.2.2 type require")
	ways := []wire.SAFlags{0, wire.OpenBSDFlagXTunnel, wire.OpenBSDFlagXUDPEncap}
	for _, v6 := range []bool{false, true} {
		src, dst := peer, me
		if v6 {
			src, dst = peer6, me6
		}
		for i, flags := range ways {
			sa := esp(src, dst, wire.SPI(0x1000+i))
			sa.Auth, sa.AuthKey, sa.Encrypt, sa.EncryptKey = 0, wire.Key{}, wire.EncNull, wire.Key{}
			sa.Flags, sa.Replay = flags, 0
			h.add(sa)
		}
		comp := pfkey.SA{Encrypt: wire.CompDeflate}
		comp.SAID = pfkey.SAID{Type: wire.SATypeIPComp, SPI: 0x100, Src: pfkey.Host(src), Dst: pfkey.Host(dst)}
		h.add(comp)
	}
	f.Fuzz(func(t *testing.T, way uint8, v6 bool, inside []byte) {
		const udpWay, compWay = 2, 3
		way %= 4
		b := make([]byte, 8, 8+len(inside))
		binary.BigEndian.PutUint32(b, 0x1000+uint32(way))
		outer := ip.Fields{Src: peer, Dst: me, Proto: ip.ProtoESP, TTL: 1}
		if v6 {
			outer.Src, outer.Dst = peer6, me6
		}
		switch way {
		case udpWay:
			b = append([]byte{0x11, 0x94, 0x11, 0x94, 0, 0, 0, 0}, b...)
			outer.Proto = ip.ProtoUDP
		case compWay:
			b = []byte{0, 0, 1, 0}
			if len(inside) > 0 {
				b[0] = inside[0]
			}
			outer.Proto = ip.ProtoComp
		}
		b = append(b, inside...)
		if len(b) > 60000 {
			return
		}
		before := h.e.Ledger().Balance().Ended
		h.in(outer.Make(b))
		if got := h.e.Ledger().Balance().Ended; got != before+1 {
			t.Errorf("%d packets ended", got-before)
		}
		h.out(outer.Make(b))
	})
}
