package wireshark_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/wireshark"
	"github.com/pfkeyd/pfkeyd/wire"
)

// The dissector has every dialect with each of its messages and extensions, says whose it is, and is plain text.
func TestDissector(t *testing.T) {
	text := string(wireshark.Dissector())
	first, _, _ := strings.Cut(text, "\n")
	if !strings.Contains(first, wireshark.Mark) {
		t.Errorf("it begins with %q, without %q", first, wireshark.Mark)
	}
	if odd := regexp.MustCompile(`[^\t\n -~].*`).FindString(text); odd != "" {
		t.Errorf("not plain: %q", odd)
	}
	for _, d := range wire.Dialects() {
		_, part, found := strings.Cut(text, `name = "`+d.Name+`"`)
		if !found {
			t.Errorf("no dialect %s", d.Name)
		}
		for n, x := range d.Grammar().Exts {
			if !strings.Contains(part, `name = "`+x.Name+`"`) {
				t.Errorf("%s: no extension %d, %s", d.Name, n, x.Name)
			}
		}
		for _, name := range d.Grammar().Messages {
			if !strings.Contains(text, `"`+name+`"`) {
				t.Errorf("%s: no message %s", d.Name, name)
			}
		}
	}
}
