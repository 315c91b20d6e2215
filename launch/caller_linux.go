package launch

import (
	"bytes"
	"encoding/binary"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A caller is the thread that waits in a call which the filter has stopped: what it calls with, and the memory and
// descriptors of its process. What is read of it is its own only if [Program.waits] says so afterwards.
type caller struct{ notification }

func (c *caller) fd() int { return int(int32(c.args[0])) }

// socket is the inode of the socket that a descriptor of the caller refers to.
func (c *caller) socket(fd int) (inode uint64, ok bool) {
	var path [40]byte
	b := append(path[:0], "/proc/"...)
	b = strconv.AppendUint(b, uint64(c.tid), 10)
	b = append(b, "/fd/"...)
	b = strconv.AppendInt(b, int64(fd), 10)
	return linkedSocket(string(b))
}

// linkedSocket is the inode of the socket that a descriptor in /proc refers to. It asks the descriptor for its name,
// and not the file for anything: the file system of one that is no socket may not answer (FUSE, NFS).
func linkedSocket(path string) (inode uint64, ok bool) {
	var b [40]byte
	n, err := unix.Readlink(path, b[:])
	if err != nil {
		return 0, false
	}
	name, isSocket := bytes.CutPrefix(b[:n], []byte("socket:["))
	name, whole := bytes.CutSuffix(name, []byte("]"))
	if !isSocket || !whole {
		return 0, false
	}
	inode, err = strconv.ParseUint(string(name), 10, 64)
	return inode, err == nil
}

// fileID says which file a descriptor of this process refers to.
func fileID(fd int) (FileID, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return FileID{}, os.NewSyscallError("fstat", err)
	}
	return FileID{uint64(st.Dev), uint64(st.Ino)}, nil
}

// A piece is a part of the caller's memory.
type piece struct{ at, n uint64 }

// read copies pieces of the caller's memory, together n bytes. It fails with EFAULT if a part is not there, as the call
// itself would.
func (c *caller) read(n uint64, pieces ...piece) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	b := make([]byte, n)
	if err := c.move(unix.ProcessVMReadv, b, pieces); err != nil {
		return nil, err
	}
	return b, nil
}

// write copies b into the caller's memory.
func (c *caller) write(b []byte, at uint64) error {
	if len(b) == 0 {
		return nil
	}
	return c.move(unix.ProcessVMWritev, b, []piece{{at, uint64(len(b))}})
}

// mover is the one or the other of process_vm_readv(2) and process_vm_writev(2).
type mover func(pid int, local []unix.Iovec, remote []unix.RemoteIovec, flags uint) (int, error)

func (c *caller) move(move mover, b []byte, pieces []piece) error {
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	remote := make([]unix.RemoteIovec, 0, len(pieces))
	for _, p := range pieces {
		if p.n > 0 {
			remote = append(remote, unix.RemoteIovec{Base: uintptr(p.at), Len: int(p.n)})
		}
	}
	n, err := move(int(c.tid), local, remote, 0)
	switch {
	case err == nil && n < len(b):
		return unix.EFAULT
	case err == unix.EFAULT:
		return unix.EFAULT
	case err != nil:
		return unreadable{err}
	}
	return nil
}

// unreadable says that the caller's memory is none of our business: its process is guarded against others, or gone.
type unreadable struct{ error }

// word reads an int.
func (c *caller) word(at uint64) (int32, error) {
	b, err := c.read(4, piece{at, 4})
	if err != nil {
		return 0, err
	}
	return int32(binary.NativeEndian.Uint32(b)), nil
}

// The most pieces that one call may have (UIO_MAXIOV), and the length of struct iovec.
const (
	maxPieces = 1024
	pieceLen  = 16
)

// pieces reads an array of struct iovec, whose length is no more than maxPieces. EINVAL says that one has a negative
// length.
func (c *caller) pieces(at, count uint64) (pieces []piece, total uint64, err error) {
	b, err := c.read(count*pieceLen, piece{at, count * pieceLen})
	if err != nil {
		return nil, 0, err
	}
	for ; len(b) > 0; b = b[pieceLen:] {
		p := piece{binary.NativeEndian.Uint64(b), binary.NativeEndian.Uint64(b[8:])}
		if int64(p.n) < 0 {
			return nil, 0, unix.EINVAL
		}
		pieces = append(pieces, p)
		total = min(total+p.n, 1<<62) // more is too long anyway
	}
	return pieces, total, nil
}
