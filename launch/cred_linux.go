package launch

import (
	"bytes"
	"os"
	"strconv"

	"github.com/pfkeyd/pfkeyd/pfkey"
)

// credOf says who the thread is, as this process sees it: its process, effective user and group. A thread that cannot
// be seen from here, in a process namespace outside of ours, has number 0 and is taken for the user of this process.
func credOf(tid uint32) pfkey.Cred {
	c := pfkey.Cred{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()), Privileged: true}
	if tid == 0 {
		return c
	}
	c.PID = int32(tid)
	status, err := os.ReadFile("/proc/" + strconv.FormatUint(uint64(tid), 10) + "/status")
	if err != nil {
		return c // no /proc, or it is gone
	}
	for line := range bytes.Lines(status) {
		name, rest, _ := bytes.Cut(line, []byte(":"))
		words := bytes.Fields(rest)
		number := func(i int) (uint32, bool) {
			if i >= len(words) {
				return 0, false
			}
			n, err := strconv.ParseUint(string(words[i]), 10, 32)
			return uint32(n), err == nil
		}
		switch string(name) {
		case "Tgid":
			if n, ok := number(0); ok {
				c.PID = int32(n)
			}
		case "Uid": // real, effective, ...
			if n, ok := number(1); ok {
				c.UID = n
			}
		case "Gid":
			if n, ok := number(1); ok {
				c.GID = n
			}
		}
	}
	return c
}
