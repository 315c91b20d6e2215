package ipseckey

import (
	"encoding/asn1"
	"fmt"
	"strings"
)

// distinguishedName prints a DER-encoded name on one line: C=NO, O="Example, Inc", CN=west.
func distinguishedName(der []byte) string {
	var seq []asn1.RawValue
	var rdns [][]rawAttribute
	var outer asn1.RawValue
	_, err := asn1.Unmarshal(der, &outer)
	if err == nil && outer.Tag == asn1.TagSequence && outer.IsCompound {
		_, err = asn1.Unmarshal(outer.FullBytes, &seq)
	} else {
		err = asn1.SyntaxError{}
	}
	for _, rdn := range seq {
		var attrs []rawAttribute
		if err == nil {
			_, err = asn1.UnmarshalWithParams(rdn.FullBytes, &attrs, "set")
		}
		rdns = append(rdns, attrs)
	}
	if err != nil {
		return "\n# error:XXXXXXXX:asn1 encoding routines\n<cannot interpret>"
	}
	var parts []string
	for _, rdn := range rdns {
		var attrs []string
		for _, a := range rdn {
			attrs = append(attrs, attributeName(a.Type)+"="+quoteValue(a.Value.Bytes))
		}
		parts = append(parts, strings.Join(attrs, " + "))
	}
	return strings.Join(parts, ", ")
}

type rawAttribute struct {
	Type  asn1.ObjectIdentifier
	Value asn1.RawValue
}

var attributeNames = map[string]string{
	"2.5.4.3": "CN", "2.5.4.4": "SN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST",
	"2.5.4.9": "street", "2.5.4.10": "O", "2.5.4.11": "OU", "2.5.4.12": "title", "2.5.4.13": "description",
	"2.5.4.42": "GN",
	"2.5.4.43": "initials", "2.5.4.46": "dnQualifier", "1.2.840.113549.1.9.1": "emailAddress",
	"0.9.2342.19200300.100.1.25": "DC", "0.9.2342.19200300.100.1.1": "UID",
}

func attributeName(id asn1.ObjectIdentifier) string {
	if name, ok := attributeNames[id.String()]; ok {
		return name
	}
	return id.String()
}

// quoteValue escapes control bytes and those beyond ASCII, and quotes a value with characters that mean something in a
// name.
func quoteValue(v []byte) string {
	var b strings.Builder
	quote := len(v) > 0 && (v[0] == '#' || v[0] == ' ' || v[len(v)-1] == ' ')
	for _, c := range v {
		switch {
		case c == '"' || c == '\\':
			quote = quote || c == '"'
			b.WriteByte('\\')
			b.WriteByte(c)
			continue
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(&b, "\\%02X", c)
			continue
		case strings.IndexByte(",+<>;", c) >= 0:
			quote = true
		}
		b.WriteByte(c)
	}
	if quote {
		return `"` + b.String() + `"`
	}
	return b.String()
}
