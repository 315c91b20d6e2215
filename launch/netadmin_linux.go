package launch

import (
	"bytes"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// administersOurs says whether the caller may administer the network of this process.
func (c *caller) administersOurs() bool {
	f, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return false
	}
	defer f.Close()
	return c.administers(int(f.Fd()))
}

// administersNetOf says whether the caller may administer the network that a socket of this process is in.
func (c *caller) administersNetOf(socket int) bool {
	ns, err := unix.IoctlRetInt(socket, unix.SIOCGSKNS)
	if err != nil {
		return false
	}
	defer unix.Close(ns)
	return c.administers(ns)
}

// administers says whether the caller has CAP_NET_ADMIN in the user namespace that a network namespace belongs to, or
// in one above it. What this process does for the caller the kernel takes for its own wish, so it must ask as the
// kernel does (user_namespaces(7)).
func (c *caller) administers(netns int) bool {
	var home unix.Stat_t
	err := unix.Stat(fmt.Sprintf("/proc/%d/ns/user", c.tid), &home)
	if err != nil || !c.capable(unix.CAP_NET_ADMIN) {
		return false
	}
	ns, err := unix.IoctlRetInt(netns, unix.NS_GET_USERNS)
	for err == nil {
		id, unknown := fileID(ns)
		above, none := unix.IoctlRetInt(ns, unix.NS_GET_PARENT)
		unix.Close(ns)
		if unknown == nil && id == (FileID{uint64(home.Dev), uint64(home.Ino)}) {
			if none == nil {
				unix.Close(above)
			}
			return true
		}
		ns, err = above, none
	}
	return false
}

// capable says whether the caller has a capability, in its own user namespace.
func (c *caller) capable(capability int) bool {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.tid))
	if err != nil {
		return false
	}
	for line := range bytes.Lines(status) {
		if set, ok := bytes.CutPrefix(line, []byte("CapEff:")); ok {
			n, err := strconv.ParseUint(string(bytes.TrimSpace(set)), 16, 64)
			return err == nil && n&(1<<capability) != 0
		}
	}
	return false
}
