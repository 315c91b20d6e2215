package launch

import "golang.org/x/sys/unix"

const (
	auditArch  = unix.AUDIT_ARCH_X86_64 // the machine as the filter names it
	callAccept = unix.SYS_ACCEPT
	callOpen   = unix.SYS_OPEN
)
