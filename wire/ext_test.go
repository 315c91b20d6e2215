package wire_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/wire"
)

func addr(s string) netip.Addr { return netip.MustParseAddr(s) }

// layout is a value and how it lies on the wire in both byte orders.
type layout struct {
	name        string
	t           wire.ExtType
	v           any
	little, big string
}

// Layouts of RFC 2367 that all share, and ipv4 those without a length byte.
var common = []layout{
	{"SA", wire.ExtSA, wire.SA{SPI: 0x1a2b3c4d, Replay: 32, State: wire.StateMature, Auth: 3, Encrypt: 12,
		Flags: 0x80000002},
		"0200 0100 1a2b3c4d 20 01 03 0c 02000080",
		"0002 0001 1a2b3c4d 20 01 03 0c 80000002"},
	{"lifetime", wire.ExtLifetimeSoft, wire.Lifetime{Allocations: 1, Bytes: 0x0102030405060708, AddTime: 3600,
		UseTime: 7200},
		"0400 0400 01000000 0807060504030201 100e000000000000 201c000000000000",
		"0004 0004 00000001 0102030405060708 0000000000000e10 0000000000001c20"},
	{"key", wire.ExtKeyAuth, wire.Key{Bits: 20, Reserved: 7, Data: []byte{1, 2, 0x30}},
		"0200 0800 1400 0700 01 02 30 0000000000",
		"0002 0008 0014 0007 01 02 30 0000000000"},
	{"key of whole words", wire.ExtKeyEncrypt, wire.Key{Bits: 64, Data: []byte("12345678")},
		"0200 0900 4000 0000 3132333435363738",
		"0002 0009 0040 0000 3132333435363738"},
	{"key without bytes", wire.ExtKeyEncrypt, wire.Key{},
		"0100 0900 0000 0000",
		"0001 0009 0000 0000"},
	{"identity", wire.ExtIdentitySrc, wire.Identity{Type: wire.IdentFQDN, ID: 5, Name: "a.example"},
		"0400 0a00 0200 0000 0500000000000000 612e6578616d706c 6500000000000000",
		"0004 000a 0002 0000 0000000000000005 612e6578616d706c 6500000000000000"},
	{"identity of 8 characters", wire.ExtIdentityDst, wire.Identity{Type: wire.IdentPrefix, Reserved: 1,
		Name: "10.0.0.0"},
		"0400 0b00 0100 0100 0000000000000000 31302e302e302e30 0000000000000000",
		"0004 000b 0001 0001 0000000000000000 31302e302e302e30 0000000000000000"},
	{"identity without name", wire.ExtIdentityDst, wire.Identity{Type: 9},
		"0200 0b00 0900 0000 0000000000000000",
		"0002 000b 0009 0000 0000000000000000"},
	{"sensitivity", wire.ExtSensitivity, wire.Sensitivity{DPD: 1, Level: 2, Bitmap: []byte("sensitiv"), Integrity: 3,
		Integ: []byte("integrit"), Flags: 2},
		"0400 0c00 01000000 02 01 03 01 02000000 73656e7369746976 696e746567726974",
		"0004 000c 00000001 02 01 03 01 00000002 73656e7369746976 696e746567726974"},
	{"proposal", wire.ExtProposal, wire.Proposal{Replay: 32, Combs: []wire.Comb{{
		Auth: 3, Encrypt: 12, Flags: 1, AuthMinBits: 160, AuthMaxBits: 161, EncryptMinBits: 128, EncryptMaxBits: 256,
		EncryptSaltBits: 32,
		SoftAllocations: 1, HardAllocations: 2, SoftBytes: 3, HardBytes: 4, SoftAddTime: 5, HardAddTime: 6,
		SoftUseTime: 7, HardUseTime: 8,
	}}},
		"0a00 0d00 20 000000 03 0c 0100 a000 a100 8000 0001 20 000000 01000000 02000000 0300000000000000 0400000000000000 " +
			"0500000000000000 0600000000000000 0700000000000000 0800000000000000",
		"000a 000d 20 000000 03 0c 0001 00a0 00a1 0080 0100 20 000000 00000001 00000002 0000000000000003 0000000000000004 " +
			"0000000000000005 0000000000000006 0000000000000007 0000000000000008"},
	{"supported", wire.ExtSupportedEncrypt, wire.Supported{Algs: []wire.Alg{
		{ID: 3, IVLen: 8, MinBits: 192, MaxBits: 192}, {ID: 12, IVLen: 16, MinBits: 128, MaxBits: 256, Increment: 64,
			SaltBits: 32},
	}},
		"0300 0f00 00000000 03 08 c000 c000 00 00 0c 10 8000 0001 40 20",
		"0003 000f 00000000 03 08 00c0 00c0 00 00 0c 10 0080 0100 40 20"},
}

