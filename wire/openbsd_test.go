package wire_test

import (
	"testing"

	"github.com/pfkeyd/pfkeyd/wire"
)

// openbsd are its own layouts: no protocol and prefix in an address, a number in a PROPOSAL.
var openbsd = []layout{
	{"IPv4 address", wire.ExtAddressSrc, wire.Address{Addr: addr("192.0.2.7"), Port: 500},
		"0300 0500 00000000 10 02 01f4 c0000207 0000000000000000",
		"0003 0005 00000000 10 02 01f4 c0000207 0000000000000000"},
	{"IPv6 address", wire.OpenBSDExtXDst2, wire.Address{Addr: addr("fe80::1"), Scope: 2},
		"0500 1800 00000000 1c 18 0000 00000000 fe800000000000000000000000000001 02000000 00000000",
		"0005 0018 00000000 1c 18 0000 00000000 fe800000000000000000000000000001 00000002 00000000"},
	{"proposal", wire.ExtProposal, wire.Proposal{Number: 1, Replay: 32},
		"0100 0d00 01 20 0000", "0001 000d 01 20 0000"},
	{"mask", wire.OpenBSDExtXSrcMask, wire.Address{Addr: addr("255.255.255.0"), Port: 0xffff},
		"0300 1100 00000000 10 02 ffff ffffff00 0000000000000000",
		"0003 0011 00000000 10 02 ffff ffffff00 0000000000000000"},
	{"second SA", wire.OpenBSDExtXSA2, wire.SA{SPI: 0x1000, State: wire.StateMature, Auth: wire.AuthAES128GMAC,
		Encrypt: wire.EncNullAESGMAC, Flags: wire.OpenBSDFlagXESN},
		"0200 1700 00001000 00 01 09 15 00040000",
		"0002 0017 00001000 00 01 09 15 00000400"},
	{"protocol", wire.OpenBSDExtXProtocol, wire.FlowProtocol{Value: 17}, "0100 1300 11 00 00 00",
		"0001 0013 11 00 00 00"},
	{"flow type", wire.OpenBSDExtXFlowType, wire.FlowProtocol{Value: wire.OpenBSDFlowRequire, Direction: 2,
		Flags: wire.OpenBSDPolicyStatic}, "0100 1400 03 02 01 00", "0001 0014 03 02 01 00"},
	{"SA type of the second SA", wire.OpenBSDExtXSAType2, wire.FlowProtocol{Value: 1}, "0100 2300 01 00 00 00",
		"0001 0023 01 00 00 00"},
	{"number of an ACQUIRE", wire.OpenBSDExtXPolicy, wire.Word{Value: 7}, "0100 1900 07000000",
		"0001 0019 00000007"},
	{"enc interface", wire.OpenBSDExtXTap, wire.Word{Value: 3}, "0100 2200 03000000", "0001 0022 00000003"},
	{"MTU", wire.OpenBSDExtXMTU, wire.Word{Value: 1500}, "0100 2600 dc050000", "0001 0026 000005dc"},
	{"compressions", wire.OpenBSDExtXSupportedComp, wire.Supported{Algs: []wire.Alg{{ID: wire.CompDeflate}}},
		"0200 1e00 00000000 0200000000000000", "0002 001e 00000000 0200000000000000"},
	{"UDP encapsulation", wire.OpenBSDExtXUDPEncap, wire.NATTPort{Port: 4500}, "0100 1f00 1194 0000",
		"0001 001f 1194 0000"},
	{"last use", wire.OpenBSDExtXLifetimeLastUse, wire.Lifetime{UseTime: 1},
		"0400 2000 00000000 0000000000000000 0000000000000000 0100000000000000",
		"0004 0020 00000000 0000000000000000 0000000000000000 0000000000000001"},
	{"tag", wire.OpenBSDExtXTag, wire.Tag{Name: "ipsec-7"}, "0200 2100 08000000 697073 65632d3700",
		"0002 0021 00000008 697073 65632d3700"},
	{"counters", wire.OpenBSDExtXCounter, wire.Counter{InPackets: 1, OutPackets: 2, InBytes: 3, OutBytes: 4, InDrops: 5,
		OutDrops: 6, InDecompressed: 7, OutUncompressed: 8},
		"0900 2400 00000000 0100000000000000 0200000000000000 0300000000000000 0400000000000000 " +
			"0500000000000000 0600000000000000 0700000000000000 0800000000000000",
		"0009 0024 00000000 0000000000000001 0000000000000002 0000000000000003 0000000000000004 " +
			"0000000000000005 0000000000000006 0000000000000007 0000000000000008"},
	{"routing domains", wire.OpenBSDExtXRDomain, wire.RDomain{Domain: 1, After: 2}, "0100 2500 0100 0200",
		"0001 0025 0001 0002"},
	{"packet counter", wire.IllumosExtXReplayValue, wire.ReplayValue{Replay64: 2},
		"0200 2700 00000000 0200000000000000", "0002 0027 00000000 0000000000000002"},
	{"interface", wire.OpenBSDExtXIface, wire.Iface{Unit: 3, Direction: 1}, "0200 2800 03000000 01 00000000000000",
		"0002 0028 00000003 01 00000000000000"},
}

// The numbers that everybody trips over: ESP is 2, AH is 1, and what others have at 17 and above means something else.
func TestOpenBSDNumbers(t *testing.T) {
	d := wire.OpenBSD()
	esp, _ := d.SATypeNumber(wire.SATypeESP)
	ah, _ := d.SATypeNumber(wire.SATypeAH)
	ipip, _ := d.SATypeNumber(wire.SATypeIPIP)
	if esp != 2 || ah != 1 || ipip != 7 {
		t.Errorf("esp %d, ah %d, ipip %d", esp, ah, ipip)
	}
	for _, tt := range []struct {
		name string
		want wire.ExtType
	}{{"X_SA2", wire.OpenBSDExtXSA2}, {"X_POLICY", wire.OpenBSDExtXPolicy}, {"X_REPLAY", wire.IllumosExtXReplayValue}} {
		if got, ok := d.ExtByName(tt.name); got != tt.want || !ok {
			t.Errorf("%s is %v, %v", tt.name, got, ok)
		}
	}
	if _, has := d.ExtNumber(wire.KAMEExtXPolicy); has {
		t.Error("it has KAME's policies")
	}
	for n, want := range map[uint8]wire.Errno{35: wire.EAGAIN, 87: wire.EOVERFLOW, 91: wire.ENOTSUP, 95: wire.EPROTO} {
		if got, _ := d.Errno(n); got != want {
			t.Errorf("errno %d is %v, want %v", n, got, want)
		}
	}
}

// GET shows an address extension without an address for an SA that has no source.
func TestOpenBSDAddressWithoutAddress(t *testing.T) {
	for _, d := range []*wire.Dialect{wire.OpenBSD(), wire.FreeBSD()} {
		msg := d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgGet, SAType: wire.SATypeESP})
		msg = d.Finish(append(d.AppendExtHeader(msg, wire.ExtAddressSrc, 8), 0, 0, 0, 0))
		if err := d.Validate(msg); (err == nil) != (d.Name == "openbsd") {
			t.Errorf("%s: %v", d.Name, err)
		}
		const want = "GET esp seq=0 pid=0 src=none"
		if got := d.Line(msg); d.Name == "openbsd" && got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
