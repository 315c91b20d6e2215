package afkey_test

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/linux/afkey"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// taking are transforms that take every SA, and keep the last.
type taking struct {
	afkey.Transforms // asked for nothing else
	manager          *afkey.Manager
	last             transform.State
	refuse           wire.Errno
}

func (*taking) Ask(bool) {}
func (*taking) Settle()  {}
func (s *taking) Add(sa *transform.State, by transform.By) wire.Errno {
	if s.last = *sa; s.refuse == wire.OK {
		s.manager.StateChanged(transform.Added, sa, by)
	}
	return s.refuse
}

// offering is a client of PF_KEY that offers these algorithms, on transforms that take all.
func offering(t *testing.T, auths, encrypts []wire.AlgID) (*pfkey.Client, *taking) {
	t.Helper()
	below := &taking{}
	e, err := engine.New("offering", engine.Options{}, func(e *engine.Engine) (engine.Kernel, error) {
		buffer := func() int { return 212992 }
		m := afkey.New(e, wire.Linux(), below, afkey.Buffers{
			RecvDefault: buffer, RecvMax: buffer, SendDefault: buffer, SendMax: buffer})
		m.Offer(auths, encrypts)
		below.manager = m
		return bridged{m}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	cred := pfkey.Cred{PID: 1, Privileged: true}
	s, errno := e.Open(cred, 3, 2)
	if errno != wire.OK {
		t.Fatal(errno)
	}
	c := pfkey.NewClientOn(s, e.Dialect(), cred)
	t.Cleanup(func() { c.Close() })
	return c, below
}

var every = []wire.AlgID{wire.EncNullAESGMAC, wire.EncAESGCM16, wire.EncAESGCM12, wire.EncAESGCM8, wire.EncAESCCM16,
	wire.EncAESCCM12, wire.EncAESCCM8, wire.EncNull, wire.EncAESCBC}

// REGISTER tells what the transforms have, in its own order, AEADs last, whose keys have the salt behind them: 3 bytes
// for CCM (RFC 4309) and 4 for the others (RFC 4106, RFC 4543).
func TestOffer(t *testing.T) {
	c, _ := offering(t, []wire.AlgID{wire.AuthSHA1HMAC}, every)
	got, err := c.Register(t.Context(), wire.SATypeESP)
	if err != nil {
		t.Fatal(err)
	}
	ccm := func(id wire.AlgID) wire.Alg { return wire.Alg{ID: id, IVLen: 8, MinBits: 152, MaxBits: 280} }
	gcm := func(id wire.AlgID) wire.Alg { return wire.Alg{ID: id, IVLen: 8, MinBits: 160, MaxBits: 288} }
	want := []wire.Alg{{ID: wire.EncNull}, {ID: wire.EncAESCBC, IVLen: 8, MinBits: 128, MaxBits: 256},
		ccm(wire.EncAESCCM8), ccm(wire.EncAESCCM12), ccm(wire.EncAESCCM16), gcm(wire.EncAESGCM8),
		gcm(wire.EncAESGCM12), gcm(wire.EncAESGCM16), gcm(wire.EncNullAESGMAC)}
	if diff := cmp.Diff(want, got.Encrypt); diff != "" {
		t.Errorf("encryption (-want +got)\n%s", diff)
	}
	for i, number := range []uint8{14, 15, 16, 18, 19, 20, 23} { // <linux/pfkeyv2.h>
		if n, ok := wire.Linux().EncryptNumber(want[2+i].ID); !ok || n != number {
			t.Errorf("%d has the number %d, want %d", want[2+i].ID, n, number)
		}
	}
}

// An SA goes to the transforms as it was asked for, and they refuse what they do not like of its key. What is not
// offered is refused before.
func TestAddAEAD(t *testing.T) {
	key := []byte("0123456789abcdefSALT")
	sa := pfkey.SA{SAID: pfkey.SAID{Type: wire.SATypeESP, SPI: 0x1000,
		Src: pfkey.Host(netip.MustParseAddr("192.0.2.1")), Dst: pfkey.Host(netip.MustParseAddr("192.0.2.2"))},
		Encrypt: wire.EncAESGCM16, EncryptKey: pfkey.NewKey(key)}
	c, below := offering(t, nil, every)
	for _, n := range []int{1, 16, 20} {
		sa.EncryptKey = pfkey.NewKey(key[:n])
		if err := c.Add(t.Context(), sa, 0); err != nil {
			t.Fatal(err)
		}
		if s := below.last; s.Encrypt != wire.EncAESGCM16 || int(s.EncryptBits) != 8*n || s.Auth != 0 ||
			!bytes.Equal(s.Keys, key[:n]) {
			t.Errorf("%d bytes: the transforms get %+v", n, s)
		}
	}
	sa.EncryptKey = pfkey.NewKey(key)
	below.refuse = wire.EINVAL
	if err := c.Add(t.Context(), sa, 0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("what the transforms refuse: %v", err)
	}
	below.refuse = wire.OK
	c, _ = offering(t, nil, []wire.AlgID{wire.EncAESCBC, wire.EncAESGCM8})
	if err := c.Add(t.Context(), sa, 0); !errors.Is(err, unix.ENOSYS) {
		t.Errorf("what is not offered: %v", err)
	}
}
