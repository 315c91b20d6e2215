package pfkey_test

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A program of this machine and the kernel each see the other's messages as their own, and no other socket sees
// anything of it.
func TestAdoptHosted(t *testing.T) {
	kernel := wire.FreeBSD()
	h, err := wire.NewHosting(kernel, wire.Linux())
	if err != nil {
		t.Fatal(err)
	}
	program := h.Program()
	get := func(d *wire.Dialect, errno wire.Errno) []byte {
		msg := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgGet, Errno: d.ErrnoNumber(errno), Seq: 3})
		dst := wire.Address{Addr: netip.MustParseAddr("2001:db8::1")}
		return d.Finish(d.AppendAddress(msg, wire.ExtAddressDst, dst))
	}
	e := newFake()
	e.dialect = kernel
	var heard []byte
	e.request = func(s *fakeSocket, msg []byte, _ pfkey.Cred) pfkey.Errno {
		heard = bytes.Clone(msg)
		for _, x := range s.e.all() {
			x.deliver(get(kernel, wire.EOPNOTSUPP))
		}
		return wire.OK
	}
	s := newServer(t, e, pfkey.ServerOptions{})
	other, _ := attach(t, s)
	c, f := pair(t)
	conn, err := s.Adopt(f, owner, pfkey.AdoptOptions{Hosted: true})
	if err != nil {
		t.Fatal(err)
	}
	conn.Begin()
	msg := get(program, wire.OK)
	if errno := conn.Send(msg, 0); errno != wire.OK {
		t.Fatal(errno)
	}
	if !bytes.Equal(heard, get(kernel, wire.OK)) || !bytes.Equal(msg, get(program, wire.OK)) {
		t.Errorf("the kernel hears\n     %x\nwant %x\nof %x", heard, get(kernel, wire.OK), msg)
	}
	if got := c.recv(); !bytes.Equal(got, get(program, wire.EOPNOTSUPP)) {
		t.Errorf("the program hears\n     %x\nwant %x", got, get(program, wire.EOPNOTSUPP))
	}
	if got := other.recv(); !bytes.Equal(got, get(kernel, wire.EOPNOTSUPP)) {
		t.Errorf("another one hears\n     %x\nwant %x", got, get(kernel, wire.EOPNOTSUPP))
	}
}

func TestAdoptHostedRefuses(t *testing.T) {
	e := newFake()
	e.dialect = wire.Illumos()
	s := newServer(t, e, pfkey.ServerOptions{})
	_, f := pair(t)
	if _, err := s.Adopt(f, owner, pfkey.AdoptOptions{Hosted: true}); err == nil {
		t.Error("illumos' sockaddr_in6 is longer, and it is fine")
	}
}
