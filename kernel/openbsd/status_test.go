package openbsd_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/kernel/status"
	"github.com/pfkeyd/pfkeyd/wire"
)

// TestStatus: all that is told of SAs, of one that came in, one that goes out, one of IPComp and one without keys; and
// of sockets.
func TestStatus(t *testing.T) {
	h := boot(t)
	h.set("net.inet.ipcomp.enable", 1)
	start := h.e.Now()
	h.must(h.add(association{spi: 0x1000, hard: &wire.Lifetime{AddTime: 3600}}))
	h.later(7 * time.Second)
	h.in(h.sealed(0x1000, 1))
	h.must(h.add(association{spi: 0x1001, src: here, dst: there}))
	h.must(h.add(association{spi: 0x42, satype: wire.SATypeIPComp, sa: &wire.SA{Encrypt: wire.CompDeflate},
		noKeys: true}))
	h.must(h.getSPI(wire.SATypeAH, 0x2000, 0x2000))
	in := status.SA{Type: "esp", SPI: "0x1000", Src: "192.0.2.2", Dst: "192.0.2.1", State: "mature",
		Direction: "inbound", Auth: "hmac-sha1", Encrypt: "aes-cbc", Packets: 1, Bytes: 48, Added: start.Unix(),
		Used: start.Unix() + 7, Expires: start.Unix() + 3600}
	late := start.Unix() + 7
	want := map[string]status.SA{
		"0x1000": in,
		"0x1001": {Type: "esp", SPI: "0x1001", Src: "192.0.2.1", Dst: "192.0.2.2", State: "mature",
			Direction: "outbound", Auth: "hmac-sha1", Encrypt: "aes-cbc", Added: late},
		"0x42": {Type: "ipcomp", SPI: "0x42", Src: "192.0.2.2", Dst: "192.0.2.1", State: "mature",
			Direction: "inbound", Auth: "none", Encrypt: "deflate", Added: late},
		"0x2000": {Type: "ah", SPI: "0x2000", Src: "192.0.2.2", Dst: "192.0.2.1", State: "larval",
			Direction: "inbound", Added: late, Expires: late + 60},
	}
	st := h.e.Status(0)
	got := map[string]status.SA{}
	for _, sa := range st.SAs {
		got[sa.SPI] = sa
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if st.Counters["espstat.esps_input"] != 1 {
		t.Errorf("counters: %v", st.Counters)
	}
	if st = h.e.Status(2); st.SACount != 4 || len(st.SAs) != 2 {
		t.Errorf("%d SAs, of which %d are shown", st.SACount, len(st.SAs))
	}
}

// TestStatusWithoutSource: an SA may have no source.
func TestStatusWithoutSource(t *testing.T) {
	h := boot(t)
	b := h.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgAdd, SAType: wire.SATypeIPIP,
		PID: uint32(superuser.PID)})
	b = h.d.AppendSA(b, wire.SA{SPI: 0x1000, State: wire.StateMature})
	h.must(h.d.Finish(h.d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: here})))
	if got := h.e.Status(0).SAs; len(got) != 1 || got[0].Src != "" || got[0].Type != "ipip" {
		t.Errorf("%+v", got)
	}
}

// TestStatusOfSockets: what a socket has registered, and what it has lost.
func TestStatusOfSockets(t *testing.T) {
	h := boot(t)
	h.must(h.bare(wire.MsgRegister, wire.SATypeESP))
	h.must(h.bare(wire.MsgRegister, wire.SATypeAH))
	deaf := h.open()
	const room = (192 << 10) / 512 // for messages that are as short as can be
	for range room + 3 {
		h.must(h.bare(wire.MsgFlush, wire.SATypeESP))
	}
	st := h.e.Status(0).Sockets
	if diff := cmp.Diff([]string{"ah", "esp"}, st[0].Registered); diff != "" || st[0].Lost != 0 {
		t.Errorf("the first: %+v", st[0])
	}
	if st[1].Registered != nil || st[1].Lost != 3 || st[1].Queued != room || len(takeAll(deaf)) != room {
		t.Errorf("the second: %+v", st[1])
	}
}

// TestStatusOfFlows: flows in the words of ipsec.conf(5), and what they have asked for.
func TestStatusOfFlows(t *testing.T) {
	h := newHost(t)
	h.flows(`flow esp out proto udp from 10.0.0.0/8 to 10.1.0.0/16 port 53 local 192.0.2.1 peer 192.0.2.2 type require
flow esp in proto tcp from 10.9.0.0/16 port 25 to any type deny
flow ah out from 2001:db8:1::/48 to 2001:db8:2::/48 peer 2001:db8::2 type use
flow esp out from any to 10.8.0.0/16 type bypass
`)
	now := h.e.Now()
	h.out(wrap(t, netip.MustParseAddrPort("10.0.0.1:7"), netip.MustParseAddrPort("10.1.0.1:53"), nil))
	want := []status.Policy{
		{Direction: "in", Src: "10.9.0.0/16", Dst: "0.0.0.0/0", SrcPort: 25, Proto: 6, Action: "drop"},
		{Direction: "out", Src: "0.0.0.0/0", Dst: "10.8.0.0/16", Action: "pass"},
		{Direction: "out", Src: "10.0.0.0/8", Dst: "10.1.0.0/16", Proto: 17, DstPort: 53, Action: "ipsec",
			Wants: []string{"esp local 192.0.2.1 peer 192.0.2.2 type require"}},
		{Direction: "out", Src: "2001:db8:1::/48", Dst: "2001:db8:2::/48", Action: "ipsec",
			Wants: []string{"ah peer 2001:db8::2 type use"}},
	}
	st := h.e.Status(0)
	if diff := cmp.Diff(want, st.Policies); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	acquires := []status.Acquire{{Type: "esp", Seq: 1, Src: "192.0.2.1", Dst: "192.0.2.2", Expires: now.Unix() + 30}}
	if diff := cmp.Diff(acquires, st.Acquires); diff != "" {
		t.Errorf("acquires (-want +got)\n%s", diff)
	}
	if st = h.e.Status(2); st.PolicyCount != len(want) || len(st.Policies) != 2 || st.AcquireCount != 1 {
		t.Errorf("%d flows, of which %d are shown, and %d acquires", st.PolicyCount, len(st.Policies), st.AcquireCount)
	}
}