var ipv4 = layout{"IPv4 address", wire.ExtAddressSrc, wire.Address{Proto: 17, PrefixLen: 24, Reserved: 0x1234,
	Addr: addr("192.0.2.7"), Port: 500},
	"0300 0500 11 18 3412 0200 01f4 c0000207 0000000000000000",
	"0003 0005 11 18 1234 0002 01f4 c0000207 0000000000000000"}

var illumos = []layout{
	{"IPv6 address", wire.ExtAddressDst, wire.Address{Proto: 6, PrefixLen: 128, Addr: addr("2001:db8::1"), Port: 80,
		Flow: 0x01020304, Scope: 5, SrcID: 6},
		"0500 0600 06 80 0000 1a00 0050 01020304 20010db8000000000000000000000001 05000000 06000000",
		"0005 0006 06 80 0000 001a 0050 01020304 20010db8000000000000000000000001 00000005 00000006"},
	{"mapped address", wire.IllumosExtXAddressNattLoc, wire.Address{Addr: addr("::ffff:192.0.2.1")},
		"0500 1400 00 00 0000 1a00 0000 00000000 00000000000000000000ffffc0000201 00000000 00000000",
		"0005 0014 00 00 0000 001a 0000 00000000 00000000000000000000ffffc0000201 00000000 00000000"},
	{"SPI range, network order", wire.ExtSPIRange, wire.SPIRange{Min: 0x100, Max: 0x1fff},
		"0200 1000 00000100 00001fff 00000000",
		"0002 0010 00000100 00001fff 00000000"},
	{"proposal with a cookie inside", wire.ExtProposal,
		wire.Proposal{Replay: 64, Cookie: &wire.KMCookie{Protocol: 3, Cookie: 9}},
		"0300 0d00 40 000000 0200 1300 03000000 0900000000000000",
		"0003 000d 40 000000 0002 0013 00000003 0000000000000009"},
	{"EREG", wire.IllumosExtXEReg, wire.EReg{Types: []wire.SAType{3, 2}}, "0100 1100 03 02 0000",
		"0001 0011 03 02 0000"},
	{"full EREG", wire.IllumosExtXEReg, wire.EReg{Types: []wire.SAType{3, 2, 5, 6}}, "0100 1100 03 02 05 06",
		"0001 0011 03 02 05 06"},
	{"EPROP", wire.IllumosExtXEProp, wire.EProp{Replay: 32, Combs: []wire.EComb{
		{Flags: 1, SoftAllocations: 2, HardAllocations: 3, SoftBytes: 4, HardBytes: 5, SoftAddTime: 6, HardAddTime: 7,
			SoftUseTime: 8, HardUseTime: 9,
			Algs: []wire.AlgDesc{{SAType: 3, AlgType: 2, Alg: 20, SaltBits: 32, MinBits: 128, MaxBits: 256},
				{SAType: 2}}},
		{HardUseTime: 1},
	}, Cookie: &wire.KMCookie{Protocol: wire.IllumosKMPIKE, Cookie: 0x99}},
		"1500 1200 20 00 0200 02 00 0100 00000000 02000000 03000000 0400000000000000 0500000000000000 0600000000000000 0700000000000000 " +
			"0800000000000000 0900000000000000 03 02 14 20 8000 0001 02 00 00 00 0000 0000 " +
			"00 00 0000 00000000 00000000 00000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000 0100000000000000 " +
			"0200 1300 01000000 99000000 00000000",
		"0015 0012 20 00 0002 02 00 0001 00000000 00000002 00000003 0000000000000004 0000000000000005 0000000000000006 0000000000000007 " +
			"0000000000000008 0000000000000009 03 02 14 20 0080 0100 02 00 00 00 0000 0000 " +
			"00 00 0000 00000000 00000000 00000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000000 0000000000000001 " +
			"0002 0013 00000001 00000099 00000000"},
	{"cookie of IKE, 32 bits", wire.IllumosExtXKMCookie, wire.KMCookie{Protocol: wire.IllumosKMPIKE,
		Cookie: 0x0a0b0c0d_01020304},
		"0200 1300 01000000 04030201 0d0c0b0a",
		"0002 0013 00000001 01020304 0a0b0c0d"},
	{"cookie of IKEv2, 64 bits", wire.IllumosExtXKMCookie, wire.KMCookie{Protocol: wire.IllumosKMPIKEv2,
		Cookie: 0x0a0b0c0d_01020304},
		"0200 1300 03000000 04030201 0d0c0b0a",
		"0002 0013 00000003 0a0b0c0d 01020304"},
	{"pair", wire.IllumosExtXPair, wire.Pair{SPI: 0x01020304}, "0100 1700 01020304", "0001 0017 01020304"},
	{"replay value", wire.IllumosExtXReplayValue, wire.ReplayValue{Replay32: 1, Replay64: 2},
		"0200 1800 01000000 0200000000000000", "0002 0018 00000001 0000000000000002"},
	{"EDUMP", wire.IllumosExtXEDump, wire.EDump{Timeout: 300}, "0200 1900 00000000 2c01000000000000",
		"0002 0019 00000000 000000000000012c"},
}

