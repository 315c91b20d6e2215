package openbsd

import "github.com/pfkeyd/pfkeyd/kernel/status"

// Describe implements [engine.Kernel].
func (k *Kernel) Describe(st *status.Engine, _ int) {
	st.SACount += len(k.tdb.all)
}
