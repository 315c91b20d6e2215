// Package headers writes the C headers that a program of another system needs to speak PF_KEY with its emulated kernel
// on this machine: net/pfkeyv2.h and what belongs to it. Numbers and layouts come from the tables of package wire; here
// are the names that C programs know them by.
//
// Socket addresses are not in them. Those are this machine's, and so the programs' sockets must be hosted ones; see
// [wire.Hosting].
package headers

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Mark stands in every header: it is one of ours.
const Mark = "Made by 'pfkeyd headers"

// A File is one of the headers.
type File struct {
	Path       string // as programs include it, such as net/pfkeyv2.h
	Content    []byte
	Executable bool
}

// Kernels lists the kernels whose headers there are.
func Kernels() (names []string) {
	for _, s := range systems {
		names = append(names, s.name)
	}
	return names
}

// Files makes the headers of a kernel's dialect. The error says which kernels there are headers of.
func Files(d *wire.Dialect) ([]File, error) {
	i := slices.IndexFunc(systems, func(s system) bool { return s.name == d.Name })
	if i < 0 {
		return nil, fmt.Errorf("there are no headers of %s, only of %s", d.Name, strings.Join(Kernels(), ", "))
	}
	w := &writer{d: d, system: &systems[i]}
	layouts, err := w.layouts()
	if err != nil {
		return nil, err
	}
	elsewhere := func(path string) func() { return func() { w.line("#include <%s>", path) } }
	all := []File{
		w.file("net/pfkeyv2.h", "PF_KEY version 2: messages, extensions and their numbers.",
			func() { w.pfkeyv2(layouts) }),
		w.file("pfkeyd/layout.h", "Has the compiler check that structures lie as messages have them.",
			func() { w.assertions(layouts) }),
		w.file("pfkeyd/prelude.h", "Selects the system, behind the headers of libc: cc -include pfkeyd/prelude.h.",
			w.prelude),
		w.file("pfkeyd/sockaddr_len.h", "The length bytes of socket addresses, which this machine has not.", w.lengths),
	}
	if w.openbsd {
		all = append(all, w.file("netinet/ip_ipsp.h", "What flows are made of.", w.ipsp))
	} else {
		all = append(all, w.file("netipsec/ipsec.h", "What policies are made of.", w.ipsec),
			w.file("linux/pfkeyv2.h", "For programs that look for it here.", elsewhere("net/pfkeyv2.h")),
			w.file("linux/ipsec.h", "For programs that look for it here.", elsewhere("netipsec/ipsec.h")))
	}
	if w.selects != nil {
		all = append(all, w.launcher())
	}
	return all, nil
}

// A writer writes the headers of one kernel.
type writer struct {
	d *wire.Dialect
	*system
	b bytes.Buffer
}

// file is a header with its frame.
func (w *writer) file(path, about string, content func()) File {
	w.b.Reset()
	w.line("/*")
	w.line(" * %s", about)
	w.line(" *")
	w.line(" * %s --kernel %s'. Programs that are compiled with it run under", Mark, w.name)
	w.line(" * 'pfkeyd run --kernel %s --hosted': their socket addresses are this machine's.", w.name)
	w.line(" */")
	w.line("#pragma once")
	w.line("")
	content()
	return File{Path: path, Content: bytes.Clone(w.b.Bytes())}
}

func (w *writer) line(format string, a ...any) { fmt.Fprintf(&w.b, format+"\n", a...) }

// define writes a number with a name.
func (w *writer) define(name string, n any) { w.line("#define %-32s %v", name, n) }

// hex is a number that is a set of bits.
type hex uint32

func (n hex) String() string { return fmt.Sprintf("%#x", uint32(n)) }
