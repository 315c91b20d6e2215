package netlink

import (
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
)

// AppendState appends the request that adds an SA, or updates one. Phase and Usage are not looked at.
func (c Codec) AppendState(b []byte, s *transform.State, update bool, by transform.By) []byte {
	t := NewState
	if update {
		t = UpdState
	}
	return c.beginState(b, s, t, by).end()
}

// beginState appends an SA, to which more attributes may be added.
func (c Codec) beginState(b []byte, s *transform.State, t Type, by transform.By) *writer {
	w := c.begin(b, t, flagAck, by)
	info := infoOf(s)
	w.put(stateLen, func(c *coder) { c.state(&info) })
	c.putAlgorithms(w, s)
	if s.Encap != nil {
		e := encap{kind: uint16(s.Encap.Type), sport: s.Encap.Sport, dport: s.Encap.Dport}
		w.attr(attrEncap, 24, func(c *coder) { c.encap(&e) })
	}
	return w
}

func stateIDOf(k sadb.Key) stateID {
	return stateID{dst: transform.Raw(k.Dst), spi: k.SPI, family: familyOf(k.Dst.Is6()), proto: k.Proto}
}

// AppendDelState appends the request that deletes an SA.
func (c Codec) AppendDelState(b []byte, k sadb.Key, by transform.By) []byte {
	return c.appendStateID(b, DelState, flagAck, k, by)
}

// AppendGetState appends the request that describes an SA. Its answer is a message of type NewState, or an error.
func (c Codec) AppendGetState(b []byte, k sadb.Key) []byte {
	return c.appendStateID(b, GetState, 0, k, transform.By{})
}

func (c Codec) appendStateID(b []byte, t Type, flags uint16, k sadb.Key, by transform.By) []byte {
	w := c.begin(b, t, flags, by)
	id := stateIDOf(k)
	w.put(stateIDLen, func(c *coder) { c.stateID(&id) })
	return w.end()
}

// AppendAllocSPI appends the request for an SPI. Its answer is a message of type NewState, or an error.
func (c Codec) AppendAllocSPI(b []byte, q *transform.SPIRequest) []byte {
	w := c.begin(b, AllocSPI, 0, transform.By{})
	info := state{sel: selector{family: familyOf(q.Dst.Is6())}, id: id{dst: transform.Raw(q.Dst), proto: q.Proto},
		src: transform.Raw(q.Src), seq: q.Seq, reqID: q.ReqID, family: familyOf(q.Dst.Is6()), mode: uint8(q.Mode)}
	least, most := q.Min, q.Max
	w.put(stateLen+8, func(c *coder) {
		c.state(&info)
		c.u32(&least)
		c.u32(&most)
	})
	return w.end()
}

// AppendDumpStates appends the request for all SAs of a protocol, or of [transform.AnyProto], that a filter lets
// through. Its attributes follow the header: there is no structure.
func (c Codec) AppendDumpStates(b []byte, proto uint8, f transform.Filter) []byte {
	w := c.begin(b, GetState, flagDump, transform.By{})
	w.attr(attrProto, 1, func(c *coder) { c.u8(&proto) })
	if f != (transform.Filter{}) {
		var family uint16
		if f.V4 || f.V6 {
			family = familyOf(f.V6)
		}
		w.attr(attrAddressFilter, addressFilterLen, func(c *coder) {
			c.raw(&f.Src)
			c.raw(&f.Dst)
			c.u16(&family)
			c.u8(&f.SrcBits)
			c.u8(&f.DstBits)
		})
	}
	return w.end()
}

// AppendFlushStates appends the request that deletes all SAs of a protocol, or of [transform.AnyProto].
func (c Codec) AppendFlushStates(b []byte, proto uint8, by transform.By) []byte {
	w := c.begin(b, FlushStates, flagAck, by)
	w.put(1, func(c *coder) { c.u8(&proto) })
	w.grow(3)
	return w.end()
}

// AppendPolicy appends the request that adds a policy, or that replaces one with its selector. The kernel chooses its
// id. Every algorithm fits its templates, whatever they say: no other mask of PF_KEY's can be told.
func (c Codec) AppendPolicy(b []byte, p *transform.Policy, replace bool, by transform.By) []byte {
	t := NewPolicy
	if replace {
		t = UpdPolicy
	}
	w := c.begin(b, t, flagAck, by)
	info := policy{sel: selectorOfPolicy(&p.Selector), limits: p.Limits, priority: p.Priority, dir: uint8(p.Direction)}
	if p.Block {
		info.action = block
	}
	w.put(policyLen, func(c *coder) { c.policy(&info) })
	if len(p.Templates) > 0 {
		all := templatesOf(p)
		w.attr(attrTemplates, len(all)*templateLen, func(c *coder) {
			for i := range all {
				c.template(&all[i])
			}
		})
	}
	return w.end()
}

