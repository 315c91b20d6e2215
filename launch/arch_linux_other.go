//go:build linux && !amd64 && !arm64

package launch

// auditArch of 0 says that the filter is not written for this machine.
const auditArch = 0

var pollRules []rule
