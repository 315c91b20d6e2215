package freebsd

import "github.com/pfkeyd/pfkeyd/kernel/kame"

// counters are those of netstat(1) -s, by the names of the fields in the headers.
var counters = kame.CounterPage{
	ESP: map[kame.Counter]string{
		kame.CountInput: "espstat.esps_input", kame.CountOutput: "espstat.esps_output",
		kame.CountInBytes: "espstat.esps_ibytes", kame.CountOutBytes: "espstat.esps_obytes",
		kame.CountNoSA: "espstat.esps_notdb", kame.CountHeader: "espstat.esps_hdrops",
		kame.CountBadLength: "espstat.esps_badilen", kame.CountBadICV: "espstat.esps_badauth",
		kame.CountBadPadding: "espstat.esps_badenc", kame.CountReplay: "espstat.esps_replay",
		kame.CountWrap: "espstat.esps_wrap", kame.CountDisabled: "espstat.esps_pdrops",
		kame.CountCrypto: "espstat.esps_noxform", kame.CountTooBig: "espstat.esps_toobig",
	},
	AH: map[kame.Counter]string{
		kame.CountInput: "ahstat.ahs_input", kame.CountOutput: "ahstat.ahs_output",
		kame.CountInBytes: "ahstat.ahs_ibytes", kame.CountOutBytes: "ahstat.ahs_obytes",
		kame.CountNoSA: "ahstat.ahs_notdb", kame.CountHeader: "ahstat.ahs_hdrops",
		kame.CountBadLength: "ahstat.ahs_badauthl", kame.CountBadICV: "ahstat.ahs_badauth",
		kame.CountReplay: "ahstat.ahs_replay", kame.CountWrap: "ahstat.ahs_wrap",
		kame.CountDisabled: "ahstat.ahs_pdrops", kame.CountCrypto: "ahstat.ahs_noxform",
		kame.CountTooBig: "ahstat.ahs_toobig",
	},
	Comp: map[kame.Counter]string{
		kame.CountInput: "ipcompstat.ipcomps_input", kame.CountOutput: "ipcompstat.ipcomps_output",
		kame.CountInBytes: "ipcompstat.ipcomps_ibytes", kame.CountOutBytes: "ipcompstat.ipcomps_obytes",
		kame.CountNoSA: "ipcompstat.ipcomps_notdb", kame.CountHeader: "ipcompstat.ipcomps_hdrops",
		kame.CountDisabled: "ipcompstat.ipcomps_pdrops", kame.CountCrypto: "ipcompstat.ipcomps_noxform",
		kame.CountTooBig: "ipcompstat.ipcomps_toobig", kame.CountShort: "ipcompstat.ipcomps_threshold",
		kame.CountUseless: "ipcompstat.ipcomps_uncompr",
	},
	Others: map[kame.Counter]string{
		kame.CountInFront: "ipsec4stat.ips_input_front", kame.CountInMiddle: "ipsec4stat.ips_input_middle",
		kame.CountInEnd:    "ipsec4stat.ips_input_end",
		kame.CountInPolicy: "ipsec4stat.ips_in_polvio", kame.CountInPolicy6: "ipsec6stat.ips_in_polvio",
		kame.CountOutPolicy: "ipsec4stat.ips_out_polvio", kame.CountOutPolicy6: "ipsec6stat.ips_out_polvio",
		kame.CountOutNoSA: "ipsec4stat.ips_out_nosa", kame.CountOutNoSA6: "ipsec6stat.ips_out_nosa",
		kame.CountOutInvalid: "ipsec4stat.ips_out_inval", kame.CountOutInvalid6: "ipsec6stat.ips_out_inval",
		kame.CountOutBundle: "ipsec4stat.ips_out_bundlesa", kame.CountOutBundle6: "ipsec6stat.ips_out_bundlesa",
		kame.CountUnsupported: "espstat.esps_nopf", kame.CountUnsupported6: "espstat.esps_nopf",
		kame.CountGoodSignature: "tcpstat.tcps_sig_rcvgoodsig", kame.CountBadSignature: "tcpstat.tcps_sig_rcvbadsig",
		kame.CountNoSignature: "tcpstat.tcps_sig_err_nosigopt",
		kame.CountUnsigned:    "tcpstat.tcps_sig_err_buildsig",
	},
}
