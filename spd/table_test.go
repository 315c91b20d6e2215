package spd_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/pfkeyd/pfkeyd/spd"
)

// TestTableAgainstList compares a table with two lists, of the rules between hosts and of the others, that are gone through from one end to
// the other.
func TestTableAgainstList(t *testing.T) {
	type rule struct {
		sel   spd.Selector
		at    spd.Rank
		name  string
		hosts bool
		place int
	}
	r := rand.New(rand.NewPCG(1, 2))
	addr := func() netip.Addr {
		if r.IntN(4) == 0 {
			return netip.AddrFrom16([16]byte{0x20, 1, 15: byte(r.IntN(3))})
		}
		return netip.AddrFrom4([4]byte{192, 0, 2, byte(r.IntN(3))})
	}
	prefix := func(a netip.Addr) netip.Prefix {
		bits := a.BitLen()
		if r.IntN(2) == 0 {
			bits -= r.IntN(4)
		}
		return netip.PrefixFrom(a, bits)
	}
	var table spd.Table[string]
	var list []rule
	for i := range 3000 {
		switch {
		case len(list) < 5 || r.IntN(3) == 0 && len(list) < 60:
			sel := spd.Selector{Src: prefix(addr()), Dst: prefix(addr()), Proto: uint8(r.IntN(2) * 17), DstPort: uint16(r.IntN(2) * 9)}
			if slices.ContainsFunc(list, func(o rule) bool { return o.sel == sel }) {
				break // no two rules have the same selector
			}
			one := rule{sel: sel, at: spd.Rank{Priority: uint32(r.IntN(4)), Order: uint64(i)}, name: fmt.Sprint(i)}
			one.hosts = sel.Src.IsSingleIP() && sel.Dst.IsSingleIP()
			list = append(list, one)
			table.Insert(one.sel, one.at, one.name)
			if one.hosts {
				break
			}
			for j := range list {
				list[j].place = 0
				for _, o := range list {
					if !o.hosts && o.at.Before(list[j].at) {
						list[j].place++
					}
				}
			}
		case r.IntN(3) == 0:
			j := r.IntN(len(list))
			if !table.Remove(list[j].sel, list[j].name) {
				t.Fatalf("rule %s is not there", list[j].name)
			}
			if table.Remove(list[j].sel, list[j].name) {
				t.Fatalf("rule %s is there twice", list[j].name)
			}
			list = append(list[:j], list[j+1:]...)
		}
		f := spd.Flow{Src: addr(), Dst: addr(), Proto: uint8(6 + r.IntN(2)*11), DstPort: uint16(r.IntN(2) * 9)}
		var want, other *rule
		for j := range list {
			best := &other
			if list[j].hosts {
				best = &want
			}
			if list[j].sel.Matches(f) && (*best == nil || list[j].at.Before((*best).at)) {
				*best = &list[j]
			}
		}
		if want == nil || other != nil && (other.at.Priority < want.at.Priority || other.at.Priority == want.at.Priority && other.place == 0) {
			want = other
		}
		switch got, ok := table.Find(f); {
		case ok != (want != nil):
			t.Fatalf("step %d: found %v %q, want %v", i, ok, got, want)
		case ok && got != want.name:
			t.Fatalf("step %d: found %q, want %q", i, got, want.name)
		}
	}
}

// BenchmarkFindHosts looks among many rules between single hosts.
func BenchmarkFindHosts(b *testing.B) {
	var table spd.Table[int]
	host := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	const n = 100_000
	for i := range n {
		table.Insert(spd.Selector{Src: netip.PrefixFrom(host(0), 32), Dst: netip.PrefixFrom(host(i), 32)}, spd.Rank{Order: uint64(i)}, i)
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		i = (i + 7919) % n
		if got, ok := table.Find(spd.Flow{Src: host(0), Dst: host(i)}); !ok || got != i {
			b.Fatal(got, ok)
		}
	}
}
