package linux

import (
	"github.com/pfkeyd/pfkeyd/engine"
	"github.com/pfkeyd/pfkeyd/wire"
)

// dump is a DUMP that has not come to its end. One message is always held back, because the last one says that it is
// the last.
type dump struct {
	list *list
	// its place in the list while it waits, before the next one to show; nil at first, and when none is left
	at    *node
	ended bool // none is left
	seq   uint32
	held  *message
	shows func(n *node) bool
	make  func(n *node, seq uint32) (message, wire.Errno)
}

// typicalSA is how many bytes a message that describes an SA mostly has at most.
const typicalSA = 320

// dump handles DUMP.
func (k *Kernel) dump(r *request) wire.Errno {
	if r.sender.dump != nil {
		return wire.EBUSY
	}
	proto, ok := protoOf(r.hdr.SAType)
	if !ok {
		return wire.EINVAL
	}
	var f wire.Filter // lets everything through
	if r.has(wire.LinuxExtXFilter) {
		if f, _ = k.d.ParseFilter(r.ext[wire.LinuxExtXFilter]); f.SrcPrefix > 128 || f.DstPrefix > 128 {
			return wire.EINVAL
		}
	}
	h, memory := resultHeader(r), &engine.Arena{}
	return k.startDump(&dump{
		list:  &k.states.all,
		shows: func(n *node) bool { return protoMatches(n.s.proto, proto) && k.filtered(&f, n.s) },
		make: func(n *node, seq uint32) (message, wire.Errno) {
			if !n.s.showable() {
				return message{}, wire.EINVAL
			}
			h.Seq = wire.Seq(seq)
			b := memory.Message(typicalSA, func(b []byte) []byte { return k.appendNow(b, h, n.s, true) })
			return message{bytes: b, size: len(b)}, wire.OK
		},
	}, r.sender)
}

// filtered tells whether the filter lets an SA through. Addresses are compared as the raw bits that they are.
func (k *Kernel) filtered(f *wire.Filter, s *sa) bool {
	if f.Family == k.d.AFInet && s.v6() || f.Family == k.d.AFInet6 && !s.v6() {
		return false
	}
	return rawPrefix(raw(s.src), f.Src, f.SrcPrefix) && rawPrefix(raw(s.dst), f.Dst, f.DstPrefix)
}

func (k *Kernel) startDump(d *dump, c *client) wire.Errno {
	c.dump = d
	return k.goOn(c)
}

// roomForDump tells whether another message of a DUMP may go into the receive queue.
func (c *client) roomForDump() bool { return 3*c.s.Queued() <= 2*c.recvBuf }

// goOn goes on with a dump as far as there is room. The errno is that of the dump as a whole, when it has come to its
// end.
func (k *Kernel) goOn(c *client) wire.Errno {
	d := c.dump
	full, errno := k.fill(d, c)
	if full || d.held != nil && !c.roomForDump() {
		return wire.OK
	}
	if d.held != nil {
		h, _ := k.d.Header(d.held.bytes)
		h.Seq, h.Errno = 0, 0
		if errno != wire.OK {
			h.Errno = -k.d.ErrnoNumber(errno) // the original forgets that its own errors are negative
		}
		k.d.PutHeader(d.held.bytes, h)
		k.broadcast(*d.held, toOne, c)
	}
	c.endDump()
	return errno
}

// fill delivers messages, all but the last, until there is no room for more (full), no more to show, or one that cannot
// be shown.
func (k *Kernel) fill(d *dump, c *client) (full bool, errno wire.Errno) {
	if d.ended {
		return false, wire.OK
	}
	stopped := d.list.each(d.at, func(n *node) bool {
		if !d.shows(n) {
			return true
		}
		if full = !c.roomForDump(); full {
			return false
		}
		var m message
		if m, errno = d.make(n, d.seq+1); errno != wire.OK {
			return false
		}
		d.seq++
		if d.held != nil {
			k.broadcast(*d.held, toOne, c)
		}
		d.held = &m
		return true
	})
	d.leave()
	if stopped != nil {
		d.at = &node{}
		insertAfter(stopped.prev, d.at)
		return full, errno
	}
	d.ended = true
	if d.seq == 0 {
		errno = wire.ENOENT
	}
	return false, errno
}

// leave takes the dump's place out of the list.
func (d *dump) leave() {
	if d.at != nil {
		d.list.remove(d.at)
		d.at = nil
	}
}

// endDump gives an unfinished dump up.
func (c *client) endDump() {
	if c.dump != nil {
		c.dump.leave()
		c.dump = nil
	}
}

// Reading implements [engine.Kernel]: an unfinished dump goes on when the queue is down to a third.
func (k *Kernel) Reading(s *engine.Socket) {
	if c := clientOf(s); c.dump != nil && 3*s.Queued() <= c.recvBuf {
		k.goOn(c)
	}
}
