package pfkeytest

import (
	"context"
	"iter"

	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// SAs returns the security associations that the kernel has, LARVAL ones and keys included, in the order of its DUMP.
// They belong to the caller.
//
// The kernel is asked by a socket of its own, past the lies of [Hostile] and unseen by [Host.WaitRequest]; only
// promiscuous sockets hear it.
func (h *Host) SAs() []*pfkey.SA {
	h.t.Helper()
	return collect(h, func(c *pfkey.Client) iter.Seq2[*pfkey.SA, error] {
		return c.Dump(context.Background(), wire.SATypeUnspec)
	})
}

// Policies returns the security policies that the kernel has; on Linux those of its SPDDUMP, asked for as by
// [Host.SAs], on illumos, which does not show its rules through PF_KEY, the rules in the form of other kernels'
// policies, as far as that goes: in the order in which they are tried, which is their Priority; one for both directions
// as two policies; without an ID; with the templates of the alternative that is preferred, but not its algorithms.
func (h *Host) Policies() []*pfkey.Policy {
	h.t.Helper()
	if policies, untold := kernels.UntoldPolicies(h.engine); untold {
		return policies
	}
	return collect(h, func(c *pfkey.Client) iter.Seq2[*pfkey.Policy, error] {
		return c.DumpPolicies(context.Background())
	})
}

// collect asks the kernel itself for everything of a kind.
func collect[T any](h *Host, dump func(*pfkey.Client) iter.Seq2[*T, error]) []*T {
	h.t.Helper()
	cred := pfkey.Cred{PID: h.pids.Add(1), Privileged: true}
	sock, errno := h.engine.Open(cred, 3, 2) // SOCK_RAW, PF_KEY_V2
	if errno != wire.OK {
		h.t.Fatalf("open a PF_KEY socket: %v", errno)
		return nil
	}
	c := pfkey.NewClientOn(sock, h.engine.Dialect(), cred)
	defer c.Close()
	var all []*T
	for v, err := range dump(c) {
		if err != nil {
			h.t.Fatalf("%v", err)
			return nil
		}
		all = append(all, v)
	}
	return all
}
