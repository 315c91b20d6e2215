package house_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A layer is one row of the import table: what a folder may import, and why not more. The standard library is free but
// for what not and banned name.
type layer struct {
	own   []string          // folders of this module, with what is below them
	third []string          // modules of others
	not   map[string]string // packages of the standard library it must do without, and the reason
	why   string            // why nothing else
}

var noClock = map[string]string{
	"time":     "it has no clock: the caller says what time it is",
	"os":       "it never sees a file descriptor",
	"syscall":  "it has no errno: numbers belong to the dialect",
	"net":      "it has no sockets; addresses are netip.Addr",
	"log/slog": "it reports by its results; nothing may be logged under its locks",
}

// layers is the import table, which CONTRIBUTING.md shows. A folder without a row of its own has that of the nearest
// folder above it.
var layers = map[string]layer{
	"": {why: "the root holds tests and documentation"},
	"wire": {
		not: map[string]string{
			"net":     "it has no sockets; addresses are netip.Addr",
			"syscall": "its numbers are those of a dialect, not of the machine it runs on",
			"time":    "times on the wire are numbers",
		},
		why: "anybody must be able to read PF_KEY bytes without the rest",
	},
	"packet": {
		not: map[string]string{
			"net":     "it has no sockets",
			"syscall": "it has no errno",
			"time":    "it has no clock",
		},
		why: "what became of a packet is told without knowing what is in it",
	},
	"ipsec": {
		own:   []string{"internal/ip"},
		third: []string{"golang.org/x/crypto", "github.com/aead/serpent"},
		not: map[string]string{
			"net":     "it has no sockets",
			"syscall": "it has no errno",
			"time":    "it has no clock",
		},
		why: "transforms are functions of bytes and keys",
	},
	"sadb": {
		own: []string{"packet"},
		not: noClock,
		why: "it carries mechanism, never the policy of a kernel or the shape of a message",
	},
	"pfkey": {
		own:   []string{"wire", "internal/door"},
		third: []string{"golang.org/x/sys", "github.com/mdlayher/socket"},
		why:   "sockets know no kernel",
	},
	"internal/policyfile": {
		own: []string{"wire", "internal/spd", "pfkey", "internal/ip", "internal/spelling"},
		why: "a text says what policies there shall be; what comes of them is the kernel's",
	},
	"internal/spd": {own: []string{"internal/ip"}, not: noClock,
		why: "selectors and matching are the same in every kernel"},
	"internal/engine": {
		own: []string{"wire", "packet", "ipsec", "sadb", "pfkey", "kernel/status", "kernel/event", "internal/feed",
			"internal/ip"},
		why: "what all kernels share must not know one of them",
	},
	"kernel": {
		own: []string{"wire", "packet", "pfkey", "internal/engine", "internal/kernels"},
		why: "it is the face of the kernels and knows none of them",
	},
	"kernel/illumos": {
		own: []string{"wire", "packet", "ipsec", "sadb", "internal/spd", "pfkey", "internal/engine", "internal/ip",
			"kernel/status"},
		why: "a kernel answers messages; it has no files, commands or network, and no other kernel",
	},
	"kernel/kame": {
		own: []string{"wire", "packet", "ipsec", "sadb", "internal/spd", "pfkey", "internal/engine", "internal/ip",
			"kernel/status"},
		why: "it is what its heirs have in common, and knows none of them",
	},
	"kernel/netbsd": {
		own: []string{"wire", "ipsec", "sadb", "pfkey", "internal/engine", "kernel/kame", "internal/ip"},
		why: "it is what one system does in its own way; what it shares with the others of its family is kame's",
	},
	"kernel/freebsd": {
		own: []string{"wire", "ipsec", "sadb", "pfkey", "internal/engine", "kernel/kame", "internal/ip"},
		why: "it is what one system does in its own way; what it shares with the others of its family is kame's",
	},
	"kernel/openbsd": {
		own: []string{"wire", "packet", "ipsec", "sadb", "internal/spd", "pfkey", "internal/engine", "internal/ip",
			"kernel/status"},
		why: "a kernel answers messages; it has no files, commands or network, and no other kernel",
	},
	"kernel/linux": {
		own: []string{"wire", "packet", "ipsec", "sadb", "pfkey", "internal/engine", "internal/ip", "kernel/status"},
		why: "a kernel answers messages; it has no files, commands or network, and no other kernel",
	},
	"kernel/linux/afkey": {
		own: []string{"wire", "sadb", "internal/spd", "pfkey", "internal/engine", "kernel/linux/transform",
			"internal/ip"},
		not: map[string]string{"time": "time may be that of a real kernel"},
		why: "what it answers is what the transforms say, whichever they are: it has no packets",
	},
	"kernel/linux/xfrm": {
		own: []string{"wire", "packet", "ipsec", "sadb", "internal/spd", "pfkey", "internal/engine",
			"kernel/linux/transform",
			"internal/ip"},
		why: "it knows nothing of PF_KEY; of wire it takes the names of errors and algorithms",
	},
	"kernel/linux/netlink": {
		own:   []string{"wire", "sadb", "internal/spd", "internal/engine", "kernel/linux/transform", "internal/ip"},
		third: []string{"golang.org/x/sys"},
		why:   "it knows nothing of PF_KEY but names of errors and algorithms; what it says is what the host says",
	},
	"kernel/linux/transform": {
		own: []string{"wire", "sadb", "internal/spd"},
		not: noClock,
		why: "both sides of the seam stand on it",
	},
	"kernel/event":  {why: "it is data, whatever has made it"},
	"internal/feed": {why: "it keeps what it is given, whatever that is"},
	"kernel/status": {own: []string{"packet"}, why: "it is data, whatever has made it"},
	"internal/control": {
		own: []string{"wire", "sadb", "pfkey", "internal/engine", "kernel/status", "kernel/event", "internal/door"},
		why: "it looks at a running engine, whichever kernel that is",
	},
	"internal/live": {
		own: []string{"wire", "pfkey", "internal/control", "kernel/event", "internal/door"},
		why: "it shows what the control port of an engine says, whichever kernel that is",
	},
	"ipseckey": {
		own: []string{"wire", "pfkey", "internal/files", "internal/spelling", "internal/terminal"},
		why: "it speaks to real kernels as well, so nothing of an emulated one may leak into it",
	},
	"packetport": {
		own: []string{"packet", "ipsec", "internal/door"}, third: []string{"golang.org/x/sys"},
		why: "an injector needs packets and verdicts, nothing else",
	},
	"pfkey/pfkeytest": {
		own: []string{"wire", "packet", "ipsec", "sadb", "pfkey", "internal/engine", "kernel", "packetport",
			"internal/control",
			"launch", "hostile", "internal/ip", "internal/kernels", "internal/netns", "internal/station"},
		why: "what it pulls in, every test that uses it pulls in",
	},
	"internal/conform": {
		own: []string{"wire", "packet", "pfkey", "internal/engine", "internal/kernels", "testdata", "internal/files"},
		why: "it plays and judges, whichever kernel it was that was recorded",
	},
	"internal/conform/capture": {
		own: []string{"wire", "ipsec", "internal/conform", "internal/capture"},
		why: "it opens and seals packets, whichever kernel is emulated",
	},
	"internal/conform/bsd": {
		own: []string{"wire", "pfkey", "internal/engine", "kernel", "internal/conform", "internal/ip"},
		why: "it knows a family of kernels, emulated ones and others",
	},
	"internal/conform/illumos": {
		own: []string{"wire", "packet", "ipsec", "internal/spd", "pfkey", "internal/conform"},
		why: "it knows one kernel, its operations and where we deviate from it",
	},
	"internal/conform/linux": {
		own: []string{"wire", "packet", "ipsec", "pfkey", "internal/engine", "kernel", "internal/conform",
			"internal/ip"},
		third: []string{"golang.org/x/sys"},
		why:   "it knows one kernel and its host, emulated and real",
	},
	"internal/conform/compare": {
		own: []string{"wire", "pfkey", "internal/conform"},
		why: "it plays one conversation on several kernels, whichever they are",
	},
	"internal/conform/fidelity": {
		own: []string{"wire", "internal/conform", "internal/terminal", "testdata"},
		why: "it counts what recordings show, whichever kernel it was that was recorded",
	},
	"internal/conform/kernels": {own: []string{"pfkey", "internal/conform"}, why: "it is a table"},
	"launch": {
		own: []string{"pfkey", "internal/door", "internal/processes"}, third: []string{"golang.org/x/sys"},
		why: "it carries sockets to an engine and never looks at a message",
	},
	"hostile": {own: []string{"wire", "pfkey"}, why: "it spoils messages, whichever kernel made them"},
	"trace": {own: []string{"wire", "pfkey"},
		why: "it writes down what goes through a socket, whichever kernel is behind it"},
	"internal/racelab": {
		own: []string{"wire", "packet", "ipsec", "sadb", "pfkey", "internal/engine", "kernel", "packetport",
			"internal/kernels"},
		why: "it races the real code, through sockets and without; flags, the clock and pictures are the commands' business",
	},
	"internal/kernels": {
		own: []string{"wire", "ipsec", "internal/spd", "pfkey", "internal/engine", "kernel", "internal/policyfile"},
		why: "it is the table of kernels, and what differs between them outside of their folders",
	},
	"internal/ip": {
		not: map[string]string{
			"net":     "it has no sockets",
			"syscall": "it has no errno",
			"time":    "it has no clock",
		},
		why: "headers are bytes, whatever they stand in front of",
	},
	"internal/spelling": {not: noClock, why: "it compares words"},
	"internal/terminal": {not: noClock, why: "it shapes text, wherever that goes"},
	"internal/capture": {
		third: []string{"github.com/gopacket/gopacket"},
		why:   "it takes packets out of files, whatever becomes of them",
	},
	"internal/door": {
		third: []string{"golang.org/x/sys"},
		why:   "every port of an engine has one, whatever is said through it",
	},
	"internal/inturns":   {why: "it measures whatever it is given"},
	"internal/leak":      {why: "it looks at a process, whatever runs in it"},
	"internal/files":     {why: "it opens what a user has named, whatever is in it"},
	"internal/processes": {why: "it looks at processes, whatever runs in them"},
	"internal/netns":     {third: []string{"golang.org/x/sys"}, why: "it makes places, whatever is done there"},
	"internal/headers": {
		own: []string{"wire"},
		why: "what a C program may say stands in the tables of a dialect, and not in what an engine does",
	},
	"internal/wireshark": {
		own: []string{"wire", "ipsec"},
		why: "what Wireshark shows of a message stands in the tables of a dialect",
	},
	"internal/station": {
		own:   []string{"wire", "pfkey", "internal/engine", "packetport", "internal/control", "launch", "trace"},
		third: []string{"golang.org/x/sys"},
		why: "it wires an engine to its ports, whichever kernel that is; " +
			"flags and devices are the commands' business",
	},
	"internal/house": {why: "its tests read the house as text; they know nothing of what is in it"},
	"internal/mutants": {
		own: []string{"internal/conform", "testdata"},
		why: "it breaks the source and plays recordings; what it knows of a kernel is its syntax",
	},
	"internal/refusals": {
		own: []string{"wire", "packet", "ipsec", "pfkey", "kernel", "internal/ip"},
		why: "it is a table for tests",
	},
	"examples": {
		own:   []string{"wire", "packet", "ipsec", "pfkey", "kernel", "packetport"},
		third: []string{"golang.org/x/sys"},
		why:   "programs of others would use these",
	},
	"cmd": {
		own: []string{"wire", "packet", "ipsec", "sadb", "pfkey", "internal/engine", "kernel", "packetport",
			"internal/control", "launch",
			"trace", "ipseckey", "internal/conform", "internal/racelab", "hostile", "internal/capture",
			"internal/station",
			"testdata",
			"internal/files", "internal/headers", "internal/ip", "internal/kernels", "internal/live",
			"internal/processes", "internal/spelling", "internal/terminal", "internal/wireshark"},
		third: []string{"golang.org/x/sys", "golang.org/x/term", "github.com/spf13/cobra", "github.com/spf13/pflag",
			"github.com/gopacket/gopacket"},
		why: "commands are flags, wiring and exit codes",
	},
}

