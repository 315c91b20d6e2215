package policyfile_test

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/internal/policyfile"
	"github.com/pfkeyd/pfkeyd/wire"
)

func flows(text string) (*policyfile.Flows, error) {
	d, _ := wire.ByName("openbsd")
	return policyfile.IpsecFlows(strings.NewReader(text), "f", d)
}

// flowLine shows what of an X_ADDFLOW differs between flows.
func flowLine(msg []byte) string {
	d, _ := wire.ByName("openbsd")
	line, _ := strings.CutPrefix(d.Line(msg), "X_ADDFLOW ")
	return strings.NewReplacer(" seq=0 pid=0", "", "255.255.255.255", "ones",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ones").Replace(line)
}

// TestIpsecFlows shows which flows a file comes to.
func TestIpsecFlows(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"# nothing\n\n", ""},
		{"flow esp from 10.0.0.0/8 to 10.1.0.0/16 peer 192.0.2.2", `
esp flowtype=3 (require),out dst=192.0.2.2 srcflow=10.0.0.0 srcmask=255.0.0.0 dstflow=10.1.0.0 dstmask=255.255.0.0
esp flowtype=3 (require),in dst=192.0.2.2 srcflow=10.1.0.0 srcmask=255.255.0.0 dstflow=10.0.0.0 dstmask=255.0.0.0`},
		{"there = \"10.1.0.0/16\"\nboth = \"{ $there, 10.2.0.1 }\"\n\n" +
			"flow ah in proto tcp from $both port 80 \\\n to 10.3.0.1 local 192.0.2.1 peer any srcid a.example " +
			"dstid b@b.example type acquire # for one program", `
ah flowtype=2 (acquire),in src=192.0.2.1 srcflow=10.1.0.0,port:80 srcmask=255.255.0.0,port:65535 dstflow=10.3.0.1 ` +
			`dstmask=ones protocol=6 (tcp) srcid=fqdn:a.example dstid=user-fqdn:b@b.example
ah flowtype=2 (acquire),in src=192.0.2.1 srcflow=10.2.0.1,port:80 srcmask=ones,port:65535 dstflow=10.3.0.1 ` +
			`dstmask=ones protocol=6 (tcp) srcid=fqdn:a.example dstid=user-fqdn:b@b.example`},
		{"flow proto udp to 10.0.0.1 port 53 from 192.0.2.1 peer 192.0.2.2 local 192.0.2.1 type dontacq", `
esp flowtype=6 (dontacq),out src=192.0.2.1 dst=192.0.2.2 srcflow=192.0.2.1 srcmask=ones dstflow=10.0.0.1,port:53 ` +
			`dstmask=ones,port:65535 protocol=17 (udp)
esp flowtype=6 (dontacq),in src=192.0.2.1 dst=192.0.2.2 srcflow=10.0.0.1,port:53 srcmask=ones,port:65535 ` +
			`dstflow=192.0.2.1 dstmask=ones protocol=17 (udp)`},
		{"flow out to 2001:db8::1 from " + strings.Repeat("{ ", 16) + "::5, " + strings.Repeat("}", 16), `
esp flowtype=3 (require),out dst=2001:db8::1 srcflow=::5 srcmask=ones dstflow=2001:db8::1 dstmask=ones`},
		{"flow out to 2001:db8::1 from any", `
esp flowtype=3 (require),out dst=2001:db8::1 srcflow=:: srcmask=:: dstflow=2001:db8::1 dstmask=ones`},
		{"flow ipcomp in from 192.0.2.1 to 192.0.2.0/24 srcid 192.0.2.2", `
ipcomp flowtype=1 (use),in dst=192.0.2.1 srcflow=192.0.2.1 srcmask=ones dstflow=192.0.2.0 dstmask=255.255.255.0 ` +
			`srcid=prefix:192.0.2.2/32`},
		{"flow ipip out proto 47 from 192.0.2.1 to any local 192.0.2.1 type bypass\nflow out from any to any type deny", `
ipip flowtype=4 (bypass),out srcflow=192.0.2.1 srcmask=ones dstflow=0.0.0.0 dstmask=0.0.0.0 protocol=47 (gre)
esp flowtype=5 (deny),out srcflow=0.0.0.0 srcmask=0.0.0.0 dstflow=0.0.0.0 dstmask=0.0.0.0
esp flowtype=5 (deny),out srcflow=:: srcmask=:: dstflow=:: dstmask=::`},
	} {
		f, err := flows(tt.text)
		if err != nil {
			t.Error(err)
			continue
		}
		got := ""
		for _, msg := range f.List {
			got += "\n" + strings.ReplaceAll(flowLine(msg), " protocol=0 (any)", "")
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s\n%s", tt.text, diff)
		}
	}
}