var linux = []layout{
	{"IPv6 address", wire.ExtAddressDst, wire.Address{Proto: 255, PrefixLen: 64, Addr: addr("fe80::1"), Scope: 2},
		"0500 0600 ff 40 0000 0a00 0000 00000000 fe800000000000000000000000000001 02000000 00000000",
		"0005 0006 ff 40 0000 000a 0000 00000000 fe800000000000000000000000000001 00000002 00000000"},
	{"SPI range, host order", wire.ExtSPIRange, wire.SPIRange{Min: 0x100, Max: 0x1fff},
		"0200 1000 00010000 ff1f0000 00000000",
		"0002 0010 00000100 00001fff 00000000"},
	{"SA2", wire.KAMEExtXSA2, wire.SA2{Mode: wire.ModeTunnel, Sequence: 3, ReqID: 0x4001},
		"0200 1300 02 000000 03000000 01400000",
		"0002 0013 02 000000 00000003 00004001"},
	{"policy without requests", wire.KAMEExtXPolicy, wire.Policy{Type: wire.KAMEPolicyDiscard,
		Direction: wire.KAMEDirOut, Reserved: 1, ID: 9, Priority: 0x80000000},
		"0200 1200 0000 02 01 09000000 00000080",
		"0002 0012 0000 02 01 00000009 80000000"},
	{"policy", wire.KAMEExtXPolicy, wire.Policy{Type: wire.KAMEPolicyIPsec, Direction: wire.KAMEDirIn,
		Requests: []wire.IPsecRequest{
			{Proto: 51, Mode: wire.ModeTransport, Level: wire.KAMELevelRequire},
			{Proto: 50, Mode: wire.ModeTunnel, Level: wire.KAMELevelUnique, ReqID: 7,
				Src: wire.Sockaddr{Addr: addr("192.0.2.1"), Port: 4500},
				Dst: wire.Sockaddr{Addr: addr("192.0.2.2")}},
			{Proto: 108, Mode: wire.ModeTunnel, Level: wire.KAMELevelUse,
				Src:  wire.Sockaddr{Addr: addr("2001:db8::1"), Scope: 1},
				Dst:  wire.Sockaddr{Addr: addr("2001:db8::2")},
				Tail: []byte{9}},
			{Proto: 50, Tail: []byte{0xff, 0xff, 1}},
		}},
		"1600 1200 0200 01 00 00000000 00000000 " +
			"1000 3300 01 02 0000 00000000 00000000 " +
			"3000 3200 02 03 0000 07000000 00000000 0200 1194 c0000201 0000000000000000 0200 0000 c0000202 0000000000000000 " +
			"4900 6c00 02 01 0000 00000000 00000000 0a00 0000 00000000 20010db8000000000000000000000001 01000000 " +
			"0a00 0000 00000000 20010db8000000000000000000000002 00000000 09 " +
			"1300 3200 00 00 0000 00000000 00000000 ffff01 00000000",
		"0016 0012 0002 01 00 00000000 00000000 " +
			"0010 0033 01 02 0000 00000000 00000000 " +
			"0030 0032 02 03 0000 00000007 00000000 0002 1194 c0000201 0000000000000000 0002 0000 c0000202 0000000000000000 " +
			"0049 006c 02 01 0000 00000000 00000000 000a 0000 00000000 20010db8000000000000000000000001 00000001 " +
			"000a 0000 00000000 20010db8000000000000000000000002 00000000 09 " +
			"0013 0032 00 00 0000 00000000 00000000 ffff01 00000000"},
	{"NAT-T type", wire.KAMEExtXNATTType, wire.NATTType{Type: wire.KAMENATTESP}, "0100 1400 02 000000",
		"0001 0014 02 000000"},
	{"NAT-T port, network order", wire.KAMEExtXNATTSPort, wire.NATTPort{Port: 4500}, "0100 1500 1194 0000",
		"0001 0015 1194 0000"},
	{"original address", wire.KAMEExtXNATTOA, wire.Address{PrefixLen: 32, Addr: addr("10.0.0.1")},
		"0300 1700 00 20 0000 0200 0000 0a000001 0000000000000000",
		"0003 0017 00 20 0000 0002 0000 0a000001 0000000000000000"},
	{"security context", wire.LinuxExtXSecCtx, wire.SecCtx{Alg: 1, DOI: 2, Context: []byte("s0\x00")},
		"0200 1800 01 02 0300 733000 0000000000",
		"0002 0018 01 02 0003 733000 0000000000"},
	{"KM addresses", wire.LinuxExtXKMAddress,
		wire.KMAddress{Reserved: 1, Local: wire.Sockaddr{Addr: addr("2001:db8::1"), Port: 500},
			Remote: wire.Sockaddr{Addr: addr("2001:db8::2")}},
		"0800 1900 01000000 0a00 01f4 00000000 20010db8000000000000000000000001 00000000 0a00 0000 00000000 20010db8000000000000000000000002 00000000",
		"0008 0019 00000001 000a 01f4 00000000 20010db8000000000000000000000001 00000000 000a 0000 00000000 20010db8000000000000000000000002 00000000"},
	{"filter", wire.LinuxExtXFilter, wire.Filter{Src: [16]byte{192, 0, 2, 1}, Dst: [16]byte{15: 1}, Family: 2,
		SrcPrefix: 32, DstPrefix: 128},
		"0500 1a00 c0000201000000000000000000000000 00000000000000000000000000000001 0200 20 80",
		"0005 001a c0000201000000000000000000000000 00000000000000000000000000000001 0002 20 80"},
}

