package launch

import "golang.org/x/sys/unix"

const (
	auditArch  = unix.AUDIT_ARCH_AARCH64 // the machine as the filter names it
	callAccept = unix.SYS_ACCEPT
	callOpen   = 0 // it has openat only
)
