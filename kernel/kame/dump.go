package kame

import (
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/wire"
)

// dump shows all SAs of a type (key_api_dump, key_dump).
func (k *Kernel) dump(r *Request) wire.Errno {
	msgs := k.DumpSAs(r.Header.SAType, r.proto, r.Header.PID)
	if len(msgs) == 0 {
		return wire.ENOENT
	}
	k.answerDump(r, msgs)
	return wire.OK
}

// DumpSAs describes all SAs of a type, 0 for any, in messages whose numbers count down to 0.
func (k *Kernel) DumpSAs(t wire.SAType, proto uint8, pid uint32) (msgs [][]byte) {
	var all []*SA
	for h := range k.db.all {
		if t == wire.SATypeUnspec || h.Proto == proto {
			all = k.appendSAs(all, h)
		}
	}
	var arena engine.Arena
	for i, s := range all {
		h := wire.Header{Type: wire.MsgDump, Seq: wire.Seq(len(all) - 1 - i), PID: pid}
		msgs = append(msgs, arena.Message(room(s), func(b []byte) []byte { return k.appendSA(b, s, h) }))
	}
	return msgs
}

// maxQueued is how many bytes of DUMPs may wait in all sockets, a limit that the originals leave to memory.
const maxQueued = 1 << 30

// answerDump delivers the messages of a DUMP. Those that find no room are overwritten.
func (k *Kernel) answerDump(r *Request, msgs [][]byte) {
	defer func() {
		for _, m := range msgs {
			k.e.Forget(m)
		}
	}()
	if _, queued := k.e.Queued(); queued > maxQueued {
		r.sent = wire.ENOBUFS
		return
	}
	r.sent = k.page.SendDump(k, r, msgs)
}

// SendChain is a SendDump: if the socket has any room it gets all, and nobody else does.
func SendChain(_ *Kernel, r *Request, msgs [][]byte) wire.Errno {
	c := r.sender
	if c.space() <= 0 || c.deaf {
		return wire.ENOBUFS
	}
	for _, m := range msgs {
		c.deliver(parcel{m, c.k.page.Buffers.Made(len(m)), true})
	}
	return wire.OK
}

// SendEach is a SendDump: each message by itself, to promiscuous sockets too. What finds no room is lost.
func SendEach(k *Kernel, r *Request, msgs [][]byte) wire.Errno {
	for _, m := range msgs {
		k.sendUp(ToOne, r.sender, parcel{msg: m, memory: k.page.Buffers.Made(len(m))})
	}
	return wire.OK
}

// SysctlDump reads the SAs of a type by sysctl, name is dumpsa, or the policies, dumpsp: messages as a DUMP has them,
// with nobody's pid. ENOENT if there are none, EINVAL for an SA type without SAs. The control lock must not be held.
func (k *Kernel) SysctlDump(name string, satype int64) (msgs [][]byte, errno wire.Errno) {
	k.e.Do(func() {
		if name == "dumpsp" {
			msgs = k.DumpPolicies(0)
		} else {
			t := k.d.SAType(uint8(satype))
			proto, ok := k.page.Protos[t]
			if !ok && t != wire.SATypeUnspec || satype != int64(uint8(satype)) {
				errno = wire.EINVAL
				return
			}
			msgs = k.DumpSAs(t, proto, 0)
		}
		if len(msgs) == 0 {
			errno = wire.ENOENT
		}
	})
	return msgs, errno
}
