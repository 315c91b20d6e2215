package linux_test

import (
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestWhoHears: an answer to a question is for the one who asked; what has changed, everybody hears, and what the
// kernel has to say, who is registered.
func TestWhoHears(t *testing.T) {
	h := newHost(t, engine.Options{})
	h.must(h.sa(association{spi: 0x1000}))
	h.must(h.sa(association{spi: 0x1001}))
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{src: peer, dst: me, req: transport(protoESP)}))
	h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)}))
	other, registered := h.open(), h.open()
	registered.Send(h.bare(wire.MsgRegister, wire.SATypeAH), privileged)
	read(registered)
	h.drain()
	byID := func(typ wire.MsgType) []byte { // the first policy's
		return h.d().Finish(h.d().AppendPolicy(h.bare(typ, 0), wire.Policy{ID: 8}))
	}
	for _, test := range []struct {
		name                    string
		do                      func()
		sender, other, register int
	}{
		{"an error", func() { h.send(h.sa(association{typ: wire.MsgGet, spi: 0x9999})) }, 1, 0, 0},
		{"GETSPI", func() { h.send(h.getSPI(0x3000)) }, 1, 0, 0},
		{"GET", func() { h.send(h.sa(association{typ: wire.MsgGet, spi: 0x1000})) }, 1, 0, 0},
		{"DUMP", func() { h.send(h.bare(wire.MsgDump, 0)) }, 3, 0, 0},
		{"SPDGET", func() { h.send(byID(wire.KAMEMsgXSPDGet)) }, 1, 0, 0},
		{"SPDDUMP", func() { h.send(h.bare(wire.KAMEMsgXSPDDump, 0)) }, 2, 0, 0},
		{"ACQUIRE", func() { h.outbound(datagram(me, peer)) }, 0, 0, 1},
		{"REGISTER", func() { h.send(h.bare(wire.MsgRegister, 0)) }, 1, 0, 1},
		{"ADD", func() { h.send(h.sa(association{spi: 0x4000})) }, 1, 1, 1},
		{"UPDATE", func() { h.send(h.sa(association{typ: wire.MsgUpdate, spi: 0x4000})) }, 1, 1, 1},
		{"DELETE", func() { h.send(h.sa(association{typ: wire.MsgDelete, spi: 0x4000})) }, 1, 1, 1},
		{"SPDDELETE2", func() { h.send(byID(wire.KAMEMsgXSPDDelete2)) }, 1, 1, 1},
		{"SPDFLUSH", func() { h.send(h.bare(wire.KAMEMsgXSPDFlush, 0)) }, 2, 1, 1},
		{"SPDFLUSH of nothing", func() { h.send(h.bare(wire.KAMEMsgXSPDFlush, 0)) }, 1, 0, 0},
		{"FLUSH", func() { h.send(h.bare(wire.MsgFlush, 0)) }, 2, 1, 1},
		{"FLUSH of nothing", func() { h.send(h.bare(wire.MsgFlush, 0)) }, 1, 0, 0},
		{"X_PROMISC", func() { h.send(h.echo(32)) }, 1, 1, 1},
	} {
		test.do()
		if a, b, c := len(read(h.s)), len(read(other)), len(read(registered)); a != test.sender || b != test.other ||
			c != test.register {
			t.Errorf("%s: the sender heard %d messages, another one %d, a registered one %d; want %d, %d, %d",
				test.name, a, b, c, test.sender, test.other, test.register)
		}
	}
}

// TestOpenRefused: what is wrong with a call of socket() is found in this order.
func TestOpenRefused(t *testing.T) {
	h := newHost(t, engine.Options{})
	for _, test := range []struct {
		cred       pfkey.Cred
		typ, proto int
		want       wire.Errno
	}{
		{pfkey.Cred{}, 2, 0, wire.EPERM},
		{privileged, 2, 0, wire.ESOCKTNOSUPPORT},
		{privileged, 3, 0, wire.EPROTONOSUPPORT},
	} {
		if _, errno := h.e.Open(test.cred, test.typ, test.proto); errno != test.want {
			t.Errorf("type %d, protocol %d: %v, want %v", test.typ, test.proto, errno, test.want)
		}
	}
	if errno := h.s.SetOption(pfkey.OptionUnknown, 1); errno != wire.ENOPROTOOPT {
		t.Errorf("an unknown option: %v", errno)
	}
}

// TestSocketLimit: a client can open as many sockets as the kernel allows, and no more.
func TestSocketLimit(t *testing.T) {
	h := newHost(t, engine.Options{})
	const most = 1024
	for n := 1; n < most; n++ { // one is open already
		if _, errno := h.e.Open(privileged, 3, 2); errno != wire.OK {
			t.Fatalf("the %dth: %v", n+1, errno)
		}
	}
	if _, errno := h.e.Open(privileged, 3, 2); errno != wire.ENFILE {
		t.Errorf("one too many: %v", errno)
	}
	if _, errno := h.e.Open(privileged, 3, 1); errno != wire.EPROTONOSUPPORT {
		t.Errorf("one too many, of another protocol: %v", errno)
	}
}
