package hostile_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/hostile"
	"github.com/pfkeyd/pfkeyd/wire"
)

func TestParse(t *testing.T) {
	_, err := hostile.Parse(strings.NewReader(`
# everything there is
seed 7
drop REGISTER
lost: drop ACQUIRE,EXPIRE events
errno ENOBUFS ADD times 1     # once
refuse EPERM *
strip LIFETIME_CURRENT GET after 2
add SA GET
add 77 UPDATE chance 50
more: add SA 00000000000000000000000000000000 GET
length SA DUMP 0
`), wire.Illumos())
	var syntax *hostile.SyntaxError
	if !errors.As(err, &syntax) || syntax.Line != 12 {
		t.Fatalf("%v, want an error of line 12", err)
	}
	_, err = hostile.Parse(strings.NewReader(`
drop REGISTER
lost: drop ACQUIRE,EXPIRE events
errno ENOBUFS ADD times 1     # once
refuse EPERM *
length SA 0 DUMP
add SA 0102 GET
add SA GET
`), wire.Illumos())
	if err == nil {
		t.Error("two faults have one name, and nobody says so")
	}
	script, err := hostile.Parse(
		strings.NewReader(
			"drop REGISTER\nlost: drop ACQUIRE,EXPIRE events\nlength SA 0 DUMP\nadd SA 0102 GET\nrefuse EPERM *"),
		wire.Illumos())
	if err != nil {
		t.Fatal(err)
	}
	names := slices.Sorted(maps.Keys(hostile.New(&scripted{}, script).Counters()))
	if d := cmp.Diff([]string{"add SA GET", "drop REGISTER", "length SA DUMP", "lost", "refuse EPERM *"},
		names); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, line := range []string{
		"frobnicate ADD", "drop", "drop NOTHING", "drop ADD sometimes", "drop ADD after", "drop ADD times 0",
		"drop ADD chance 101", "drop ADD chance 0",
		"drop ADD answers events", "delay ADD", "delay 0 ADD", "truncate", "strip ADD", "strip NOTHING ADD",
		"length SA ADD", "length SA 70000 ADD",
		"add SA xyz ADD", "errno ENOTHING ADD", "errno OK ADD", "refuse EPERM ADD events", ": drop ADD", "seed",
		"seed x", "seed 1 2", "pid x ADD", "full 0 ADD",
	} {
		_, err := hostile.Parse(strings.NewReader("\n"+line+"\n"), wire.Linux())
		var syntax *hostile.SyntaxError
		if !errors.As(err, &syntax) || syntax.Line != 2 {
			t.Errorf("%q: %v", line, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("seed 7\nx: add SA 00 GET after 1 times 2 chance 3\n")
	f.Add("length SA 0 DUMP answers")
	f.Fuzz(func(t *testing.T, text string) {
		script, err := hostile.Parse(strings.NewReader(text), wire.Linux())
		if err != nil {
			return
		}
		// Whatever the script is, a socket under it works.
		k := hostile.New(&scripted{answers: []string{"get", "get"}}, script)
		s, errno := k.Open(privileged, 3, 2)
		if errno != wire.OK {
			t.Fatal(errno)
		}
		s.Send(message(wire.MsgGet), privileged)
		buf := make([]byte, 4096)
		for range 20 {
			if _, _, errno := s.Recv(buf, 0); errno != wire.OK {
				break
			}
		}
		s.Close()
	})
}
