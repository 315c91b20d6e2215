package bsd

import (
	_ "embed"
	"fmt"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// NetBSD is what the recordings of NetBSD 10.99 have, and those of 7.99 in a format of their own.
var NetBSD = played(kernel("netbsd", map[string]*conform.Op{
	"inbound":    {Args: conform.Parameters[changed], Results: conform.OfWires, Needs: conform.NeedOwn},
	"kldload":    {Args: conform.Parameters[module], Needs: conform.NeedOwn},
	"kpolicy":    {Args: conform.Parameters[kernelPolicy], Needs: conform.NeedOwn},
	"sysctldump": {Args: conform.Parameters[sysctlDump], Needs: conform.NeedOwn},
	"wall":       {Args: conform.Parameters[wall], Needs: conform.NeedOwn},
	"wait":       {Args: conform.Parameters[wait]},
	"other":      {Args: conform.Parameters[other]},
}, map[string]conform.Rule{
	"uninit":  anything,
	"usetime": {Size: 8, Judge: usetime},
}), wire.NetBSD())

//go:embed netbsd-answers.jsonl
var netbsdAnswers []byte

func init() {
	NetBSD.Read = readRump // not in the literal: it reads with the table
	NetBSD.Builtin, NetBSD.Deviations = []string{"netbsd", "netbsd-crash"}, crashes(netbsdAnswers)
}

// kernelPolicy is an SPDADD that the kernel makes, for an interface.
type kernelPolicy struct {
	Hex conform.Hex `json:"hex"`
}

func (k *kernelPolicy) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	on(p, func(m policyMaker) { out.Result(0, m.KernelPolicy(append([]byte(nil), k.Hex...))) })
}

// sysctlDump reads what the kernel has by sysctl.
type sysctlDump struct {
	Name string `json:"name"`          // dumpsa or dumpsp
	Val  *int64 `json:"val,omitempty"` // SA type
}

func (d *sysctlDump) Check() error {
	if d.Name != "dumpsa" && d.Name != "dumpsp" {
		return fmt.Errorf("neither dumpsa nor dumpsp: %q", conform.Abridged(d.Name))
	}
	return nil
}

// Do reads the messages. They come as if a socket had received them.
func (d *sysctlDump) Do(p *conform.Player, _ *conform.Action, out *conform.Outcome) {
	on(p, func(k sysctlDumps) {
		all, errno := k.SysctlDump(d.Name, deref(d.Val))
		out.Result(0, errno)
		for _, msg := range all {
			out.Rx = append(out.Rx, conform.Message{Socket: "sysctl", Hex: msg})
		}
	})
}
