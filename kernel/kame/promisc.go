package kame

import (
	"bytes"

	"github.com/pfkeyd/pfkeyd/wire"
)

// promisc has a socket hear everything, or no more (key_api_promisc, key_promisc). Extensions behind the header go to
// every socket as they are, without the header, whatever the SA type says.
func (k *Kernel) promisc(r *Request) wire.Errno {
	if rest := r.Msg[wire.HeaderLen:]; len(rest) > 0 {
		if len(rest) < wire.HeaderLen {
			r.sent = wire.ENOBUFS
			return wire.OK
		}
		k.answerWith(r, ToAll, bytes.Clone(rest))
		return wire.OK
	}
	if r.Header.SAType != wire.SATypeUnspec && r.Header.SAType != promiscOn {
		return wire.EINVAL
	}
	r.sender.s.SetPromisc(r.Header.SAType == promiscOn)
	k.Answer(r, ToAll, k.Echo(r, nil))
	return wire.OK
}
