package launch

import (
	"bytes"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// listPaths are the names of the file that lists the PF_KEY sockets of a Linux.
var listPaths = []string{"/proc/net/pfkey", "/proc/self/net/pfkey", "/proc/thread-self/net/pfkey"}

// opens says which name the caller opens, if it is one that could be the list's.
func (c *caller) opens() (list bool) {
	at := c.args[1]
	if c.call != unix.SYS_OPENAT {
		at = c.args[0]
	}
	return slices.Contains(listPaths, c.text(at, 32))
}

// text reads a text of the caller, up to n bytes; what is longer, or not there, is empty.
func (c *caller) text(at, n uint64) string {
	b := make([]byte, n)
	// What is behind the end of a page may not be there.
	first := min(n, uint64(os.Getpagesize())-at%uint64(os.Getpagesize()))
	local := []unix.Iovec{{Base: &b[0]}}
	local[0].SetLen(len(b))
	remote := []unix.RemoteIovec{{Base: uintptr(at), Len: int(first)}, {Base: uintptr(at + first), Len: int(n - first)}}
	got, err := unix.ProcessVMReadv(int(c.tid), local, remote, 0)
	if err != nil {
		return ""
	}
	text, _, found := bytes.Cut(b[:got], []byte{0})
	if !found {
		return ""
	}
	return string(text)
}

// list gives the caller a file with the list, if the kernel has one.
func (p *Program) list(c *caller, h Handler) {
	err := func() error {
		fd, err := unix.MemfdCreate("pfkey", unix.MFD_CLOEXEC)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "pfkey")
		defer f.Close()
		if err := h.List(f); err != nil {
			return err
		}
		reader, err := os.Open("/proc/self/fd/" + strconv.Itoa(fd))
		if err != nil {
			return err
		}
		defer reader.Close()
		flags := c.args[2]
		if c.call != unix.SYS_OPENAT {
			flags = c.args[1]
		}
		return give(p.fd, c.id, int(reader.Fd()), flags&unix.O_CLOEXEC != 0)
	}()
	if err != nil {
		p.pass(c)
	}
}
