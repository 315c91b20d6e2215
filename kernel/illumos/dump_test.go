package illumos_test

import (
	"slices"
	"testing"

	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A DUMP is one thing: what happens before it is read to its end is told behind it, and does not show in it.
func TestDumpIsWhole(t *testing.T) {
	const n = 2000 // more than is made ahead of the reader
	k := newTalk(t, engine.Options{Tunables: map[string]string{"keysock:max_buf": "1048576"}})
	add := func(spi wire.SPI) []byte {
		sa := change(espSA, func(v *wire.SA) { v.SPI = spi })
		return message(wire.MsgAdd, wire.SATypeESP, sa, src("192.0.2.2"), dst("192.0.2.1"), authExt, encryptExt)
	}
	for i := range n {
		k.must(add(wire.SPI(0x1000 + i)))
	}
	reader := openSocket(t, k.e)
	if errno := reader.SetOption(pfkey.OptionRecvBuffer, 1<<20); errno != wire.OK {
		t.Fatal(errno)
	}
	for _, msg := range [][]byte{message(wire.MsgRegister, wire.SATypeESP), message(wire.MsgDump, 0)} {
		if errno := reader.Send(msg, pfkey.Cred{Privileged: true}); errno != wire.OK {
			t.Fatal(errno)
		}
	}
	k.e.Kernel().(*illumos.Kernel).AlgorithmsChanged()
	k.must(add(0x10))
	k.must(message(wire.MsgDelete, wire.SATypeESP, change(espSA, func(v *wire.SA) { v.SPI = 0x1000 }), src("192.0.2.2"), dst("192.0.2.1")))
	var types []wire.MsgType
	shown := 0
	for _, m := range messages(reader) {
		h, err := d.Header(m)
		if err != nil {
			t.Fatal(err)
		}
		if x, ok := d.Find(m, wire.ExtSA); ok && h.Type == wire.MsgDump {
			v, _ := d.ParseSA(x.Raw)
			if shown++; v.SPI == 0x10 {
				t.Error("the DUMP shows an SA that was added behind it")
			}
		}
		types = append(types, h.Type)
	}
	if shown != n {
		t.Errorf("the DUMP shows %d SAs, want %d", shown, n)
	}
	types = slices.Compact(types)
	if want := []wire.MsgType{wire.MsgRegister, wire.MsgDump, wire.MsgRegister, wire.MsgAdd, wire.MsgDelete}; !slices.Equal(types, want) {
		t.Errorf("messages in the order %v, want %v", types, want)
	}
}
