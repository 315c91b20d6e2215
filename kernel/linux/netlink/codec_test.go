package netlink_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/netlink"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

var little = netlink.Codec{Order: binary.LittleEndian}

// recorded reads the datagrams of a real kernel by their names.
func recorded(t testing.TB) map[string][]byte {
	t.Helper()
	f, err := os.Open("testdata/news-6.1.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string][]byte{}
	for s := bufio.NewScanner(f); s.Scan(); {
		name, text, ok := strings.Cut(s.Text(), " ")
		if !ok || name == "#" {
			continue
		}
		if all[name], err = hex.DecodeString(text); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// news reads a datagram with one message.
func news(c netlink.Codec, b []byte) (n netlink.News, err error) {
	for m, err := range c.Messages(b) {
		if err != nil {
			return n, err
		}
		return c.News(m)
	}
	return n, nil
}

var equal = []cmp.Option{cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{}),
	cmpopts.EquateEmpty()}

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// upTo are bytes that count up.
func upTo(first, last byte) (b []byte) {
	for ; first <= last; first++ {
		b = append(b, first)
	}
	return b
}

func by(seq uint32) transform.By { return transform.By{Seq: seq} }

// limits are none but for the time since it was added, in seconds.
func limits(soft, hard uint64) transform.Limits {
	l := transform.NoLimits
	l.Soft.AddTime, l.Hard.AddTime = soft, hard
	return l
}

const every = 1<<32 - 1

// What a real kernel tells is read as it was meant.
func TestNews(t *testing.T) {
	any4, any6 := &transform.Selector{}, &transform.Selector{V6: true}
	out := func(dst string) spd.Selector {
		return spd.Selector{Src: netip.MustParsePrefix("192.0.2.1/32"), Dst: netip.MustParsePrefix(dst)}
	}
	block := out("198.51.100.0/24")
	block.Proto, block.SrcPort = 17, 7
	tunnel := transform.Template{Proto: 50, Mode: transform.Tunnel, ReqID: 5, Src: addr("192.0.2.1"),
		Dst: addr("192.0.2.9"), Auth: every, Encrypt: every}
	encapsulated := transform.State{Phase: sadb.Mature, Encap: &transform.Encap{Type: 2, Sport: 4500, Dport: 4501},
		Limits: transform.NoLimits, Usage: transform.Usage{AddTime: 1796094633},
		Config: transform.Config{Proto: 50, Mode: transform.Tunnel, Replay: 32, Flags: transform.DecapDSCP,
			Src: addr("192.0.2.1"), Dst: addr("192.0.2.2"), SPI: 0x1001, ReqID: 7, Sel: any4,
			Auth: wire.AuthSHA1HMAC, AuthBits: 160, Encrypt: wire.EncAESCBC, EncryptBits: 128,
			Keys: append(upTo(1, 0x14), upTo(0x21, 0x30)...)}}
	updated := encapsulated
	updated.Encap, updated.Replay, updated.Flags = &transform.Encap{Type: 2, Sport: 4500, Dport: 4502}, 0, 0
	updated.Limits, updated.Usage.AddTime = limits(0, 100), 1796094634
	gone := encapsulated
	gone.Phase, gone.Encap, gone.Limits = sadb.Dead, updated.Encap, updated.Limits
	expiring := transform.State{Limits: limits(1, 3), Usage: transform.Usage{AddTime: 1796094648}, Phase: sadb.Dying,
		Config: transform.Config{Proto: 50, Src: addr("192.0.2.1"), Dst: addr("192.0.2.6"), SPI: 0x1006, Sel: any4}}
	expired := expiring
	expired.Phase = sadb.Dead

	moved := transform.Migration{Direction: transform.Out, Selector: spd.Selector{
		Src: netip.MustParsePrefix("10.0.0.1/32"), Dst: netip.MustParsePrefix("10.0.0.2/32")},
		Moves: []transform.Move{{Proto: 50, Mode: transform.Tunnel, ReqID: 7, OldSrc: addr("192.0.2.1"),
			OldDst: addr("192.0.2.2"), NewSrc: addr("192.0.2.1"), NewDst: addr("198.51.100.7")}}}
	movedWithManager := moved
	movedWithManager.KMAddress = &transform.KMAddress{Local: addr("192.0.2.1"), Remote: addr("198.51.100.7")}

	want := map[string]netlink.News{
		"add-tunnel-encap": {Type: netlink.NewState, By: by(0x6b0e3aaa), State: &encapsulated},
		"update-encap":     {Type: netlink.UpdState, By: by(0x6b0e3aab), State: &updated},
		"delete":           {Type: netlink.DelState, By: by(0x6b0e3aae), State: &gone},
		"add-aead-esn": {Type: netlink.NewState, By: by(0x6b0e3aac), State: &transform.State{Phase: sadb.Mature,
			Limits: transform.NoLimits, Usage: transform.Usage{AddTime: 1796094635},
			Config: transform.Config{Proto: 50, Src: addr("2001:db8::1"), Dst: addr("2001:db8::2"), SPI: 0x1002,
				Sel: any6}}},
		"add-ah-truncated-mark": {Type: netlink.NewState, By: by(0x6b0e3aac), State: &transform.State{
			Phase: sadb.Mature, Limits: transform.NoLimits, Usage: transform.Usage{AddTime: 1796094635},
			Config: transform.Config{Proto: 51, Src: addr("192.0.2.1"), Dst: addr("192.0.2.3"), SPI: 0x1003,
				Sel: any4, Auth: wire.AuthSHA256HMAC, AuthBits: 256, Keys: upTo(0x61, 0x80)}}},
		"expire-soft": {Type: netlink.Expire, State: &expiring},
		"expire-hard": {Type: netlink.Expire, State: &expired, Hard: true},
		"flush-esp":   {Type: netlink.FlushStates, By: by(0x6b0e3ac2), Proto: 50},
		"flush-all":   {Type: netlink.FlushStates, By: by(0x6b0e3ac3)},
		"policy-add": {Type: netlink.NewPolicy, By: by(0x6b0e3aaf), Policy: &transform.Policy{ID: 1,
			Direction: transform.Out, Selector: block, Priority: 3, Limits: transform.NoLimits, AddTime: 1796094638,
			Templates: []transform.Template{tunnel,
				{Proto: 51, Optional: true, Auth: every, Encrypt: every}}}},
		"policy-update-block": {Type: netlink.UpdPolicy, By: by(0x6b0e3ab0), Policy: &transform.Policy{ID: 1,
			Direction: transform.Out, Selector: block, Priority: 4, Limits: limits(0, 100), Block: true,
			AddTime: 1796094639}},
		"policy-delete": {Type: netlink.DelPolicy, By: by(0x6b0e3ab3), Policy: &transform.Policy{ID: 1,
			Direction: transform.Out, Selector: block, Priority: 4, Limits: limits(0, 100), Block: true,
			AddTime: 1796094639}},
		"policy-delete-by-id": {Type: netlink.DelPolicy, By: by(0x6b0e3ab5), ByID: true, Policy: &transform.Policy{
			ID: 17, Direction: transform.Out, Selector: out("203.0.113.0/24"), Limits: transform.NoLimits,
			AddTime: 1796094641, Templates: []transform.Template{tunnel}}},
		"policy-add-sub": {Type: netlink.NewPolicy, By: by(0x6b0e3ab1), Sub: true, Policy: &transform.Policy{ID: 8,
			Limits: transform.NoLimits, AddTime: 1796094640, Selector: spd.Selector{
				Src: netip.MustParsePrefix("2001:db8::/32"), Dst: netip.MustParsePrefix("2001:db8:1::/48")}}},
		"policy-expire": {Type: netlink.PolicyExpire, Hard: true, Policy: &transform.Policy{ID: 41,
			Direction: transform.Out, Selector: out("203.0.113.0/24"), Limits: limits(0, 1), AddTime: 1796094653}},
		"policy-flush": {Type: netlink.FlushPolicies, By: by(0x6b0e3ab6)},
		"acquire": {Type: netlink.Acquire, Acquisition: &transform.Acquisition{Proto: 51, Src: addr("192.0.2.1"),
			Dst: addr("192.0.2.2"), Seq: 1, PolicyID: 1, Auth: every, Encrypt: every}},
		"acquire-two-templates": {Type: netlink.Acquire, Acquisition: &transform.Acquisition{Proto: 108,
			Src: addr("192.0.2.1"), Dst: addr("192.0.2.2"), Seq: 11, PolicyID: 1, Auth: every, Encrypt: every}},
		"mapping": {Type: netlink.Mapping, Name: sadb.Key{Dst: addr("127.0.0.2"), SPI: 0x1000, Proto: 50},
			Mapping: &transform.Mapping{Proto: 50, SPI: 0x1000, Src: addr("127.0.0.1"), Sport: 4500,
				From: netip.MustParseAddrPort("127.0.0.9:4500")}},
		"migrate":           {Type: netlink.Migrate, Migration: &moved},
		"migrate-kmaddress": {Type: netlink.Migrate, Migration: &movedWithManager},
	}
	for name, b := range recorded(t) {
		got, err := news(little, b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if d := cmp.Diff(want[name], got, equal...); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s was not recorded", name)
	}
}

// An AEAD is shown to whoever asks for it, and what is written is read again.
func TestStateThereAndBack(t *testing.T) {
	natt := transform.State{Limits: limits(1, 2), Encap: &transform.Encap{Type: 2, Sport: 4500, Dport: 1},
		Config: transform.Config{Proto: 50, SPI: 0x12345678, Src: addr("192.0.2.1"), Dst: addr("192.0.2.2"), Replay: 4,
			MsgSeq: 9, ReqID: 8, Flags: transform.NoECN | transform.NoPMTUDisc, Sel: &transform.Selector{},
			Auth: wire.AuthAESXCBCMAC, AuthBits: 128, Encrypt: wire.Enc3DESCBC, EncryptBits: 192, Keys: upTo(1, 40)}}
	for _, c := range []netlink.Codec{little, {Order: binary.BigEndian}} {
		for name, s := range map[string]transform.State{
			"nat-t": natt,
			"odd key, foreign selector": {Limits: transform.NoLimits, Config: transform.Config{Proto: 51, SPI: 1,
				Mode: transform.BEET, Src: addr("2001:db8::1"), Dst: addr("2001:db8::2"), Auth: wire.AuthNull,
				AuthBits: 3, Keys: []byte{0xe0}, Sel: &transform.Selector{Src: transform.Raw(addr("192.0.2.9")),
					SrcBits: 7, Proto: 6, Sport: 1, Dport: 2, DstBits: 1}}},
			"ipcomp": {Limits: transform.NoLimits, Config: transform.Config{Proto: 108, SPI: 7, Src: addr("192.0.2.1"),
				Dst: addr("192.0.2.2"), Sel: &transform.Selector{}, Compress: wire.CompDeflate}},
			"gcm": {Limits: transform.NoLimits, Config: transform.Config{Proto: 50, SPI: 7, Src: addr("192.0.2.1"),
				Dst: addr("192.0.2.2"), Sel: &transform.Selector{}, Encrypt: wire.EncAESGCM12, EncryptBits: 160,
				Keys: upTo(1, 20)}},
			"sha256": {Limits: transform.NoLimits, Config: transform.Config{Proto: 51, SPI: 7, Src: addr("192.0.2.1"),
				Dst: addr("192.0.2.2"), Sel: &transform.Selector{}, Auth: wire.AuthSHA256HMAC, AuthBits: 256,
				Keys: upTo(1, 32)}},
		} {
			c.AEAD, c.SHA256Bits = true, 128
			for kind, update := range map[netlink.Type]bool{netlink.NewState: false, netlink.UpdState: true} {
				b := c.AppendState(nil, &s, update, transform.By{Seq: 1, PID: 2})
				want := s
				want.Phase = sadb.Mature
				got, err := news(c, b)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if d := cmp.Diff(netlink.News{Type: kind, By: transform.By{Seq: 1, PID: 2}, State: &want}, got,
					equal...); d != "" {
					t.Errorf("%s (-want +got):\n%s", name, d)
				}
			}
		}
	}
}

// Templates without ends take the family of the one before, and the masks of algorithms are those that let all through.
func TestPolicyThereAndBack(t *testing.T) {
	p := transform.Policy{Direction: transform.In, Priority: 0x80000000, Limits: limits(0, 7), Selector: spd.Selector{
		Src: netip.MustParsePrefix("192.0.2.77/24"), Dst: netip.MustParsePrefix("0.0.0.0/0"), Proto: 6, DstPort: 22},
		Templates: []transform.Template{{Proto: 108},
			{Proto: 50, Mode: transform.Tunnel, V6: true, Src: addr("2001:db8::1"), Dst: addr("2001:db8::2"), ReqID: 3},
			{Proto: 51, Optional: true}}}
	got, err := news(little, little.AppendPolicy(nil, &p, true, by(7)))
	if err != nil {
		t.Fatal(err)
	}
	want := p
	want.Templates = append([]transform.Template(nil), p.Templates...)
	for i := range want.Templates {
		want.Templates[i].Auth, want.Templates[i].Encrypt = every, every
	}
	want.Templates[2].V6 = true
	if d := cmp.Diff(netlink.News{Type: netlink.UpdPolicy, By: by(7), Policy: &want}, got, equal...); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

// A request is cut at every byte, and so is every piece of news: nothing panics, and what is too short for its
// structure is refused.
func TestCut(t *testing.T) {
	for name, b := range recorded(t) {
		for n := range b {
			if _, err := news(little, b[:n]); err == nil && n > 0 {
				t.Errorf("%s: the first %d of %d bytes are taken for the whole", name, n, len(b))
			}
			if n < 16 {
				continue
			}
			cut := append([]byte(nil), b[:n]...)
			binary.LittleEndian.PutUint32(cut, uint32(n)) // the header agrees, the structure is short
			_, _ = news(little, cut)
		}
	}
}

// attributes is where the attributes of a recorded SA begin.
const attributes = 16 + 224

// Attributes come twice, in another order, or are unknown, and mean the same.
func TestAttributes(t *testing.T) {
	b := recorded(t)["add-tunnel-encap"]
	want, err := news(little, b)
	if err != nil {
		t.Fatal(err)
	}
	var all [][]byte
	for rest := b[attributes:]; len(rest) > 0; {
		n := (int(binary.LittleEndian.Uint16(rest)) + 3) &^ 3
		all, rest = append(all, rest[:n]), rest[n:]
	}
	unknown := []byte{8, 0, 0xff, 0x3f, 1, 2, 3, 4}
	backwards, twice := append([]byte(nil), unknown...), []byte(nil)
	for i := range all {
		backwards = append(backwards, all[len(all)-1-i]...)
		twice = append(append(append(twice, all[i]...), unknown...), all[i]...)
	}
	for name, a := range map[string][]byte{"backwards": backwards, "twice": twice} {
		m := append(append([]byte(nil), b[:attributes]...), a...)
		binary.LittleEndian.PutUint32(m, uint32(len(m)))
		got, err := news(little, m)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if d := cmp.Diff(want, got, equal...); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
	for name, a := range map[string][]byte{
		"too short for a header": {4, 0, 1}, "shorter than a header": {3, 0, 1, 0},
		"longer than there is":    {9, 0, 1, 0},
		"a key that is not there": append([]byte{72, 0, 2, 0}, append(make([]byte, 64), 1, 0, 0, 0)...)} {
		m := append(append([]byte(nil), b[:attributes]...), a...)
		binary.LittleEndian.PutUint32(m, uint32(len(m)))
		if _, err := news(little, m); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// No datagram makes the codec panic or hang, and what it does not understand it says.
func FuzzNews(f *testing.F) {
	for _, b := range recorded(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range []netlink.Codec{little, {Order: binary.BigEndian, AEAD: true}} {
			for m, err := range c.Messages(b) {
				if err != nil {
					break
				}
				n, err := c.News(m)
				if err != nil && n != (netlink.News{Type: n.Type, By: n.By}) {
					t.Errorf("an error, and %+v", n)
				}
			}
		}
	})
}

// An algorithm that authenticates as well is one attribute: its name, the size of its key with the salt, that of its
// ICV, and the key.
func TestAEADBytes(t *testing.T) {
	for id, want := range map[wire.AlgID]struct {
		name string
		icv  uint32 // bits
	}{
		wire.EncAESCCM8: {"rfc4309(ccm(aes))", 64}, wire.EncAESCCM12: {"rfc4309(ccm(aes))", 96},
		wire.EncAESCCM16: {"rfc4309(ccm(aes))", 128},
		wire.EncAESGCM8:  {"rfc4106(gcm(aes))", 64}, wire.EncAESGCM12: {"rfc4106(gcm(aes))", 96},
		wire.EncAESGCM16:    {"rfc4106(gcm(aes))", 128},
		wire.EncNullAESGMAC: {"rfc4543(gcm(aes))", 128},
	} {
		s := transform.State{Limits: transform.NoLimits, Config: transform.Config{Proto: 50, SPI: 7,
			Src: addr("192.0.2.1"), Dst: addr("192.0.2.2"), Encrypt: id, EncryptBits: 152, Keys: upTo(1, 19)}}
		b := little.AppendState(nil, &s, false, by(1))
		a := []byte{4 + 64 + 8 + 19, 0, 18, 0} // XFRMA_ALG_AEAD
		a = append(append(a, want.name...), make([]byte, 64-len(want.name))...)
		a = binary.LittleEndian.AppendUint32(a, 152)
		a = binary.LittleEndian.AppendUint32(a, want.icv)
		a = append(append(a, upTo(1, 19)...), 0)
		if got := b[attributes:]; !bytes.Equal(got, a) {
			t.Errorf("algorithm %d:\n%x, want\n%x", id, got, a)
		}
		for _, shown := range []bool{true, false} {
			c := little
			c.AEAD = shown
			n, err := news(c, b)
			if err != nil {
				t.Fatal(err)
			}
			got, want := n.State, transform.Config{Encrypt: id, EncryptBits: 152, Keys: upTo(1, 19)}
			if !shown {
				want = transform.Config{}
			}
			if got.Encrypt != want.Encrypt || got.EncryptBits != want.EncryptBits ||
				!bytes.Equal(got.Keys, want.Keys) || got.Phase != sadb.Mature {
				t.Errorf("algorithm %d, shown %v: %+v", id, shown, got)
			}
		}
	}
}

// HMAC-SHA-256 says how long its ICV is only when that is not AF_KEY's.
func TestSHA256Bytes(t *testing.T) {
	s := transform.State{Limits: transform.NoLimits, Config: transform.Config{Proto: 51, SPI: 7,
		Src: addr("192.0.2.1"), Dst: addr("192.0.2.2"), Auth: wire.AuthSHA256HMAC, AuthBits: 16, Keys: upTo(1, 2)}}
	name := append([]byte("hmac(sha256)"), make([]byte, 64-12)...)
	for bits, want := range map[uint32][]byte{
		0:   slices.Concat([]byte{4 + 64 + 4 + 2, 0, 1, 0}, name, []byte{16, 0, 0, 0, 1, 2, 0, 0}),
		128: slices.Concat([]byte{4 + 64 + 8 + 2, 0, 20, 0}, name, []byte{16, 0, 0, 0, 128, 0, 0, 0, 1, 2, 0, 0}),
	} {
		c := little
		c.SHA256Bits = bits
		if got := c.AppendState(nil, &s, false, by(1))[attributes:]; !bytes.Equal(got, want) {
			t.Errorf("%d bits:\n%x, want\n%x", bits, got, want)
		}
	}
}

// A foreign AEAD of which PF_KEY has no number, or not with that ICV, is an SA with keys of which nothing is told.
func TestForeignAEAD(t *testing.T) {
	b := recorded(t)["add-aead-esn"]
	c := little
	c.AEAD = true
	n, err := news(c, b)
	if err != nil {
		t.Fatal(err)
	}
	if n.State.Encrypt != wire.EncAESGCM16 || n.State.EncryptBits != 160 || len(n.State.Keys) != 20 ||
		n.State.Phase != sadb.Mature || n.State.Replay != 0 {
		t.Errorf("asked for: %+v", n.State)
	}
	for old, other := range map[string]string{"rfc4106(gcm(aes))": "rfc7539esp(chac",
		"\xa0\x00\x00\x00\x80\x00\x00\x00": "\xa0\x00\x00\x00\x20\x00\x00\x00"} {
		changed := bytes.Replace(b, []byte(old), append([]byte(other), make([]byte, len(old)-len(other))...), 1)
		if bytes.Equal(changed, b) {
			t.Fatalf("%q is not there", old)
		}
		n, err := news(c, changed)
		if err != nil {
			t.Fatal(err)
		}
		if n.State.Encrypt != 0 || n.State.EncryptBits != 0 || len(n.State.Keys) != 0 || n.State.Phase != sadb.Mature {
			t.Errorf("%q: %+v", other, n.State)
		}
	}
}
