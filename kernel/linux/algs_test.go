package linux_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// keyed is the ADD of an ESP SA from me to the peer with these algorithms and so many bits of their keys; fewer than
// none leave a key out.
func (h *host) keyed(spi wire.SPI, encrypt wire.AlgID, encryptBits int, auth wire.AlgID, authBits int) []byte {
	d := h.d()
	b := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeESP, PID: 1})
	b = d.AppendSA(b, wire.SA{SPI: spi, Auth: auth, Encrypt: encrypt})
	b = d.AppendAddress(b, wire.ExtAddressSrc, pfkey.Host(me))
	b = d.AppendAddress(b, wire.ExtAddressDst, pfkey.Host(peer))
	add := func(t wire.ExtType, bits int, fill byte) {
		if bits >= 0 {
			b = d.AppendKey(b, t, wire.Key{Bits: uint16(bits), Data: bytes.Repeat([]byte{fill}, (bits+7)/8)})
		}
	}
	add(wire.ExtKeyAuth, authBits, 0xa5)
	add(wire.ExtKeyEncrypt, encryptBits, 0x5a)
	return d.Finish(b)
}

// TestKeyLengths: which keys an SA may have, in bits. They are not those that REGISTER tells of.
func TestKeyLengths(t *testing.T) {
	const none = -1
	for _, test := range []struct {
		name         string
		encrypt      wire.AlgID
		auth         wire.AlgID
		takes, other []int
	}{
		{"null", wire.EncNull, 0, []int{0}, []int{none, 8, 128}},
		{"des", wire.EncDESCBC, 0, []int{64, 57}, []int{0, none, 56, 65, 128}},
		{"3des", wire.Enc3DESCBC, 0, []int{192}, []int{64, 128, 184, 200}},
		{"cast128", wire.EncCAST128CBC, 0, []int{40, 64, 128}, []int{32, 136}},
		{"blowfish", wire.EncBlowfishCBC, 0, []int{40, 128, 448}, []int{456}},
		{"aes", wire.EncAESCBC, 0, []int{128, 192, 256, 121}, []int{120, 136, 160, 224, 264}},
		{"aes-ctr", wire.EncAESCTR, 0, []int{160, 224, 288}, []int{128, 192, 256, 296}},
		{"camellia", wire.EncCamelliaCBC, 0, []int{128, 192, 256}, []int{120, 160, 200, 264}},
		{"serpent", wire.EncSerpentCBC, 0, []int{128, 192, 256}, []int{264}},
		{"twofish", wire.EncTwofishCBC, 0, []int{128, 192, 256}, []int{120, 160, 200, 264}},
		{"md5", 0, wire.AuthMD5HMAC, []int{none, 1, 128, 800}, []int{0}},
		{"sha1", 0, wire.AuthSHA1HMAC, []int{none, 1, 160, 800}, []int{0}},
		{"sha256", 0, wire.AuthSHA256HMAC, []int{none, 1, 256, 800}, []int{0}},
		{"xcbc", 0, wire.AuthAESXCBCMAC, []int{128, 192, 256}, []int{0, none, 120, 136, 160, 264}},
		{"no authentication", 0, wire.AuthNull, []int{none, 0, 128}, nil},
	} {
		h := newHost(t, engine.Options{})
		spi := wire.SPI(0x1000)
		add := func(bits int) wire.Errno {
			spi++
			if test.auth != 0 {
				return h.errno(h.keyed(spi, wire.EncNull, 0, test.auth, bits))
			}
			return h.errno(h.keyed(spi, test.encrypt, bits, 0, none))
		}
		for _, bits := range test.takes {
			if got := add(bits); got != wire.OK {
				t.Errorf("%s, %d bits: %v", test.name, bits, got)
			}
		}
		for _, bits := range test.other {
			if got := add(bits); got != wire.EINVAL {
				t.Errorf("%s, %d bits: %v, want EINVAL", test.name, bits, got)
			}
		}
	}
}

// TestEveryAlgorithm sends a packet from one host to the other with each.
func TestEveryAlgorithm(t *testing.T) {
	for _, test := range []struct {
		name        string
		encrypt     wire.AlgID
		encryptBits int
		auth        wire.AlgID
		authBits    int
	}{
		{"des", wire.EncDESCBC, 64, wire.AuthMD5HMAC, 128},
		{"3des", wire.Enc3DESCBC, 192, wire.AuthSHA1HMAC, 160},
		{"cast128", wire.EncCAST128CBC, 128, wire.AuthSHA256HMAC, 256},
		{"blowfish", wire.EncBlowfishCBC, 448, wire.AuthSHA384HMAC, 384},
		{"aes", wire.EncAESCBC, 256, wire.AuthSHA512HMAC, 512},
		{"aes-ctr", wire.EncAESCTR, 288, wire.AuthRIPEMD160HMAC, 160},
		{"camellia", wire.EncCamelliaCBC, 192, wire.AuthAESXCBCMAC, 128},
		{"serpent", wire.EncSerpentCBC, 256, wire.AuthNull, 0},
		{"twofish", wire.EncTwofishCBC, 128, 0, -1},
		{"null", wire.EncNull, 0, wire.AuthSHA1HMAC, 160},
	} {
		t.Run(test.name, func(t *testing.T) {
			near, far := newHost(t, engine.Options{}), newPeer(t)
			near.must(near.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer,
				req: transport(protoESP)}))
			for _, h := range []*host{near, far} {
				h.must(h.keyed(0x1000, test.encrypt, test.encryptBits, test.auth, test.authBits))
			}
			pkt := datagram(me, peer)
			v := near.outbound(pkt)
			if v.Kind != packet.Transmitted {
				t.Fatalf("%v %q", v.Kind, v.Counter)
			}
			if clear := bytes.Contains(v.Inner, pkt[20:]); clear != (test.encrypt == wire.EncNull) {
				t.Errorf("the payload can be read: %v", clear)
			}
			if got := far.inbound(v.Inner); got.Kind != packet.Delivered || cmp.Diff(pkt, got.Inner) != "" {
				t.Errorf("%v %q", got.Kind, got.Counter)
			}
		})
	}
}
