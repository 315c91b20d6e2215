package afkey_test

import (
	"net/netip"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// host is a kernel as XFRM netlink shows it: what it can say and what it refuses, in the words of netlink. There is no
// state of an SA, no number of PF_KEY's, and whoever wants to know what happened listens to what all are told.
type host struct {
	now    int64 // seconds of a clock that nobody else has
	random func() uint32

	sas      []*info // newest first, as dumps show them
	policies []*rule
	index    uint32
	news     []news // sent to all, not read yet
}

// info is what netlink says of an SA: usersa_info and its attributes.
type info struct {
	id         sadb.Key
	saddr      netip.Addr
	sel        transform.Selector // all zeros but the family: anything
	limits     transform.Limits
	added      int64
	seq, reqid uint32
	mode       transform.Mode
	replay     uint8
	flags      transform.Flags

	auth, crypt, comp *algo
	encap             *transform.Encap
}

// algo is one of the attributes XFRMA_ALG_AUTH, XFRMA_ALG_CRYPT and XFRMA_ALG_COMP.
type algo struct {
	name string
	bits uint16
	key  []byte
}

// rule is what netlink says of a policy: userpolicy_info and templates. What PF_KEY calls references is not there.
type rule struct {
	dir       transform.Direction
	index     uint32
	sel       spd.Selector
	priority  uint32
	block     bool
	limits    transform.Limits
	added     int64
	templates []transform.Template
}

// news is a message to all listeners, with the numbers that whoever caused it has written into the request.
type news struct {
	what     string // as netlink has it: NEWSA, UPDSA, ...
	by       transform.By
	sa       *info
	proto    uint8
	rule     *rule
	byNumber bool // of DELPOLICY
	moved    *transform.Migration
}

const (
	ah, esp, comp = 51, 50, 108
	anyOfThem     = 255
)

func ipsecProto(p uint8) bool { return p == ah || p == esp || p == comp }

// keys says which keys an algorithm takes, in bytes, nil for any; what is not here the host does not have.
var keys = map[string][]int{
	"digest_null": nil, "hmac(md5)": nil, "hmac(sha1)": nil, "hmac(sha256)": nil, "hmac(sha384)": nil,
	"hmac(sha512)": nil, "hmac(rmd160)": nil, "xcbc(aes)": {16, 24, 32},
	"ecb(cipher_null)": {0}, "cbc(des)": {8}, "cbc(des3_ede)": {24}, "cbc(cast5)": upTo(5, 16),
	"cbc(blowfish)": upTo(4, 56), "cbc(aes)": {16, 24, 32}, "cbc(serpent)": upTo(0, 32),
	"cbc(camellia)": {16, 24, 32}, "cbc(twofish)": {16, 24, 32}, "rfc3686(ctr(aes))": {20, 28, 36},
	"deflate": nil,
}

func upTo(least, most int) (all []int) {
	for n := least; n <= most; n++ {
		all = append(all, n)
	}
	return all
}

func (h *host) find(id sadb.Key) *info {
	for _, sa := range h.sas {
		if sa.id == id && id.SPI != 0 {
			return sa
		}
	}
	return nil
}

func (h *host) drop(sa *info) {
	h.sas = slices.DeleteFunc(h.sas, func(o *info) bool { return o == sa })
}

func (h *host) insert(sa *info) {
	sa.added = h.now
	h.sas = slices.Insert(h.sas, 0, sa)
}

// larval tells one that waits for keys from the others.
func (sa *info) larval() bool { return sa.auth == nil && sa.crypt == nil && sa.comp == nil }

// accept says what the host refuses of an SA.
func (sa *info) accept() wire.Errno {
	switch sa.id.Proto {
	case ah:
		if sa.auth == nil || sa.crypt != nil || sa.comp != nil {
			return wire.EINVAL
		}
	case esp:
		if sa.crypt == nil && sa.auth == nil || sa.comp != nil {
			return wire.EINVAL
		}
	case comp:
		if sa.comp == nil || sa.auth != nil || sa.crypt != nil || sa.id.SPI > 0xffff {
			return wire.EINVAL
		}
	default:
		return wire.EINVAL
	}
	if !sa.mode.Encapsulates() && sa.sel.V6 != sa.id.Dst.Is6() {
		return wire.EPROTONOSUPPORT
	}
	if sa.id.Proto == esp && sa.crypt == nil || sa.id.Proto == comp && sa.mode == transform.BEET {
		return wire.EINVAL
	}
	for _, a := range []*algo{sa.auth, sa.crypt} {
		if a == nil {
			continue
		}
		if sizes, ok := keys[a.name]; !ok {
			return wire.ENOSYS
		} else if sizes != nil && !slices.Contains(sizes, len(a.key)) {
			return wire.EINVAL
		}
	}
	if sa.encap != nil && (sa.id.Proto != esp || sa.encap.Type != 1 && sa.encap.Type != 2) {
		return wire.EINVAL
	}
	return wire.OK
}

// NEWSA and UPDSA.
func (h *host) newSA(sa *info, update bool, by transform.By) wire.Errno {
	if errno := sa.accept(); errno != wire.OK {
		return errno
	}
	old := h.find(sa.id)
	what := "NEWSA"
	switch {
	case !update && old != nil:
		return wire.EEXIST
	case update && old == nil:
		return wire.ESRCH
	case update && !old.larval():
		if (old.encap == nil) != (sa.encap == nil) || sa.encap != nil && sa.encap.Type != old.encap.Type {
			return wire.EINVAL
		}
		old.encap, old.limits, what = sa.encap, sa.limits, "UPDSA"
		sa.added = h.now
	default:
		if update {
			h.drop(old)
			what = "UPDSA"
		}
		h.insert(sa)
		h.drop(h.acquired(sa))
	}
	h.news = append(h.news, news{what: what, by: by, sa: sa})
	return wire.OK
}

// acquired is the SA without an SPI whose place a new one takes.
func (h *host) acquired(sa *info) *info {
	for _, o := range h.sas {
		if o.larval() && o.id.SPI == 0 && o.id.Dst == sa.id.Dst && o.id.Proto == sa.id.Proto && o.saddr == sa.saddr &&
			o.mode == sa.mode && o.reqid == sa.reqid {
			return o
		}
	}
	return nil
}

func (h *host) delSA(id sadb.Key, by transform.By) wire.Errno {
	sa := h.find(id)
	if sa == nil {
		return wire.ESRCH
	}
	h.drop(sa)
	h.news = append(h.news, news{what: "DELSA", by: by, sa: sa})
	return wire.OK
}

func (h *host) flushSA(proto uint8, by transform.By) {
	n := len(h.sas)
	h.sas = slices.DeleteFunc(h.sas, func(sa *info) bool {
		return sa.id.Proto == proto || proto == anyOfThem && ipsecProto(sa.id.Proto)
	})
	if len(h.sas) < n {
		h.news = append(h.news, news{what: "FLUSHSA", by: by, proto: proto})
	}
}

// allocSPI is ALLOCSPI, of which nobody hears.
func (h *host) allocSPI(want *info, least, most uint32) (*info, wire.Errno) {
	if !ipsecProto(want.id.Proto) || least > most || want.id.Proto == comp && most > 0xffff {
		return nil, wire.EINVAL
	}
	sa := h.acquired(want)
	if sa == nil {
		sa = want
		sa.limits = transform.NoLimits
		sa.limits.Hard.AddTime = 30
		h.insert(sa)
	}
	name := sa.id
	for range most - least + 1 {
		if name.SPI = least + h.random()%(most-least+1); name.SPI != 0 && h.find(name) == nil {
			sa.id = name
			return sa, wire.OK
		}
	}
	return nil, wire.ENOENT
}

// dump is a list taken at once.
func (h *host) dump(proto uint8, f transform.Filter) (all []*info) {
	same := func(a netip.Addr, raw [16]byte, bits uint8) bool {
		b := transform.Raw(a)
		return netip.PrefixFrom(netip.AddrFrom16(raw), int(bits)).Contains(netip.AddrFrom16(b)) || bits == 0
	}
	for _, sa := range h.sas {
		if (sa.id.Proto == proto || proto == anyOfThem && ipsecProto(sa.id.Proto)) &&
			!(f.V4 && sa.id.Dst.Is6()) && !(f.V6 && sa.id.Dst.Is4()) &&
			same(sa.saddr, f.Src, f.SrcBits) && same(sa.id.Dst, f.Dst, f.DstBits) {
			all = append(all, sa)
		}
	}
	return all
}

func (h *host) findRule(match func(*rule) bool) *rule {
	if i := slices.IndexFunc(h.policies, match); i >= 0 {
		return h.policies[i]
	}
	return nil
}

func (h *host) newPolicy(r *rule, update bool, by transform.By) wire.Errno {
	what := "NEWPOLICY"
	old := h.findRule(func(o *rule) bool { return o.dir == r.dir && o.sel == r.sel })
	switch {
	case old == nil:
		if r.index = h.index | uint32(r.dir); r.index == 0 {
			h.index += 8
			r.index = h.index
		}
		h.index += 8
	case !update:
		return wire.EEXIST
	default:
		r.index = old.index
		h.policies = slices.DeleteFunc(h.policies, func(o *rule) bool { return o == old })
	}
	if update {
		what = "UPDPOLICY"
	}
	r.added = h.now
	h.policies = slices.Insert(h.policies, 0, r)
	h.news = append(h.news, news{what: what, by: by, rule: r})
	return wire.OK
}

func (h *host) delPolicy(r *rule, byNumber bool, by transform.By) wire.Errno {
	if r == nil {
		return wire.ENOENT
	}
	h.policies = slices.DeleteFunc(h.policies, func(o *rule) bool { return o == r })
	h.news = append(h.news, news{what: "DELPOLICY", by: by, rule: r, byNumber: byNumber})
	return wire.OK
}

func (h *host) flushPolicy(by transform.By) {
	if len(h.policies) > 0 {
		h.policies = nil
		h.news = append(h.news, news{what: "FLUSHPOLICY", by: by})
	}
}

// migrate is MIGRATE: SAs are copied to the other addresses, then the templates change, and what was copied goes.
func (h *host) migrate(m *transform.Migration) wire.Errno {
	seen := map[transform.Move]bool{}
	for _, to := range m.Moves {
		from := to
		from.NewSrc, from.NewDst = netip.Addr{}, netip.Addr{}
		if to.NewSrc.IsUnspecified() || to.NewDst.IsUnspecified() || seen[from] {
			return wire.EINVAL
		}
		seen[from] = to.OldDst.Is6() // of IPv4 the original compares too many bytes
	}
	if m.Direction >= transform.Directions {
		return wire.EINVAL
	}
	r := h.findRule(func(r *rule) bool { return r.dir == m.Direction && r.sel == m.Selector })
	if r == nil {
		return wire.ENOENT
	}
	before, any := slices.Clone(h.sas), false
	templates := slices.Clone(r.templates)
	for _, to := range m.Moves {
		i := slices.IndexFunc(before, func(sa *info) bool {
			return sa.id.Proto == to.Proto && sa.mode == to.Mode && (to.ReqID == 0 || sa.reqid == to.ReqID) &&
				sa.saddr == to.OldSrc && sa.id.Dst == to.OldDst
		})
		if i >= 0 {
			moved := *before[i]
			moved.saddr, moved.id.Dst = to.NewSrc, to.NewDst
			if moved.larval() || moved.accept() != wire.OK || to.NewDst != to.OldDst && h.find(moved.id) != nil {
				h.sas = before
				return wire.ENODATA
			}
			h.drop(before[i])
			h.sas = slices.Insert(h.sas, 0, &moved)
		}
		for j := range templates {
			t := &templates[j]
			if t.Mode != to.Mode || t.Proto != to.Proto || to.ReqID != 0 && t.ReqID != to.ReqID {
				continue
			}
			if !t.Mode.Encapsulates() {
				any = true
			} else if t.Src == to.OldSrc && t.Dst == to.OldDst {
				t.Src, t.Dst, t.V6, any = to.NewSrc, to.NewDst, to.NewDst.Is6(), true
			}
		}
	}
	if !any {
		h.sas = before
		return wire.ENODATA
	}
	r.templates = templates
	h.news = append(h.news, news{what: "MIGRATE", moved: m})
	return wire.OK
}
