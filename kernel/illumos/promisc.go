package illumos

import "github.com/pfkeyd/pfkeyd/wire"

// promisc switches the sender's promiscuous mode: on by any SA type but 0. The whole message comes back to it, and to
// all sockets in that mode. There is no data form that would inject a message, and copies come without a header around
// them.
func (k *Kernel) promisc(r *request) {
	r.sender.s.SetPromisc(r.hdr.SAType != wire.SATypeUnspec)
	k.passUp(r.msg, r.sender, fromKeysock)
}
