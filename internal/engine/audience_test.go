package engine_test

import (
	"slices"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Four sockets, opened in this order: one that sends, one that is registered, one that is promiscuous, and one that is
// nothing of it. What is told to an audience comes to them in the order of opening, and to the sender at last.
func TestAudiences(t *testing.T) {
	k, e := newFake(t, engine.Options{})
	sender := open(t, e)
	open(t, e)
	promisc := open(t, e)
	open(t, e)
	names := []string{"sender", "registered", "promisc", "plain"}
	hearers := func(to engine.Audience, from *engine.Socket) (heard []string) {
		e.Hearers(to, from, func(s *engine.Socket, extra bool) bool {
			name := names[s.Number()-1]
			if extra {
				name = "extra " + name
			}
			heard = append(heard, name)
			return true
		})
		return heard
	}
	var self *engine.Socket
	k.request = func(s *engine.Socket, _ []byte) { self = s }
	sender.Send(nil, root)
	check := func(what string, to engine.Audience, from *engine.Socket, want ...string) {
		t.Helper()
		if got := hearers(to, from); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	e.Do(func() {
		check("one", engine.ToOne, self, "sender")
		check("all", engine.ToAll, self, "registered", "promisc", "plain", "sender")
		check("registered, nobody is", engine.ToRegistered, self, "sender")
		check("promiscuous, nobody is", engine.ToPromiscuous, nil)
		e.Sockets()[1].Register(wire.SATypeAH)
		e.Sockets()[1].Register(wire.SATypeESP)
		e.Sockets()[2].SetPromisc(true)
		e.Sockets()[2].SetPromisc(true)
		check("one", engine.ToOne, self, "extra promisc", "sender")
		check("all, from nobody", engine.ToAll, nil, "sender", "registered", "extra promisc", "promisc", "plain")
		check("registered", engine.ToRegistered, self, "registered", "extra promisc", "sender")
		check("registered, from nobody", engine.ToRegistered, nil, "registered", "extra promisc")
		check("promiscuous", engine.ToPromiscuous, nil, "extra promisc")
		self.SetPromisc(true)
		check("one that is promiscuous", engine.ToOne, self, "extra sender", "extra promisc", "sender")
		self.SetPromisc(false)
		var first []uint64
		e.Hearers(engine.ToAll, self, func(s *engine.Socket, _ bool) bool {
			first = append(first, s.Number())
			return len(first) < 2
		})
		if !slices.Equal(first, []uint64{2, 3}) {
			t.Errorf("until the second: %v", first)
		}
		if s := e.Sockets()[1]; !s.Registered(wire.SATypeESP) || s.Registered(wire.SATypeUnspec) || s.Registered(200) ||
			!s.RegisteredAny() || self.RegisteredAny() {
			t.Error("what is registered is not what was")
		}
		if e.Registered() != 1 || e.Promiscuous() != 1 {
			t.Errorf("%d registered, %d promiscuous, want one of each", e.Registered(), e.Promiscuous())
		}
	})
	st := e.Status(0).Sockets
	if !slices.Equal(st[1].Registered, []string{"ah", "esp"}) || st[0].Registered != nil ||
		!slices.Equal(st[2].Flags, []string{"promisc"}) || st[1].Flags != nil {
		t.Errorf("status: %+v", st)
	}
	promisc.Close()
	e.Do(func() {
		if e.Promiscuous() != 0 {
			t.Error("a closed socket is promiscuous")
		}
		check("one", engine.ToOne, self, "sender")
	})
}
