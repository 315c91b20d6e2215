// Package derived holds conversations that were written down from a kernel's rules, and not recorded. Each folder has
// the name of a kernel, and a README.md that says from which rules.
package derived

import "embed"

// Files is this folder. Do not write to it.
//
//go:embed illumos
var Files embed.FS
