// Package policyfile reads the files in which systems keep their security policies: statements of setkey(8), rules of
// ipsecconf(8), and flows of ipsec.conf(5). It knows the grammars and no kernel. What a kernel makes of the policies,
// and which of them it refuses, is for the kernel to say.
package policyfile

import (
	"fmt"
	"io"
)

// maxFile bounds a file of policies, in bytes.
const maxFile = 1 << 20

// read reads a file of policies whole. The error names the file, and is that of r, or of a file that is too long.
func read(r io.Reader, name string) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if len(text) > maxFile {
		return "", fmt.Errorf("%s: more than %d bytes of policies", name, maxFile)
	}
	return string(text), nil
}

// An Error is a place in a file of policies that makes no sense.
type Error struct {
	File   string
	Line   int    // from 1
	Column int    // from 1, in bytes; 0: unknown
	Word   string // what stands there; empty at the end of a statement or of the file
	Why    string
}

func (e *Error) Error() string {
	at := fmt.Sprintf("%s:%d", e.File, e.Line)
	if e.Column > 0 {
		at = fmt.Sprintf("%s:%d", at, e.Column)
	}
	if e.Word == "" {
		return at + ": " + e.Why
	}
	return fmt.Sprintf("%s: %s: %q", at, e.Why, e.Word)
}

// word is a word or a sign, with its place. An empty one is the end of a statement or of the file.
type word struct {
	text         string
	line, column int  // from 1; setkey's words have no column
	first        bool // the first one of its line; nobody asks that of setkey's
}
