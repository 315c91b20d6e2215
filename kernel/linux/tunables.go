package linux

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// tunable is one file of /proc/sys that has an effect here.
type tunable struct {
	name          string
	min, max, def int
}

const (
	tunAcqExpires  = iota // s, of LARVAL SAs
	tunRecvDefault        // bytes
	tunRecvMax
	tunSendDefault
	tunSendMax
	tunablesEnd
)

var tunableRows = [tunablesEnd]tunable{
	tunAcqExpires:  {"net.core.xfrm_acq_expires", 0, 1<<31 - 1, 30},
	tunRecvDefault: {"net.core.rmem_default", leastRecvBuf, 1<<31 - 1, 212992},
	tunRecvMax:     {"net.core.rmem_max", leastRecvBuf, 1 << 30, 212992},
	tunSendDefault: {"net.core.wmem_default", leastSendBuf, 1<<31 - 1, 212992},
	tunSendMax:     {"net.core.wmem_max", leastSendBuf, 1 << 30, 212992},
}

// tunables are the values in force, guarded by the control lock.
type tunables [tunablesEnd]int

func (t *tunables) set(values map[string]string) error {
	for i, row := range tunableRows {
		t[i] = row.def
	}
	for _, name := range slices.Sorted(maps.Keys(values)) { // so that of several errors the same one is told
		if err := t.setOne(name, values[name]); err != nil {
			return err
		}
	}
	return nil
}

// findTunable finds a row by its name, with dots or as a path.
func findTunable(name string) int {
	name = strings.ReplaceAll(name, "/", ".")
	return slices.IndexFunc(tunableRows[:], func(row tunable) bool { return row.name == name })
}

func (t *tunables) setOne(name, value string) error {
	i := findTunable(name)
	if i < 0 {
		var known []string
		for _, row := range tunableRows {
			known = append(known, row.name)
		}
		return fmt.Errorf("unknown tunable %q (known: %s)", name, strings.Join(known, ", "))
	}
	n, err := strconv.Atoi(value)
	if row := tunableRows[i]; err != nil || n < row.min || n > row.max {
		return fmt.Errorf("tunable %s: %q is not a number from %d to %d", name, value, row.min, row.max)
	}
	t[i] = n
	return nil
}

// Sysctl changes a tunable of a running kernel, by its name with dots or as a path: EINVAL for a value out of bounds,
// ENOENT for a name that has no effect here. It takes the control lock.
func (k *Kernel) Sysctl(name string, value int) (errno pfkey.Errno) {
	i := findTunable(name)
	if i < 0 {
		return wire.ENOENT
	}
	if row := tunableRows[i]; value < row.min || value > row.max {
		return wire.EINVAL
	}
	k.e.Do(func() { k.tun[i] = value })
	return wire.OK
}
