package pfkeytest

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/packet"
)

// A HostOption changes how a [Host] is made. They have the names that pfkeyd's options have.
type HostOption func(*config) error

type config struct {
	kernel string
	engine engine.Options
	addrs  bool // Addr was given
	seed   [32]byte
	policy []string
	liar   string // the script of a lying kernel

	patience time.Duration
}

// Kernel chooses the emulated kernel by name; the default is illumos. The name "xfrm" is this machine's own kernel, see
// the package documentation.
func Kernel(name string) HostOption {
	return func(c *config) error {
		c.kernel = name
		return nil
	}
}

// Addr gives the host addresses of its own. Without it they are 192.0.2.1 and 2001:db8::1. With this machine's own
// kernel they are those of the interface lo, beside 127.0.0.1 and ::1.
func Addr(addrs ...string) HostOption {
	return func(c *config) error {
		if !c.addrs {
			c.engine.Addrs, c.addrs = nil, true
		}
		for _, s := range addrs {
			a, err := netip.ParseAddr(s)
			if err != nil {
				return fmt.Errorf("pfkeytest: %w", err)
			}
			c.engine.Addrs = append(c.engine.Addrs, a)
		}
		return nil
	}
}

// Option sets a tunable of the kernel, by the kernel's own name: "NAME=VALUE".
func Option(assignment string) HostOption {
	return func(c *config) error {
		name, value, ok := strings.Cut(assignment, "=")
		if !ok || name == "" {
			return fmt.Errorf("pfkeytest: option %q is not of the form NAME=VALUE", assignment)
		}
		c.engine.Tunables[name] = value
		return nil
	}
}

// Policy gives the kernel security policies in the form of its own system: on illumos, rules of ipsecconf(8) such as
// "{raddr 192.0.2.2} ipsec {encr_algs aes encr_auth_algs sha1}", on OpenBSD, flows of ipsec.conf(5). Errors name the
// text "policy".
func Policy(text string) HostOption {
	return func(c *config) error {
		c.policy = append(c.policy, text)
		return nil
	}
}

// Fault makes the kernel treat its LARVAL queue wrongly on purpose, by the name of the fault such as "larval-unlocked",
// so that a test can be seen to fail.
func Fault(name string) HostOption {
	return func(c *config) error {
		c.engine.Fault = name
		return nil
	}
}

// Start sets what the clock shows at first.
func Start(now time.Time) HostOption {
	return func(c *config) error {
		c.engine.Start = now
		return nil
	}
}

// Patience is how long [Host.WaitRequest] waits for a program where its context sets no time. The default is 10
// seconds, of the machine's clock and not the host's.
func Patience(d time.Duration) HostOption {
	return func(c *config) error {
		if d <= 0 {
			return fmt.Errorf("pfkeytest: patience of %v", d)
		}
		c.patience = d
		return nil
	}
}

// Seed makes the kernel choose differently, and the same for the same seed.
func Seed(seed string) HostOption {
	return func(c *config) error {
		c.seed = [32]byte{}
		copy(c.seed[:], seed)
		return nil
	}
}

// Log has the engine and the servers in front of it log to l.
func Log(l *slog.Logger) HostOption {
	return func(c *config) error {
		c.engine.Log = l
		return nil
	}
}

// Hostile makes the kernel lie, by a script as package hostile describes them: answers get lost, say that something
// failed, have too little or too much in them. [Host.Faults] tells how often.
func Hostile(script string) HostOption {
	return func(c *config) error {
		c.liar = script
		return nil
	}
}

// Step has f called at named points of the race between packets and key management, from inside the code that races;
// see [kernel.Options].
func Step(f func(point string, p *packet.Packet)) HostOption {
	return func(c *config) error {
		c.engine.Step = f
		return nil
	}
}
