package pfkeytest_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/kernel/event"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/pfkey/pfkeytest"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Every kernel tells of the life of an SA: one that is reserved and gets its keys, one that ends by its lifetime, one
// that is deleted, and those that a FLUSH ends.
func TestStatesOfSAs(t *testing.T) {
	for _, name := range kernel.Names() {
		t.Run(name, func(t *testing.T) {
			host := pfkeytest.New(t, pfkeytest.Kernel(name))
			events := host.Events(event.Filter{Types: []event.Type{event.SA}})
			client := host.Client()
			own, peer := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
			id := func(spi wire.SPI) pfkey.SAID {
				return pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: wire.Address{PrefixLen: 32, Addr: peer},
					Dst: wire.Address{PrefixLen: 32, Addr: own}}
			}
			sa := func(spi wire.SPI) pfkey.SA {
				return pfkey.SA{SAID: id(spi), Encrypt: wire.EncAESCBC, Auth: wire.AuthSHA1HMAC,
					EncryptKey: wire.Key{Bits: 128, Data: []byte("sixteen key byte")},
					AuthKey:    wire.Key{Bits: 160, Data: []byte("twenty bytes of a key")[:20]}}
			}
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			spi, err := client.GetSPI(t.Context(), pfkey.GetSPIParams{Type: wire.SATypeESP, Src: id(0).Src,
				Dst: id(0).Dst, Min: 0x1000, Max: 0x1fff})
			must(err)
			must(client.Update(t.Context(), sa(spi), 0))
			short := sa(0x2000)
			short.Soft, short.Hard = &wire.Lifetime{AddTime: 10}, &wire.Lifetime{AddTime: 100}
			must(client.Add(t.Context(), short, 0))
			host.Advance(50 * time.Second)
			host.Advance(10 * time.Minute)
			must(client.Add(t.Context(), sa(0x3000), 0))
			must(client.Delete(t.Context(), id(0x3000)))
			must(client.Flush(t.Context(), wire.SATypeUnspec))
			lives := map[string][]string{}
			for _, e := range events.Past() {
				s := e.SA
				lives[s.SPI] = append(lives[s.SPI], fmt.Sprintf("%s %s>%s %s>%s", s.Type, s.Src, s.Dst, s.From, s.To))
			}
			const ends = "esp 192.0.2.2>192.0.2.1 "
			dying := []string{ends + ">mature", ends + "mature>dying", ends + "dying>dead"}
			if name == "netbsd" || name == "openbsd" { // that ends an unused one at once; this has no such state
				dying = []string{ends + ">mature", ends + "mature>dead"}
			}
			want := map[string][]string{
				spi.String(): {ends + ">larval", ends + "larval>mature", ends + "mature>dead"},
				"0x2000":     dying,
				"0x3000":     {ends + ">mature", ends + "mature>dead"},
			}
			if diff := cmp.Diff(want, lives); diff != "" {
				t.Errorf("lives (-want +got)\n%s", diff)
			}
		})
	}
}