// kame are those of NetBSD and FreeBSD, whose sockaddrs begin with length and family. Sockaddrs that are written %s are
// of IPv6.
func kame(inet6 string) []layout {
	all := []layout{
		{"IPv4 address", wire.ExtAddressSrc, wire.Address{Proto: 17, PrefixLen: 24, Reserved: 0x1234,
			Addr: addr("192.0.2.7"), Port: 500},
			"0300 0500 11 18 3412 10 02 01f4 c0000207 0000000000000000",
			"0003 0005 11 18 1234 10 02 01f4 c0000207 0000000000000000"},
		{"IPv6 address", wire.ExtAddressDst, wire.Address{Proto: 255, PrefixLen: 64, Addr: addr("fe80::1"), Scope: 2},
			"0500 0600 ff 40 0000 1c %s 0000 00000000 fe800000000000000000000000000001 02000000 00000000",
			"0005 0006 ff 40 0000 1c %s 0000 00000000 fe800000000000000000000000000001 00000002 00000000"},
		{"SPI range, host order", wire.ExtSPIRange, wire.SPIRange{Min: 0x100, Max: 0x1fff},
			"0200 1000 00010000 ff1f0000 00000000",
			"0002 0010 00000100 00001fff 00000000"},
		{"SA2", wire.KAMEExtXSA2, wire.SA2{Mode: wire.ModeTCPMD5, Sequence: 3, ReqID: 0x4001},
			"0200 1300 03 000000 03000000 01400000",
			"0002 0013 03 000000 00000003 00004001"},
		{"SA of TCP signatures", wire.ExtSA, wire.SA{SPI: 0x1000, State: wire.StateMature, Auth: wire.AuthMD5},
			"0200 0100 00001000 00 01 fc 00 00000000",
			"0002 0001 00001000 00 01 fc 00 00000000"},
		{"policy", wire.KAMEExtXPolicy, wire.Policy{Type: wire.KAMEPolicyIPsec, Direction: wire.KAMEDirIn, Reserved: 1,
			ID: 9, Priority: 0x80000000,
			Requests: []wire.IPsecRequest{
				{Proto: 51, Mode: wire.ModeTransport, Level: wire.KAMELevelRequire},
				{Proto: 50, Mode: wire.ModeTunnel, Level: wire.KAMELevelUnique, ReqID: 0x4001,
					Src: wire.Sockaddr{Addr: addr("192.0.2.1"), Port: 4500},
					Dst: wire.Sockaddr{Addr: addr("192.0.2.2")}},
				{Proto: 108, Mode: wire.ModeTunnel, Level: wire.KAMELevelUse,
					Src: wire.Sockaddr{Addr: addr("2001:db8::1"), Scope: 1},
					Dst: wire.Sockaddr{Addr: addr("2001:db8::2")}},
			}},
			"1000 1200 0200 01 01 09000000 00000080 " +
				"0800 3300 01 02 0000 " +
				"2800 3200 02 03 0140 10 02 1194 c0000201 0000000000000000 10 02 0000 c0000202 0000000000000000 " +
				"4000 6c00 02 01 0000 1c %s 0000 00000000 20010db8000000000000000000000001 01000000 " +
				"1c %s 0000 00000000 20010db8000000000000000000000002 00000000",
			"0010 0012 0002 01 01 00000009 80000000 " +
				"0008 0033 01 02 0000 " +
				"0028 0032 02 03 4001 10 02 1194 c0000201 0000000000000000 10 02 0000 c0000202 0000000000000000 " +
				"0040 006c 02 01 0000 1c %s 0000 00000000 20010db8000000000000000000000001 00000001 " +
				"1c %s 0000 00000000 20010db8000000000000000000000002 00000000"},
		{"NAT-T type", wire.KAMEExtXNATTType, wire.NATTType{Type: wire.KAMENATTESP}, "0100 1400 02 000000",
			"0001 0014 02 000000"},
		{"NAT-T port, network order", wire.KAMEExtXNATTSPort, wire.NATTPort{Port: 4500}, "0100 1500 1194 0000",
			"0001 0015 1194 0000"},
		{"initiator's address", wire.KAMEExtXNATTOA, wire.Address{PrefixLen: 32, Addr: addr("10.0.0.1")},
			"0300 1700 00 20 0000 10 02 0000 0a000001 0000000000000000",
			"0003 0017 00 20 0000 10 02 0000 0a000001 0000000000000000"},
		{"responder's address", wire.KAMEExtXNATTOAR, wire.Address{PrefixLen: 128, Addr: addr("2001:db8::1")},
			"0500 1800 00 80 0000 1c %s 0000 00000000 20010db8000000000000000000000001 00000000 00000000",
			"0005 0018 00 80 0000 1c %s 0000 00000000 20010db8000000000000000000000001 00000000 00000000"},
		{"NAT-T fragments", wire.KAMEExtXNATTFrag, wire.NATTFrag{Bytes: 576}, "0100 1900 4002 0000",
			"0001 0019 0240 0000"},
	}
	for i := range all {
		all[i].little = strings.ReplaceAll(all[i].little, "%s", inet6)
		all[i].big = strings.ReplaceAll(all[i].big, "%s", inet6)
	}
	return all
}

