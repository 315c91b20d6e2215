package pfkey_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// mayFlush must be set before a test touches the security associations and policies of the machine it runs on.
const mayFlush = "PFKEY_TEST_MAY_FLUSH_THE_SAD_OF_THIS_HOST"

// The whole life of a security association on a real kernel.
func TestHostLife(t *testing.T) {
	if os.Getenv(mayFlush) == "" {
		t.Skipf("%s is not set", mayFlush)
	}
	c, err := pfkey.Dial(t.Context(), "af_key:")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx := t.Context()
	if err := c.Flush(ctx, wire.SATypeUnspec); err != nil {
		t.Fatal(err)
	}
	for range c.Dump(ctx, wire.SATypeUnspec) {
		t.Error("something is left after a flush")
	}
	algs, err := c.Register(ctx, wire.SATypeESP)
	if err != nil || len(algs.Auth) == 0 || len(algs.Encrypt) == 0 {
		t.Errorf("Register: %v %v", algs, err)
	}
	spi, err := c.GetSPI(ctx, pfkey.GetSPIParams{Type: wire.SATypeESP, Src: src, Dst: dst, Min: 0x1000, Max: 0x2000})
	if err != nil || spi < 0x1000 || spi > 0x2000 {
		t.Fatalf("GetSPI: %s %v", spi, err)
	}
	sa := sampleSA(spi)
	sa.SA2 = &wire.SA2{Mode: wire.ModeTunnel, ReqID: 77}
	if err := c.Update(ctx, sa, 0); err != nil {
		t.Fatalf("Update: %v", err)
	}
	if err := c.Add(ctx, sa, 0); !errors.Is(err, unix.EEXIST) {
		t.Errorf("Add of what is there: %v", err)
	}
	got, err := c.Get(ctx, sa.SAID)
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	if got.SPI != spi || got.State != wire.StateMature || got.SA2 == nil || got.SA2.ReqID != 77 ||
		string(got.EncryptKey.Data) != secret || *got.Hard != *sa.Hard {
		t.Errorf("Get: %v %v", got, got.SA2)
	}
	const more = 2000 // more than the socket holds, so that the kernel paces the dump
	for i := range wire.SPI(more) {
		if err := c.Add(ctx, sampleSA(0x10000+i), 0); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[wire.SPI]bool{}
	for sa, err := range c.Dump(ctx, wire.SATypeESP) {
		if err != nil {
			t.Fatalf("Dump: %v", err)
		}
		seen[sa.SPI] = true
	}
	if len(seen) != more+1 {
		t.Errorf("the dump showed %d", len(seen))
	}
	for range c.Dump(ctx, wire.SATypeESP) {
		break
	}
	if err := c.Delete(ctx, sa.SAID); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if _, err := c.Get(ctx, sa.SAID); !errors.Is(err, unix.ESRCH) {
		t.Errorf("Get of what is gone: %v", err)
	}
	count := 0
	for range c.Dump(ctx, wire.SATypeESP) {
		count++
	}
	if count != more {
		t.Errorf("the dump after one that was left showed %d", count)
	}
	if err := c.Flush(ctx, wire.SATypeUnspec); err != nil {
		t.Errorf("Flush: %v", err)
	}
}

// dialHost connects to the host's own kernel, whose databases the test may change.
func dialHost(t *testing.T, options ...pfkey.ClientOption) *pfkey.Client {
	t.Helper()
	if os.Getenv(mayFlush) == "" {
		t.Skipf("%s is not set", mayFlush)
	}
	c, err := pfkey.Dial(t.Context(), "af_key:", options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Flush(context.Background(), wire.SATypeUnspec)
		_ = c.FlushPolicies(context.Background())
		c.Close()
	})
	for _, err := range []error{c.Flush(t.Context(), wire.SATypeUnspec), c.FlushPolicies(t.Context())} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// What holds on emulated kernels holds on the real one.
func TestHostPolicies(t *testing.T) { checkPolicies(t, dialHost(t)) }
func TestHostMigrate(t *testing.T)  { checkMigrate(t, dialHost(t)) }
func TestHostPromisc(t *testing.T) {
	checkPromisc(t, dialHost(t), dialHost(t, pfkey.WithPID(uint32(os.Getpid())+1)))
}

// The same for what a program asks for, and for what the kernel says by itself.
func TestHostEvents(t *testing.T) {
	c := dialHost(t)
	ctx := t.Context()
	if _, err := c.Acquire(ctx, pfkey.Acquire{Type: wire.SATypeESP, Src: src, Dst: dst}); !errors.Is(err,
		unix.EOPNOTSUPP) {
		t.Errorf("Acquire: %v", err)
	}
	if _, err := c.Register(ctx, wire.SATypeESP); err != nil {
		t.Fatal(err)
	}
	sa := sampleSA(0x1234)
	sa.Soft, sa.Hard = &wire.Lifetime{AddTime: 1}, &wire.Lifetime{AddTime: 2}
	if err := c.Add(ctx, sa, 0); err != nil {
		t.Fatal(err)
	}
	for _, want := range []pfkey.Limit{pfkey.LimitSoft, pfkey.LimitHard} {
		if e, ok := next(t, c).(*pfkey.Expire); !ok || e.Limit != want || e.SPI != sa.SPI || e.Dst.Addr != dst.Addr {
			t.Errorf("%v, want the %s limit", e, want)
		}
	}
}
