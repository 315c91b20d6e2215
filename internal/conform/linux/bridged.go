package linux

import (
	"reflect"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	emulated "github.com/pfkeyd/pfkeyd/kernel/linux"
)

// Bridged is Linux as its recordings are played on [Bridge]: with what netlink cannot do as deviations.
var Bridged = bridged()

func bridged() *conform.Kernel {
	k := *Kernel
	k.Deviations = []conform.Deviation{{Name: "long-cpi", Amend: refuseCPIs,
		Reason: "netlink has no SAs of IPComp whose SPI has more than 16 bits, which no packet could carry: an ADD is " +
			"refused with EINVAL, and there is no such SA afterwards"}}
	return &k
}

// Limited is a kernel that is emulated, and that refuses what netlink does.
var Limited = limited()

func limited() *conform.Kernel {
	k := *Kernel
	k.Machine = func(m *conform.Emulated) conform.Machine {
		m.Kernel().(*emulated.Kernel).LimitCPIs()
		return machine(m)
	}
	return &k
}

// refuseCPIs changes a recording into what a kernel answers that refuses SAs with such SPIs. Two emulated kernels, one
// of which refuses them, say in which steps that shows; in all others the recording stands.
func refuseCPIs(sc *conform.Scenario) bool {
	plain, err := conform.Play(conform.InProcess{Kernel: Kernel}, Kernel, sc)
	if err != nil {
		return false
	}
	refusing, err := conform.Play(conform.InProcess{Kernel: Limited}, Limited, sc)
	if err != nil {
		return false
	}
	amended := false
	for i := range sc.Steps {
		if !reflect.DeepEqual(plain.Steps[i].Outcome, refusing.Steps[i].Outcome) {
			sc.Steps[i].Outcome = refusing.Steps[i].Outcome
			amended = true
		}
	}
	return amended
}