// banned packages of the standard library, with who may use them all the same.
var banned = []struct {
	path, why string
	may       []string
}{
	{"log", "there is one way to log: log/slog with an injected handler", nil},
	{"unsafe", "bytes are read with bounds checks; seccomp takes structures of the kernel", []string{"launch"}},
	{"math/rand", "keys and SPIs come from the injected source of randomness; math/rand/v2 is for the rest", nil},
	{"io/ioutil", "io and os have replaced it", nil},
	{"os/exec", "only what says so starts programs",
		[]string{"launch", "pfkey/pfkeytest", "internal/conform/linux", "internal/mutants", "cmd"}},
	{"net/http", "the control port and the page that shows it are the only HTTP",
		[]string{"internal/control", "internal/live", "cmd"}},
}

// layerOf finds the row for a folder.
func layerOf(room string) (string, bool) {
	for dir := room; ; {
		if _, ok := layers[dir]; ok {
			return dir, dir != "" || room == ""
		}
		i := strings.LastIndexByte(dir, '/')
		if i < 0 {
			return "", false
		}
		dir = dir[:i]
	}
}

// refuse says what is wrong with a file of room importing path, or "".
func refuse(room, path string) string {
	name, ok := layerOf(room)
	if !ok {
		return "" // said once for the folder
	}
	l := layers[name]
	if path == module || strings.HasPrefix(path, module+"/") {
		own := strings.TrimPrefix(strings.TrimPrefix(path, module), "/")
		if !slices.ContainsFunc(l.own, func(dir string) bool { return under(own, dir) }) && !under(own, name) ||
			own == "" {
			return fmt.Sprintf("%s may not import %s: %s", name, own, l.why)
		}
		// pfkey is low in the house, pfkeytest on top of it.
		if under(own, "pfkey/pfkeytest") && name != "pfkey/pfkeytest" {
			return fmt.Sprintf("%s may not import %s: it is for tests", name, own)
		}
		return ""
	}
	if first, _, _ := strings.Cut(path, "/"); strings.Contains(first, ".") {
		if !slices.ContainsFunc(l.third, func(m string) bool { return under(path, m) }) {
			return fmt.Sprintf("%s may not import %s: %s", name, path, l.why)
		}
		return ""
	}
	if why, ok := l.not[path]; ok {
		return fmt.Sprintf("%s may not import %s: %s", name, path, why)
	}
	for _, b := range banned {
		if path == b.path && !slices.ContainsFunc(b.may, func(dir string) bool { return under(room, dir) }) {
			return fmt.Sprintf("%s may not import %s: %s", name, path, b.why)
		}
	}
	return ""
}

