package netbsd_test

import (
	"testing"

	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// sa is a message about an SA of ESP from this host to 192.0.2.2.
func (s *system) sa(t wire.MsgType, spi wire.SPI, replay uint8, exts ...[]byte) []byte {
	b := s.d.AppendSA(nil, wire.SA{SPI: spi, Replay: replay, Auth: wire.AuthSHA1HMAC, Encrypt: wire.EncAESCBC})
	b = append(b, s.ends(2)...)
	b = s.d.AppendKey(b, wire.ExtKeyAuth, wire.Key{Bits: 160, Data: []byte("a HMAC-SHA1 key, 20.")})
	b = s.d.AppendKey(b, wire.ExtKeyEncrypt, wire.Key{Bits: 128, Data: []byte("an AES key of 16")})
	return s.message(t, wire.SATypeESP, append([][]byte{b}, exts...)...)
}

// TestFirstFault: of two faults in a message about an SA, the first that is looked at is told.
func TestFirstFault(t *testing.T) {
	s := boot(t)
	identity := s.d.AppendIdentity(nil, wire.ExtIdentitySrc, wire.Identity{Type: 2, Name: "a.example"})
	errno := func(msg []byte) string {
		answers := s.ask(msg)
		if len(answers) == 0 {
			return "no answer"
		}
		e, _ := s.d.Errno(answers[0][2])
		return e.String()
	}
	for _, step := range []struct {
		name, want string
		msg        []byte
	}{
		{"UPDATE of no head with one identity", "ENOENT", s.sa(wire.MsgUpdate, 0x1000, 0, identity)},
		{"ADD", "OK", s.sa(wire.MsgAdd, 0x1000, 0)},
		{"ADD once more with one identity", "EINVAL", s.sa(wire.MsgAdd, 0x1000, 0, identity)},
		{"ADD once more", "EEXIST", s.sa(wire.MsgAdd, 0x1000, 0)},
	} {
		if got := errno(step.msg); got != step.want {
			t.Errorf("%s: %s, want %s", step.name, got, step.want)
		}
	}
}

// TestNumberZero: a packet with the sequence number 0 may come if nobody looks for replays.
func TestNumberZero(t *testing.T) {
	suite := ipsec.Suite{Proto: ipsec.ESP, Cipher: ipsec.AESCBC, Key: ipsec.NewKey([]byte("an AES key of 16")),
		MAC: ipsec.HMACSHA1, AuthKey: ipsec.NewKey([]byte("a HMAC-SHA1 key, 20."))}
	far, err := suite.New()
	if err != nil {
		t.Fatal(err)
	}
	for window, want := range map[uint8]packet.Kind{0: packet.Delivered, 4: packet.Dropped} {
		s := boot(t)
		s.ask(s.sa(wire.MsgAdd, 0x1000, window))
		pkt, err := far.SealTransport(nil, pfkeytest.UDP("192.0.2.1:9", "192.0.2.2:9", "hello"), ipsec.Ports{},
			ipsec.Sealing{SPI: 0x1000, IV: make([]byte, 16)})
		if err != nil {
			t.Fatal(err)
		}
		var got packet.Verdict
		s.e.Inbound(&packet.Packet{Data: pkt, Done: func(_ *packet.Packet, v packet.Verdict) { got = v }})
		if got.Kind != want {
			t.Errorf("a window of %d: %+v", 8*window, got)
		}
	}
}
