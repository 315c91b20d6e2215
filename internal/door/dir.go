package door

import (
	"os"
	"path/filepath"
	"strconv"
)

// DefaultDir is the directory of engines that were told no path: $XDG_RUNTIME_DIR/pfkeyd, else a directory of the user
// in the temporary one. It need not exist; [Listen] makes it.
func DefaultDir() string {
	if dir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "pfkeyd")
	}
	return filepath.Join(os.TempDir(), "pfkeyd-"+strconv.Itoa(os.Geteuid()))
}
