// Package kernels is the table of the kernels whose recordings can be read.
package kernels

import (
	"fmt"
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/bsd"
	"github.com/pfkeyd/pfkeyd/internal/conform/illumos"
	"github.com/pfkeyd/pfkeyd/internal/conform/linux"
	"github.com/pfkeyd/pfkeyd/internal/conform/linux/converse"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// All is every kernel, in alphabetical order. Do not write to it.
var All = []*conform.Kernel{bsd.Darwin, bsd.FreeBSD, illumos.Kernel, linux.Kernel, bsd.NetBSD, bsd.OpenBSD}

// Conversations has, by the name of a kernel, what makes random conversations with it. Do not write to it.
var Conversations = map[string]func(seed uint64, messages int) []*conform.Scenario{"linux": converse.Scenarios}

// Names lists the kernels whose recordings can be played.
func Names() (names []string) {
	for _, k := range All {
		if k.Dialect != nil {
			names = append(names, k.Name)
		}
	}
	return names
}

// ByName finds a kernel.
func ByName(name string) (*conform.Kernel, error) {
	for _, k := range All {
		if k.Name == name {
			return k, nil
		}
	}
	return nil, fmt.Errorf("unknown kernel %q (known: %s)", name, strings.Join(Names(), ", "))
}

// Hosted is a kernel that is not emulated but the host's, by its name among engines, as a target, and whose recordings
// it plays. clock reads the time.
func Hosted(name string, clock func() time.Time) (conform.Live, *conform.Kernel, bool) {
	if name != "xfrm" {
		return nil, nil, false
	}
	return linux.Bridge{Host: linux.Host{Clock: clock}}, linux.Bridged, true
}

// Running is what runs at an address, an engine behind its socket or the kernel of this machine, as a target. clock
// reads the time.
func Running(a pfkey.Address, clock func() time.Time) (conform.Live, *conform.Kernel, error) {
	if a.Kernel == pfkey.HostKernel {
		return linux.Host{Clock: clock}, linux.Kernel, nil
	}
	k, err := ByName(a.Kernel)
	if a.Kernel == pfkey.XFRMKernel {
		k, err = linux.Bridged, nil
	}
	if err != nil {
		return nil, nil, err
	}
	return conform.Running{Address: a, Kernel: k, Clock: clock}, k, nil
}
