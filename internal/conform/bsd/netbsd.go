package bsd

import (
	"fmt"

	"github.com/pfkeyd/pfkeyd/internal/conform"
)

// NetBSD is what the recordings of NetBSD 10.99 have, and those of 7.99 in a format of their own.
var NetBSD = kernel("netbsd", map[string]*conform.Op{
	"inbound":    {Args: conform.Parameters[changed], Results: conform.OfWires},
	"kldload":    {Args: conform.Parameters[named]},
	"kpolicy":    {Args: conform.Parameters[kernelPolicy]},
	"sysctldump": {Args: conform.Parameters[sysctlDump]},
	"wall":       {Args: conform.Parameters[value]}, // somebody sets the wall clock
	"wait":       {Args: conform.Parameters[wait]},
	"other":      {Args: conform.Parameters[other]},
}, map[string]conform.Rule{
	"uninit": anything,
})

func init() { NetBSD.Read = readRump } // not in the literal: it reads with the table

// changed is a packet of which bytes were changed on the way.
type changed struct {
	inbound
	Set [][2]int `json:"set,omitempty"` // offset, value
}

func (c *changed) Check() error {
	for _, s := range c.Set {
		if c.Wire == nil || s[0] < 0 || s[1] < 0 || s[1] > 255 {
			return fmt.Errorf("set %v", s)
		}
	}
	return c.inbound.Check()
}

// kernelPolicy is an SPDADD that the kernel makes, for an interface.
type kernelPolicy struct {
	Hex conform.Hex `json:"hex"`
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
