//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package cli

import "os"

// terminal asks no system that we do not know.
func terminal(*os.File) bool { return false }
