package launch

import "golang.org/x/sys/unix"

// The machine as the filter names it.
const auditArch = unix.AUDIT_ARCH_X86_64

// pollRules stop a look at one descriptor that waits 10 milliseconds at most.
var pollRules = []rule{{unix.SYS_POLL, []test{equal(1, 1), atMost(2, gatedWait)}, notify}}
