// Package pcaps holds packets that real kernels protected, with their keys and what was in them. Each folder has a
// README.md that says where they came from.
package pcaps

import "embed"

// Files is this folder. Do not write to it.
//
//go:embed esp-linux-6.1
var Files embed.FS
