package afkey

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// SocketPolicy reads the value of the socket options IP_IPSEC_POLICY and IPV6_IPSEC_POLICY: a policy (struct
// sadb_x_policy) that has no selector, because it is for all packets of a socket of IPv4 or IPv6. It does not keep the
// value. ENOBUFS is for level "unique" where the kernel would choose the request id: which ones are taken is not known
// here.
//
// The errno is that of setsockopt(2), as pfkey_compile_policy has it.
func SocketPolicy(d *wire.Dialect, value []byte, v6 bool) (p transform.Policy, errno wire.Errno) {
	if len(value) < policyLen {
		return p, wire.EINVAL
	}
	said := int(d.Order.Uint16(value)) * 8
	if said > len(value) {
		return p, wire.EINVAL
	}
	kind, direction := d.Order.Uint16(value[4:]), value[6]
	if kind > wire.KAMEPolicyBypass || direction == wire.KAMEDirAny || direction > wire.KAMEDirOut {
		return p, wire.EINVAL
	}
	all := netip.PrefixFrom(transform.Unspecified(v6), 0)
	p = transform.Policy{Direction: directionOf(direction), Block: kind == wire.KAMEPolicyDiscard}
	p.Selector.Src, p.Selector.Dst = all, all
	if kind == wire.KAMEPolicyIPsec {
		if said < policyLen {
			return p, wire.EINVAL
		}
		r := requests{d, func() uint32 { return 0 }}
		p.Templates, errno = r.templates(&p, value[policyLen:said])
	}
	return p, errno
}
