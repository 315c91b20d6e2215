package netlink

import (
	"fmt"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// News is what the kernel tells: to all listeners, or as the answer to a request. Which fields are set depends on the
// type.
type News struct {
	Type Type
	By   transform.By

	State       *transform.State       // of NewState, UpdState and DelState; of Expire, without algorithms and ports
	Hard        bool                   // of Expire and PolicyExpire
	Proto       uint8                  // of FlushStates
	Policy      *transform.Policy      // of NewPolicy, UpdPolicy, DelPolicy and PolicyExpire
	Sub         bool                   // of what is about policies: those are sub-policies, which PF_KEY has not
	ByID        bool                   // of DelPolicy: it was named by its id
	Acquisition *transform.Acquisition // of Acquire
	Mapping     *transform.Mapping     // of Mapping, without the number of the SA's message
	Name        sadb.Key               // of Mapping: of that SA
	Migration   *transform.Migration   // of Migrate
}

// News reads a message. Of types that PF_KEY has no use for, only the type is told.
func (c Codec) News(m Message) (n News, err error) {
	n = News{Type: m.Type, By: m.By}
	switch m.Type {
	case NewState, UpdState:
		n.State, err = c.stateMessage(m.Body)
	case DelState:
		n.State, err = c.deleted(m.Body)
	case Expire:
		n.State, n.Hard, err = c.expired(m.Body)
	case FlushStates:
		r := c.reader(m.Body)
		r.u8(&n.Proto)
		err = r.err
	case NewPolicy, UpdPolicy:
		n.Policy, n.Sub, err = c.policyMessage(m.Body)
	case DelPolicy:
		err = c.policyDeleted(m.Body, &n)
	case PolicyExpire:
		var hard uint8
		if n.Policy, n.Sub, err = c.policyWithAttributes(m.Body, policyLen+8); err == nil {
			hard = m.Body[policyLen]
		}
		n.Hard = hard != 0
	case FlushPolicies:
		n.Sub, err = c.isSub(m.Body)
	case Acquire:
		n.Acquisition, n.Sub, err = c.acquisition(m.Body)
	case Mapping:
		n.Mapping, n.Name, err = c.mapped(m.Body)
	case Migrate:
		n.Migration, n.Sub, err = c.migration(m.Body)
	}
	if err != nil {
		return News{Type: m.Type, By: m.By}, fmt.Errorf("netlink: message of type %#x: %w", uint16(m.Type), err)
	}
	return n, nil
}

// stateMessage reads an SA. One without any algorithm is LARVAL, all others are MATURE: netlink does not say more.
func (c Codec) stateMessage(b []byte) (*transform.State, error) {
	r := c.reader(b)
	var v state
	r.state(&v)
	if r.err != nil {
		return nil, r.err
	}
	return c.stateOf(&v, r.b)
}

// stateOf is an SA and its attributes.
func (c Codec) stateOf(v *state, attributes []byte) (*transform.State, error) {
	s := &transform.State{}
	if err := v.to(s); err != nil {
		return nil, err
	}
	var auth, crypt, comp, aead *algo
	for t, a := range c.attributes(attributes) {
		if a.err != nil {
			return nil, a.err
		}
		r := c.reader(a.b)
		read := func(to **algo, icv bool) {
			*to = &algo{}
			r.algo(*to, icv)
		}
		switch t {
		case attrAuth:
			read(&auth, false)
		case attrAuthTruncated: // which says no more, and comes beside the other
			if auth == nil {
				read(&auth, true)
			}
		case attrCrypt:
			read(&crypt, false)
		case attrComp:
			read(&comp, false)
		case attrAEAD:
			read(&aead, true)
		case attrEncap:
			var e encap
			r.encap(&e)
			s.Encap = &transform.Encap{Type: uint8(e.kind), Sport: e.sport, Dport: e.dport}
		}
		if r.err != nil {
			return nil, r.err
		}
	}
	if s.Phase = sadb.Larval; auth != nil || crypt != nil || comp != nil || aead != nil {
		s.Phase = sadb.Mature
	}
	c.algorithms(s, auth, crypt, comp, aead)
	return s, nil
}

// deleted reads an SA that is gone: its name, and the rest as attributes.
func (c Codec) deleted(b []byte) (*transform.State, error) {
	if len(b) < stateIDLen {
		return nil, errShort
	}
	rest := b[stateIDLen:]
	for t, a := range c.attributes(rest) {
		if a.err != nil {
			return nil, a.err
		}
		if t != attrState {
			continue
		}
		r := c.reader(a.b)
		var v state
		if r.state(&v); r.err != nil {
			return nil, r.err
		}
		s, err := c.stateOf(&v, rest)
		if err == nil {
			s.Phase = sadb.Dead
		}
		return s, err
	}
	return nil, errShort
}

// expired reads an SA one of whose limits has passed.
func (c Codec) expired(b []byte) (s *transform.State, hard bool, err error) {
	r := c.reader(b)
	var v state
	var h uint8
	r.state(&v)
	r.u8(&h)
	if r.err != nil {
		return nil, false, r.err
	}
	s = &transform.State{}
	if err := v.to(s); err != nil {
		return nil, false, err
	}
	if s.Phase = sadb.Dying; h != 0 {
		s.Phase = sadb.Dead
	}
	return s, h != 0, nil
}

func (c Codec) policyMessage(b []byte) (*transform.Policy, bool, error) {
	return c.policyWithAttributes(b, policyLen)
}

// policyWithAttributes reads a policy whose structure has so many bytes, and what stands behind it.
func (c Codec) policyWithAttributes(b []byte, size int) (p *transform.Policy, sub bool, err error) {
	if len(b) < size {
		return nil, false, errShort
	}
	r := c.reader(b)
	var v policy
	if r.policy(&v); r.err != nil {
		return nil, false, r.err
	}
	return c.policyOf(&v, b[size:])
}

// policyOf is a policy and its attributes.
func (c Codec) policyOf(v *policy, attributes []byte) (p *transform.Policy, sub bool, err error) {
	sel, err := v.sel.policySelector()
	if err != nil {
		return nil, false, err
	}
	p = &transform.Policy{ID: v.index, Direction: transform.Direction(v.dir), Selector: sel, Priority: v.priority,
		Block: v.action == block, Limits: v.limits, AddTime: v.usage.AddTime, UseTime: v.usage.UseTime}
	for t, a := range c.attributes(attributes) {
		if a.err != nil {
			return nil, false, a.err
		}
		switch t {
		case attrTemplates:
			if p.Templates, err = c.templates(a.b); err != nil {
				return nil, false, err
			}
		case attrPolicyType:
			sub = sub || len(a.b) > 0 && a.b[0] != 0
		}
	}
	return p, sub, nil
}

// templates reads the templates of a policy.
func (c Codec) templates(b []byte) (all []transform.Template, err error) {
	for r := c.reader(b); len(r.b) > 0; {
		var v template
		if r.template(&v); r.err != nil {
			return nil, r.err
		}
		if len(all) == transform.MaxTemplates {
			return nil, fmt.Errorf("more than %d templates", transform.MaxTemplates)
		}
		t := transform.Template{Proto: v.id.proto, Mode: transform.Mode(v.mode), ReqID: v.reqID,
			Optional: v.optional != 0, V6: v.family == inet6, Auth: v.auth, Encrypt: v.encrypt}
		if t.Mode.Encapsulates() {
			t.Src, t.Dst = transform.Addr(v.src, t.V6), transform.Addr(v.id.dst, t.V6)
		}
		all = append(all, t)
	}
	return all, nil
}

// policyDeleted reads a policy that is gone: its name, and the rest as attributes.
func (c Codec) policyDeleted(b []byte, n *News) error {
	r := c.reader(b)
	var name policyID
	if r.policyID(&name); r.err != nil {
		return r.err
	}
	n.ByID = name.index != 0
	for t, a := range c.attributes(r.b) {
		if a.err != nil {
			return a.err
		}
		if t != attrPolicy {
			continue
		}
		p := c.reader(a.b)
		var v policy
		if p.policy(&v); p.err != nil {
			return p.err
		}
		var err error
		n.Policy, n.Sub, err = c.policyOf(&v, r.b)
		return err
	}
	return errShort
}

// isSub tells whether attributes say that this is about sub-policies.
func (c Codec) isSub(attributes []byte) (sub bool, err error) {
	for t, a := range c.attributes(attributes) {
		if a.err != nil {
			return false, a.err
		}
		sub = sub || t == attrPolicyType && len(a.b) > 0 && a.b[0] != 0
	}
	return sub, nil
}

// acquisition reads what a packet is missing.
func (c Codec) acquisition(b []byte) (*transform.Acquisition, bool, error) {
	r := c.reader(b)
	var v acquire
	if r.acquire(&v); r.err != nil {
		return nil, false, r.err
	}
	family, sub := v.sel.family, false
	for t, a := range c.attributes(r.b) {
		if a.err != nil {
			return nil, false, a.err
		}
		switch t {
		case attrTemplates:
			for r := c.reader(a.b); len(r.b) > 0; {
				var t template
				if r.template(&t); r.err != nil {
					return nil, false, r.err
				}
				if transform.Mode(t.mode).Encapsulates() && t.id.proto == v.id.proto && t.id.dst == v.id.dst {
					family = t.family
				}
			}
		case attrPolicyType:
			sub = sub || len(a.b) > 0 && a.b[0] != 0
		}
	}
	src, dst, err := pair(v.src, v.id.dst, family)
	if err != nil {
		return nil, false, err
	}
	return &transform.Acquisition{Proto: v.id.proto, Src: src, Dst: dst, Seq: v.seq, PolicyID: v.policy.index,
		Priority: v.policy.priority, Auth: v.auth, Encrypt: v.encrypt}, sub, nil
}

// mapped reads where the peer of an SA is now.
func (c Codec) mapped(b []byte) (m *transform.Mapping, sa sadb.Key, err error) {
	r := c.reader(b)
	var v mapping
	if r.mapping(&v); r.err != nil {
		return nil, sa, r.err
	}
	old, now, err := pair(v.oldSrc, v.newSrc, v.id.family)
	if err != nil {
		return nil, sa, err
	}
	sa = sadb.Key{Dst: transform.Addr(v.id.dst, old.Is6()), SPI: v.id.spi, Proto: v.id.proto}
	return &transform.Mapping{Proto: v.id.proto, SPI: v.id.spi, Src: old, Sport: v.oldPort,
		From: netip.AddrPortFrom(now, v.newPort)}, sa, nil
}

// migration reads what was moved. Each pair has an attribute of its own, unlike in the request.
func (c Codec) migration(b []byte) (m *transform.Migration, sub bool, err error) {
	r := c.reader(b)
	var name policyID
	if r.policyID(&name); r.err != nil {
		return nil, false, r.err
	}
	sel, err := name.sel.policySelector()
	if err != nil {
		return nil, false, err
	}
	m = &transform.Migration{Selector: sel, Direction: transform.Direction(name.dir)}
	for t, a := range c.attributes(r.b) {
		if a.err != nil {
			return nil, false, a.err
		}
		r := c.reader(a.b)
		switch t {
		case attrPolicyType:
			sub = sub || len(a.b) > 0 && a.b[0] != 0
		case attrKMAddress:
			var v kmAddress
			if r.kmAddress(&v); r.err != nil {
				return nil, false, r.err
			}
			k := &transform.KMAddress{Reserved: v.reserved}
			if k.Local, k.Remote, err = pair(v.local, v.remote, v.family); err != nil {
				return nil, false, err
			}
			m.KMAddress = k
		case attrMigrate:
			for len(r.b) > 0 {
				move, err := r.move()
				if err != nil {
					return nil, false, err
				}
				m.Moves = append(m.Moves, move)
			}
		}
	}
	if len(m.Moves) == 0 {
		return nil, false, errShort
	}
	return m, sub, nil
}

func (c *coder) move() (m transform.Move, err error) {
	var v migrate
	if c.migrate(&v); c.err != nil {
		return m, c.err
	}
	m = transform.Move{Proto: v.proto, Mode: transform.Mode(v.mode), ReqID: v.reqID}
	if m.OldSrc, m.OldDst, err = pair(v.oldSrc, v.oldDst, v.oldFamily); err != nil {
		return m, err
	}
	m.NewSrc, m.NewDst, err = pair(v.newSrc, v.newDst, v.newFamily)
	return m, err
}
