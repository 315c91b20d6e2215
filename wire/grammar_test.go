package wire_test

import (
	"testing"

	"github.com/pfkeyd/pfkeyd/wire"
)

// The grammar of a dialect has every extension that the dialect has, with the fields of its layout.
func TestGrammar(t *testing.T) {
	for _, d := range wire.Dialects() {
		g := d.Grammar()
		for n := range uint16(64) {
			typ := d.ExtType(n)
			x, ok := g.Exts[n]
			if known := d.Role(typ) != wire.RoleUnknown; ok != known {
				t.Errorf("%s: extension %d in the grammar: %v, known: %v", d.Name, n, ok, known)
			}
			layout := d.ExtLayout(typ)
			if !ok {
				continue
			}
			last := layout[len(layout)-1]
			if x.Name != d.ExtName(typ) || len(x.Fields) != len(layout)-len(g.ExtHeader) ||
				x.Min != max(8, last.Offset+last.Size) {
				t.Errorf("%s: extension %d is %+v, its layout %+v", d.Name, n, x, layout)
			}
		}
		if n, ok := d.MsgNumber(wire.MsgUpdate); !ok || g.Messages[uint64(n)] != "UPDATE" {
			t.Errorf("%s: message %d is %q", d.Name, n, g.Messages[uint64(n)])
		}
		if n, ok := d.SATypeNumber(wire.SATypeESP); !ok || g.SATypes[uint64(n)] != "esp" || g.SATypes[200] != "" {
			t.Errorf("%s: SA type %d is %q, 200 is %q", d.Name, n, g.SATypes[uint64(n)], g.SATypes[200])
		}
	}
}
