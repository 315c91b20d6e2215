package wire_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/wire"
)

// A key shows its size and nothing else, whoever prints it.
func TestKeyPrintsNoBytes(t *testing.T) {
	secret := []byte("\xc3\xe1\xa5\x97\xd9\xb3\xf1\x8b\xcd\xaf\xe7\x9d\xbb\xd5\x93\xeb")
	k := wire.Key{Bits: 128, Data: secret}
	checkPrints(t, k, secret)
	checkPrints(t, &k, secret)
	checkPrints(t, []wire.Key{k}, secret)
	checkPrints(t, struct{ K wire.Key }{k}, secret)
	checkPrints(t, map[string]any{"k": k}, secret)
	for _, verb := range verbs() {
		if got, want := fmt.Sprintf("%"+verb, k), "key(128 bits, hidden)"; got != want &&
			!strings.HasSuffix(verb, "T") {
			t.Errorf("%%%s: %q, want %q", verb, got, want)
		}
	}
	if v := slog.AnyValue(k).Resolve(); v.Kind() != slog.KindString {
		t.Errorf("a log handler gets the %v %v", v.Kind(), v)
	}
	if b, err := json.Marshal(k); err != nil || string(b) != `"key(128 bits, hidden)"` {
		t.Errorf("JSON %s, %v", b, err)
	}
}

func verbs() []string {
	var all []string
	for c := byte('A'); c <= 'z'; c++ {
		// %p and %w do not fit and fmt then prints without asking the value; go vet refuses both.
		if (c <= 'Z' || c >= 'a') && c != 'p' && c != 'w' {
			for _, flags := range []string{"", "+", "#", "-", " ", "0", "+#", "10", ".3"} {
				all = append(all, flags+string(c))
			}
		}
	}
	return all
}

// checkPrints puts v through every verb, slog, JSON and XML and looks for the secret.
func checkPrints(t *testing.T, v any, secret []byte) {
	t.Helper()
	outs := map[string]string{}
	for _, verb := range verbs() {
		outs["%"+verb] = fmt.Sprintf("%"+verb, v)
	}
	outs["Sprint"], outs["Sprintln"] = fmt.Sprint(v), fmt.Sprintln("x", v)
	if s, ok := v.(fmt.Stringer); ok {
		outs["String"] = s.String()
	}
	var b bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
		slog.New(h).Info("x", "v", v, slog.Group("g", "v", v))
	}
	outs["slog"] = b.String()
	j, _ := json.Marshal(v)
	x, _ := xml.Marshal(v)
	outs["JSON"], outs["XML"] = string(j), string(x)
	for how, out := range outs {
		for i := 0; i+3 <= len(secret); i++ {
			part := secret[i : i+3]
			for _, s := range []string{
				string(part), fmt.Sprintf("%x", part), fmt.Sprintf("%X", part), fmt.Sprintf("% x", part),
				fmt.Sprintf("%#x", part[0]) + ", " + fmt.Sprintf("%#x", part[1]),
				fmt.Sprintf("%d %d", part[0], part[1]), fmt.Sprintf("%d,%d", part[0], part[1]),
				fmt.Sprintf("%o %o", part[0], part[1]),
				fmt.Sprintf("%b", part[0]), fmt.Sprintf("%q", part),
			} {
				if strings.Contains(out, s) {
					t.Errorf("%T by %s: %q is in %q", v, how, s, out)
				}
			}
		}
		if strings.Contains(out, base64.StdEncoding.EncodeToString(secret)[:8]) {
			t.Errorf("%T by %s: base64 of the key is in %q", v, how, out)
		}
	}
}

// The check above must be able to fail.
func TestCheckPrintsNotices(t *testing.T) {
	for _, verb := range []string{"v", "x", "d"} {
		if out := fmt.Sprintf("%"+verb, struct{ Data []byte }{[]byte{0xc3, 0xe1, 0xa5}}); !strings.Contains(out,
			"195 225") && !strings.Contains(out, "c3e1a5") {
			t.Errorf("a bare key by %%%s is %q, which the check does not look for", verb, out)
		}
	}
}
