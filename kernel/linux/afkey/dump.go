package afkey

import (
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// dump is a DUMP that has not come to its end. One message is always held back, because the last one says that it is
// the last.
type dump struct {
	each  func(f func() bool) (done bool)                // goes on with what is to be shown, see [transform.Walk]
	make  func(seq uint32) (m message, errno wire.Errno) // of the one that each has come to
	close func()
	ended bool // none is left
	seq   uint32
	held  *message
}

// typicalSA is how many bytes a message that describes an SA mostly has at most.
const typicalSA = 320

// dump handles DUMP.
func (k *Manager) dump(r *request) wire.Errno {
	if r.sender.dump != nil {
		return wire.EBUSY
	}
	proto, ok := protoOf(r.hdr.SAType)
	if !ok {
		return wire.EINVAL
	}
	f, ok := k.filterOf(r)
	if !ok {
		return wire.EINVAL
	}
	h, memory := resultHeader(r), &engine.Arena{}
	return k.startDump(r.sender, dumpOf(k.transforms.Walk(proto, f),
		func(s *transform.State, seq uint32) (message, wire.Errno) {
			if !showable(s) {
				return message{}, wire.EINVAL
			}
			h.Seq = wire.Seq(seq)
			b := memory.Message(typicalSA, func(b []byte) []byte {
				return k.appendSA(b, h, s, showHard|showSoft, true)
			})
			return message{bytes: b, size: len(b)}, wire.OK
		}))
}

// dumpOf is a DUMP of what a walk comes to.
func dumpOf[T any](w transform.Walk[T], make func(v *T, seq uint32) (message, wire.Errno)) *dump {
	var now *T
	return &dump{
		close: w.Close,
		each: func(f func() bool) bool {
			return w.Each(func(v *T) bool {
				now = v
				return f()
			})
		},
		make: func(seq uint32) (message, wire.Errno) { return make(now, seq) },
	}
}

// filterOf reads X_FILTER; one that lets everything through if there is none.
func (k *Manager) filterOf(r *request) (f transform.Filter, ok bool) {
	if !r.has(wire.LinuxExtXFilter) {
		return f, true
	}
	v, _ := k.d.ParseFilter(r.ext[wire.LinuxExtXFilter])
	return transform.Filter{V4: v.Family == k.d.AFInet, V6: v.Family == k.d.AFInet6,
		Src: v.Src, Dst: v.Dst, SrcBits: v.SrcPrefix, DstBits: v.DstPrefix}, v.SrcPrefix <= 128 && v.DstPrefix <= 128
}

func (k *Manager) startDump(c *client, d *dump) wire.Errno {
	c.dump = d
	return k.goOn(c)
}

// roomForDump tells whether another message of a DUMP may go into the receive queue.
func (c *client) roomForDump() bool { return 3*c.s.Queued() <= 2*c.recvBuf }

// goOn goes on with a dump as far as there is room. The errno is that of the dump as a whole, when it has come to its
// end.
func (k *Manager) goOn(c *client) wire.Errno {
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
func (k *Manager) fill(d *dump, c *client) (full bool, errno wire.Errno) {
	if d.ended {
		return false, wire.OK
	}
	done := d.each(func() bool {
		if full = !c.roomForDump(); full {
			return false
		}
		var m message
		if m, errno = d.make(d.seq + 1); errno != wire.OK {
			return false
		}
		d.seq++
		if d.held != nil {
			k.broadcast(*d.held, toOne, c)
		}
		d.held = &m
		return true
	})
	if !done {
		return full, errno
	}
	d.ended = true
	if d.seq == 0 {
		errno = wire.ENOENT
	}
	return false, errno
}

// endDump gives an unfinished dump up.
func (c *client) endDump() {
	if c.dump != nil {
		c.dump.close()
		c.dump = nil
	}
}

// Reading implements [engine.Endpoint]: an unfinished dump goes on when the queue is down to a third.
func (c *client) Reading() {
	if c.dump != nil && 3*c.s.Queued() <= c.recvBuf {
		c.k.goOn(c)
	}
}
