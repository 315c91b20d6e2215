package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/control"
	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// runPath finds a place for the socket of a run's own engine. That is the default directory, where 'pfkeyd status'
// finds it, and whose name tells which program it is for; where that directory cannot be used, it is a temporary one,
// dir, which must be removed in the end.
func runPath(kernel, program string) (path, dir string, err error) {
	for n := range 1000 { // in another PID namespace there may be another run with this number
		name := fmt.Sprintf("%s-%d", shortName(program), os.Getpid()+n*maxPID)
		path = pfkey.NamedPath(kernel, name)
		// To listen shows that nobody has it, that we may, and that the longest of its paths fits.
		if l, err := pfkey.Listen(packetport.Path(path)); err == nil {
			return path, "", l.Close()
		}
		if _, err := os.Lstat(packetport.Path(path)); errors.Is(err, fs.ErrNotExist) {
			break
		}
	}
	if dir, err = os.MkdirTemp("", "pfkeyd-run-"); err != nil {
		return "", "", err
	}
	return filepath.Join(dir, kernel+".sock"), dir, nil
}

// maxPID is beyond the process numbers of Linux.
const maxPID = 1 << 22

// longestName bounds the part of a socket's name that tells of the program: paths of sockets are short.
const longestName = 16

// shortName is the name of a program as it can stand in the name of a socket.
func shortName(program string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_':
			return r
		}
		return '_'
	}, filepath.Base(program))
	return name[:min(len(name), longestName)]
}

// removePorts removes what an engine that was killed has left at its path.
func removePorts(path string) {
	for _, p := range ports(path) {
		os.Remove(p)
	}
}

// ports are the files of an engine.
func ports(path string) []string {
	return []string{path, packetport.Path(path), control.Path(path), launch.AttachPath(path)}
}
