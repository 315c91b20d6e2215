// Package bsd is what the recordings of the BSDs and of Darwin have of their own. What all four have stands here; a
// file for each has the rest. They can be read; the operations that have no method Do cannot be played yet.
package bsd

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/capture"
)

// kernel makes a kernel of what it has beside the others.
func kernel(name string, ops map[string]*conform.Op, rules map[string]conform.Rule) *conform.Kernel {
	k := &conform.Kernel{Name: name, Ops: maps.Clone(common), Rules: maps.Clone(commonRules),
		Capture: capture.Reader(nil)}
	maps.Copy(k.Ops, ops)
	maps.Copy(k.Rules, rules)
	return k
}

var common = map[string]*conform.Op{
	"open":   {Args: conform.Parameters[conform.Open], Socket: true},
	"close":  {Args: conform.Parameters[conform.Close], Socket: true},
	"send":   {Args: conform.Parameters[conform.Send], Socket: true},
	"recv":   {Args: conform.Parameters[conform.Recv], Socket: true, Keeps: true},
	"rcvbuf": {Args: conform.ReceiveBuffer, Socket: true},
	"sndbuf": {Args: conform.SendBuffer, Socket: true},
	"sysc":   {Args: conform.Parameters[call], Socket: true},

	"clock":   {Args: conform.Parameters[clock]},
	"output":  {Args: conform.Parameters[output], Results: conform.OfWires},
	"inbound": {Args: conform.Parameters[inbound], Results: conform.OfWires},
	"sysctl":  {Args: conform.Parameters[sysctl], Results: conform.OfKnob},
}

var commonRules = map[string]conform.Rule{
	"addtime": conform.TimeRule,
	"usetime": conform.TimeRule,
	"spi":     conform.SPIRule,
}

// anything is the rule of memory that the kernel never writes.
var anything = conform.Rule{Judge: conform.Anything}

// notYet is the rule of bytes that cannot be judged yet, so they never pass.
func notYet(*conform.Judge, conform.Whole) string { return "what may stand here is not judged yet" }

// call is another call on a socket, by its name.
type call struct {
	Name string `json:"name"`
}

func (c *call) Check() error {
	switch c.Name {
	case "shutdown-rd", "shutdown-rdwr": // "shutdown" is that of the write side
		return nil
	}
	return (&conform.Call{Name: c.Name}).Check()
}

// clock moves the clock, second by second.
type clock struct {
	Secs int64 `json:"secs"`
}

// headers is a packet by what its headers have; the data is zeros.
type headers struct {
	Proto *uint8     `json:"proto,omitempty"`
	Src   netip.Addr `json:"src,omitzero"`
	Dst   netip.Addr `json:"dst,omitzero"`
	SPort *uint16    `json:"sport,omitempty"`
	DPort *uint16    `json:"dport,omitempty"`
	Len   *int       `json:"len,omitempty"` // of the payload, bytes
}

func (h *headers) Check() error {
	if h.Proto == nil || !h.Src.IsValid() || !h.Dst.IsValid() {
		return errors.New("a packet without protocol or address")
	}
	return nil
}

// output offers an outbound packet to IPsec.
type output struct{ headers }

// inbound offers an inbound packet to IPsec: one that left earlier, or one made of headers.
type inbound struct {
	headers
	SPI  *uint32 `json:"spi,omitempty"`
	Seq  *uint32 `json:"pseq,omitempty"`
	Wire *int    `json:"wire,omitempty"` // which packet that left through IPsec, from 0
}

func (i *inbound) Check() error {
	switch {
	case i.Wire == nil:
		return i.headers.Check()
	case *i.Wire < 0 || i.Proto != nil:
		return fmt.Errorf("packet %d of those that left, and headers beside", *i.Wire)
	}
	return nil
}

// sysctl writes a knob, or reads it. Without a value it writes 0.
type sysctl struct {
	Name  string `json:"name"`
	Val   *int64 `json:"val,omitempty"`
	Flags string `json:"flags,omitempty"` // "read"
}

func (s *sysctl) Check() error {
	if s.Name == "" || s.Flags != "" && s.Flags != "read" {
		return fmt.Errorf("name %q, flags %q", conform.Abridged(s.Name), conform.Abridged(s.Flags))
	}
	return nil
}

// value is the only parameter of some operations.
type value struct {
	Val int64 `json:"val"`
}

// named is what an operation is about.
type named struct {
	Name string `json:"name"`
}
