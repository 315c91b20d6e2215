package launch

import (
	"bytes"
	"fmt"
	"os"
)

// birth is when a process began, which tells it from an earlier one with its number. It is empty if there is none.
func birth(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	b = b[bytes.LastIndexByte(b, ')')+1:] // behind the name, which may have spaces in it
	const fromState = 19                  // the state is the first of them
	if words := bytes.Fields(b); len(words) > fromState {
		return string(words[fromState])
	}
	return ""
}
