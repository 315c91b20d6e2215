package linux_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// FuzzConversation plays a row of messages, packets and steps of time, whatever they are: nothing may panic, every
// message that comes back must be well formed, and after a flush nothing may be left.
//
// Each item is a byte that says what it is, two bytes of length, and its bytes.
func FuzzConversation(f *testing.F) {
	h := newHost(f, engine.Options{})
	item := func(what byte, b []byte) []byte {
		return append(binary.BigEndian.AppendUint16([]byte{what}, uint16(len(b))), b...)
	}
	limits := &wire.Lifetime{Allocations: 1, AddTime: 2}
	f.Add(slices.Concat(item(0, h.getSPI(0x1000)),
		item(0, h.sa(association{typ: wire.MsgUpdate, spi: 0x1000, hard: limits})), item(2, h.sealed(0x1000, 1)),
		item(2, h.sealed(0x1000, 2)), item(4, []byte{40}), item(1, h.bare(wire.MsgDump, 0))))
	f.Add(slices.Concat(item(1, h.bare(wire.MsgRegister, 3)),
		item(0, h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer, req: transport(protoESP)})),
		item(3, datagram(me, peer)), item(0, h.bare(wire.KAMEMsgXSPDDump, 0)), item(4, []byte{200})))
	f.Add(slices.Concat(item(0, h.sa(association{spi: 5, mode: 2})),
		item(0, h.policy(wire.KAMEMsgXSPDUpdate, policy{out: true, src: me, dst: peer,
			req: tunnel(protoESP, me, peer)})),
		item(0, h.policy(wire.LinuxMsgXMigrate, policy{out: true, src: me, dst: peer,
			req: append(tunnel(protoESP, me, peer), tunnel(protoESP, me, third)...)})),
		item(0, h.bare(wire.MsgFlush, 0))))
	f.Add(slices.Concat(item(0, h.sa(association{satype: wire.SATypeIPComp, spi: 9})),
		item(1, h.bare(wire.MsgXPromisc, 1)), item(0, h.sa(association{spi: 7, natt: 2})),
		item(0, h.sa(association{typ: wire.MsgDelete, spi: 7}))))
	f.Fuzz(func(t *testing.T, data []byte) {
		h := newHost(t, engine.Options{Tunables: map[string]string{"net.core.rmem_default": "9000"}})
		second := h.open()
		for len(data) >= 3 {
			what, n := data[0]%5, min(int(binary.BigEndian.Uint16(data[1:])), len(data)-3)
			b := data[3 : 3+n]
			data = data[3+n:]
			switch what {
			case 0, 1:
				[]pfkey.Socket{h.s, second}[what].Send(b, privileged)
			case 2:
				h.inbound(b)
			case 3:
				h.outbound(b)
			case 4:
				if n > 0 {
					h.e.Advance(h.e.Now().Add(time.Duration(b[0]) * 100 * time.Millisecond))
				}
			}
			if n%3 == 0 {
				continue // they pile up
			}
			for _, s := range []pfkey.Socket{h.s, second} {
				for _, m := range read(s) {
					h.wellFormed(m)
				}
			}
		}
		atRest(t, h.e)
		h.send(h.bare(wire.MsgFlush, 0))
		h.send(h.bare(wire.KAMEMsgXSPDFlush, 0))
		read(h.s)
		read(second)
		if st := h.e.Status(0); st.SACount != 0 || len(st.SAs) != 0 || len(st.Acquires) != 0 {
			t.Errorf("after FLUSH: %d SAs, acquires %v", st.SACount, st.Acquires)
		}
		if _, ok := h.e.Next(); ok {
			t.Error("a timer is set though nothing is left")
		}
	})
}

// wellFormed checks a message that a socket has received, unless it is a client's own that promiscuous sockets see, or
// a policy with templates of two families, whose length is wrong in the original too.
func (h *host) wellFormed(m []byte) {
	hdr, err := h.d().Header(m)
	if err != nil {
		h.t.Errorf("%d bytes", len(m))
		return
	}
	switch hdr.Type {
	case wire.MsgAcquire, wire.MsgExpire, wire.MsgGetSPI, wire.MsgDump, wire.KAMEMsgXNATTNewMapping:
	default:
		return
	}
	if h.promiscuous() {
		return
	}
	if err := h.d().Validate(m); err != nil {
		h.t.Errorf("%s: %v", h.d().Line(m), err)
	}
}

// promiscuous says whether any socket is.
func (h *host) promiscuous() bool {
	for _, s := range h.e.Status(1).Sockets {
		if slices.Contains(s.Flags, "promisc") {
			return true
		}
	}
	return false
}
