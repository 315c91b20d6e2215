package launch

import "golang.org/x/sys/unix"

// The machine as the filter names it.
const auditArch = unix.AUDIT_ARCH_AARCH64

// pollRules stop every look at one descriptor that waits for a bounded time: the machine has ppoll only, whose time is in
// memory that the filter cannot read.
var pollRules = []rule{{unix.SYS_PPOLL, []test{equal(1, 1), anyBit(2, 0xffffffff)}, notify}}
