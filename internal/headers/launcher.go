package headers

import "fmt"

// launcher is a shell script that compiles some sources of a program as if on the system whose headers these are, and
// the others as they are: a program often has files of its own for what this machine has otherwise.
func (w *writer) launcher() File {
	return File{Path: "cc", Executable: true, Content: fmt.Appendf(nil, `#!/bin/sh
# Compiles some sources as if on %[2]s, and all others as they are:
#
#   DIR/cc NAME[,NAME...] COMPILER ARGUMENT...
#
# NAME is that of a source without its folder. With CMake:
#
#   cmake -DCMAKE_C_COMPILER_LAUNCHER='DIR/cc;pfkey.c' ...
#
# %[1]s --kernel %[2]s'.
set -eu
dir=$(cd "$(dirname "$0")" && pwd)
names=$1
shift
for word; do
	case ",$names," in
	*,"${word##*/}",*)
		set -- "$@" -I "$dir" -include pfkeyd/prelude.h -include pfkeyd/sockaddr_len.h
		break
		;;
	esac
done
exec "$@"
`, Mark, w.name)}
}