// TestIpsecFlowsErrors shows that errors name the place and the word.
func TestIpsecFlowsErrors(t *testing.T) {
	const rest = " from 10.0.0.1 to 10.0.0.2"
	for text, want := range map[string]string{
		"\nike esp from 10.0.0.1 to 10.0.0.2":            `f:2:1: a file of policies: of ipsec.conf(5) it takes flow, and macros: "ike"`,
		"flow esq" + rest:                                `f:1:6: want from or to: "esq"`,
		"flow":                                           `f:1:5: want from or to`,
		"flow proto any" + rest:                          `f:1:12: unknown protocol: "any"`,
		"flow proto 256" + rest:                          `f:1:12: unknown protocol: "256"`,
		"flow proto {" + rest:                            `f:1:12: want a name: "{"`,
		"flow from 10.0.0.1":                             `f:1:19: want to`,
		"flow from 10.0.0.1 from 10.0.0.2":               `f:1:20: want to: "from"`,
		"flow from a.example to 10.0.0.1":                `f:1:11: not an address, nor a net: "a.example"`,
		"flow from fe80::1%em0 to ::1":                   `f:1:11: not an address, nor a net: "fe80::1%em0"`,
		"flow from 10.0.0.1(10.0.0.2) to ::1":            `f:1:19: flows with NAT are not read: "("`,
		"flow from { 10.0.0.1 10.0.0.3":                  `f:1:30: not an address, nor a net`,
		"flow from 10.0.0.1 to ::1":                      `f:1:1: two address families: "flow"`,
		"flow from 10.0.0.1 port 80 to any":              `f:1:25: only tcp and udp have ports: "80"`,
		"flow proto tcp from 10.0.0.1 port 65536 to any": `f:1:35: not a number of a port: "65536"`,
		"flow from any to 10.0.0.0/24":                   `f:1:1: no peer for packets between nets, from 0.0.0.0/0 to 10.0.0.0/24: "flow"`,
		"flow" + rest + " peer 10.0.0.3 peer 10.0.0.4":   `f:1:46: this is there already: "peer"`,
		"flow" + rest + " peer 10.0.0.0/8":               `f:1:37: not an address: "10.0.0.0/8"`,
		"flow" + rest + " local any":                     `f:1:38: not an address: "any"`,
		"flow" + rest + " srcid":                         `f:1:37: want a name`,
		"flow" + rest + " type deny type":                `f:1:42: nothing may follow here: "type"`,
		"flow" + rest + " type x":                        `f:1:37: want use, acquire, require, dontacq, deny or bypass: "x"`,
		"flow from $a to ::1":                            `f:1:11: no such macro: "$a"`,
		"$a from any":                                    `f:1:1: no such macro: "$a"`,
		"flow from any to ::1 $a":                        `f:1:22: no such macro: "$a"`,
		"flow from \"10.0.0.1 to ::1":                    `f:1:11: a text without its second quote: "\"10.0.0.1 to ::1"`,
		"{ = 1":                                          `f:1:1: not a name of a macro: "{"`,
		"a = \"{ b\"\nflow from $a to ::1":               `f:2:11: not an address, nor a net: "b"`,
		"flow from " + strings.Repeat("{", 18):           `f:1:27: too many lists in lists: "{"`,
		"flow\xff":                                       `f: not a text`,
	} {
		if _, err := flows(text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	f, err := flows("flow out" + rest)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.Refused(0, "no").Error(), `f:1:1: no: "flow"`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestIpsecFlowsBounds: a short file cannot make much of itself.
func TestIpsecFlowsBounds(t *testing.T) {
	var hosts strings.Builder
	for i := range 300 {
		fmt.Fprintf(&hosts, " %v", netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}))
	}
	list := "{" + hosts.String() + " }"
	macros := "a = \"" + hosts.String() + "\"\n"
	for i := range 12 {
		macros += fmt.Sprintf("%c = \"$%c $%c\"\n", 'b'+i, 'a'+i, 'a'+i)
	}
	for text, want := range map[string]string{
		"flow from " + list + " to " + list:          "f:1:1: more than 65536 flows: \"flow\"",
		macros + "flow from { $l } to 192.0.2.1":     "too many words of macros",
		"a = $a\nflow from any to any type deny":     "f:1:5: no such macro: \"$a\"",
		"flow from 10.0.0.1 to 10.0.0.2 peer " + "$": "f:1:37: no such macro: \"$\"",
	} {
		_, err := flows(text)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: %v, want %s", text, err, want)
		}
	}
}

func FuzzIpsecFlows(f *testing.F) {
	for _, s := range []string{"flow esp from 10.0.0.0/8 to { 10.1.0.0/16, any } peer 192.0.2.2 type use", "a=\"b\" \\\n$a {",
		"a = \"\"\nflow from $a any port \"80\" to ::1#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := flows(text)
		lines := strings.Count(text, "\n") + 1
		if at, ok := errors.AsType[*policyfile.Error](err); ok && (at.Line < 1 || at.Line > lines) {
			t.Fatalf("line %d", at.Line)
		}
		if err != nil {
			return
		}
		d, _ := wire.ByName("openbsd")
		for _, msg := range got.List {
			if h, err := d.Header(msg); err != nil || h.Type != wire.OpenBSDMsgXAddFlow || int(h.Len)*8 != len(msg) {
				t.Fatalf("%v %v", h, err)
			}
		}
	})
}
