package illumos

import (
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// fanOut hands FLUSH and DUMP to one consumer, or to all of them for SA type 0. What they say comes up as they say it,
// but of their closing answers only the last is delivered; keysock_do_flushdump.
func (k *Kernel) fanOut(r *request) {
	consumers := k.consumers()
	over := consumers[:]
	if r.hdr.SAType != wire.SATypeUnspec {
		p := k.consumer(r.hdr.SAType)
		if p == nil {
			k.fail(r, einval(wire.IllumosDiagUnknownSAType))
			return
		}
		over = []*protocol{p}
	}
	if r.hdr.Type == wire.MsgDump {
		if k.noRoomForDump(r.sender) {
			k.fail(r, noMemory)
			return
		}
		k.startDump(over, r)
		return
	}
	for _, p := range over {
		k.countFor(p, keysockIn, 1)
		for _, f := range p.families() {
			f.flush(dropLarvalTimeout)
		}
	}
	k.passUp(k.d.AppendHeader(nil, r.hdr), r.sender, fromConsumer)
}

// orphan is how a faulty kernel flushes a LARVAL: it is unlinked and still says LARVAL, so a packet that holds it goes
// onto its queue, and is dropped when it lets go.
func (k *Kernel) orphan(s *sa, c dropCause) {
	s.unlink()
	s.orphaned.Store(true)
	k.endHeld(k.fault.Take(&s.SA), c)
}

// flush empties a family: outbound SAs, inbound ones whatever their state, acquire records. Nobody is told with an
// EXPIRE.
func (f *family) flush(c dropCause) {
	k := f.p.k
	for _, t := range []*table{&f.out, &f.in} {
		for s := range t.all {
			if k.fault != sadb.NoFault && s.State() == sadb.Larval {
				k.orphan(s, c)
				continue
			}
			k.kill(s, c)
		}
	}
	if c == dropLarvalTimeout {
		c = dropAcquireTimeout
	}
	k.flushAcquires(f, c)
}
