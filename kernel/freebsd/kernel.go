// Package freebsd is what FreeBSD (13.0) does in its own way among the heirs of KAME; what it has in common with them
// is package kame.
package freebsd

import (
	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/kernel/kame"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// heir is what FreeBSD does in its own way.
type heir struct{ *kame.Kernel }

var page = kame.Page{
	Dialect:  wire.FreeBSD(),
	Tunables: tunables,

	MsgMax: 22,
	Extensions: kame.WithExtensions(map[wire.ExtType]kame.SizeRule{
		wire.KAMEExtXNATTOA: kame.WithSockaddr(8), wire.KAMEExtXNATTOAR: kame.WithSockaddr(8),
		wire.KAMEExtXNATTFrag: kame.Exactly(8), wire.FreeBSDExtXSAReplay: kame.Exactly(8),
		wire.FreeBSDExtXNewAddressSrc: kame.WithSockaddr(8), wire.FreeBSDExtXNewAddressDst: kame.WithSockaddr(8),
	}),
	Protos: kame.Protos,
	Scoped: map[wire.MsgType][]byte{wire.KAMEMsgXSPDDump: {0, 1, 2, 4}}, // all, global, of interfaces, of sockets
	Calls: map[pfkey.Call]pfkey.Errno{
		pfkey.CallBind: wire.EINVAL, pfkey.CallConnect: wire.EISCONN, pfkey.CallListen: wire.EOPNOTSUPP,
		pfkey.CallAccept: wire.EINVAL, pfkey.CallGetSockName: wire.EINVAL, pfkey.CallGetPeerName: wire.ENOTCONN,
		pfkey.CallShutdown: wire.OK, pfkey.CallFIONREAD: wire.OK, pfkey.CallSendTo: wire.OK,
		pfkey.CallSendOOB: wire.EOPNOTSUPP, pfkey.CallShutdownRead: wire.OK, pfkey.CallShutdownBoth: wire.OK,
	},
	Buffers: kame.Buffers{Recv: 8192, Send: 8192, Most: 1864135, Factor: 8, MostMemory: 2 << 20,
		Mbuf: mbuf, Made: made, Written: written},

	Handlers: map[wire.MsgType]kame.Handler{wire.MsgAcquire: acquire},
	Policies: policies,
	Acquires: acquires,
	Upper:    kame.Upper,

	Auths: auths, Encrypts: encrypts,
	ESN: wire.FreeBSDFlagXESN,

	AddEcho: []wire.ExtType{wire.ExtSA, wire.KAMEExtXSA2, wire.ExtAddressSrc, wire.ExtAddressDst,
		wire.ExtLifetimeHard, wire.ExtLifetimeSoft, wire.ExtIdentitySrc, wire.ExtIdentityDst, wire.KAMEExtXNATTType,
		wire.KAMEExtXNATTSPort, wire.KAMEExtXNATTDPort, wire.KAMEExtXNATTOA, wire.KAMEExtXNATTOAR,
		wire.FreeBSDExtXNewAddressSrc, wire.FreeBSDExtXNewAddressDst},
	SAShows: []kame.Show{kame.ShowSA, kame.ShowSA2, showReplay, kame.ShowHard, kame.ShowSoft, showCurrent, kame.ShowSrc,
		kame.ShowDst, kame.ShowAuth, kame.ShowEncrypt, showNATT},
	References: map[wire.MsgType]uint16{wire.MsgGet: 2, wire.MsgDump: 1, wire.MsgExpire: 2,
		wire.KAMEMsgXSPDGet: 2, wire.KAMEMsgXSPDDump: 1},
	ReqIDMask:     1<<32 - 1,
	Order:         [][]sadb.State{{sadb.Larval}, {sadb.Mature, sadb.Dying}},
	NewestFirst:   true,
	AppendKey:     appendWholeBytes,
	SPIs:          spis,
	SendDump:      kame.SendEach,
	EmptyHeadsGo:  true,
	KeepsFirstUse: true,
	Packets:       packets,
}

// Sizes of mbufs in bytes.
const (
	mbuf    = 256
	inline  = 168 // what the first of a message holds by itself
	further = 224 // and each one behind it
	cluster = 2048
	room    = 76 // that the socket layer leaves before a request for headers
)

// made is one mbuf for the address, and as many as the message needs.
func made(n int) int { return mbuf * (2 + max(0, n-inline+further-1)/further) }

// written is what the socket layer has made of a request.
func written(n int) int {
	if n+room <= inline {
		return 2 * mbuf
	}
	return 2*mbuf + cluster
}

var tunables = []engine.Tunable{
	{Name: kame.TCPMD5, Max: 1, Default: 1},
	{Name: "net.key.debug", Max: 1<<31 - 1},
	{Name: spis.Tries, Max: 1<<32 - 1, Default: 1000},
	{Name: spis.Min, Max: 1<<32 - 1, Default: 0x100},
	{Name: spis.Max, Max: 1<<32 - 1, Default: 0x0fffffff},
	{Name: "net.key.int_random", Max: 1<<31 - 1, Default: 60},
	{Name: larvalLifetime, Max: 1<<31 - 1, Default: 30},
	{Name: "net.key.blockacq_count", Max: 1<<31 - 1, Default: 10},
	{Name: "net.key.blockacq_lifetime", Max: 1<<31 - 1, Default: 20},
	{Name: "net.key.esp_keymin", Max: 1<<31 - 1, Default: 256},
	{Name: "net.key.esp_auth", Max: 1<<31 - 1},
	{Name: "net.key.ah_keymin", Max: 1<<31 - 1, Default: 128},
	{Name: preferredOldSA, Max: 1<<31 - 1, Default: 1},
	{Name: "net.inet.ipsec.esp_trans_deflev", Min: 1, Max: 2, Default: 1},
	{Name: "net.inet.ipsec.esp_net_deflev", Min: 1, Max: 2, Default: 1},
	{Name: "net.inet.ipsec.ah_trans_deflev", Min: 1, Max: 2, Default: 1},
	{Name: "net.inet.ipsec.ah_net_deflev", Min: 1, Max: 2, Default: 1},
	{Name: "net.inet.ipsec.def_policy", Max: 1, Default: 1},
	{Name: "net.inet.esp.esp_enable", Min: -1 << 31, Max: 1<<31 - 1, Default: 1},
	{Name: "net.inet.ah.ah_enable", Min: -1 << 31, Max: 1<<31 - 1, Default: 1},
	{Name: "net.inet.ipcomp.ipcomp_enable", Min: -1 << 31, Max: 1<<31 - 1, Default: 1},
	{Name: "net.inet.ipsec.dfbit", Min: -1 << 31, Max: 1<<31 - 1},
	{Name: "net.inet.ipsec.ecn", Min: -1 << 31, Max: 1<<31 - 1},
	{Name: "net.inet6.ipsec6.ecn", Min: -1 << 31, Max: 1<<31 - 1},
	{Name: "net.inet.ipsec.filtertunnel", Min: -1 << 31, Max: 1<<31 - 1},
}

const (
	larvalLifetime = "net.key.larval_lifetime"
	preferredOldSA = "net.key.preferred_oldsa"
)

// New makes the kernel of an engine.
func New(e *engine.Engine, o engine.Options) (*kame.Kernel, error) {
	return kame.New(e, o, &page, func(k *kame.Kernel) kame.Heir { return &heir{k} })
}
