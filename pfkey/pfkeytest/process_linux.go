package pfkeytest

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// A process is one of a program, as it was found.
type process struct {
	pid, parent int
	started     string // together with pid it names a process for ever
}

// String is its number.
func (p process) String() string { return strconv.Itoa(p.pid) }

// signal sends a signal to the process, and never to another that has its number now.
func (p process) signal(s syscall.Signal) {
	handle, err := os.FindProcess(p.pid) // holds on to whoever has the number
	if err != nil {
		return
	}
	defer handle.Release()
	if now, ok := processAt(p.pid); ok && now.started == p.started {
		_ = handle.Signal(s)
	}
}

// processes finds all processes with an assignment in their environment, and what descends from these and from the
// process root. So it finds daemons that have left their session and lost their parent, and children that have cleared
// their environment; not who does all of that.
func processes(assignment string, root int) (found []process) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	children := map[int][]process{}
	var roots []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, ok := processAt(pid)
		if !ok {
			continue
		}
		children[p.parent] = append(children[p.parent], p)
		if hasAssignment(pid, assignment) || pid == root && p.parent == os.Getpid() {
			roots = append(roots, p)
		}
	}
	seen := map[int]bool{}
	for len(roots) > 0 {
		p := roots[0]
		roots = roots[1:]
		if !seen[p.pid] {
			seen[p.pid] = true
			found = append(found, p)
			roots = append(roots, children[p.pid]...)
		}
	}
	return found
}

// processAt reads who has a number, if that is somebody who lives.
func processAt(pid int) (process, bool) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, false
	}
	// The name of the program stands in parentheses and may have any bytes in it.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const state, parent, started = 0, 1, 19 // behind the name; proc(5) counts from 3
	if len(fields) <= started || fields[state] == "Z" || fields[state] == "X" {
		return process{}, false
	}
	ppid, err := strconv.Atoi(fields[parent])
	return process{pid, ppid, fields[started]}, err == nil
}

// hasAssignment says whether a process was started with an assignment in its environment.
func hasAssignment(pid int, assignment string) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	for entry := range bytes.SplitSeq(b, []byte{0}) {
		if string(entry) == assignment {
			return true
		}
	}
	return false
}
