package headers

import (
	"fmt"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// pfkeyv2 is net/pfkeyv2.h. PF_KEY itself is not in it: it is the number of an address family, which is this machine's.
func (w *writer) pfkeyv2(layouts []layout) {
	w.line("#include <stdint.h>")
	w.line("#include <sys/types.h>")
	w.line("")
	w.define("PF_KEY_V2", wire.Version)
	w.define("PFKEYV2_REVISION", "199806L")
	w.line("")
	w.messages()
	w.line("")
	w.extensions()
	w.line("")
	for _, l := range layouts {
		w.structure(l)
		w.line("")
	}
	spelled(w, satypes, w.d.SATypeNumber)
	w.define("SADB_SATYPE_MAX", w.most.satype)
	w.line("")
	for n, state := range []string{"LARVAL", "MATURE", "DYING", "DEAD"} {
		w.define("SADB_SASTATE_"+state, n)
	}
	w.define("SADB_SASTATE_MAX", 3)
	w.line("")
	w.saFlags()
	w.line("")
	spelled(w, auths, w.d.AuthNumber)
	w.define("SADB_AALG_MAX", w.most.auth)
	w.line("")
	spelled(w, encrypts, w.d.EncryptNumber)
	w.define("SADB_EALG_MAX", w.most.encrypt)
	w.line("")
	for n, name := range []string{"NONE", "OUI", "DEFLATE", "LZS", "LZJH"} {
		if n <= w.most.comp && (n <= 3 || !w.bsd) {
			w.define("SADB_X_CALG_"+name, n)
		}
	}
	w.define("SADB_X_CALG_MAX", w.most.comp)
	w.line("")
	for n, name := range []string{"RESERVED", "PREFIX", "FQDN", "USERFQDN"} {
		w.define("SADB_IDENTTYPE_"+name, n)
	}
	if w.openbsd {
		w.define("SADB_IDENTTYPE_ASN1_DN", wire.OpenBSDIdentASN1DN)
	} else {
		w.define("SADB_X_IDENTTYPE_ADDR", 4)
	}
	w.define("SADB_IDENTTYPE_MAX", 4)
	w.line("")
	w.define("SADB_KEY_FLAGS_MAX", 0)
	if w.openbsd {
		w.line("")
		w.flowTypes()
	} else if w.bsd {
		w.line("")
		w.macros()
	}
	if w.flags { // programs look here for it, to know what the field is called
		w.define("IPSEC_POLICY_FLAG_ORIGIN_KERNEL", hex(wire.NetBSDPolicyKernel))
	}
	if w.scopes { // of an interface, the priority is the interface
		w.define("sadb_x_policy_ifindex", "sadb_x_policy_priority")
	}
}

// messages are the types of messages.
func (w *writer) messages() {
	most := 0
	for n := range 256 {
		t := w.d.MsgType(uint8(n))
		name := w.d.MsgName(t)
		if _, ok := w.d.MsgByName(name); !ok {
			continue
		}
		w.define("SADB_"+name, n)
		most = n
	}
	w.define("SADB_MAX", most)
}

// extensions are the types of extensions.
func (w *writer) extensions() {
	w.define("SADB_EXT_RESERVED", 0)
	most := uint16(0)
	for n := range uint16(256) {
		t := w.d.ExtType(n)
		if w.d.Role(t) == wire.RoleUnknown {
			continue
		}
		name := w.d.ExtName(t)
		if own, ok := strings.CutPrefix(name, "X_"); ok {
			w.define("SADB_X_EXT_"+own, n)
		} else {
			w.define("SADB_EXT_"+name, n)
		}
		most = n
	}
	if n, ok := w.d.ExtNumber(wire.KAMEExtXNATTOA); ok && w.bsd {
		w.define("SADB_X_EXT_NAT_T_OA", n)
	}
	w.define("SADB_EXT_MAX", most)
}

// saFlags are those of an SA.
func (w *writer) saFlags() {
	for bit := range 32 {
		name := w.d.FlagNames(1 << bit)
		own, isOwn := strings.CutPrefix(name, "X_")
		switch {
		case strings.HasPrefix(name, "0x"):
			continue
		case name == "X_ESN", isOwn && w.openbsd:
			name = "SADB_X_SAFLAGS_" + own
		case isOwn:
			name = "SADB_X_EXT_" + own
		default:
			name = "SADB_SAFLAGS_" + name
		}
		w.define(name, hex(1<<bit))
	}
	if w.bsd && !w.openbsd {
		w.define("SADB_X_EXT_NONE", hex(0))
		w.define("SADB_X_EXT_OLD", hex(wire.KAMEFlagXOld))
		w.define("SADB_X_EXT_PSEQ", hex(0))
		w.define("SADB_X_EXT_PMASK", hex(wire.KAMEFlagXPRand|wire.KAMEFlagXPZero))
	}
}

// spelled defines the numbers that the dialect has of a list of names.
func spelled[T any](w *writer, names []spelling[T], number func(T) (uint8, bool)) {
	for _, s := range names {
		n, ok := number(s.symbol)
		if !ok {
			continue
		}
		all := strings.Fields(s.bsd + " " + s.also)
		switch {
		case w.openbsd && s.openbsd == absent:
			continue
		case w.openbsd && s.openbsd != "":
			all = []string{s.openbsd}
		case w.openbsd:
			all = strings.Fields(s.bsd)
		case !w.bsd && s.linux != "":
			all = []string{s.linux}
		}
		for _, name := range all {
			w.define("SADB_"+name, n)
		}
	}
}

// flowTypes are what the flows of OpenBSD do, and the ciphers that its header has and its kernel has not.
func (w *writer) flowTypes() {
	w.define("SADB_X_EALG_AESGCM8", 18)
	w.define("SADB_X_EALG_AESGCM12", 19)
	w.line("")
	w.define("SADB_X_POLICYFLAGS_POLICY", hex(wire.OpenBSDPolicyStatic))
	for _, t := range []struct {
		name string
		n    wire.FlowType
	}{{"USE", wire.OpenBSDFlowUse}, {"ACQUIRE", wire.OpenBSDFlowAcquire}, {"REQUIRE", wire.OpenBSDFlowRequire},
		{"BYPASS", wire.OpenBSDFlowBypass}, {"DENY", wire.OpenBSDFlowDeny}, {"DONTACQ", wire.OpenBSDFlowDontAcq}} {
		w.define("SADB_X_FLOW_TYPE_"+t.name, t.n)
	}
}

// macros are what KAME's programs reckon with.
func (w *writer) macros() {
	for n, name := range []string{"ALLOCATIONS", "BYTES", "ADDTIME", "USETIME"} {
		w.define("SADB_X_LIFETIME_"+name, n)
	}
	w.define("PFKEY_SOFT_LIFETIME_RATE", 80)
	w.line("")
	w.line("/* lengths: up to a word of 8 bytes, from bytes to words, from words to bytes */")
	w.define("PFKEY_ALIGN8(n)", "(((n) + 7) & ~7)")
	w.define("PFKEY_UNIT64(n)", "((n) / 8)")
	w.define("PFKEY_UNUNIT64(n)", "((n) * 8)")
	ext := "((const struct %s *)(ext))->%s"
	w.define("PFKEY_EXTLEN(ext)", fmt.Sprintf("PFKEY_UNUNIT64("+ext+")", "sadb_ext", "sadb_ext_len"))
	w.define("PFKEY_ADDR_PREFIX(ext)", fmt.Sprintf("("+ext+")", "sadb_address", "sadb_address_prefixlen"))
	w.define("PFKEY_ADDR_PROTO(ext)", fmt.Sprintf("("+ext+")", "sadb_address", "sadb_address_proto"))
	w.define("PFKEY_ADDR_SADDR(ext)", "((struct sockaddr *)((char *)(ext) + sizeof(struct sadb_address)))")
}
