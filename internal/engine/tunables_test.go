package engine_test

import (
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/wire"
)

func newTunables(values map[string]string) (*engine.Tunables, error) {
	return engine.NewTunables(values,
		engine.Module{Name: "ah", Rows: []engine.Tunable{
			{Name: "interval", Min: 1, Max: 100, Default: 8}, {Name: "delay", Min: 1, Max: 10, Default: 1}}},
		engine.Module{Name: "esp", Rows: []engine.Tunable{{Name: "interval", Min: 1, Max: 50, Default: 8}}},
		engine.Module{Rows: []engine.Tunable{{Name: "net.size", Min: 0, Max: 1<<32 - 1, Default: 4096}}})
}

func TestTunables(t *testing.T) {
	tun, err := newTunables(map[string]string{"esp:interval": "50", "net/size": "0xffffffff", "delay": "7"})
	if err != nil {
		t.Fatal(err)
	}
	is := func(what string, want ...int64) {
		t.Helper()
		for i, n := range want {
			if got := tun.Get(i); got != n {
				t.Errorf("%s: value %d is %d, want %d", what, i, got, n)
			}
		}
	}
	is("at first", 8, 7, 50, 1<<32-1)
	for _, put := range []struct {
		name  string
		value int64
		errno wire.Errno
	}{
		{"interval", 51, wire.EINVAL}, // too much for one of the two
		{"interval", 20, wire.OK},
		{"ah:interval", 100, wire.OK},
		{"net.size", -1, wire.EINVAL},
		{"net.size", 0, wire.OK},
		{"size", 1, wire.ENOENT},
		{"esp:delay", 1, wire.ENOENT},
	} {
		if errno := tun.Put(put.name, put.value); errno != put.errno {
			t.Errorf("%s=%d: %v, want %v", put.name, put.value, errno, put.errno)
		}
	}
	is("then", 100, 7, 20, 0)
}

func TestTunableErrors(t *testing.T) {
	for _, tt := range []struct{ name, value, want string }{
		{"colour", "1", `unknown tunable "colour" (known: interval, ah:delay, net.size)`},
		{"interval", "51", `tunable interval: "51" is not a number from 1 to 50`},
		{"net.size", "many", `tunable net.size: "many" is not a number from 0 to 4294967295`},
		{"net.size", "4294967296", `tunable net.size: "4294967296" is not a number from 0 to 4294967295`},
	} {
		// Of several errors that of the first name is told.
		_, err := newTunables(map[string]string{tt.name: tt.value, "zebra": "1"})
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s=%s: %v, want %s", tt.name, tt.value, err, tt.want)
		}
	}
}
