//go:build unix

// Package door is what all Unix sockets of an engine have in common: which paths may be used, who may come in and who
// may answer, and what to do when no connection can be accepted for now.
package door

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxPath is the longest path that fits into a sockaddr_un of this system with the NUL behind it.
const maxPath = len(unix.RawSockaddrUnix{}.Path) - 1

// CheckPath says in plain words what bind and connect would call an invalid argument. It refuses a path that begins
// with "@", too: on Linux that is no file but an abstract socket, which has neither an owner nor a mode.
func CheckPath(path string) error {
	switch {
	case path == "":
		return errors.New("the path of the socket is empty")
	case strings.HasPrefix(path, "@"):
		return fmt.Errorf("the path of the socket begins with @, which would make it an abstract one "+
			"that is open to everybody: %q; a file of that name is %q",
			path, "./"+path)
	case strings.IndexByte(path, 0) >= 0:
		return fmt.Errorf("the path of the socket has a NUL in it: %q", path)
	case len(path) > maxPath:
		return fmt.Errorf("the path of the socket is %d bytes long, this system allows %d: %q", len(path), maxPath,
			path)
	}
	return nil
}

// Cred says who is at the other side of a Unix socket.
type Cred struct {
	PID      int32 // 0 where the system does not tell
	UID, GID uint32
}

// Of says who connected to c or, where c has connected, who listens. It fails on systems that do not tell without cgo.
func Of(c syscall.Conn) (cred Cred, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Cred{}, err
	}
	if e := raw.Control(func(fd uintptr) { cred, err = PeerCred(int(fd)) }); e != nil {
		return Cred{}, e
	}
	return cred, err
}

// Trusted says whether a user may use an engine of this process, or have this process use one: root and the own user.
func Trusted(uid uint32) bool { return uid == 0 || int64(uid) == int64(os.Geteuid()) }

// Check says whether the other side of a connection may use an engine of this process. The error says who was refused,
// or that nc is no Unix socket.
func Check(nc net.Conn) error {
	uc, ok := nc.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("%T is no Unix socket", nc)
	}
	cred, err := Of(uc)
	if err != nil {
		return err
	}
	return CheckUser(cred.UID)
}

// CheckUser is Check for somebody whose user is known.
func CheckUser(uid uint32) error {
	if !Trusted(uid) {
		return fmt.Errorf("user %d is neither root nor the engine's user", uid)
	}
	return nil
}

// A StrangerError says that somebody else listens at a path.
type StrangerError struct {
	Path string
	UID  uint32
}

func (e *StrangerError) Error() string {
	return fmt.Sprintf("user %d listens at %s, who is neither root nor user %d: nothing is sent to a stranger", e.UID,
		e.Path, os.Geteuid())
}

// Dial connects to the socket at path, of a network such as "unixpacket", and makes sure that nobody listens there but
// root or the own user: whoever can write into the directory could have put a socket there. Errors are those of package
// net, of [CheckPath], or a *[StrangerError].
func Dial(ctx context.Context, network, path string) (*net.UnixConn, error) {
	if err := CheckPath(path); err != nil {
		return nil, err
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, network, path)
	if err != nil {
		return nil, err
	}
	uc := nc.(*net.UnixConn)
	cred, err := Of(uc)
	switch {
	case err != nil:
		err = fmt.Errorf("who listens at %s cannot be found out: %w", path, err)
	case !Trusted(cred.UID):
		err = &StrangerError{path, cred.UID}
	default:
		return uc, nil
	}
	uc.Close()
	return nil, err
}