// Imports go one way. Test files are free to look upwards.
func TestLayers(t *testing.T) {
	seen := map[string]bool{}
	for _, f := range everyGoFile(t) {
		if f.test {
			continue
		}
		if _, ok := layerOf(f.room); !ok && !seen[f.room] {
			t.Errorf("folder %s has no row in the import table", f.room)
		}
		seen[f.room] = true
		for _, im := range f.ast.Imports {
			path, err := strconv.Unquote(im.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if why := refuse(f.room, path); why != "" {
				t.Errorf("%s: %s", fset.Position(im.Pos()), why)
			}
		}
	}
}

var layerRow = regexp.MustCompile("(?m)^\\| `([a-z/]+)` \\| [^|]* \\| ([^|]*) \\| ([^|]*)\\|$")

// The table that people read is the one that is enforced. Rows of modules of others may name a part of them.
func TestLayersAreDocumented(t *testing.T) {
	shown := map[string][]string{}
	for _, m := range layerRow.FindAllStringSubmatch(read(t, "CONTRIBUTING.md"), -1) {
		shown[m[1]] = strings.Fields(strings.ReplaceAll(m[2], "`", ""))
		if third := strings.Fields(strings.ReplaceAll(m[3], "`", "")); !slices.Equal(third, layers[m[1]].third) {
			t.Errorf("CONTRIBUTING.md: %s may import %q of others, want %q", m[1], third, layers[m[1]].third)
		}
	}
	for dir, l := range layers {
		if dir != "" && !slices.Equal(shown[dir], l.own) {
			t.Errorf("CONTRIBUTING.md: %s may import %q, want %q", dir, shown[dir], l.own)
		}
	}
	for dir := range shown {
		if _, ok := layers[dir]; !ok {
			t.Errorf("CONTRIBUTING.md: %s has no row in the import table", dir)
		}
	}
}

// kernelName is in what knows a kernel.
var kernelName = regexp.MustCompile(`(?i)linux|xfrm|illumos|solaris|kame|netbsd|freebsd|openbsd|darwin`)

// What plays and judges recordings names no kernel, neither in code nor in comments: a reader finds everything about
// one in its own folder.
func TestConformNamesNoKernel(t *testing.T) {
	core, kernels := 0, map[string]bool{}
	for _, f := range everyGoFile(t) {
		if f.test || !under(f.room, "internal/conform") {
			continue
		}
		text := string(f.src)
		switch f.room {
		case "internal/conform", "internal/conform/capture":
			core++
			if found := kernelName.FindString(text); found != "" {
				t.Errorf("%s names a kernel: %s", f.path, found)
			}
		case "internal/conform/kernels": // the table
		default:
			kernels[f.room] = kernels[f.room] || kernelName.MatchString(text)
		}
	}
	if core == 0 || len(kernels) == 0 || !kernels["internal/conform/bsd"] {
		t.Errorf("%d files of the core, kernels in %v", core, kernels)
	}
}

// The guard of the import table must be able to fail.
func TestLayersRefuse(t *testing.T) {
	for _, tt := range []struct {
		room, path string
		ok         bool
	}{
		{"wire", "encoding/binary", true},
		{"wire", module + "/pfkey", false},
		{"wire", "golang.org/x/sys/unix", false},
		{"wire", "net", false},
		{"wire", "net/netip", true},
		{"sadb", module + "/packet", true},
		{"sadb", module + "/wire", false},
		{"packet", module + "/ipsec", false},
		{"sadb", "time", false},
		{"ipsec", "golang.org/x/crypto/chacha20poly1305", true},
		{"ipsec", module + "/sadb", false},
		{"pfkey", module + "/internal/engine", false},
		{"internal/engine", module + "/kernel/illumos", false},
		{"internal/engine", module + "/pfkey/pfkeytest", false},
		{"kernel/illumos", module + "/internal/engine", true},
		{"kernel/illumos", module + "/internal/conform", false},
		{"kernel/illumos", module + "/internal/kernels", false},
		{"kernel/illumos", module + "/kernel/linux", false},
		{"kernel/linux", module + "/internal/kernels", false},
		{"kernel/linux", module + "/kernel/linux/xfrm", true},
		{"kernel", module + "/internal/kernels", true},
		{"kernel/illumos", module + "/internal/policyfile", false},
		{"internal/kernels", module + "/internal/policyfile", true},
		{"kernel/illumos", "net/http", false},
		{"ipseckey", module + "/kernel", false},
		{"ipseckey", "os/exec", false},
		{"packetport", module + "/internal/engine", false},
		{"cmd/pfkeyd", module + "/kernel", true},
		{"cmd/pfkeyd", "log", false},
		{"cmd/pfkeyd", "example.com/left-pad", false},
		{"sadb", "unsafe", false},
	} {
		if why := refuse(tt.room, tt.path); (why == "") != tt.ok {
			t.Errorf("refuse(%q, %q) = %q, want ok %v", tt.room, tt.path, why, tt.ok)
		}
	}
}
