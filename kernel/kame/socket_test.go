package kame_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

var bootOptions engine.Options

// TestOpenErrors: what socket(2) says, the first fault first.
func TestOpenErrors(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		for _, c := range []struct {
			cred       pfkey.Cred
			typ, proto int
			want       wire.Errno
		}{
			{superuser, 2, 0, wire.EPROTOTYPE}, {superuser, 2, 2, wire.EPROTONOSUPPORT},
			{superuser, 3, 7, wire.EPROTONOSUPPORT}, {pfkey.Cred{}, 3, 7, wire.EPROTONOSUPPORT},
			{pfkey.Cred{}, 2, 0, wire.EPROTOTYPE}, {pfkey.Cred{}, 3, 2, wire.EPERM}, {superuser, 3, 0, wire.OK},
		} {
			s, errno := h.e.Open(c.cred, c.typ, c.proto)
			if errno != c.want {
				t.Errorf("type %d, protocol %d: %v, want %v", c.typ, c.proto, errno, c.want)
			}
			if s != nil {
				s.Close()
			}
		}
	})
}

// TestOptions: what a socket has, what can be set, and what cannot.
func TestOptions(t *testing.T) {
	for heir, most := range map[string]int{"netbsd": 209715, "freebsd": 1864135} {
		t.Run(heir, func(t *testing.T) {
			h := boot(t, heir, bootOptions)
			recv := map[string]int{"netbsd": 16384, "freebsd": 8192}[heir]
			const unknown = pfkey.Option(99)
			for o, want := range map[pfkey.Option]int{pfkey.OptionType: 3, pfkey.OptionRecvBuffer: recv,
				pfkey.OptionSendBuffer: 8192, pfkey.OptionUseLoopback: 1, pfkey.OptionReadable: 0} {
				if v, errno := h.s.GetOption(o); v != want || errno != wire.OK {
					t.Errorf("option %v: %d, %v", o, v, errno)
				}
			}
			if _, errno := h.s.GetOption(unknown); errno != wire.ENOPROTOOPT {
				t.Errorf("an option that is none: %v", errno)
			}
			for _, c := range []struct {
				option pfkey.Option
				value  int
				want   wire.Errno
			}{
				{unknown, 1, wire.ENOPROTOOPT}, {pfkey.OptionType, 1, wire.ENOPROTOOPT},
				{pfkey.OptionRecvBuffer, 0, wire.EINVAL}, {pfkey.OptionRecvBuffer, most + 1, wire.ENOBUFS},
				{pfkey.OptionRecvBuffer, most, wire.OK}, {pfkey.OptionSendBuffer, 100, wire.OK},
				{pfkey.OptionUseLoopback, 0, wire.OK},
			} {
				if errno := h.s.SetOption(c.option, c.value); errno != c.want {
					t.Errorf("option %v = %d: %v, want %v", c.option, c.value, errno, c.want)
				}
			}
			got := map[pfkey.Option]int{}
			for _, o := range []pfkey.Option{pfkey.OptionRecvBuffer, pfkey.OptionSendBuffer,
				pfkey.OptionUseLoopback} {
				got[o], _ = h.s.GetOption(o)
			}
			if diff := cmp.Diff(map[pfkey.Option]int{pfkey.OptionRecvBuffer: most, pfkey.OptionSendBuffer: 100,
				pfkey.OptionUseLoopback: 0}, got); diff != "" {
				t.Errorf("then (-want +got)\n%s", diff)
			}
			long := make([]byte, 104)
			if errno := h.s.Send(long, superuser); errno != wire.EMSGSIZE {
				t.Errorf("more than the buffer: %v", errno)
			}
			if errno := pfkey.CallOn(h.s, pfkey.CallShutdown); errno != wire.OK {
				t.Error(errno)
			}
			if errno := h.s.Send(long, superuser); errno != wire.EPIPE {
				t.Errorf("after shutdown: %v", errno)
			}
			if errno := pfkey.CallOn(h.s, pfkey.Call(99)); errno != wire.EOPNOTSUPP {
				t.Errorf("a call that nobody knows: %v", errno)
			}
		})
	}
}

// TestModules: the one part that can be loaded, tunables that are there, and numbers of other bases.
func TestModules(t *testing.T) {
	onBoth(t, func(t *testing.T, h *machine) {
		if errno := h.k.LoadModule("nothing"); errno != wire.ENOENT {
			t.Errorf("no module: %v", errno)
		}
		h.k.SetSysctl(kame.TCPMD5, 0)
		if errno := h.k.LoadModule(kame.TCPMD5); errno != wire.OK {
			t.Error(errno)
		}
		if v, errno := h.k.Sysctl(kame.TCPMD5); v != 1 || errno != wire.OK {
			t.Errorf("%s = %d, %v", kame.TCPMD5, v, errno)
		}
		if _, errno := h.k.Sysctl("net.key.none"); errno != wire.ENOENT {
			t.Errorf("no tunable: %v", errno)
		}
	})
	for _, heir := range systems {
		o := engine.Options{Tunables: map[string]string{"net.key.larval_lifetime": "010"}}
		e, err := kernels.New(heir, o)
		if err != nil {
			t.Fatal(err)
		}
		if v, _ := e.Kernel().(*kame.Kernel).Sysctl("net.key.larval_lifetime"); v != 10 {
			t.Errorf("%s: 010 is %d", heir, v)
		}
	}
}
