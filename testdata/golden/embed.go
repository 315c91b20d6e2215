// Package golden holds what real kernels answered: the recordings that package conform plays when it is given none.
// Each folder has a README.md that says where they came from.
package golden

import "embed"

// Files is this folder. Do not write to it.
//
//go:embed freebsd-13 freebsd-crash illumos illumos-2008 linux-6.1 linux-live netbsd netbsd-crash openbsd openbsd-crash
var Files embed.FS
