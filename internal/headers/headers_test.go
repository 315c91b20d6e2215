package headers_test

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/headers"
	"github.com/pfkeyd/pfkeyd/wire"
)

// files are the headers of a kernel by their paths.
func files(t *testing.T, name string) (d *wire.Dialect, text map[string]string) {
	t.Helper()
	d, ok := wire.ByName(name)
	if !ok {
		t.Fatalf("there is no dialect %s", name)
	}
	all, err := headers.Files(d)
	if err != nil {
		t.Fatal(err)
	}
	text = map[string]string{}
	for _, f := range all {
		text[f.Path] = string(f.Content)
		if !strings.Contains(text[f.Path], headers.Mark) {
			t.Errorf("%s: %s does not say whose it is", name, f.Path)
		}
	}
	return d, text
}

var definition = regexp.MustCompile(`(?m)^#define ([\w]+) +(.+)$`)

// definitions are the macros without arguments of a header.
func definitions(t *testing.T, text string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, m := range definition.FindAllStringSubmatch(text, -1) {
		if _, twice := all[m[1]]; twice {
			t.Errorf("%s is defined twice", m[1])
		}
		all[m[1]] = m[2]
	}
	return all
}

func TestFiles(t *testing.T) {
	for _, name := range headers.Kernels() {
		_, text := files(t, name)
		want := []string{"net/pfkeyv2.h", "netipsec/ipsec.h", "linux/pfkeyv2.h", "linux/ipsec.h", "pfkeyd/layout.h",
			"pfkeyd/prelude.h", "pfkeyd/sockaddr_len.h"}
		switch name {
		case "openbsd":
			want = []string{"net/pfkeyv2.h", "netinet/ip_ipsp.h", "pfkeyd/layout.h", "pfkeyd/prelude.h",
				"pfkeyd/sockaddr_len.h", "cc"}
		case "netbsd", "freebsd":
			want = append(want, "cc")
		}
		slices.Sort(want)
		if diff := cmp.Diff(want, slices.Sorted(maps.Keys(text))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		// What the launcher knows by this machine's numbers is this machine's.
		for path, text := range text {
			for _, word := range []string{"PF_KEY", "AF_KEY", "AF_INET6", "IP_IPSEC_POLICY", "IPV6_IPSEC_POLICY"} {
				if _, ok := definitions(t, text)[word]; ok {
					t.Errorf("%s: %s defines %s", name, path, word)
				}
			}
			for _, word := range []string{"<errno.h>", "netinet/udp.h"} {
				if strings.Contains(text, word) {
					t.Errorf("%s: %s includes %s", name, path, word)
				}
			}
		}
	}
	if _, err := headers.Files(wire.Illumos()); err == nil {
		t.Error("there are headers of illumos")
	}
}

func TestNumbers(t *testing.T) {
	for name, want := range map[string]map[string]string{
		"netbsd": {
			"SADB_MAX": "23", "SADB_EXT_MAX": "25", "SADB_SATYPE_MAX": "12", "SADB_X_SPDADD": "14",
			"SADB_X_NAT_T_NEW_MAPPING": "23", "SADB_X_EXT_NAT_T_OAR": "24", "SADB_X_SATYPE_TCPSIGNATURE": "11",
			"SADB_X_EALG_AES": "12", "SADB_X_EALG_SKIPJACK": "250", "SADB_X_AALG_TCP_MD5": "252",
			"SADB_AALG_MAX": "251", "SADB_X_SAFLAGS_ESN": "", "SADB_X_EXT_SA_REPLAY": "", "SADB_X_EALG_SERPENTCBC": "",
			"SADB_SAFLAGS_PFS": "0x1",
		},
		"freebsd": {
			"SADB_MAX": "22", "SADB_EXT_MAX": "28", "SADB_X_NAT_T_NEW_MAPPING": "", "SADB_X_EXT_NAT_T_OA": "23",
			"SADB_X_EXT_NEW_ADDRESS_DST": "28", "SADB_X_SAFLAGS_ESN": "0x400", "SADB_EALG_MAX": "23",
			"SADB_X_EALG_AESCBC": "12", "SADB_X_EALG_AESGCM16": "20", "SADB_X_EXT_PMASK": "0x300",
		},
		"openbsd": {
			"SADB_MAX": "16", "SADB_EXT_MAX": "40", "SADB_SATYPE_MAX": "9", "SADB_SATYPE_ESP": "2",
			"SADB_X_ADDFLOW": "12",
			"SADB_X_EXT_SA2": "23", "SADB_X_EXT_IFACE": "40", "SADB_X_SATYPE_IPIP": "7", "SADB_X_SAFLAGS_ESN": "0x400",
			"SADB_X_EALG_BLF": "7", "SADB_EALG_DESCBC": "", "SADB_X_EALG_AESGCM8": "18", "SADB_X_EXT_OLD": "",
			"SADB_X_AALG_CHACHA20POLY1305": "12", "SADB_X_CALG_LZS": "", "SADB_IDENTTYPE_ASN1_DN": "4",
			"SADB_X_FLOW_TYPE_DONTACQ": "6", "SADB_X_IDENTTYPE_ADDR": "", "PFKEY_ALIGN8": "",
		},
		"linux": {
			"SADB_MAX": "24", "SADB_EXT_MAX": "26", "SADB_X_EXT_NAT_T_OA": "23", "SADB_X_MIGRATE": "24",
			"SADB_X_EALG_AES": "", "SADB_X_EALG_AESCBC": "12", "SADB_X_EALG_AES_GCM_ICV16": "20",
			"SADB_X_AALG_SHA2_256HMAC": "5", "SADB_SAFLAGS_NOECN": "0x80000000", "SADB_X_CALG_LZJH": "4",
		},
	} {
		_, text := files(t, name)
		got, defined := map[string]string{}, definitions(t, text["net/pfkeyv2.h"])
		for word := range want {
			got[word] = defined[word]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// freebsdNames are names in FreeBSD's headers that six programs use: OpenIKED, strongSwan, libreswan, ipsec-tools,
// OpenBGPD and BIRD.
const freebsdNames = `
struct sadb_msg sadb_ext sadb_sa sadb_lifetime sadb_address sadb_key sadb_ident sadb_sens sadb_prop sadb_comb
sadb_supported sadb_alg sadb_spirange sadb_x_policy sadb_x_kmprivate sadb_x_sa2 sadb_x_ipsecrequest sadb_x_nat_t_type
sadb_x_nat_t_port sadb_x_nat_t_frag sadb_x_sa_replay
SADB_ RESERVED GETSPI UPDATE ADD DELETE GET ACQUIRE REGISTER EXPIRE FLUSH DUMP X_PROMISC X_PCHANGE X_SPDUPDATE X_SPDADD
X_SPDDELETE X_SPDGET X_SPDACQUIRE X_SPDDUMP X_SPDFLUSH X_SPDSETIDX X_SPDEXPIRE X_SPDDELETE2 MAX EXT_RESERVED EXT_SA
EXT_LIFETIME_CURRENT EXT_LIFETIME_HARD EXT_LIFETIME_SOFT EXT_ADDRESS_SRC EXT_ADDRESS_DST EXT_ADDRESS_PROXY EXT_KEY_AUTH
EXT_KEY_ENCRYPT EXT_IDENTITY_SRC EXT_IDENTITY_DST EXT_SENSITIVITY EXT_PROPOSAL EXT_SUPPORTED_AUTH EXT_SUPPORTED_ENCRYPT
EXT_SPIRANGE EXT_MAX X_EXT_KMPRIVATE X_EXT_POLICY X_EXT_SA2 X_EXT_NAT_T_TYPE X_EXT_NAT_T_SPORT X_EXT_NAT_T_DPORT
X_EXT_NAT_T_OA X_EXT_NAT_T_OAI X_EXT_NAT_T_OAR X_EXT_NAT_T_FRAG X_EXT_SA_REPLAY X_EXT_NEW_ADDRESS_SRC
X_EXT_NEW_ADDRESS_DST SATYPE_UNSPEC SATYPE_AH SATYPE_ESP SATYPE_RSVP SATYPE_OSPFV2 SATYPE_RIPV2 SATYPE_MIP SATYPE_MAX
X_SATYPE_IPCOMP X_SATYPE_TCPSIGNATURE SASTATE_LARVAL SASTATE_MATURE SASTATE_DYING SASTATE_DEAD SASTATE_MAX SAFLAGS_PFS
X_SAFLAGS_ESN X_EXT_NONE X_EXT_OLD X_EXT_IV4B X_EXT_DERIV X_EXT_CYCSEQ X_EXT_PSEQ X_EXT_PRAND X_EXT_PZERO X_EXT_PMASK
X_EXT_RAWCPI AALG_NONE AALG_MD5HMAC AALG_SHA1HMAC AALG_MAX X_AALG_SHA2_256 X_AALG_SHA2_384 X_AALG_SHA2_512
X_AALG_RIPEMD160HMAC X_AALG_AES_XCBC_MAC X_AALG_AES128GMAC X_AALG_AES192GMAC X_AALG_AES256GMAC X_AALG_MD5 X_AALG_SHA
X_AALG_NULL X_AALG_TCP_MD5 EALG_NONE EALG_DESCBC EALG_3DESCBC EALG_NULL EALG_MAX X_EALG_CAST128CBC X_EALG_BLOWFISHCBC
X_EALG_RIJNDAELCBC X_EALG_AES X_EALG_AESCBC X_EALG_AESCTR X_EALG_AESGCM8 X_EALG_AESGCM12 X_EALG_AESGCM16
X_EALG_AESGMAC X_EALG_CAMELLIACBC X_CALG_NONE X_CALG_OUI X_CALG_DEFLATE X_CALG_LZS X_CALG_MAX IDENTTYPE_RESERVED
IDENTTYPE_PREFIX IDENTTYPE_FQDN IDENTTYPE_USERFQDN IDENTTYPE_MAX X_IDENTTYPE_ADDR X_LIFETIME_ALLOCATIONS
X_LIFETIME_BYTES X_LIFETIME_ADDTIME X_LIFETIME_USETIME
PFKEY_ ALIGN8 UNIT64 UNUNIT64 EXTLEN ADDR_SADDR SOFT_LIFETIME_RATE
IPSEC_ DIR_ANY DIR_INBOUND DIR_OUTBOUND DIR_MAX DIR_INVALID POLICY_DISCARD POLICY_NONE POLICY_IPSEC POLICY_ENTRUST
POLICY_BYPASS POLICYSCOPE_GLOBAL POLICYSCOPE_IFNET POLICYSCOPE_PCB MODE_ANY MODE_TRANSPORT MODE_TUNNEL MODE_TCPMD5
LEVEL_DEFAULT LEVEL_USE LEVEL_REQUIRE LEVEL_UNIQUE MANUAL_REQID_MAX PORT_ANY ULPROTO_ANY PROTO_ANY
ipsec_ set_policy get_policylen strerror`

// openbsdNames are those in OpenBSD's headers.
const openbsdNames = `
struct sadb_msg sadb_ext sadb_sa sadb_lifetime sadb_address sadb_key sadb_ident sadb_sens sadb_prop sadb_comb
sadb_supported sadb_alg sadb_spirange sadb_x_policy sadb_protocol sadb_x_udpencap sadb_x_tag sadb_x_tap sadb_x_counter
sadb_x_rdomain sadb_x_mtu sadb_x_replay sadb_x_iface
SADB_ RESERVED GETSPI UPDATE ADD DELETE GET ACQUIRE REGISTER EXPIRE FLUSH DUMP X_PROMISC X_ADDFLOW X_DELFLOW X_GRPSPIS
X_ASKPOLICY X_SPDDUMP MAX EXT_RESERVED EXT_SA EXT_LIFETIME_CURRENT EXT_LIFETIME_HARD EXT_LIFETIME_SOFT EXT_ADDRESS_SRC
EXT_ADDRESS_DST EXT_ADDRESS_PROXY EXT_KEY_AUTH EXT_KEY_ENCRYPT EXT_IDENTITY_SRC EXT_IDENTITY_DST EXT_SENSITIVITY
EXT_PROPOSAL EXT_SUPPORTED_AUTH EXT_SUPPORTED_ENCRYPT EXT_SPIRANGE EXT_MAX X_EXT_SRC_MASK X_EXT_DST_MASK X_EXT_PROTOCOL
X_EXT_FLOW_TYPE X_EXT_SRC_FLOW X_EXT_DST_FLOW X_EXT_SA2 X_EXT_DST2 X_EXT_POLICY X_EXT_LOCAL_CREDENTIALS
X_EXT_REMOTE_CREDENTIALS X_EXT_LOCAL_AUTH X_EXT_REMOTE_AUTH X_EXT_SUPPORTED_COMP X_EXT_UDPENCAP X_EXT_LIFETIME_LASTUSE
X_EXT_TAG X_EXT_TAP X_EXT_SATYPE2 X_EXT_COUNTER X_EXT_RDOMAIN X_EXT_MTU X_EXT_REPLAY X_EXT_IFACE SATYPE_UNSPEC SATYPE_AH
SATYPE_ESP SATYPE_RSVP SATYPE_OSPFV2 SATYPE_RIPV2 SATYPE_MIP SATYPE_MAX X_SATYPE_IPIP X_SATYPE_TCPSIGNATURE
X_SATYPE_IPCOMP SASTATE_LARVAL SASTATE_MATURE SASTATE_DYING SASTATE_DEAD SASTATE_MAX SAFLAGS_PFS X_SAFLAGS_TUNNEL
X_SAFLAGS_CHAINDEL X_SAFLAGS_UDPENCAP X_SAFLAGS_ESN X_POLICYFLAGS_POLICY AALG_NONE AALG_MD5HMAC AALG_SHA1HMAC AALG_MAX
X_AALG_SHA2_256 X_AALG_SHA2_384 X_AALG_SHA2_512 X_AALG_RIPEMD160HMAC X_AALG_AES128GMAC X_AALG_AES192GMAC
X_AALG_AES256GMAC X_AALG_CHACHA20POLY1305 EALG_NONE EALG_3DESCBC EALG_NULL EALG_MAX X_EALG_CAST X_EALG_BLF X_EALG_AES
X_EALG_AESCTR X_EALG_AESGCM8 X_EALG_AESGCM12 X_EALG_AESGCM16 X_EALG_AESGMAC X_EALG_CHACHA20POLY1305 X_CALG_NONE
X_CALG_OUI X_CALG_DEFLATE X_CALG_MAX IDENTTYPE_RESERVED IDENTTYPE_PREFIX IDENTTYPE_FQDN IDENTTYPE_USERFQDN
IDENTTYPE_ASN1_DN IDENTTYPE_MAX X_FLOW_TYPE_USE X_FLOW_TYPE_ACQUIRE X_FLOW_TYPE_REQUIRE X_FLOW_TYPE_BYPASS
X_FLOW_TYPE_DENY X_FLOW_TYPE_DONTACQ
IPSP_ DIRECTION_IN DIRECTION_OUT
IPSEC_ LEVEL_BYPASS LEVEL_NONE LEVEL_AVAIL LEVEL_USE LEVEL_REQUIRE LEVEL_UNIQUE LEVEL_DEFAULT
IP_ AUTH_LEVEL ESP_TRANS_LEVEL ESP_NETWORK_LEVEL
IPV6_ AUTH_LEVEL ESP_TRANS_LEVEL ESP_NETWORK_LEVEL`

func TestNames(t *testing.T) {
	for kernel, names := range map[string]string{"freebsd": freebsdNames, "openbsd": openbsdNames} {
		_, text := files(t, kernel)
		checkNames(t, names, text["net/pfkeyv2.h"]+text["netipsec/ipsec.h"]+text["netinet/ip_ipsp.h"])
	}
}

func checkNames(t *testing.T, names, all string) {
	t.Helper()
	prefix, n := "", 0
	for _, word := range strings.Fields(names) {
		if word == "struct" || strings.HasSuffix(word, "_") {
			if prefix = word; word == "struct" {
				prefix = "struct "
			}
			continue
		}
		n++
		if !regexp.MustCompile(`\b` + prefix + word + `\b`).MatchString(all) {
			t.Errorf("there is no %s%s", prefix, word)
		}
	}
	if n < 120 {
		t.Errorf("only %d names", n)
	}
}

var (
	structRE = regexp.MustCompile(`(?ms)^struct (\w+) \{\n(.*?)^\};`)
	memberRE = regexp.MustCompile(`(?m)^\tuint(\d+)_t (\w+)(?:\[(\d+)\])?;`)
)

// laid is where a compiler puts the members of a structure, and how long it is: each at a multiple of its size.
func laid(body string) (offsets map[string]int, size int) {
	offsets = map[string]int{}
	largest := 1
	for _, m := range memberRE.FindAllStringSubmatch(body, -1) {
		bits, _ := strconv.Atoi(m[1])
		count := 1
		if m[3] != "" {
			count, _ = strconv.Atoi(m[3])
		}
		n := bits / 8
		largest = max(largest, n)
		size = (size + n - 1) / n * n
		offsets[m[2]] = size
		size += n * count
	}
	return offsets, (size + largest - 1) / largest * largest
}

// A compiler puts every member where the field is, and no structure is longer than what it stands for.
func TestLayouts(t *testing.T) {
	for _, name := range headers.Kernels() {
		d, text := files(t, name)
		sizes := map[string]int{}
		offsets := map[string]int{}
		for _, m := range structRE.FindAllStringSubmatch(text["net/pfkeyv2.h"], -1) {
			all, size := laid(m[2])
			sizes[m[1]] = size
			for member, off := range all {
				offsets[member] = off
			}
		}
		asserted := regexp.MustCompile(`offsetof\(struct \w+, (\w+)\) == (\d+)`).FindAllStringSubmatch(
			text["pfkeyd/layout.h"], -1)
		if len(asserted) != len(offsets) {
			t.Errorf("%s: %d of %d members are checked by the compiler", name, len(asserted), len(offsets))
		}
		for _, m := range asserted {
			if strconv.Itoa(offsets[m[1]]) != m[2] {
				t.Errorf("%s: a compiler puts %s at %d, and the field is at %s", name, m[1], offsets[m[1]], m[2])
			}
		}
		// What the dialect writes is where the members are.
		msg := d.AppendHeader(nil, wire.Header{Version: 2, Seq: 0x01020304})
		msg = d.AppendSA(msg, wire.SA{Flags: 0x05060708})
		policy := len(msg)
		if name == "openbsd" {
			msg = d.AppendWord(msg, wire.OpenBSDExtXPolicy, wire.Word{Value: 0x090a0b0c})
			got := d.Order.Uint32(msg[policy+offsets["sadb_x_policy_seq"]:])
			if got != 0x090a0b0c || sizes["sadb_x_policy"] != 8 || sizes["sadb_x_counter"] != 72 ||
				sizes["sadb_protocol"] != 8 || sizes["sadb_x_iface"] != 16 {
				t.Errorf("%s: sadb_x_policy_seq is %#x, sizes are %v", name, got, sizes)
			}
			continue
		}
		msg = d.AppendPolicy(msg, wire.Policy{ID: 0x090a0b0c, Requests: []wire.IPsecRequest{{ReqID: 0x0d0e}}})
		request := policy + sizes["sadb_x_policy"]
		for _, tt := range []struct {
			member string
			at     int // of its structure
			want   uint32
		}{
			{"sadb_msg_seq", 0, 0x01020304}, {"sadb_sa_flags", sizes["sadb_msg"], 0x05060708},
			{"sadb_x_policy_id", policy, 0x090a0b0c},
		} {
			if got := d.Order.Uint32(msg[tt.at+offsets[tt.member]:]); got != tt.want {
				t.Errorf("%s: %s is %#x, want %#x", name, tt.member, got, tt.want)
			}
		}
		id := msg[request+offsets["sadb_x_ipsecrequest_reqid"]:]
		got := uint32(d.Order.Uint16(id))
		if name == "linux" {
			got = d.Order.Uint32(id)
		}
		if got != 0x0d0e {
			t.Errorf("%s: the request's id is %#x", name, got)
		}
		want := map[string]int{"sadb_msg": 16, "sadb_comb": 72, "sadb_alg": 8, "sadb_x_ipsecrequest": 8}
		if name == "linux" {
			want["sadb_x_ipsecrequest"] = 16
		}
		for structure, size := range want {
			if sizes[structure] != size {
				t.Errorf("%s: struct %s has %d bytes, want %d", name, structure, sizes[structure], size)
			}
		}
	}
}
