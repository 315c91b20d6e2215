package afkey_test

import (
	"maps"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// bridge is transforms that stand on a host. What netlink cannot say of SAs it remembers, and nothing else: what keys
// the host would not take, and which SAs there are, to tell the ones that had keys before.
type bridge struct {
	h       *host
	manager transform.Manager
	memory  map[sadb.Key]memory
}

type memory struct {
	keyed    bool
	withheld *algo // of authentication for IPCOMP, of encryption for AH
}

// What the host calls algorithms.
var (
	auths = map[wire.AlgID]string{
		wire.AuthNull: "digest_null", wire.AuthMD5HMAC: "hmac(md5)", wire.AuthSHA1HMAC: "hmac(sha1)",
		wire.AuthSHA256HMAC: "hmac(sha256)", wire.AuthSHA384HMAC: "hmac(sha384)", wire.AuthSHA512HMAC: "hmac(sha512)",
		wire.AuthRIPEMD160HMAC: "hmac(rmd160)", wire.AuthAESXCBCMAC: "xcbc(aes)"}
	crypts = map[wire.AlgID]string{
		wire.EncNull: "ecb(cipher_null)", wire.EncDESCBC: "cbc(des)", wire.Enc3DESCBC: "cbc(des3_ede)",
		wire.EncCAST128CBC: "cbc(cast5)", wire.EncBlowfishCBC: "cbc(blowfish)", wire.EncAESCBC: "cbc(aes)",
		wire.EncSerpentCBC: "cbc(serpent)", wire.EncCamelliaCBC: "cbc(camellia)",
		wire.EncTwofishCBC: "cbc(twofish)", wire.EncAESCTR: "rfc3686(ctr(aes))"}
	comps = map[wire.AlgID]string{wire.CompDeflate: "deflate"}
)

// symbol finds an algorithm by its name; 0 for one that PF_KEY does not have.
func symbol(names map[wire.AlgID]string, name string) wire.AlgID {
	for a, n := range names {
		if n == name {
			return a
		}
	}
	return 0
}

// hear reads what the host has told all, which it has done before it acknowledges a request.
func (b *bridge) hear() {
	for _, n := range b.h.news {
		switch n.what {
		case "NEWSA":
			b.memory[n.sa.id] = memory{keyed: true, withheld: b.memory[n.sa.id].withheld}
			b.manager.StateChanged(transform.Added, b.state(n.sa), n.by)
		case "UPDSA":
			s := b.state(n.sa)
			if m := b.memory[n.sa.id]; m.keyed {
				s.Phase = sadb.Dead
			} else {
				m.keyed = true
				b.memory[n.sa.id] = m
			}
			b.manager.StateChanged(transform.Updated, s, n.by)
		case "DELSA":
			s := b.state(n.sa)
			s.Phase = sadb.Dead
			delete(b.memory, n.sa.id)
			b.manager.StateChanged(transform.Deleted, s, n.by)
		case "FLUSHSA":
			maps.DeleteFunc(b.memory, func(k sadb.Key, _ memory) bool { return b.h.find(k) == nil })
			b.manager.StatesFlushed(n.proto, n.by)
		case "NEWPOLICY":
			b.manager.PolicyChanged(transform.Added, b.policy(n.rule, 2), n.by)
		case "UPDPOLICY":
			b.manager.PolicyChanged(transform.Updated, b.policy(n.rule, 2), n.by)
		case "DELPOLICY":
			c := transform.Deleted
			if n.byNumber {
				c = transform.DeletedByID
			}
			b.manager.PolicyChanged(c, b.policy(n.rule, 0), n.by)
		case "FLUSHPOLICY":
			b.manager.PoliciesFlushed(n.by)
		case "MIGRATE":
			b.manager.Migrated(n.moved)
		}
	}
	b.h.news = nil
}

// state is what netlink has said of an SA, and what is remembered.
func (b *bridge) state(sa *info) *transform.State {
	s := &transform.State{Phase: sadb.Mature, Encap: sa.encap, Limits: sa.limits,
		Usage: transform.Usage{AddTime: sa.added},
		Config: transform.Config{Proto: sa.id.Proto, Mode: sa.mode, Replay: sa.replay, Flags: sa.flags, Src: sa.saddr,
			Dst: sa.id.Dst, SPI: sa.id.SPI, ReqID: sa.reqid, MsgSeq: sa.seq, Sel: &sa.sel}}
	if sa.larval() {
		s.Phase = sadb.Larval
	}
	auth, crypt := sa.auth, sa.crypt
	switch withheld := b.memory[sa.id].withheld; {
	case withheld == nil:
	case sa.id.Proto == ah:
		crypt = withheld
	default:
		auth = withheld
	}
	if auth != nil {
		s.Auth, s.AuthBits, s.Keys = symbol(auths, auth.name), auth.bits, slices.Clone(auth.key)
	}
	if crypt != nil {
		s.Encrypt, s.EncryptBits, s.Keys = symbol(crypts, crypt.name), crypt.bits, append(s.Keys, crypt.key...)
	}
	if sa.comp != nil {
		s.Compress = symbol(comps, sa.comp.name)
	}
	return s
}

// saOf puts an SA into netlink's words; withheld is what the host would not take.
func saOf(s *transform.State) (sa *info, withheld *algo) {
	sa = &info{id: s.Key(), saddr: s.Src, limits: s.Limits, seq: s.MsgSeq, reqid: s.ReqID, mode: s.Mode,
		replay: s.Replay, flags: s.Flags, encap: s.Encap, sel: transform.Selector{V6: s.V6()}}
	if s.Sel != nil {
		sa.sel = *s.Sel
	}
	if s.Auth != 0 {
		sa.auth = &algo{auths[s.Auth], s.AuthBits, slices.Clone(s.AuthKey())}
	}
	if s.Encrypt != 0 {
		sa.crypt = &algo{crypts[s.Encrypt], s.EncryptBits, slices.Clone(s.EncryptKey())}
	}
	if s.Compress != 0 {
		sa.comp = &algo{name: comps[s.Compress]}
	}
	switch s.Proto {
	case ah:
		withheld, sa.crypt = sa.crypt, nil
	case comp:
		withheld, sa.auth = sa.auth, nil
	}
	return sa, withheld
}

func (b *bridge) put(s *transform.State, update bool, by transform.By) wire.Errno {
	if s.Proto == transform.AnyProto {
		return wire.EPROTONOSUPPORT // netlink has another errno for it
	}
	sa, withheld := saOf(s)
	before, known := b.memory[sa.id]
	if withheld != nil {
		b.memory[sa.id] = memory{before.keyed, withheld}
	}
	errno := b.h.newSA(sa, update, by)
	if errno != wire.OK && withheld != nil {
		if b.memory[sa.id] = before; !known {
			delete(b.memory, sa.id)
		}
	}
	b.hear()
	return errno
}

func (b *bridge) Add(s *transform.State, by transform.By) wire.Errno    { return b.put(s, false, by) }
func (b *bridge) Update(s *transform.State, by transform.By) wire.Errno { return b.put(s, true, by) }

func (b *bridge) Delete(name sadb.Key, by transform.By) wire.Errno {
	errno := b.h.delSA(name, by)
	b.hear()
	return errno
}

func (b *bridge) Get(name sadb.Key, to *transform.State) wire.Errno {
	sa := b.h.find(name)
	if sa == nil {
		return wire.ESRCH
	}
	*to = *b.state(sa)
	return wire.OK
}

func (b *bridge) AllocSPI(q *transform.SPIRequest, to *transform.State) wire.Errno {
	want := &info{id: sadb.Key{Dst: q.Dst, Proto: q.Proto}, saddr: q.Src, mode: q.Mode, reqid: q.ReqID, seq: q.Seq,
		sel: transform.Selector{Src: transform.Raw(q.Src), V6: q.Dst.Is6()}}
	sa, errno := b.h.allocSPI(want, q.Min, q.Max)
	if errno == wire.EINVAL { // AF_KEY leaves an SA without SPI behind, netlink nothing, but for this range
		b.h.allocSPI(want, 0, 0)
	}
	if errno == wire.OK {
		*to = *b.state(sa)
	}
	return errno
}

func (b *bridge) Flush(proto uint8, by transform.By) {
	b.h.flushSA(proto, by)
	b.hear()
}

// Walk goes over a list taken at once, and passes over what is gone meanwhile.
func (b *bridge) Walk(proto uint8, f transform.Filter) transform.Walk[transform.State] {
	w := &listWalk[transform.State]{}
	for _, sa := range b.h.dump(proto, f) {
		w.rest = append(w.rest, func() *transform.State {
			if !slices.Contains(b.h.sas, sa) {
				return nil
			}
			return b.state(sa)
		})
	}
	return w
}

type listWalk[T any] struct{ rest []func() *T }

func (w *listWalk[T]) Each(f func(*T) bool) (done bool) {
	for len(w.rest) > 0 {
		if v := w.rest[0](); v != nil && !f(v) {
			return false
		}
		w.rest = w.rest[1:]
	}
	return true
}

func (w *listWalk[T]) Close() { w.rest = nil }

func (b *bridge) Ask(bool)      {} // it would listen to ACQUIREs now
func (b *bridge) GiveUp(uint32) {} // no message says so
func (b *bridge) Settle()       {} // nothing waits on that host

// policy is what netlink has said of a policy. How many refer to it is a rule of thumb.
func (b *bridge) policy(r *rule, references int) *transform.Policy {
	return &transform.Policy{ID: r.index, Direction: r.dir, Selector: r.sel, Priority: r.priority, Block: r.block,
		Limits: r.limits, Templates: r.templates, AddTime: r.added, References: references}
}

func (b *bridge) AddPolicy(p *transform.Policy, replace bool, by transform.By) wire.Errno {
	errno := b.h.newPolicy(&rule{dir: p.Direction, sel: p.Selector, priority: p.Priority, block: p.Block,
		limits: p.Limits, templates: p.Templates}, replace, by)
	b.hear()
	return errno
}

func (b *bridge) DeletePolicy(d transform.Direction, sel spd.Selector, by transform.By) wire.Errno {
	errno := b.h.delPolicy(b.h.findRule(func(r *rule) bool { return r.dir == d && r.sel == sel }), false, by)
	b.hear()
	return errno
}

// byID finds a policy by its number. Netlink takes 0 for "by selector", so it is not asked for that.
func (b *bridge) byID(id uint32) (*rule, wire.Errno) {
	if id&7 >= uint32(transform.Directions) {
		return nil, wire.EINVAL
	}
	r := b.h.findRule(func(r *rule) bool { return r.index == id })
	if r == nil {
		return nil, wire.ENOENT
	}
	return r, wire.OK
}

func (b *bridge) DeletePolicyID(id uint32, by transform.By) wire.Errno {
	r, errno := b.byID(id)
	if errno == wire.OK {
		errno = b.h.delPolicy(r, true, by)
	}
	b.hear()
	return errno
}

func (b *bridge) GetPolicy(id uint32, to *transform.Policy) wire.Errno {
	r, errno := b.byID(id)
	if errno == wire.OK {
		*to = *b.policy(r, 2)
	}
	return errno
}

func (b *bridge) FlushPolicies(by transform.By) {
	b.h.flushPolicy(by)
	b.hear()
}

func (b *bridge) WalkPolicies() transform.Walk[transform.Policy] {
	w := &listWalk[transform.Policy]{}
	for _, r := range b.h.policies {
		w.rest = append(w.rest, func() *transform.Policy {
			if !slices.Contains(b.h.policies, r) {
				return nil
			}
			return b.policy(r, 2)
		})
	}
	return w
}

// Migrate fills the memory of SAs anew: of what was moved the host says nothing.
func (b *bridge) Migrate(m *transform.Migration) wire.Errno {
	errno := b.h.migrate(m)
	for _, sa := range b.h.dump(anyOfThem, transform.Filter{}) {
		old := b.memory[sa.id]
		b.memory[sa.id] = memory{!sa.larval(), old.withheld}
	}
	b.hear()
	return errno
}

func (b *bridge) ReqIDUsed(id uint32) bool {
	return b.h.findRule(func(r *rule) bool {
		return slices.ContainsFunc(r.templates, func(t transform.Template) bool { return t.ReqID == id })
	}) != nil
}