var freebsd = []layout{
	{"replay window", wire.FreeBSDExtXSAReplay, wire.SAReplay{Window: 4096}, "0100 1a00 00100000",
		"0001 001a 00001000"},
	{"new source", wire.FreeBSDExtXNewAddressSrc, wire.Address{PrefixLen: 32, Addr: addr("10.0.0.1")},
		"0300 1b00 00 20 0000 10 02 0000 0a000001 0000000000000000",
		"0003 001b 00 20 0000 10 02 0000 0a000001 0000000000000000"},
	{"new destination", wire.FreeBSDExtXNewAddressDst, wire.Address{PrefixLen: 32, Addr: addr("10.0.0.1")},
		"0300 1c00 00 20 0000 10 02 0000 0a000001 0000000000000000",
		"0003 001c 00 20 0000 10 02 0000 0a000001 0000000000000000"},
}

func layouts(d *dialect) []layout {
	own := map[string][]layout{
		"illumos": append([]layout{ipv4}, illumos...), "linux": append([]layout{ipv4}, linux...), "netbsd": kame("18"),
		"freebsd": append(kame("1c"), freebsd...), "openbsd": openbsd,
	}[d.Name]
	all := slices.Concat(common, own)
	if d.Name == "openbsd" { // its PROPOSAL has another field
		all = slices.DeleteFunc(all, func(l layout) bool { return l.name == "proposal" && len(l.little) > 100 })
	}
	return all
}

