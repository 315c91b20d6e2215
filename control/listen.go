package control

import "github.com/pfkeyd/pfkeyd/pfkey"

// Listen makes the stream socket of a control port at path, as [pfkey.ListenStream] does: usable by the own user and
// root only (mode 0600). It is removed when the listener is closed.
func Listen(path string) (*pfkey.Listener, error) { return pfkey.ListenStream(path) }
