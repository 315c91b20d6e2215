package racelab

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// lookout sees what moves between two looks.
type lookout struct {
	kernel *illumos.Kernel
	sock   pfkey.Socket
	before map[string]uint64
	buf    [4096]byte // more than any message of a run
}

// answers are the messages that have come from the kernel since the last look.
func (o *lookout) answers() (ms []Message) {
	for {
		n, _, errno := o.sock.Recv(o.buf[:], 0)
		if errno != wire.OK {
			return ms
		}
		ms = append(ms, Message{Data: slices.Clone(o.buf[:n])})
	}
}

// moved are the counters that have moved since the last look, and by how much.
func (o *lookout) moved() map[string]uint64 {
	now, by := o.kernel.Counters(), map[string]uint64{}
	for name, n := range now {
		if d := n - o.before[name]; d != 0 {
			by[name] = d
		}
	}
	o.before = now
	return by
}
