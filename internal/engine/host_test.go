package engine_test

import (
	"net/netip"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
)

func TestHostSource(t *testing.T) {
	var own []netip.Addr
	for _, s := range []string{"127.0.0.1", "192.0.2.1", "10.0.0.1", "2001:db8::1", "2001:db8:1::1", "fe80::1%eth0"} {
		own = append(own, netip.MustParseAddr(s))
	}
	e, err := kernels.New("illumos", engine.Options{Addrs: own})
	if err != nil {
		t.Fatal(err)
	}
	for dst, want := range map[string]string{
		"192.0.2.9": "192.0.2.1", "10.9.9.9": "10.0.0.1", "192.0.2.1": "192.0.2.1", "127.0.0.1": "127.0.0.1",
		"224.0.0.1":     "192.0.2.1",
		"2001:db8:1::9": "2001:db8:1::1", "2001:db8::9": "2001:db8::1", "fe80::9": "fe80::1",
	} {
		if got, ok := e.Host().Source(netip.MustParseAddr(dst)); !ok || got.String() != want {
			t.Errorf("to %s from %v, want %s", dst, got, want)
		}
	}
	none, err := kernels.New("illumos", engine.Options{Addrs: own[:1]})
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := none.Host().Source(netip.MustParseAddr("192.0.2.9")); ok {
		t.Errorf("a host without an address sends from %v", got)
	}
}

func TestHostBroadcast(t *testing.T) {
	_, e := newFake(t, engine.Options{Broadcast: []netip.Addr{netip.MustParseAddr("192.0.2.255")}})
	for addr, want := range map[string]bool{"192.0.2.255": true, "255.255.255.255": true, "192.0.2.1": false} {
		if got := e.Host().Broadcast(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v, want %v", addr, got, want)
		}
	}
}
