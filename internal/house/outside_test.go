package house_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// outside is a program of somebody else, in a module of its own. It names each type that a signature of a public
// package mentions beside the package's own.
const outside = `package main

import (
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

func main() {
	var (
		options kernel.Options = kernel.Options{Start: time.Unix(0, 0)}
		engine  *kernel.Engine
		err     error
	)
	if engine, err = kernel.New("linux", options); err != nil {
		panic(err)
	}
	defer engine.Close()
	var (
		_       pfkey.Engine   = engine
		d       *wire.Dialect  = engine.Dialect()
		ledger  *packet.Ledger = engine.Ledger()
		balance packet.Balance = ledger.Balance()
		st      status.Engine  = engine.Status(0)
		socks   []status.Socket  = st.Sockets
		sas     []status.SA      = st.SAs
		asked   []status.Acquire = st.Acquires
		rules   []status.Policy  = st.Policies
		held    []status.Packet
		sock    pfkey.Socket
		errno   wire.Errno
		caller  pfkey.Caller
		host    *pfkeytest.Host
	)
	if sock, errno = engine.Open(pfkey.Cred{Privileged: true}, 3, 2); errno != wire.OK {
		panic(errno)
	}
	caller, _ = sock.(pfkey.Caller)
	engine.Inbound(&packet.Packet{Done: func(*packet.Packet, packet.Verdict) {}})
	err = engine.LoadPolicy(strings.NewReader(""), "none")
	if host, err = pfkeytest.NewHost(pfkeytest.Kernel("illumos")); err == nil {
		engine = host.Engine()
		host.Close()
	}
	_, _, _, _, _, _, _, _, _ = d, balance, socks, sas, asked, rules, held, caller, engine
}
`

// What is public can be used from outside of this module, which cannot name what is internal.
func TestOutsideModule(t *testing.T) {
	toRoot()
	root, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", read(t, "go.mod"))
	write("go.sum", read(t, "go.sum"))
	write("main.go", outside)
	edit := func(args ...string) {
		t.Helper()
		cmd := exec.Command("go", append([]string{"mod", "edit"}, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("go mod edit: %v\n%s", err, out)
		}
	}
	edit("-module=example.com/outside", "-require="+module+"@v0.0.0", "-replace="+module+"="+root)
	cmd := exec.Command("go", "vet", ".")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("a program of somebody else: %v\n%s", err, out)
	}
}