func (l layout) bytes(t testing.TB, d *dialect) []byte {
	if d.Order == binary.BigEndian {
		return unhex(t, l.big)
	}
	return unhex(t, l.little)
}

func TestLayouts(t *testing.T) {
	for _, d := range variants() {
		for _, l := range layouts(d) {
			t.Run(fmt.Sprintf("%s/%v/%s", d.Name, d.Order, l.name), func(t *testing.T) {
				c, ok := codecOf(d, l.t)
				if !ok {
					t.Fatal("no codec")
				}
				want := l.bytes(t, d)
				got := c.append(d, nil, l.v)
				if !bytes.Equal(got, want) {
					t.Errorf("written (-want +got):\n%s", diffLines(fmt.Sprintf("% x", want), fmt.Sprintf("% x", got)))
				}
				v, err := c.parse(d, want)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(l.v, v, sameValue); diff != "" {
					t.Errorf("read (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// What is appended starts from zeroed memory and leaves what was there, even into a buffer full of junk.
func TestAppendLeavesNothingBehind(t *testing.T) {
	for _, d := range variants() {
		for _, l := range layouts(d) {
			c, _ := codecOf(d, l.t)
			want := l.bytes(t, d)
			buf := bytes.Repeat([]byte{0xff}, 3+len(want)+64)
			got := c.append(d, buf[:3], l.v)
			if !bytes.Equal(got[:3], []byte{0xff, 0xff, 0xff}) {
				t.Errorf("%s %s: what was there before is gone", d.Name, l.name)
			}
			if !bytes.Equal(got[3:], want) {
				t.Errorf("%s %s, into junk:\n got % x\nwant % x", d.Name, l.name, got[3:], want)
			}
			if &got[0] != &buf[0] {
				t.Errorf("%s %s: the spare capacity was not used", d.Name, l.name)
			}
		}
		h := d.AppendHeader(bytes.Repeat([]byte{0xff}, 64)[:0], wire.Header{})
		if !bytes.Equal(h, make([]byte, wire.HeaderLen)) {
			t.Errorf("%s: header into junk % x", d.Name, h)
		}
	}
}

// Every extension cut anywhere is an error that says where and what, or still a value; never a panic, never a read
// behind the cut.
func TestParseCut(t *testing.T) {
	for _, d := range variants() {
		for _, l := range layouts(d) {
			c, _ := codecOf(d, l.t)
			whole := l.bytes(t, d)
			for n := range whole {
				v, err := c.parse(d, whole[:n:n])
				if err == nil {
					// Lists get shorter, and what is reserved may be missing; the fixed part must be there.
					if n < 8 {
						t.Errorf("%s %s: %d bytes are %v", d.Name, l.name, n, v)
					}
					continue
				}
				var e *wire.DecodeError
				if !errors.As(err, &e) {
					t.Fatalf("%s %s: %d bytes: %T %v", d.Name, l.name, n, err, err)
				}
				if e.Offset < 0 || e.Offset > n {
					t.Errorf("%s %s: %d bytes: offset %d", d.Name, l.name, n, e.Offset)
				}
				if !errors.Is(err, wire.ErrShort) && !errors.Is(err, wire.ErrLength) {
					t.Errorf("%s %s: %d bytes: %v", d.Name, l.name, n, err)
				}
				if n >= 4 && (e.Ext != l.t || e.Name != d.ExtName(l.t)) {
					t.Errorf("%s %s: %d bytes: error is about %d %q", d.Name, l.name, n, e.Ext, e.Name)
				}
			}
		}
	}
}

func TestParseAddressFamilies(t *testing.T) {
	for _, d := range variants() {
		for _, family := range []uint16{0, 1, 3, 10, 26, 0xff02} {
			raw := d.AppendAddress(nil, wire.ExtAddressSrc, wire.Address{Proto: 6, PrefixLen: 7,
				Addr: addr("2001:db8::1")})
			if d.Order.PutUint16(raw[8:], family); d.SockaddrLen {
				raw[8], raw[9] = 28, uint8(family>>8|family)
				family = uint16(raw[9])
			}
			v, err := d.ParseAddress(raw)
			if family == d.AFInet6 {
				if err != nil {
					t.Errorf("%s: family %d: %v", d.Name, family, err)
				}
				continue
			}
			if !errors.Is(err, wire.ErrFamily) {
				t.Errorf("%s: family %d: %v", d.Name, family, err)
			}
			if plain := d.Name == "openbsd"; !plain && (v.Proto != 6 || v.PrefixLen != 7) || v.Addr.IsValid() {
				t.Errorf("%s: family %d: %+v", d.Name, family, v)
			}
			if got, ok := d.AddressFamily(raw); got != family || !ok {
				t.Errorf("%s: AddressFamily %d, %v, want %d", d.Name, got, ok, family)
			}
		}
		if _, ok := d.AddressFamily(make([]byte, 9)); ok {
			t.Errorf("%s: 9 bytes have a family", d.Name)
		}
		// An address of no family is written as one of family 0, on OpenBSD as none.
		size := 24
		if d.Name == "openbsd" {
			size = 8
		}
		raw := d.AppendAddress(nil, wire.ExtAddressSrc, wire.Address{Port: 1})
		if f, _ := d.AddressFamily(raw); len(raw) != size || f != 0 {
			t.Errorf("%s: no address is % x", d.Name, raw)
		}
	}
}

// The sockaddrs of the BSDs begin with a length byte and have families of one byte.
func TestSockaddrLength(t *testing.T) {
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		d := *wire.Linux().WithOrder(order)
		d.SockaddrLen, d.AFInet6 = true, 24
		for _, tt := range []struct {
			v    wire.Address
			tail string
		}{
			{wire.Address{Addr: addr("192.0.2.1"), Port: 500}, "10 02 01f4 c0000201 0000000000000000"},
			{wire.Address{Addr: addr("2001:db8::1")},
				"1c 18 0000 00000000 20010db8000000000000000000000001 00000000 00000000"},
		} {
			raw := d.AppendAddress(nil, wire.ExtAddressSrc, tt.v)
			if want := unhex(t, tt.tail); !bytes.Equal(raw[8:], want) {
				t.Errorf("%v:\n got % x\nwant % x", order, raw[8:], want)
			}
			got, err := d.ParseAddress(raw)
			if diff := cmp.Diff(tt.v, got, sameValue); err != nil || diff != "" {
				t.Errorf("%v: %v (-want +got):\n%s", order, err, diff)
			}
			var b bytes.Buffer
			d.Format(&b, d.Finish(append(d.AppendHeader(nil, wire.Header{Version: 2}), raw...)), wire.FormatOptions{})
			if want := fmt.Sprintf("length = %d, family = %d (inet", raw[8], raw[9]); !strings.Contains(b.String(),
				want) {
				t.Errorf("no %q in\n%s", want, b.String())
			}
		}
	}
}

// The cookie inside a proposal belongs to illumos; elsewhere the bytes behind the last comb mean nothing.
func TestTuckedCookie(t *testing.T) {
	v := wire.Proposal{Combs: make([]wire.Comb, 2), Cookie: &wire.KMCookie{Protocol: 1, Cookie: 7}}
	i, l := wire.Illumos(), wire.Linux()
	raw := i.AppendProposal(nil, v)
	if len(raw) != 8+2*72+16 {
		t.Errorf("%d bytes", len(raw))
	}
	got, err := i.ParseProposal(raw)
	if diff := cmp.Diff(v, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if got, err := l.ParseProposal(raw); err != nil || got.Cookie != nil || len(got.Combs) != 2 {
		t.Errorf("linux reads %+v, %v", got, err)
	}
	if raw := l.AppendProposal(nil, v); len(raw) != 8+2*72 {
		t.Errorf("linux writes %d bytes", len(raw))
	}
}

// What a length field cannot say is cut, so that the message can still be walked.
func TestAppendTooLong(t *testing.T) {
	d := wire.Linux()
	long := strings.Repeat("x", wire.MaxLen+100)
	b := d.AppendHeader(nil, wire.Header{Version: 2})
	b = d.AppendIdentity(b, wire.ExtIdentitySrc, wire.Identity{Name: long})
	b = d.AppendKey(b, wire.ExtKeyAuth, wire.Key{Bits: 8, Data: []byte(long)})
	b = d.AppendSecCtx(b, wire.SecCtx{Context: []byte(long)})
	b = d.AppendSensitivity(b, wire.ExtSensitivity, wire.Sensitivity{Bitmap: []byte(long), Integ: []byte(long)})
	b = d.AppendPolicy(b, wire.Policy{Requests: make([]wire.IPsecRequest, wire.MaxLen/16+5)})
	var types []wire.ExtType
	for x, err := range d.Walk(b) {
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, x.Type)
	}
	want := []wire.ExtType{wire.ExtIdentitySrc, wire.ExtKeyAuth, wire.LinuxExtXSecCtx, wire.ExtSensitivity,
		wire.KAMEExtXPolicy}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if h, _ := d.Header(d.Finish(b)); h.Len != 0xffff {
		t.Errorf("length field %d", h.Len)
	}
	if d.Validate(b) == nil {
		t.Error("a message longer than its length field can say is valid")
	}
}

// Views end where the extension does: appending to one must not write into the message.
func TestViewsHaveNoRoom(t *testing.T) {
	d := wire.Linux()
	b := d.AppendHeader(nil, wire.Header{Version: 2})
	b = d.AppendKey(b, wire.ExtKeyAuth, wire.Key{Bits: 24, Data: []byte("key")})
	b = d.AppendSensitivity(b, wire.ExtSensitivity, wire.Sensitivity{Bitmap: make([]byte, 8), Integ: make([]byte, 8)})
	b = d.AppendSecCtx(b, wire.SecCtx{Context: []byte("ctx")})
	b = d.AppendPolicy(b, wire.Policy{Requests: []wire.IPsecRequest{{Tail: []byte("tail")}, {}}})
	b = append(d.AppendSA(b, wire.SA{}), bytes.Repeat([]byte{0}, 32)...)
	msg := b[:len(b)-32]
	before := bytes.Clone(b)
	views := map[string][]byte{}
	for x, err := range d.Walk(msg) {
		if err != nil {
			t.Fatal(err)
		}
		views[x.String()] = x.Raw
		switch x.Type {
		case wire.ExtKeyAuth:
			k, _ := d.ParseKey(x.Raw)
			views["key"], views["key area"] = k.Data, wire.KeyArea(x.Raw)
		case wire.ExtSensitivity:
			s, _ := d.ParseSensitivity(x.Raw)
			views["bitmap"], views["integrity"] = s.Bitmap, s.Integ
		case wire.LinuxExtXSecCtx:
			c, _ := d.ParseSecCtx(x.Raw)
			views["context"] = c.Context
		case wire.KAMEExtXPolicy:
			p, _ := d.ParsePolicy(x.Raw)
			views["tail"] = p.Requests[0].Tail
		}
	}
	if len(views) != 11 {
		t.Errorf("%d views", len(views))
	}
	for name, v := range views {
		if len(v) == 0 || cap(v) != len(v) {
			t.Errorf("%s: length %d, capacity %d", name, len(v), cap(v))
		}
		_ = append(v, 0xee)
	}
	if !bytes.Equal(b, before) {
		t.Error("appending to a view changed the message")
	}
	// They are views all the same: the message's owner may change them.
	k := views["key"]
	msg[16+8] ^= 0xff
	if k[0] == 'k' {
		t.Error("the key is a copy, the documentation says view")
	}
}

func TestKeyArea(t *testing.T) {
	d := wire.Illumos()
	// As illumos answers GET: key, salt, room for an IV.
	raw := d.AppendKey(nil, wire.ExtKeyEncrypt, wire.Key{Bits: 16, Reserved: 8, Data: []byte{1, 2, 3, 0, 0, 0, 0, 0,
		0}})
	k, err := d.ParseKey(raw)
	if err != nil || len(raw) != 24 || !bytes.Equal(k.Data, []byte{1, 2}) || k.Reserved != 8 {
		t.Errorf("%d bytes, %v %x %d", len(raw), err, k.Data, k.Reserved)
	}
	if got := wire.KeyArea(raw); !bytes.Equal(got, append([]byte{1, 2, 3}, make([]byte, 13)...)) {
		t.Errorf("area %x", got)
	}
	if wire.KeyArea(raw[:7]) != nil {
		t.Error("7 bytes have a key area")
	}
}
