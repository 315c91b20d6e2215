package pfkeytest

import (
	"fmt"
	"strings"

	"github.com/pfkeyd/pfkeyd/launch"
)

// A ProgramOption changes how [Host.Start] starts a program. They have the names that options of "pfkeyd run" have.
type ProgramOption func(*programConfig)

type programConfig struct{ launch launch.Options }

// FakeIDs has setuid, setgid, setgroups and their kin succeed without effect, for daemons that give up their privileges
// although the test has none.
func FakeIDs() ProgramOption { return func(c *programConfig) { c.launch.Identity = true } }

// UDPEncap has the socket option UDP_ENCAP succeed without effect, for daemons that stop where the machine lacks it.
func UDPEncap() ProgramOption { return func(c *programConfig) { c.launch.UDPEncap = true } }

// programStates says of each program whether it still runs, for errors.
func (h *Host) programStates() string {
	h.mu.Lock()
	programs := h.programs
	h.mu.Unlock()
	var b strings.Builder
	for _, p := range programs {
		fmt.Fprintf(&b, "\n\t%s %s", p.name, p.state())
	}
	return b.String()
}
