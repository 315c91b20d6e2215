// Package wireshark makes what Wireshark needs to show PF_KEY messages and to decrypt ESP: a dissector in Lua, and rows
// of the table of SAs.
package wireshark

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Mark is in every file that this package makes.
const Mark = "Made by pfkeyd"

// DissectorName is the name of the file that the dissector belongs in.
const DissectorName = "pfkey.lua"

//go:embed dissector.lua
var reader string

// Dissector is the source of a dissector in Lua for captures of link type USER0, such as those of package trace. It
// knows every dialect of package wire, and has their tables in front of what reads them.
func Dissector() []byte {
	w := &tables{known: map[string]int{}}
	for _, d := range wire.Dialects() {
		w.dialect(d)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "-- %s: Wireshark's dissector of PF_KEY version 2. 'pfkeyd wireshark install' writes it anew.\n\n"+
		"-- Names of numbers, which fields and dialects share.\nlocal names = {\n", Mark)
	for _, t := range w.names {
		fmt.Fprintf(&b, "\t%s,\n", t)
	}
	fmt.Fprintf(&b, "}\n\n-- What the kernels made of PF_KEY.\nlocal dialects = {\n%s}\n\n%s", w.dialects.String(), reader)
	return []byte(b.String())
}

// tables writes dialects as tables of Lua.
type tables struct {
	dialects strings.Builder
	names    []string
	known    map[string]int // where in names a table is
}

func (w *tables) line(format string, a ...any) { fmt.Fprintf(&w.dialects, format+"\n", a...) }

func (w *tables) dialect(d *wire.Dialect) {
	g := d.Grammar()
	numbers := slices.Sorted(maps.Keys(g.Exts))
	w.line("\t{")
	w.line("\t\tname = %s, inet = %d, inet6 = %d, inet_len = %d, inet6_len = %d, request_len = %d, last_ext = %d,",
		quote(d.Name), d.AFInet, d.AFInet6, 2+size(g.Structures["inet"]), 2+size(g.Structures["inet6"]),
		size(g.Structures["request"]), numbers[len(numbers)-1])
	w.line("\t\tlength_byte = %v, exact_address = %v, plain_address = %v, exact_lifetime = %v, tucked_cookie = %v,",
		d.SockaddrLen, g.ExactAddress, g.PlainAddress, g.ExactLifetime, g.TuckedCookie)
	w.line("\t\tbare_tunnel = %v,", g.BareTunnel)
	w.line("\t\tmessages = %s, satypes = %s, auths = %s, encrypts = %s,", w.table(g.Messages), w.table(g.SATypes),
		w.table(g.Auths), w.table(g.Encrypts))
	w.line("\t\tcompressions = %s, alg_types = %s, errnos = %s,", w.table(g.Compressions), w.table(g.AlgTypes),
		w.table(g.Errnos))
	w.line("\t\tflags = {")
	for _, f := range g.Flags {
		w.line("\t\t\t{ %#x, %s },", f.Bit, quote(f.Name))
	}
	w.line("\t\t},")
	w.slots("\t\theader", g.Header)
	w.slots("\t\text_header", g.ExtHeader)
	w.line("\t\tstructures = {")
	for _, name := range slices.Sorted(maps.Keys(g.Structures)) {
		w.slots("\t\t\t"+name, g.Structures[name])
	}
	w.line("\t\t},")
	w.line("\t\texts = {")
	for _, n := range numbers {
		x := g.Exts[n]
		w.line("\t\t\t[%d] = {", n)
		w.line("\t\t\t\tname = %s, kind = %s, min = %d,", quote(x.Name), quote(x.Kind), x.Min)
		w.slots("\t\t\t\tfields", x.Fields)
		w.line("\t\t\t},")
	}
	w.line("\t\t},")
	w.line("\t},")
}

func size(slots []wire.Slot) (n int) {
	for _, s := range slots {
		n += s.Size
	}
	return n
}

func (w *tables) slots(name string, slots []wire.Slot) {
	indent := name[:strings.LastIndexByte(name, '\t')+1]
	w.line("%s = {", name)
	for _, s := range slots {
		names := ""
		if s.Names != nil {
			names = ", names = " + w.table(s.Names)
		}
		w.line("%s\t{ name = %s, size = %d, style = %s%s, meaning = %s },", indent, quote(s.Name), s.Size,
			quote(styles[s.Style]), names, quote(s.Meaning))
	}
	w.line("%s},", indent)
}

// styles are the names that the reader has for them.
var styles = map[wire.Style]string{
	wire.StyleDecimal: "decimal", wire.StyleHex: "hex", wire.StyleBytes: "bytes", wire.StyleWords: "words",
	wire.StyleByteCount: "bytecount", wire.StyleNetDecimal: "netdecimal", wire.StyleNetHex: "nethex",
	wire.StyleIPv4: "ipv4", wire.StyleIPv6: "ipv6", wire.StyleFlags: "flags", wire.StyleNamed: "named",
}

// table names the table that has these names, which it makes if it is not there.
func (w *tables) table(names map[uint64]string) string {
	var b strings.Builder
	b.WriteString("{")
	for _, n := range slices.Sorted(maps.Keys(names)) {
		fmt.Fprintf(&b, " [%d] = %s,", n, quote(names[n]))
	}
	b.WriteString(" }")
	at, ok := w.known[b.String()]
	if !ok {
		w.names = append(w.names, b.String())
		at = len(w.names)
		w.known[b.String()] = at
	}
	return fmt.Sprintf("names[%d]", at)
}

// quote is a string of Lua, of plain characters.
func quote(s string) string { return strconv.Quote(s) }
