//go:build !unix

package ipseckey

import "io/fs"

// owner is 0 where files have no user id.
func owner(fs.FileInfo) int { return 0 }
