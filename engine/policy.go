package engine

import (
	"fmt"
	"io"
)

// PolicyLoader is a kernel that takes security policies from a file, in the form that its own system has for them.
type PolicyLoader interface {
	// LoadPolicy adds the policies that r holds to those there are: all of them, or, with an error that names the place
	// in the file called name, none. The control lock must not be held, because it may take it; packets may flow
	// meanwhile.
	LoadPolicy(r io.Reader, name string) error
}

// maxPolicyFile bounds a file of policies, in bytes.
const maxPolicyFile = 1 << 20

// ReadPolicy reads a file of policies whole, for a [PolicyLoader]. The error names the file, and is that of r, or of a
// file that is too long.
func ReadPolicy(r io.Reader, name string) (string, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxPolicyFile+1))
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if len(text) > maxPolicyFile {
		return "", fmt.Errorf("%s: more than %d bytes of policies", name, maxPolicyFile)
	}
	return string(text), nil
}
