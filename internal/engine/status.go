package engine

import "github.com/pfkeyd/pfkeyd/kernel/status"

// Status reads the engine. At most limit SAs are listed, and as many ACQUIREs and policies; 0 means all, for programs
// that know how many there can be.
func (e *Engine) Status(limit int) status.Engine {
	e.lock()
	defer e.unlock()
	st := status.Engine{Kernel: e.name, Now: e.Now(), Virtual: e.clock == nil, SAs: []status.SA{},
		Acquires: []status.Acquire{}, Policies: []status.Policy{}, Sockets: []status.Socket{},
		Counters: map[string]uint64{}}
	if t, ok := e.timed.Next(); ok {
		st.Next = &t
	}
	for _, s := range e.sockets {
		st.Sockets = append(st.Sockets, s.describe())
	}
	e.kernel.Describe(&st, limit)
	st.Ledger = e.ledger.Balance()
	return st
}

// describe tells what is known of a socket.
func (s *Socket) describe() status.Socket {
	st := status.Socket{Number: s.number, PID: s.cred.PID, UID: s.cred.UID, Queued: s.Messages(),
		Bytes: s.bytes, Lost: s.lost}
	d := s.e.Dialect()
	for n := range uint8(64) {
		if t := d.SAType(n); s.Registered(t) {
			st.Registered = append(st.Registered, d.SATypeName(t))
		}
	}
	if s.promisc {
		st.Flags = append(st.Flags, "promisc")
	}
	if end, ok := s.end.(Flagged); ok {
		st.Flags = append(st.Flags, end.Flags()...)
	}
	return st
}
