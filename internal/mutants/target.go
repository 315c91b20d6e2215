package main

// target is what is broken at a time.
type target struct {
	folders []string // from the root of the module, with what is below them; the first is the one that others import
	without []string // files and folders in them that are left out
	played  []string // kernels whose built-in recordings go through it; nil: there are none
	unseen  []string // files of which no recording sees anything, though they run: only tests are asked
	users   []string // packages whose tests look at it, beside its own
}

var targets = map[string]target{
	"freebsd": {folders: []string{"kernel/freebsd"}, played: []string{"freebsd"}, users: []string{pfkeytest}},
	"illumos": {folders: []string{"kernel/illumos"}, played: []string{"illumos"}, users: []string{pfkeytest}},
	"kame": {folders: []string{"kernel/kame"}, played: []string{"freebsd", "netbsd"},
		users: []string{"./kernel", "./kernel/freebsd", "./kernel/netbsd", pfkeytest}},
	// The host's own kernel is tried where there is one (.ci/live, .ci/xfrm).
	"linux": {folders: []string{"kernel/linux"},
		without: []string{"kernel/linux/bridge.go", "kernel/linux/netlink", "kernel/linux/socketpolicy.go"},
		played:  []string{"linux"}, users: []string{pfkeytest}},
	"netbsd":     {folders: []string{"kernel/netbsd"}, played: []string{"netbsd"}, users: []string{pfkeytest}},
	"openbsd":    {folders: []string{"kernel/openbsd"}, played: []string{"openbsd"}, users: []string{pfkeytest}},
	"policyfile": {folders: []string{"internal/policyfile"}},
	// What all kernels stand on.
	"shared": {folders: []string{"internal/engine", "internal/ip"},
		unseen: []string{"internal/engine/events.go", "internal/engine/told.go"},
		played: []string{"freebsd", "illumos", "linux", "netbsd", "openbsd"},
		users:  []string{"./kernel", "./kernel/illumos", "./kernel/linux", "./kernel/openbsd", pfkeytest}},
}

const pfkeytest = "./pfkey/pfkeytest"
