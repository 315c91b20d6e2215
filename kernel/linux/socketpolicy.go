package linux

import (
	"github.com/pfkeyd/pfkeyd/kernel/linux/afkey"
	"github.com/pfkeyd/pfkeyd/kernel/linux/netlink"
	"github.com/pfkeyd/pfkeyd/wire"
)

// SocketPolicy makes the value of the socket option IP_XFRM_POLICY of that of IP_IPSEC_POLICY, and that of
// IPV6_XFRM_POLICY of that of IPV6_IPSEC_POLICY: what a program of AF_KEY wants for a socket of its own, for a kernel
// that has no AF_KEY. The errno is the one that setsockopt(2) has for it, see [afkey.SocketPolicy].
func SocketPolicy(value []byte, v6 bool) ([]byte, wire.Errno) {
	d := wire.Linux()
	p, errno := afkey.SocketPolicy(d, value, v6)
	if errno != wire.OK {
		return nil, errno
	}
	return netlink.Codec{Order: d.Order}.AppendSocketPolicy(nil, &p), wire.OK
}
