// Package netbsd is what NetBSD (10.99.12, January 2025) does in its own way among the heirs of KAME; what it has in
// common with them is package kame.
package netbsd

import (
	"sync/atomic"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// heir is what NetBSD does in its own way.
type heir struct {
	*kame.Kernel
	used atomic.Bool // IPsec looks at packets
}

var page = kame.Page{
	Dialect:  wire.NetBSD(),
	Tunables: tunables,

	MsgMax: 23,
	Extensions: kame.WithExtensions(map[wire.ExtType]kame.SizeRule{
		wire.KAMEExtXNATTOA: kame.AtLeast(8), wire.KAMEExtXNATTOAR: kame.AtLeast(8),
		wire.KAMEExtXNATTFrag: kame.Exactly(8),
	}),
	Protos: kame.Protos,
	Calls: map[pfkey.Call]pfkey.Errno{
		pfkey.CallBind: wire.EOPNOTSUPP, pfkey.CallConnect: wire.EOPNOTSUPP, pfkey.CallListen: wire.EINVAL,
		pfkey.CallAccept: wire.EOPNOTSUPP, pfkey.CallGetSockName: wire.OK, pfkey.CallGetPeerName: wire.OK,
		pfkey.CallShutdown: wire.OK, pfkey.CallFIONREAD: wire.OK, pfkey.CallSendTo: wire.EISCONN,
		pfkey.CallSendOOB: wire.EOPNOTSUPP, pfkey.CallShutdownRead: wire.OK, pfkey.CallShutdownBoth: wire.OK,
	},
	ConnectEnds: true,
	Buffers: kame.Buffers{Recv: 16384, Send: 8192, Most: 209715, Factor: 2, MostMemory: 256 << 10,
		Mbuf: mbuf, Made: made, Written: written},

	Handlers: map[wire.MsgType]kame.Handler{
		wire.MsgAcquire: acquire, wire.KAMEMsgXNATTNewMapping: newMapping,
	},
	Policies: policies,
	Acquires: acquires,
	Upper:    upper,

	Auths: auths, Encrypts: encrypts,

	AddEcho: []wire.ExtType{wire.ExtSA, wire.KAMEExtXSA2, wire.ExtAddressSrc, wire.ExtAddressDst,
		wire.ExtLifetimeHard, wire.ExtLifetimeSoft, wire.ExtIdentitySrc, wire.ExtIdentityDst, wire.KAMEExtXNATTType,
		wire.KAMEExtXNATTSPort, wire.KAMEExtXNATTDPort, wire.KAMEExtXNATTOA, wire.KAMEExtXNATTOAR,
		wire.KAMEExtXNATTFrag},
	SAShows: []kame.Show{kame.ShowSA, kame.ShowSA2, kame.ShowHard, kame.ShowSoft, showCurrent, kame.ShowSrc,
		kame.ShowDst, kame.ShowAuth, kame.ShowEncrypt, showNATT},
	ReqIDMask:    0xffff,
	Buckets:      buckets,
	Order:        [][]sadb.State{{sadb.Mature}, {sadb.Dying}, {sadb.Larval}},
	PortsInHeads: true,
	AppendKey:    appendAsItCame,
	SPIs:         spis,
	SendDump:     kame.SendChain,
	RegisterFits: true,

	Packets: packets,

	WrapExtra: wire.HeaderLen,
	FullEnds:  true,
}

// Sizes of mbufs in bytes.
const (
	mbuf    = 512
	inline  = 424 // what one holds by itself
	cluster = 2048
)

// made is one mbuf for the address and one for the message. Only an ACQUIRE is longer than one holds: its combinations
// come in mbufs of their own.
func made(n int) int {
	if n <= inline {
		return 2 * mbuf
	}
	return (2 + (n-80+191)/192) * mbuf
}

// written is what the socket layer has made of a request.
func written(n int) int {
	if n <= inline {
		return 2 * mbuf
	}
	return 2*mbuf + cluster
}

var tunables = []engine.Tunable{
	{Name: kame.TCPMD5, Max: 1, Default: 1},
	{Name: "net.key.debug", Max: 1<<31 - 1},
	{Name: spis.Tries, Max: 1<<31 - 1, Default: 1000},
	{Name: spis.Min, Max: 1<<32 - 1, Default: 0x100},
	{Name: spis.Max, Max: 1<<32 - 1, Default: 0x0fffffff},
	{Name: "net.key.random_int", Max: 1<<31 - 1, Default: 60},
	{Name: larvalLifetime, Max: 1<<31 - 1, Default: 30},
	{Name: "net.key.blockacq_count", Max: 1<<31 - 1, Default: 10},
	{Name: "net.key.blockacq_lifetime", Max: 1<<31 - 1, Default: 20},
	{Name: "net.key.esp_keymin", Max: 1<<31 - 1, Default: 256},
	{Name: "net.key.esp_auth", Max: 1<<31 - 1},
	{Name: "net.key.ah_keymin", Max: 1<<31 - 1, Default: 128},
	{Name: preferredOldSA, Max: 1<<31 - 1},
	{Name: differentTypes, Max: 1<<31 - 1},
	{Name: "net.inet.ipsec.esp_trans_deflev", Min: 1, Max: 2, Default: 1},
	{Name: "net.inet.ipsec.esp_net_deflev", Min: 1, Max: 2, Default: 1},
	{Name: "net.inet.ipsec.ah_trans_deflev", Min: 1, Max: 2, Default: 1},
	{Name: "net.inet.ipsec.ah_net_deflev", Min: 1, Max: 2, Default: 1},
	{Name: "net.inet.ipsec.def_policy", Max: 1, Default: 1},
	{Name: enabled, Max: 2, Default: 1},
	{Name: "net.inet.ipsec.esp_enable", Min: -1 << 31, Max: 1<<31 - 1, Default: 1},
	{Name: "net.inet.ipsec.ah_enable", Min: -1 << 31, Max: 1<<31 - 1, Default: 1},
	{Name: "net.inet.ipsec.ipcomp_enable", Min: -1 << 31, Max: 1<<31 - 1, Default: 1},
	{Name: "net.inet.ipsec.dfbit", Min: -1 << 31, Max: 1<<31 - 1, Default: 2},
	{Name: "net.inet.ipsec.ecn", Min: -1 << 31, Max: 1<<31 - 1},
	{Name: "net.inet6.ipsec6.ecn", Min: -1 << 31, Max: 1<<31 - 1},
	{Name: "net.inet.ipsec.ipip_spoofcheck", Min: -1 << 31, Max: 1<<31 - 1, Default: 1},
}

const (
	larvalLifetime = "net.key.larval_lifetime"
	differentTypes = "net.key.allow_different_idtype"
	preferredOldSA = "net.key.prefered_oldsa"
)

// New makes the kernel of an engine.
func New(e *engine.Engine, o engine.Options) (*kame.Kernel, error) {
	return kame.New(e, o, &page, func(k *kame.Kernel) kame.Heir {
		h := &heir{Kernel: k}
		h.used.Store(h.Knob(enabled) == 2)
		return h
	})
}

// newMapping handles X_NAT_T_NEW_MAPPING, which has no effect (key_api_nat_map).
func newMapping(_ *kame.Kernel, r *kame.Request) wire.Errno {
	if !r.Has(wire.KAMEExtXNATTType, wire.KAMEExtXNATTSPort, wire.KAMEExtXNATTDPort) {
		return wire.EINVAL
	}
	return wire.OK
}
