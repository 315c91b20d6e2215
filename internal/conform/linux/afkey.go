package linux

import "time"

// Host plays on the kernel of this machine, which has its own network namespace for each scenario. It is a
// [conform.Live].
type Host struct {
	Clock func() time.Time // reads the time
}

// Workers implements [conform.Live].
func (Host) Workers() int { return 4 }

// Tries implements [conform.Live]: whoever else uses the host can hold a conversation up.
func (Host) Tries() int { return 5 }
