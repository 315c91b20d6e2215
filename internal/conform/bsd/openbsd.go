package bsd

import (
	"fmt"

	"github.com/pfkeyd/pfkeyd/internal/conform"
)

// OpenBSD is what the recordings of OpenBSD-current of August 2026 have.
var OpenBSD = kernel("openbsd", map[string]*conform.Op{
	"open":    {Args: conform.Parameters[openIn], Socket: true},
	"send":    {Args: conform.Parameters[conform.Send], Results: unordered, Socket: true},
	"recv":    {Args: conform.Parameters[conform.Recv], Results: unordered, Socket: true, Keeps: true},
	"output":  {Args: conform.Parameters[outputIn], Results: conform.OfWires},
	"inbound": {Args: conform.Parameters[inboundIn], Results: conform.OfWires},
	"keydump": {Args: conform.Parameters[keydump], Results: conform.OfDump},
	"rdomain": {Args: conform.Parameters[value]}, // that many routing domains come into being
}, map[string]conform.Rule{
	"dumpseq": {Size: 4, Judge: notYet},
})

// unordered: the messages of a DUMP come in any order.
var unordered = []string{"unordered"}

// openIn opens a socket in a process and a routing domain.
type openIn struct {
	Type    int    `json:"type,omitempty"`
	Proto   *int   `json:"proto,omitempty"` // nil: PF_KEY v2
	NoCap   bool   `json:"nocap,omitempty"`
	PID     *int32 `json:"pid,omitempty"`
	RDomain int    `json:"rdomain,omitempty"`
}

type outputIn struct {
	output
	RDomain int `json:"rdomain,omitempty"`
}

type inboundIn struct {
	inbound
	RDomain int `json:"rdomain,omitempty"`
}

// keydump reads what the kernel has by sysctl.
type keydump struct {
	Name    string `json:"name"` // sadb or spd
	SAType  int    `json:"satype"`
	RDomain int    `json:"rdomain"`
}

func (d *keydump) Check() error {
	if d.Name != "sadb" && d.Name != "spd" {
		return fmt.Errorf("neither sadb nor spd: %q", conform.Abridged(d.Name))
	}
	return nil
}
