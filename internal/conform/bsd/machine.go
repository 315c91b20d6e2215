package bsd

import (
	"reflect"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Emulated is what the operations need of an emulated kernel beside sockets and time.
type Emulated interface {
	packets
	counting
	knobs
	sysctlDumps
	policyMaker
	loader
	wallClock
}

type packets interface {
	// Output offers a packet where the output of IP calls IPsec, Input where the input of IP does. Each is the whole
	// packet, and is not kept. What the packet has the kernel do is done when it returns.
	Output(pkt []byte) engine.Passage
	Input(pkt []byte) engine.Passage
}

type counting interface {
	// Counters are those that are not zero, by names such as "espstat.output" or "espstat.esps_output".
	Counters() map[string]uint64
}

type knobs interface {
	Sysctl(name string) (int64, wire.Errno)
	SetSysctl(name string, value int64) wire.Errno
}

type sysctlDumps interface {
	// SysctlDump reads the messages of net.key.dumpsa or net.key.dumpsp: name is dumpsa or dumpsp.
	SysctlDump(name string, satype int64) ([][]byte, wire.Errno)
}

type policyMaker interface {
	KernelPolicy(msg []byte) wire.Errno // adds a policy of the kernel's own, from an SPDADD
}

type loader interface {
	LoadModule(name string) wire.Errno
}

type wallClock interface {
	MoveWall(seconds int64) // somebody sets the wall clock; the uptime goes on
}

// uptime is how long the recorded machines had been running when a scenario began. The emulated ones begin after their
// first second.
const uptime = 1000*time.Second - kame.FirstSecond

// recorded is what the recorded machines had: sockets that take ESP out of UDP on ten ports, and no TCP signatures
// until a scenario loads them.
type recorded interface {
	knobs
	EncapPorts(first, last uint16)
}

// machine boots as long before the scenario as the recorded ones.
func machine(m *conform.Emulated) conform.Machine {
	m.Advance(m.Now().Add(uptime))
	if k, ok := m.Own().(recorded); ok {
		k.EncapPorts(4500, 4509)
		k.SetSysctl(kame.TCPMD5, 0)
	}
	return m
}

// state is what the operations keep from step to step.
type state struct {
	elapsed int64    // seconds, on the clock of the scenario
	left    [][]byte // packets that left through IPsec
}

func stateOf(p *conform.Player) *state {
	if p.Own == nil {
		p.Own = new(state)
	}
	return p.Own.(*state)
}

// ownOf is the emulated kernel, if it can do what K says.
func ownOf[K any](p *conform.Player) (k K, ok bool) {
	m, ok := p.Machine.(conform.Owner)
	if ok {
		k, ok = m.Own().(K)
	}
	return k, ok
}

// on lets an operation at the emulated kernel, if that can do it.
func on[K any](p *conform.Player, do func(K)) {
	if k, ok := ownOf[K](p); ok {
		do(k)
		return
	}
	p.Complain("the kernel has nothing for it: %s", reflect.TypeFor[K]().Name())
}
