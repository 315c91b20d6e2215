// Package processes finds the processes that others have started, as Linux tells it in /proc.
package processes

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Descendants lists the processes that descend from a process, children before theirs. Who has lost its parent descends
// from who has adopted it.
func Descendants(pid int) (pids []int) {
	for _, child := range Children(pid) {
		pids = append(append(pids, child), Descendants(child)...)
	}
	return pids
}

// Children lists the processes whose parent is a process. There are none where the kernel does not tell
// (CONFIG_PROC_CHILDREN).
func Children(pid int) (pids []int) {
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		list, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for word := range strings.FieldsSeq(string(list)) {
			if child, err := strconv.Atoi(word); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}
