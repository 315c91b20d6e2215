package netbsd_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// An SA that was used in the very second in which the kernel started was used: the end of its soft limit is told.
func TestUseInTheFirstSecond(t *testing.T) {
	s := boot(t)
	s.ask(s.message(wire.MsgRegister, wire.SATypeESP))
	s.ask(s.message(wire.KAMEMsgXSPDAdd, wire.SATypeUnspec, s.policy(wire.KAMEPolicyIPsec, espTransport), s.ends(2)))
	s.ask(s.message(wire.MsgAdd, wire.SATypeESP,
		s.d.AppendSA(nil, wire.SA{SPI: 0x1000, Auth: wire.AuthSHA1HMAC, Encrypt: wire.EncAESCBC}), s.ends(2),
		s.d.AppendKey(nil, wire.ExtKeyAuth, wire.Key{Bits: 160, Data: []byte("a HMAC-SHA1 key, 20.")}),
		s.d.AppendKey(nil, wire.ExtKeyEncrypt, wire.Key{Bits: 128, Data: []byte("an AES key of 16")}),
		s.d.AppendLifetime(nil, wire.ExtLifetimeHard, wire.Lifetime{AddTime: 20}),
		s.d.AppendLifetime(nil, wire.ExtLifetimeSoft, wire.Lifetime{AddTime: 10})))
	var got packet.Verdict
	s.e.Outbound(&packet.Packet{Data: pfkeytest.UDP("192.0.2.1:9", "192.0.2.2:9", "hello"),
		Done: func(_ *packet.Packet, v packet.Verdict) { got = v }}, "")
	if got.Kind != packet.Transmitted {
		t.Fatalf("the packet: %+v", got)
	}
	s.e.Advance(s.e.Now().Add(12 * time.Second))
	told := strings.Join(s.lines(s.read(s.s)), "\n")
	if !strings.HasPrefix(told, "EXPIRE esp") || !strings.Contains(told, "spi=0x1000 state=dying") {
		t.Errorf("the kernel tells %q", told)
	}
}
