package netlink

import "github.com/pfkeyd/pfkeyd/kernel/linux/transform"

// AppendSocketPolicy appends the value of the socket options IP_XFRM_POLICY and IPV6_XFRM_POLICY: a policy without
// limits (struct xfrm_userpolicy_info), with its templates right behind it.
func (c Codec) AppendSocketPolicy(b []byte, p *transform.Policy) []byte {
	info := policy{sel: selectorOfPolicy(&p.Selector), limits: transform.NoLimits, dir: uint8(p.Direction)}
	if p.Block {
		info.action = block
	}
	templates := templatesOf(p)
	n := len(b)
	b = append(b, make([]byte, policyLen+len(templates)*templateLen)...)
	w := &coder{order: c.Order, b: b[n:], writing: true}
	w.policy(&info)
	for i := range templates {
		w.template(&templates[i])
	}
	return b
}
