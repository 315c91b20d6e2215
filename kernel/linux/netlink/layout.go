package netlink

import (
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
)

// The structures of <linux/xfrm.h> as a 64-bit kernel lays them out, and their sizes in bytes.
const (
	selectorLen      = 56
	idLen            = 24
	stateLen         = 224
	stateIDLen       = 24
	policyLen        = 168
	policyIDLen      = 64
	templateLen      = 64
	migrateLen       = 76
	addressFilterLen = 36
)

// selector is struct xfrm_selector.
type selector struct {
	dst, src                           [16]byte
	dport, dportMask, sport, sportMask uint16
	family                             uint16
	dstBits, srcBits, proto            uint8
	ifindex, user                      uint32
}

func (c *coder) selector(s *selector) {
	c.raw(&s.dst)
	c.raw(&s.src)
	c.be16(&s.dport)
	c.be16(&s.dportMask)
	c.be16(&s.sport)
	c.be16(&s.sportMask)
	c.u16(&s.family)
	c.u8(&s.dstBits)
	c.u8(&s.srcBits)
	c.u8(&s.proto)
	c.pad(3)
	c.u32(&s.ifindex)
	c.u32(&s.user)
}

// portMask is that of a port: one alone, or all.
func portMask(port uint16) uint16 {
	if port == 0 {
		return 0
	}
	return 0xffff
}

// stateSelector is the selector of an SA.
func (s *selector) stateSelector() *transform.Selector {
	return &transform.Selector{Src: s.src, Dst: s.dst, SrcBits: s.srcBits, DstBits: s.dstBits, Proto: s.proto,
		V6: s.family == inet6, Sport: s.sport, Dport: s.dport}
}

func selectorOfState(s *transform.State) selector {
	if s.Sel == nil {
		return selector{family: familyOf(s.V6())}
	}
	return selector{src: s.Sel.Src, dst: s.Sel.Dst, srcBits: s.Sel.SrcBits, dstBits: s.Sel.DstBits,
		proto: s.Sel.Proto, family: familyOf(s.Sel.V6), sport: s.Sel.Sport, sportMask: portMask(s.Sel.Sport),
		dport: s.Sel.Dport, dportMask: portMask(s.Sel.Dport)}
}

// policySelector is the selector of a policy. A mask of ports that PF_KEY cannot express becomes none.
func (s *selector) policySelector() (sel spd.Selector, err error) {
	six, err := v6(s.family)
	if err != nil {
		return sel, err
	}
	if sel.Src, err = prefix(transform.Addr(s.src, six), s.srcBits); err != nil {
		return sel, err
	}
	if sel.Dst, err = prefix(transform.Addr(s.dst, six), s.dstBits); err != nil {
		return sel, err
	}
	sel.Proto, sel.SrcPort, sel.DstPort = s.proto, s.sport, s.dport
	return sel, nil
}

func selectorOfPolicy(sel *spd.Selector) selector {
	return selector{src: transform.Raw(sel.Src.Addr()), dst: transform.Raw(sel.Dst.Addr()),
		srcBits: uint8(sel.Src.Bits()), dstBits: uint8(sel.Dst.Bits()), proto: sel.Proto,
		family: familyOf(sel.Dst.Addr().Is6()), sport: sel.SrcPort, sportMask: portMask(sel.SrcPort),
		dport: sel.DstPort, dportMask: portMask(sel.DstPort)}
}

// id is struct xfrm_id.
type id struct {
	dst   [16]byte
	spi   uint32
	proto uint8
}

func (c *coder) id(v *id) {
	c.raw(&v.dst)
	c.be32(&v.spi)
	c.u8(&v.proto)
	c.pad(3)
}

// limits are struct xfrm_lifetime_cfg.
func (c *coder) limits(l *transform.Limits) {
	c.u64(&l.Soft.Bytes)
	c.u64(&l.Hard.Bytes)
	c.u64(&l.Soft.Packets)
	c.u64(&l.Hard.Packets)
	c.u64(&l.Soft.AddTime)
	c.u64(&l.Hard.AddTime)
	c.u64(&l.Soft.UseTime)
	c.u64(&l.Hard.UseTime)
}

// usage is struct xfrm_lifetime_cur.
func (c *coder) usage(u *transform.Usage) {
	added, used := uint64(u.AddTime), uint64(u.UseTime)
	c.u64(&u.Bytes)
	c.u64(&u.Packets)
	c.u64(&added)
	c.u64(&used)
	u.AddTime, u.UseTime = int64(added), int64(used)
}

// state is struct xfrm_usersa_info.
type state struct {
	sel        selector
	id         id
	src        [16]byte
	limits     transform.Limits
	usage      transform.Usage
	seq, reqID uint32
	family     uint16
	mode       uint8
	replay     uint8
	flags      uint8
}

func (c *coder) state(s *state) {
	c.selector(&s.sel)
	c.id(&s.id)
	c.raw(&s.src)
	c.limits(&s.limits)
	c.usage(&s.usage)
	c.pad(12) // struct xfrm_stats
	c.u32(&s.seq)
	c.u32(&s.reqID)
	c.u16(&s.family)
	c.u8(&s.mode)
	c.u8(&s.replay)
	c.u8(&s.flags)
	c.pad(7)
}

// knownFlags are those that PF_KEY knows as well.
const knownFlags = transform.NoECN | transform.DecapDSCP | transform.NoPMTUDisc

