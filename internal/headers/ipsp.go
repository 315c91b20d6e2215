package headers

import "github.com/pfkeyd/pfkeyd/wire"

// ipsp is netinet/ip_ipsp.h of OpenBSD, with what its netinet/in.h has for IPsec. The options of sockets have the
// numbers of others here, which do no harm: those of OpenBSD are something else on this machine.
func (w *writer) ipsp() {
	w.line("#include <netinet/in.h>")
	w.line("")
	w.define("IPSP_DIRECTION_IN", 1)
	w.define("IPSP_DIRECTION_OUT", 2)
	w.line("")
	for n, name := range []string{"NONE", "PREFIX", "FQDN", "USERFQDN", "ASN1_DN"} {
		w.define("IPSP_IDENTITY_"+name, wire.IdentType(n))
	}
	w.line("")
	for _, l := range []struct {
		name string
		n    int
	}{{"BYPASS", 0}, {"NONE", 0}, {"AVAIL", 1}, {"USE", 2}, {"REQUIRE", 3}, {"UNIQUE", 4}, {"DEFAULT", 1}} {
		w.define("IPSEC_LEVEL_"+l.name, l.n)
	}
	w.line("")
	for _, name := range []string{"AUTH_LEVEL", "ESP_TRANS_LEVEL", "ESP_NETWORK_LEVEL", "IPCOMP_LEVEL"} {
		w.define("IP_"+name, "IP_TOS")
		w.define("IPV6_"+name, "IPV6_TCLASS")
	}
}
