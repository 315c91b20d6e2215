package openbsd

import (
	"fmt"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/wire"
)

// AddFlows adds the flows that X_ADDFLOW messages describe, as if a program had sent them, and tells nobody: all of
// them or, with an error, none. The error is an [engine.PolicyError] that names the message. It takes the control lock.
func (k *Kernel) AddFlows(msgs [][]byte) (err error) {
	k.e.Do(func() {
		var undo []func()
		for i, msg := range msgs {
			back, errno := k.addFlowOf(msg)
			if errno == wire.OK {
				undo = append(undo, back)
				continue
			}
			err = &engine.PolicyError{Index: i, Template: -1, Why: fmt.Sprintf("%s refuses it: %v", k.d.Name, errno)}
			for j := range undo {
				undo[len(undo)-1-j]()
			}
			return
		}
	})
	return err
}

func (k *Kernel) addFlowOf(msg []byte) (undo func(), errno wire.Errno) {
	r := &request{k: k, msg: msg}
	if !k.parse(r, 0) || r.msg[1] != addFlowNumber {
		return nil, wire.EINVAL
	}
	f, errno := k.flowIn(r)
	if errno != wire.OK {
		return nil, errno
	}
	return k.putFlow(r, f)
}
