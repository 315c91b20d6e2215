package linux_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/wire"
)

// rule is a policy as the test knows it.
type rule struct {
	sel      spd.Selector
	priority uint32
	order    int
	id       uint32
	hosts    bool // between two single hosts
	place    int
}

func (r *rule) before(o *rule) bool {
	return r.priority < o.priority || r.priority == o.priority && r.order < o.order
}

// chosen goes through two lists, of the rules between hosts and of the others, from one end to the other.
func chosen(list []rule, f spd.Flow) *rule {
	var best [2]*rule
	for i := range list {
		r := &list[i]
		of := &best[0]
		if !r.hosts {
			of = &best[1]
		}
		if r.sel.Matches(f) && (*of == nil || r.before(*of)) {
			*of = r
		}
	}
	if hosts, other := best[0], best[1]; hosts != nil && (other == nil || other.priority > hosts.priority ||
		other.priority == hosts.priority && other.place > 0) {
		return hosts
	}
	return best[1]
}

// place hands out the places when the last of the list has come and the one it replaces, if that is not -1, is still
// there.
func place(list []rule, replaced int) {
	var rest []*rule
	for i := range list {
		if !list[i].hosts {
			rest = append(rest, &list[i])
		}
	}
	last := rest[len(rest)-1]
	slices.SortStableFunc(rest, func(a, b *rule) int {
		switch {
		case a.before(b):
			return -1
		case b.before(a):
			return 1
		}
		return 0
	})
	// The new one goes before the one that it replaces where it would come next to it.
	if i := slices.Index(rest, last); i > 0 && replaced >= 0 && rest[i-1] == &list[replaced] {
		rest[i-1], rest[i] = rest[i], rest[i-1]
	}
	for i, r := range rest {
		r.place = i
	}
}

// TestWhichPolicy adds, replaces and deletes policies at random, and asks after each step which one a packet has met:
// the one used last.
func TestWhichPolicy(t *testing.T) {
	h := newHost(t, engine.Options{})
	d := h.d()
	r := rand.New(rand.NewPCG(1, 2))
	ends := func() (src, dst netip.Addr) {
		if r.IntN(4) == 0 {
			return netip.AddrFrom16([16]byte{0x20, 1, 15: byte(r.IntN(2))}),
				netip.AddrFrom16([16]byte{0x20, 1, 15: byte(r.IntN(2))})
		}
		return netip.AddrFrom4([4]byte{203, 0, 113, byte(r.IntN(2))}),
			netip.AddrFrom4([4]byte{203, 0, 113, byte(r.IntN(2))})
	}
	prefix := func(a netip.Addr) netip.Prefix {
		bits := a.BitLen()
		if r.IntN(2) == 0 {
			bits -= r.IntN(4)
		}
		return netip.PrefixFrom(a, bits)
	}
	message := func(typ wire.MsgType, o *rule) []byte {
		b := d.AppendHeader(nil, wire.Header{Version: 2, Type: typ, PID: 1})
		b = d.AppendPolicy(b, wire.Policy{Type: wire.KAMEPolicyNone, Direction: wire.KAMEDirOut,
			Priority: o.priority})
		proto := o.sel.Proto
		if proto == 0 {
			proto = 255
		}
		b = d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Proto: proto, PrefixLen: uint8(o.sel.Src.Bits()),
			Addr: o.sel.Src.Addr(), Port: o.sel.SrcPort})
		b = d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Proto: proto, PrefixLen: uint8(o.sel.Dst.Bits()),
			Addr: o.sel.Dst.Addr(), Port: o.sel.DstPort})
		return d.Finish(b)
	}
	// used tells when a packet met a policy.
	used := func(o *rule) time.Time {
		x, _ := d.Find(h.must(h.spdGet(o.id)), wire.ExtLifetimeCurrent)
		v, err := d.ParseLifetime(x.Raw)
		if err != nil {
			t.Fatal(err)
		}
		return time.Unix(int64(v.UseTime), 0)
	}
	var list []rule
	for i := range 5000 {
		switch {
		case len(list) < 3 || r.IntN(3) == 0 && len(list) < 9:
			src, dst := ends()
			one := rule{sel: spd.Selector{Src: prefix(src), Dst: prefix(dst), Proto: uint8(r.IntN(2) * 17),
				DstPort: uint16(r.IntN(2) * 9)}, priority: uint32(r.IntN(3)), order: i}
			if len(list) > 0 && r.IntN(3) == 0 {
				one.sel = list[r.IntN(len(list))].sel
			}
			one.hosts = one.sel.Src.IsSingleIP() && one.sel.Dst.IsSingleIP()
			old := slices.IndexFunc(list, func(o rule) bool { return o.sel == one.sel })
			if old >= 0 && list[old].priority == one.priority {
				one.order = list[old].order
			}
			x, _ := d.Find(h.must(message(wire.KAMEMsgXSPDUpdate, &one)), wire.KAMEExtXPolicy)
			v, err := d.ParsePolicy(x.Raw)
			if err != nil {
				t.Fatal(err)
			}
			one.id = v.ID
			list = append(list, one)
			if !one.hosts {
				place(list, old)
			}
			if old >= 0 {
				list = slices.Delete(list, old, old+1)
			}
		case r.IntN(3) == 0:
			j := r.IntN(len(list))
			h.must(message(wire.KAMEMsgXSPDDelete, &list[j]))
			list = slices.Delete(list, j, j+1)
		}
		h.e.Advance(h.e.Now().Add(time.Second))
		src, dst := ends()
		f := spd.Flow{Src: src, Dst: dst, Proto: 17, SrcPort: 40000, DstPort: uint16(9 + r.IntN(2))}
		h.outbound(udpPacket(netip.AddrPortFrom(f.Src, f.SrcPort), netip.AddrPortFrom(f.Dst, f.DstPort), nil))
		want := chosen(list, f)
		for j := range list {
			o := &list[j]
			if met := used(o).Equal(time.Unix(h.e.Now().Unix(), 0)); met != (o == want) {
				t.Fatalf("step %d: a packet %v met policy %+v: %v; want %+v", i, f, *o, met, want)
			}
		}
	}
}

// BenchmarkWhichPolicy looks for one among many policies between single hosts.
func BenchmarkWhichPolicy(b *testing.B) {
	h := newHost(b, engine.Options{})
	peer := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	const n = 100_000
	for i := range n {
		h.must(h.policy(wire.KAMEMsgXSPDAdd, policy{out: true, src: me, dst: peer(i), discard: true}))
	}
	packets := make([][]byte, n)
	for i := range packets {
		packets[i] = datagram(me, peer(i*7919%n))
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if v := h.outbound(packets[i%n]); v.Counter != "XfrmOutPolBlock" {
			b.Fatal(fmt.Sprint(v))
		}
		i++
	}
}
