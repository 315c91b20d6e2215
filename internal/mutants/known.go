package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
)

// Why a mutant may survive.
const (
	equivalent  = "equivalent"  // nobody can tell it from the kernel
	unrecorded  = "unrecorded"  // the original was not seen there, so neither behaviour is known to be right
	unreachable = "unreachable" // a guard against what cannot happen as the rest of the kernel is
)

type knownSurvivor struct{ kind, reason string }

type knownList struct {
	of map[string]knownSurvivor // by the name of the mutant
}

func (k *knownList) find(name string) (knownSurvivor, bool) {
	s, ok := k.of[name]
	return s, ok
}

// gone lists the names of those that are no mutants (any more).
func (k *knownList) gone(all []*mutant) (names []string) {
	made := map[string]bool{}
	for _, m := range all {
		made[m.name()] = true
	}
	for _, name := range slices.Sorted(maps.Keys(k.of)) {
		if !made[name] {
			names = append(names, name)
		}
	}
	return names
}

// readKnown reads the list of survivors: paragraphs of a line "KIND: REASON" and the names of mutants below it,
// indented. What follows a # at the beginning of a line is a comment.
func readKnown(name string) (*knownList, error) {
	k := &knownList{of: map[string]knownSurvivor{}}
	file, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	var now knownSurvivor
	n := 0
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		line := lines.Text()
		n++
		switch {
		case strings.TrimSpace(line) == "", strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "\t"):
			id := strings.TrimSpace(line)
			if now.kind == "" {
				return nil, fmt.Errorf("%s:%d: no reason above it", name, n)
			}
			if _, twice := k.of[id]; twice {
				return nil, fmt.Errorf("%s:%d: listed twice", name, n)
			}
			k.of[id] = now
		default:
			kind, reason, _ := strings.Cut(line, ": ")
			if kind != equivalent && kind != unrecorded && kind != unreachable || reason == "" {
				return nil, fmt.Errorf("%s:%d: want %s, %s or %s, a colon and the reason", name, n, equivalent,
					unrecorded, unreachable)
			}
			now = knownSurvivor{kind, reason}
		}
	}
	return k, lines.Err()
}
