package openbsd

import "github.com/pfkeyd/pfkeyd/wire"

// promisc handles X_PROMISC: SA type 0 is off, any other is on.
func (k *Kernel) promisc(r *request) wire.Errno {
	r.client.s.SetPromisc(r.satype() != 0)
	return wire.OK
}
