package headers

import "github.com/pfkeyd/pfkeyd/wire"

// ipsec is netipsec/ipsec.h. The socket option IP_IPSEC_POLICY is not in it: its number is this machine's.
func (w *writer) ipsec() {
	w.line("#include <net/pfkeyv2.h>")
	w.line("")
	w.define("IPSEC_PORT_ANY", 0)
	w.define("IPSEC_ULPROTO_ANY", 255)
	w.define("IPSEC_PROTO_ANY", 255)
	w.line("")
	for _, m := range modes {
		name := m.bsd + m.linux // each has one
		if n, ok := w.d.ModeNumber(m.symbol); ok {
			w.define("IPSEC_MODE_"+name, n)
		}
	}
	w.line("")
	w.define("IPSEC_DIR_ANY", wire.KAMEDirAny)
	w.define("IPSEC_DIR_INBOUND", wire.KAMEDirIn)
	w.define("IPSEC_DIR_OUTBOUND", wire.KAMEDirOut)
	most := int(wire.KAMEDirOut)
	if !w.bsd {
		w.define("IPSEC_DIR_FWD", wire.LinuxDirForward)
		most = int(wire.LinuxDirForward)
	}
	w.define("IPSEC_DIR_MAX", most+1)
	w.define("IPSEC_DIR_INVALID", most+2)
	w.line("")
	w.define("IPSEC_POLICY_DISCARD", wire.KAMEPolicyDiscard)
	w.define("IPSEC_POLICY_NONE", wire.KAMEPolicyNone)
	w.define("IPSEC_POLICY_IPSEC", wire.KAMEPolicyIPsec)
	w.define("IPSEC_POLICY_ENTRUST", wire.KAMEPolicyEntrust)
	w.define("IPSEC_POLICY_BYPASS", wire.KAMEPolicyBypass)
	if w.scopes {
		w.line("")
		w.define("IPSEC_POLICYSCOPE_ANY", 0)
		w.define("IPSEC_POLICYSCOPE_GLOBAL", wire.FreeBSDScopeGlobal)
		w.define("IPSEC_POLICYSCOPE_IFNET", wire.FreeBSDScopeInterface)
		w.define("IPSEC_POLICYSCOPE_PCB", wire.FreeBSDScopeSocket)
	}
	w.line("")
	w.define("IPSEC_LEVEL_DEFAULT", wire.KAMELevelDefault)
	w.define("IPSEC_LEVEL_USE", wire.KAMELevelUse)
	w.define("IPSEC_LEVEL_REQUIRE", wire.KAMELevelRequire)
	w.define("IPSEC_LEVEL_UNIQUE", wire.KAMELevelUnique)
	w.line("")
	w.define("IPSEC_MANUAL_REQID_MAX", hex(0x3fff))
	w.define("IPSEC_REPLAYWSIZE", 32)
	if w.bsd {
		w.line("")
		w.line("/* of libipsec, for programs that are linked with it */")
		w.line("#ifdef __cplusplus")
		w.line("extern \"C\" {")
		w.line("#endif")
		w.line("typedef void *ipsec_policy_t;")
		w.line("ipsec_policy_t ipsec_set_policy(const char *text, int length);")
		w.line("int ipsec_get_policylen(ipsec_policy_t policy);")
		w.line("char *ipsec_dump_policy(ipsec_policy_t policy, const char *delimiter);")
		w.line("const char *ipsec_strerror(void);")
		w.line("#ifdef __cplusplus")
		w.line("}")
		w.line("#endif")
	}
}
