package netlink_test

import (
	"slices"
	"testing"

	"github.com/pfkeyd/pfkeyd/kernel/linux/netlink"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/wire"
)

// What the host lacks is what it has not, and looking leaves nothing behind.
func TestLook(t *testing.T) {
	inNamespace(t, func() {
		u := newUser(t)
		defer u.Close()
		host, err := netlink.Look()
		if err != nil {
			t.Fatal(err)
		}
		lacks := host.Lacks()
		t.Logf("%+v lacks %q", host, lacks)
		for name, has := range map[string]bool{"ESP": host.ESP, "AH": host.AH, "IPCOMP": host.IPComp,
			"MIGRATE": host.Migrate, "cbc(aes)": slices.Contains(host.Encrypt, wire.EncAESCBC),
			"hmac(rmd160)": slices.Contains(host.Auth, wire.AuthRIPEMD160HMAC),
			"deflate":      slices.Contains(host.Compress, wire.CompDeflate)} {
			if has == slices.Contains(lacks, name) {
				t.Errorf("%s: has it: %v, lacks %q", name, has, lacks)
			}
		}
		if !slices.Contains(host.Auth, wire.AuthSHA256HMAC) || !slices.Contains(host.Encrypt, wire.EncAESCBC) {
			t.Error("there is no Linux without SHA-256 and AES")
		}
		if slices.Contains(lacks, "hmac(sm3)") || slices.Contains(lacks, "lzs") {
			t.Errorf("lacks %q, which AF_KEY of Linux 6.1 has not either", lacks)
		}
		w := u.Walk(transform.AnyProto, transform.Filter{})
		w.Each(func(s *transform.State) bool {
			t.Errorf("there is an SA: %v %x", s.Dst, s.SPI)
			return true
		})
		if u.Hear(); len(u.take()) != 0 {
			t.Error("something was heard of it")
		}
	})
}
