package engine

import "io"

// PolicyLoader is a kernel that takes security policies from a file, in the form that its own system has for them.
type PolicyLoader interface {
	// LoadPolicy adds the policies that r holds to those there are: all of them, or, with an error that names the place in the
	// file called name, none. It takes no lock of the engine and may be called while packets flow.
	LoadPolicy(r io.Reader, name string) error
}