// to puts what is known of an SA into s. The phase and what stands in attributes is not.
func (v *state) to(s *transform.State) error {
	six, err := v6(v.family)
	if err != nil {
		return err
	}
	*s = transform.State{Limits: v.limits, Usage: v.usage, Config: transform.Config{Proto: v.id.proto,
		Mode: transform.Mode(v.mode), Replay: min(v.replay, 32), Flags: transform.Flags(v.flags) & knownFlags,
		Src: transform.Addr(v.src, six), Dst: transform.Addr(v.id.dst, six), SPI: v.id.spi, ReqID: v.reqID,
		MsgSeq: v.seq, Sel: v.sel.stateSelector()}}
	return nil
}

func infoOf(s *transform.State) state {
	return state{sel: selectorOfState(s), id: id{dst: transform.Raw(s.Dst), spi: s.SPI, proto: s.Proto},
		src: transform.Raw(s.Src), limits: s.Limits, seq: s.MsgSeq, reqID: s.ReqID, family: familyOf(s.V6()),
		mode: uint8(s.Mode), replay: s.Replay, flags: uint8(s.Flags)}
}

// stateID is struct xfrm_usersa_id.
type stateID struct {
	dst    [16]byte
	spi    uint32
	family uint16
	proto  uint8
}

func (c *coder) stateID(v *stateID) {
	c.raw(&v.dst)
	c.be32(&v.spi)
	c.u16(&v.family)
	c.u8(&v.proto)
	c.pad(1)
}

// policy is struct xfrm_userpolicy_info.
type policy struct {
	sel             selector
	limits          transform.Limits
	usage           transform.Usage
	priority, index uint32
	dir, action     uint8
	flags, share    uint8
}

// block is the action XFRM_POLICY_BLOCK; the other one is 0.
const block = 1

func (c *coder) policy(p *policy) {
	c.selector(&p.sel)
	c.limits(&p.limits)
	c.usage(&p.usage)
	c.u32(&p.priority)
	c.u32(&p.index)
	c.u8(&p.dir)
	c.u8(&p.action)
	c.u8(&p.flags)
	c.u8(&p.share)
	c.pad(4)
}

// policyID is struct xfrm_userpolicy_id.
type policyID struct {
	sel   selector
	index uint32
	dir   uint8
}

func (c *coder) policyID(p *policyID) {
	c.selector(&p.sel)
	c.u32(&p.index)
	c.u8(&p.dir)
	c.pad(3)
}

// template is struct xfrm_user_tmpl.
type template struct {
	id                    id
	family                uint16
	src                   [16]byte
	reqID                 uint32
	mode, share, optional uint8
	auth, encrypt, comp   uint32
}

func (c *coder) template(t *template) {
	c.id(&t.id)
	c.u16(&t.family)
	c.pad(2)
	c.raw(&t.src)
	c.u32(&t.reqID)
	c.u8(&t.mode)
	c.u8(&t.share)
	c.u8(&t.optional)
	c.pad(1)
	c.u32(&t.auth)
	c.u32(&t.encrypt)
	c.u32(&t.comp)
}

// acquire is struct xfrm_user_acquire.
type acquire struct {
	id                  id
	src                 [16]byte
	sel                 selector
	policy              policy
	auth, encrypt, comp uint32
	seq                 uint32
}

func (c *coder) acquire(a *acquire) {
	c.id(&a.id)
	c.raw(&a.src)
	c.selector(&a.sel)
	c.policy(&a.policy)
	c.u32(&a.auth)
	c.u32(&a.encrypt)
	c.u32(&a.comp)
	c.u32(&a.seq)
}

// mapping is struct xfrm_user_mapping.
type mapping struct {
	id               stateID
	reqID            uint32
	oldSrc, newSrc   [16]byte
	oldPort, newPort uint16
}

func (c *coder) mapping(m *mapping) {
	c.stateID(&m.id)
	c.u32(&m.reqID)
	c.raw(&m.oldSrc)
	c.raw(&m.newSrc)
	c.be16(&m.oldPort)
	c.be16(&m.newPort)
}

// migrate is struct xfrm_user_migrate.
type migrate struct {
	oldDst, oldSrc, newDst, newSrc [16]byte
	proto, mode                    uint8
	reqID                          uint32
	oldFamily, newFamily           uint16
}

func (c *coder) migrate(m *migrate) {
	c.raw(&m.oldDst)
	c.raw(&m.oldSrc)
	c.raw(&m.newDst)
	c.raw(&m.newSrc)
	c.u8(&m.proto)
	c.u8(&m.mode)
	c.pad(2)
	c.u32(&m.reqID)
	c.u16(&m.oldFamily)
	c.u16(&m.newFamily)
}

// kmAddress is struct xfrm_user_kmaddress.
type kmAddress struct {
	local, remote [16]byte
	reserved      uint32
	family        uint16
}

func (c *coder) kmAddress(k *kmAddress) {
	c.raw(&k.local)
	c.raw(&k.remote)
	c.u32(&k.reserved)
	c.u16(&k.family)
	c.pad(2)
}

// encap is struct xfrm_encap_tmpl. The original address means nothing to the kernel.
type encap struct {
	kind         uint16
	sport, dport uint16
	original     [16]byte
}

func (c *coder) encap(e *encap) {
	c.u16(&e.kind)
	c.be16(&e.sport)
	c.be16(&e.dport)
	c.pad(2)
	c.raw(&e.original)
}

// pair reads two addresses of one family.
func pair(a, b [16]byte, family uint16) (x, y netip.Addr, err error) {
	six, err := v6(family)
	if err != nil {
		return x, y, err
	}
	return transform.Addr(a, six), transform.Addr(b, six), nil
}
