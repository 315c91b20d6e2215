package netbsd

import "github.com/pfkeyd/pfkeyd/kernel/kame"

// counters are those of netstat(1) -s, by the names of the constants in the headers.
var counters = kame.CounterPage{
	ESP: map[kame.Counter]string{
		kame.CountInput: "espstat.input", kame.CountOutput: "espstat.output", kame.CountInBytes: "espstat.ibytes",
		kame.CountOutBytes: "espstat.obytes", kame.CountNoSA: "espstat.notdb", kame.CountHeader: "espstat.hdrops",
		kame.CountBadLength: "espstat.badilen", kame.CountBadICV: "espstat.badauth",
		kame.CountBadPadding: "espstat.badenc", kame.CountReplay: "espstat.replay", kame.CountWrap: "espstat.wrap",
		kame.CountDisabled: "espstat.pdrops", kame.CountCrypto: "espstat.noxform", kame.CountTooBig: "espstat.toobig",
	},
	AH: map[kame.Counter]string{
		kame.CountInput: "ahstat.input", kame.CountOutput: "ahstat.output", kame.CountInBytes: "ahstat.ibytes",
		kame.CountOutBytes: "ahstat.obytes", kame.CountNoSA: "ahstat.notdb", kame.CountHeader: "ahstat.hdrops",
		kame.CountBadLength: "ahstat.badauthl", kame.CountBadICV: "ahstat.badauth", kame.CountReplay: "ahstat.replay",
		kame.CountWrap: "ahstat.wrap", kame.CountDisabled: "ahstat.pdrops", kame.CountCrypto: "ahstat.noxform",
		kame.CountTooBig: "ahstat.toobig",
	},
	Comp: map[kame.Counter]string{
		kame.CountInput: "ipcompstat.input", kame.CountOutput: "ipcompstat.output",
		kame.CountInBytes: "ipcompstat.ibytes", kame.CountOutBytes: "ipcompstat.obytes",
		kame.CountNoSA: "ipcompstat.notdb", kame.CountHeader: "ipcompstat.hdrops",
		kame.CountDisabled: "ipcompstat.pdrops", kame.CountCrypto: "ipcompstat.noxform",
		kame.CountTooBig: "ipcompstat.toobig", kame.CountShort: "ipcompstat.minlen",
		kame.CountUseless: "ipcompstat.useless",
	},
	Others: map[kame.Counter]string{
		kame.CountInMiddle: "ipsecstat.input_middle", kame.CountInEnd: "ipsecstat.input_end",
		kame.CountInserted: "ipsecstat.mbinserted",
		kame.CountTunnelIn: "ipipstat.ipackets", kame.CountTunnelInBytes: "ipipstat.ibytes",
		kame.CountTunnelOut: "ipipstat.opackets", kame.CountTunnelOutBytes: "ipipstat.obytes",
		kame.CountInPolicy: "ipsecstat.in_polvio", kame.CountInPolicy6: "ipsecstat.in_polvio",
		kame.CountOutPolicy: "ipsecstat.out_polvio", kame.CountOutPolicy6: "ipsecstat.out_polvio",
		kame.CountOutNoSA: "ipsecstat.out_nosa", kame.CountOutNoSA6: "ipsecstat.out_nosa",
		kame.CountOutBundle: "ipsecstat.out_bundlesa", kame.CountOutBundle6: "ipsecstat.out_bundlesa",
		kame.CountGoodSignature: "tcpstat.goodsig", kame.CountBadSignature: "tcpstat.badsig",
		kame.CountNoSignature: "tcpstat.badsig",
	},
}