// templatesOf puts the templates of a policy into netlink's words. One without ends has the family of the one before,
// or of the policy, as the kernel demands.
func templatesOf(p *transform.Policy) []template {
	const every = 1<<32 - 1
	six := p.Selector.Dst.Addr().Is6()
	all := make([]template, len(p.Templates))
	for i := range p.Templates {
		t := &p.Templates[i]
		if t.Mode.Encapsulates() {
			six = t.V6
		}
		all[i] = template{id: id{proto: t.Proto}, family: familyOf(six), reqID: t.ReqID, mode: uint8(t.Mode),
			auth: every, encrypt: every, comp: every}
		if t.Optional {
			all[i].optional = 1
		}
		if t.Src.IsValid() && t.Dst.IsValid() {
			all[i].src, all[i].id.dst = transform.Raw(t.Src), transform.Raw(t.Dst)
		}
	}
	return all
}

// AppendDelPolicy appends the request that deletes the policy with a selector.
func (c Codec) AppendDelPolicy(b []byte, d transform.Direction, sel *spd.Selector, by transform.By) []byte {
	return c.appendPolicyID(b, DelPolicy, flagAck, policyID{sel: selectorOfPolicy(sel), dir: uint8(d)}, by)
}

// AppendDelPolicyID appends the request that deletes the policy with an id, which is not 0.
func (c Codec) AppendDelPolicyID(b []byte, index uint32, by transform.By) []byte {
	return c.appendPolicyID(b, DelPolicy, flagAck, byIndex(index), by)
}

// AppendGetPolicy appends the request that describes the policy with an id, which is not 0. Its answer is a message of
// type NewPolicy, or an error.
func (c Codec) AppendGetPolicy(b []byte, index uint32) []byte {
	return c.appendPolicyID(b, GetPolicy, 0, byIndex(index), transform.By{})
}

// byIndex names a policy by its id, whose lowest bits are its direction.
func byIndex(index uint32) policyID { return policyID{index: index, dir: uint8(index & 7)} }

func (c Codec) appendPolicyID(b []byte, t Type, flags uint16, p policyID, by transform.By) []byte {
	w := c.begin(b, t, flags, by)
	w.put(policyIDLen, func(c *coder) { c.policyID(&p) })
	return w.end()
}

// AppendDumpPolicies appends the request for all policies.
func (c Codec) AppendDumpPolicies(b []byte) []byte {
	return c.begin(b, GetPolicy, flagDump, transform.By{}).end()
}

// AppendFlushPolicies appends the request that deletes all policies.
func (c Codec) AppendFlushPolicies(b []byte, by transform.By) []byte {
	return c.begin(b, FlushPolicies, flagAck, by).end()
}

// AppendMigrate appends the request that moves the templates of a policy, and their SAs. All pairs stand in one
// attribute.
func (c Codec) AppendMigrate(b []byte, m *transform.Migration, by transform.By) []byte {
	w := c.begin(b, Migrate, flagAck, by)
	p := policyID{sel: selectorOfPolicy(&m.Selector), dir: uint8(m.Direction)}
	w.put(policyIDLen, func(c *coder) { c.policyID(&p) })
	if k := m.KMAddress; k != nil {
		v := kmAddress{local: transform.Raw(k.Local), remote: transform.Raw(k.Remote), reserved: k.Reserved,
			family: familyOf(k.Local.Is6())}
		w.attr(attrKMAddress, 40, func(c *coder) { c.kmAddress(&v) })
	}
	w.attr(attrMigrate, len(m.Moves)*migrateLen, func(c *coder) {
		for _, v := range m.Moves {
			c.migrate(&migrate{oldDst: transform.Raw(v.OldDst), oldSrc: transform.Raw(v.OldSrc),
				newDst: transform.Raw(v.NewDst), newSrc: transform.Raw(v.NewSrc), proto: v.Proto, mode: uint8(v.Mode),
				reqID: v.ReqID, oldFamily: familyOf(v.OldDst.Is6()), newFamily: familyOf(v.NewDst.Is6())})
		}
	})
	return w.end()
}
