package illumos_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/illumos"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// listener is an emulated illumos that only keeps the policy it is given; it is its own target and machine.
type listener struct {
	conform.Machine
	illumos.Emulated
	rules []spd.Rule
}

func (l *listener) Boot(*conform.Scenario, func(string, *packet.Packet)) (conform.Machine, error) {
	return l, nil
}
func (l *listener) Close()                 {}
func (l *listener) Dialect() *wire.Dialect { return wire.Illumos() }
func (l *listener) Own() any               { return l }

func (l *listener) AddPolicy(_ []spd.Tunnel, rules []spd.Rule) error {
	l.rules = append(l.rules, rules...)
	return nil
}

// TestPolicyAlgorithms: algorithms are recorded by illumos' numbers. One that only others give a meaning is not theirs.
func TestPolicyAlgorithms(t *testing.T) {
	const text = `{"name":"t/x","steps":[{"op":"policy","ret":0,"acts":[{"ah":6,"esp":12,"espa":-1},` +
		`{"ah":0,"esp":20,"espa":3},{"ah":9,"esp":22,"espa":251}]}]}`
	p := filepath.Join(t.TempDir(), "r.jsonl")
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var l listener
	rep, err := conform.Run(t.Context(), conform.Config{Kernel: illumos.Kernel, Paths: []string{p}, Target: &l})
	if err != nil || rep.Unreadable != nil || rep.Passed != 1 || len(l.rules) != 1 {
		t.Fatalf("%v, %+v, %d rules", err, rep, len(l.rules))
	}
	d := wire.Illumos()
	if diff := cmp.Diff([]spd.Action{
		{AH: int(wire.AuthSHA384HMAC), ESP: int(wire.EncAESCBC), ESPAuth: spd.NotUsed},
		{AH: spd.Any, ESP: int(wire.EncAESGCM16), ESPAuth: int(wire.AuthSHA1HMAC)},
		{AH: int(d.Auth(9)), ESP: int(d.Encrypt(22)), ESPAuth: int(d.Auth(251))},
	}, l.rules[0].Actions); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
