package engine

import "github.com/pfkeyd/pfkeyd/wire"

// Audience is who hears a message. Promiscuous sockets hear every one once more.
type Audience int

// The audiences that kernels tell things to. Some have rules of their own beside them, or instead.
const (
	ToOne         Audience = iota // the sender of the request
	ToAll                         // every socket, the sender's included
	ToRegistered                  // every socket that has registered any SA type, and the sender if there is one
	ToPromiscuous                 // nobody else
)

// Hearers goes over the sockets that hear a message, in the order in which they get it: the others in the order of
// opening, each promiscuous one with its extra copy first, and the sender, if there is one, at last. It ends when hear
// returns false. The control lock is held.
func (e *Engine) Hearers(to Audience, sender *Socket, hear func(s *Socket, extra bool) bool) {
	if e.promiscuous == 0 && to == ToPromiscuous {
		return
	}
	if e.promiscuous != 0 || to != ToOne {
		for _, s := range e.sockets {
			if s.promisc && !hear(s, true) {
				return
			}
			in := to == ToAll || to == ToRegistered && s.registered != 0
			if in && s != sender && !hear(s, false) {
				return
			}
		}
	}
	if sender != nil {
		hear(sender, false)
	}
}

// Promiscuous returns how many sockets are. The control lock is held.
func (e *Engine) Promiscuous() int { return e.promiscuous }

// Registered returns how many sockets have registered any SA type. The control lock is held.
func (e *Engine) Registered() int { return e.registered }

// Promisc says whether the socket is promiscuous. The control lock is held.
func (s *Socket) Promisc() bool { return s.promisc }

// SetPromisc makes a socket promiscuous, or no more. The control lock is held.
func (s *Socket) SetPromisc(on bool) {
	if on == s.promisc {
		return
	}
	s.promisc = on
	s.e.promiscuous--
	if on {
		s.e.promiscuous += 2
	}
}

// Registered says whether the socket has registered an SA type. The control lock is held.
func (s *Socket) Registered(t wire.SAType) bool { return s.registered&s.bit(t) != 0 }

// RegisteredAny says whether it has registered any. The control lock is held.
func (s *Socket) RegisteredAny() bool { return s.registered != 0 }

// Register registers an SA type, whose number is below 64; others it leaves. The control lock is held.
func (s *Socket) Register(t wire.SAType) {
	had := s.registered != 0
	s.registered |= s.bit(t)
	if !had && s.registered != 0 {
		s.e.registered++
	}
}

// bit stands for an SA type among those that are registered.
func (s *Socket) bit(t wire.SAType) uint64 {
	n, _ := s.e.Dialect().SATypeNumber(t)
	return 1 << n
}

// hearNothing is the end of a socket: it is neither promiscuous nor registered.
func (s *Socket) hearNothing() {
	s.SetPromisc(false)
	if s.registered != 0 {
		s.e.registered--
		s.registered = 0
	}
}
