package openbsd_test

import (
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/openbsd"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestOptions: what a socket has, what can be set, and what cannot.
func TestOptions(t *testing.T) {
	h := boot(t)
	const unknown = pfkey.Option(99)
	for o, want := range map[pfkey.Option]int{pfkey.OptionType: 3, pfkey.OptionRecvBuffer: 8192,
		pfkey.OptionSendBuffer: 8192, pfkey.OptionReadable: 0} {
		if v, errno := h.s.GetOption(o); v != want || errno != wire.OK {
			t.Errorf("option %v: %d, %v", o, v, errno)
		}
	}
	if _, errno := h.s.GetOption(unknown); errno != wire.ENOPROTOOPT {
		t.Errorf("an option that is none: %v", errno)
	}
	for _, c := range []struct {
		option      pfkey.Option
		value, then int
		want        wire.Errno
	}{
		{pfkey.OptionRecvBuffer, 0, 1, wire.OK}, {pfkey.OptionRecvBuffer, -5, 1, wire.OK},
		{pfkey.OptionRecvBuffer, 2 << 20, 2 << 20, wire.OK}, {pfkey.OptionRecvBuffer, 2<<20 + 1, 2 << 20, wire.ENOBUFS},
		{pfkey.OptionSendBuffer, 24, 24, wire.OK}, {pfkey.OptionType, 1, 3, wire.ENOPROTOOPT},
		{pfkey.OptionReadable, 1, 0, wire.ENOPROTOOPT},
	} {
		errno := h.s.SetOption(c.option, c.value)
		if v, _ := h.s.GetOption(c.option); errno != c.want || v != c.then {
			t.Errorf("option %v = %d: %v, then %d", c.option, c.value, errno, v)
		}
	}
	if got := h.says(h.add(association{spi: 0x1000})); got != "send: EMSGSIZE" {
		t.Errorf("more than the send buffer: %s", got)
	}
}

// TestSockets: there is a limit, and a socket that is closed makes room.
func TestSockets(t *testing.T) {
	h := boot(t)
	var last pfkey.Socket
	for range 1023 {
		last = h.open()
	}
	if _, errno := h.e.Open(superuser, 3, 2); errno != wire.ENOBUFS {
		t.Errorf("one too many: %v", errno)
	}
	last.Close()
	h.open()
}

// TestTunables: knobs at the start and later, and what is wrong with some.
func TestTunables(t *testing.T) {
	h := bootWith(t, engine.Options{Tunables: map[string]string{"net.inet.ip.ipsec-invalid-life": "7"}})
	if v, errno := h.k.Sysctl("net.inet.ip.ipsec-invalid-life"); v != 7 || errno != wire.OK {
		t.Errorf("%d, %v", v, errno)
	}
	if _, errno := h.k.Sysctl("net.inet.ip.forwarding"); errno != wire.ENOENT {
		t.Errorf("read: %v", errno)
	}
	if errno := h.k.SetSysctl("net.inet.ip.forwarding", 1); errno != wire.ENOENT {
		t.Errorf("written: %v", errno)
	}
	if errno := h.k.SetSysctl("net.inet.esp.udpencap_port", 65536); errno != wire.EINVAL {
		t.Errorf("out of bounds: %v", errno)
	}
	for name, o := range map[string]engine.Options{
		"tunable": {Tunables: map[string]string{"net.inet.ip.forwarding": "1"}},
		"value":   {Tunables: map[string]string{"net.inet.esp.enable": "yes"}},
		"fault":   {Fault: "larval-window"},
		"nothing": {Fault: "no-such-fault"},
	} {
		if _, err := engine.New("openbsd", o, func(e *engine.Engine) (engine.Kernel, error) {
			return openbsd.New(e, o)
		}); err == nil {
			t.Errorf("a wrong %s is taken", name)
		}
	}
}

// TestProtocolsForbidden: of a protocol that a knob forbids there are no SAs.
func TestProtocolsForbidden(t *testing.T) {
	h := boot(t)
	for name, satype := range map[string]wire.SAType{"net.inet.esp.enable": wire.SATypeESP,
		"net.inet.ah.enable": wire.SATypeAH, "net.inet.ipcomp.enable": wire.SATypeIPComp} {
		h.set(name, 0)
		if got := h.says(h.getSPI(satype, 0x1000, 0x1000)); got != "EOPNOTSUPP" {
			t.Errorf("%s: %s", name, got)
		}
		h.set(name, 1)
		if got := h.says(h.getSPI(satype, 0x1000, 0x1000)); got != "OK" {
			t.Errorf("%s again: %s", name, got)
		}
	}
}

// TestRDomains: a process may only enter a routing domain that there is, and its sockets stay where they were opened.
func TestRDomains(t *testing.T) {
	h := boot(t)
	for _, n := range []int{1, -1} {
		if errno := h.k.EnterRDomain(superuser.PID, n); errno != wire.EINVAL {
			t.Errorf("domain %d: %v", n, errno)
		}
	}
	h.k.AddRDomains(2)
	h.k.AddRDomains(1) // they never go
	if errno := h.k.EnterRDomain(superuser.PID, 2); errno != wire.OK {
		t.Fatal(errno)
	}
	second := h.open()
	h.must(h.add(association{spi: 0x1000}))
	if got := takeAll(second); len(got) != 0 {
		t.Error("it is heard of in another domain")
	}
	if errno := second.Send(h.add(association{spi: 0x1000}), superuser); errno != wire.OK || len(takeAll(second)) != 1 {
		t.Errorf("the same SA in the other domain: %v", errno)
	}
	if st := h.e.Status(0); len(st.SAs) != 2 {
		t.Errorf("%d SAs", len(st.SAs))
	}
	if errno := h.k.EnterRDomain(superuser.PID, 0); errno != wire.OK {
		t.Fatal(errno)
	}
	third := h.open()
	h.must(h.bare(wire.MsgFlush, wire.SATypeUnspec))
	if len(takeAll(third)) != 1 || h.e.Status(0).SACount != 1 {
		t.Error("the process is not back")
	}
	for name, want := range map[int]int{0: 0, 2: 1} {
		if msgs, _, errno := h.k.SysctlDump("sadb", 0, name); errno != wire.OK || len(msgs) != want {
			t.Errorf("domain %d: %d SAs, %v", name, len(msgs), errno)
		}
	}
	if _, _, errno := h.k.SysctlDump("sadb", 0, 3); errno != wire.ENOENT {
		t.Errorf("a domain that is none: %v", errno)
	}
}
