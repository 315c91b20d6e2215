package ipseckey_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/ipseckey"
	"github.com/pfkeyd/pfkeyd/trace"
)

// traces are a conversation with an engine as both kinds of a trace.
func traces(t *testing.T, name string, keys bool) (text, pcapng string) {
	t.Helper()
	var all []string
	for _, format := range []trace.Format{trace.Text, trace.Pcapng} {
		h := boot(t, name)
		var out bytes.Buffer
		tr := trace.New(h.e, &out, trace.Options{Format: format, ShowKeys: keys, Now: h.e.Now})
		h.traced = tr
		h.must("add esp spi 0x1000 src 192.0.2.2 dst 192.0.2.1 encr_alg aes encrkey "+key128+"\n", "-n")
		h.must("", "--json", "-n", "get", "esp", "spi", "0x1000", "src", "192.0.2.2", "dst", "192.0.2.1")
		if err := tr.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		all = append(all, out.String())
	}
	return all[0], all[1]
}

// TestExplainTrace reads back what an engine has written down of its messages.
func TestExplainTrace(t *testing.T) {
	for _, name := range kernels.Names() {
		text, pcapng := traces(t, name, false)
		var want []ipseckey.Explanation
		for kind, capture := range map[string]string{"text": text, "pcapng": pcapng, "compressed": zipped(pcapng)} {
			r := start{args: []string{"--json", "--show-keys", "explain"}, stdin: capture}.run(t)
			var got []ipseckey.Explanation
			for d := json.NewDecoder(strings.NewReader(r.stdout)); d.More(); {
				var e ipseckey.Explanation
				if err := d.Decode(&e); err != nil {
					t.Fatal(err)
				}
				got = append(got, e)
			}
			if len(got) < 6 || r.exit != 0 || r.stderr != "" { // REGISTER, ADD, GET, each with its answer
				t.Fatalf("%s %s: %d messages, exit %d, %q", name, kind, len(got), r.exit, r.stderr)
			}
			if last := got[len(got)-1]; last.Dialect != name || last.Record.Type != "GET" ||
				last.Record.SPI != "0x1000" || last.Record.Broken != "" {
				t.Errorf("%s %s: %s", name, kind, r.stdout)
			}
			if strings.Contains(r.stdout, key128) {
				t.Errorf("%s %s: a key out of nowhere", name, kind)
			}
			if want == nil {
				want = got
			} else if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %s differs:\n%s", name, kind, diff)
			}
		}
		// What explain prints can be explained.
		first := start{args: []string{"--kernel", name, "explain"}, stdin: text}.run(t)
		again := start{args: []string{"--kernel", name, "explain"}, stdin: first.stdout}.run(t)
		if first.stdout != again.stdout {
			t.Errorf("%s: %s", name, cmp.Diff(first.stdout, again.stdout))
		}
		_, pcapng = traces(t, name, true)
		if r := (start{args: []string{"--json", "--show-keys", "explain"},
			stdin: pcapng}).run(t); !strings.Contains(r.stdout, key128) {
			t.Errorf("%s: no key where there is one: %s", name, r.stdout)
		}
		for _, n := range []int{20, len(pcapng) / 2, len(pcapng) - 3} {
			if r := (start{args: []string{"explain"}, stdin: pcapng[:n]}).run(t); r.exit != 1 ||
				!strings.Contains(r.stderr, "cut or damaged") {
				t.Errorf("%s cut at %d: exit %d, %q", name, n, r.exit, r.stderr)
			}
		}
	}
	if r := (start{args: []string{"explain"},
		stdin: "base header, 16 bytes\n      0  02    version = 2\n      4  02    len\n"}).run(t); r.exit != 1 ||
		!strings.Contains(r.stderr, "line 3: a piece of the message is missing") {
		t.Errorf("exit %d, %q", r.exit, r.stderr)
	}
}

// pcapOf is a classic pcap of the packets, in either byte order.
func pcapOf(order binary.AppendByteOrder, magic, link uint32, packets ...[]byte) string {
	b := order.AppendUint32(nil, magic)
	b = order.AppendUint16(b, 2)
	b = order.AppendUint16(b, 4)
	for _, v := range []uint32{0, 0, 65535, link} {
		b = order.AppendUint32(b, v)
	}
	for _, p := range packets {
		for _, v := range []uint32{1, 2, uint32(len(p)), uint32(len(p))} {
			b = order.AppendUint32(b, v)
		}
		b = append(b, p...)
	}
	return string(b)
}

// A trace may have been made into a classic pcap, which does not say whose dialect it is.
func TestExplainPcap(t *testing.T) {
	flush := []byte{2, 9, 0, 3, 2, 0, 0, 0, 1, 0, 0, 0, 0x92, 0x10, 0, 0}
	for name, capture := range map[string]string{
		"little":      pcapOf(binary.LittleEndian, 0xa1b2c3d4, 147, flush, flush),
		"big":         pcapOf(binary.BigEndian, 0xa1b2c3d4, 147, flush, flush),
		"nanoseconds": pcapOf(binary.LittleEndian, 0xa1b23c4d, 147, flush, flush),
	} {
		const told = "FLUSH, 16 bytes, dialect illumos, little endian"
		r := start{args: []string{"explain"}, stdin: capture}.run(t)
		if r.exit != 0 || strings.Count(r.stdout, told) != 2 {
			t.Errorf("%s: exit %d, %q\n%s", name, r.exit, r.stderr, r.stdout)
		}
	}
	whole := pcapOf(binary.LittleEndian, 0xa1b2c3d4, 147, flush)
	for want, capture := range map[string]string{
		"link type 1; one of PF_KEY has 147": pcapOf(binary.LittleEndian, 0xa1b2c3d4, 1, flush),
		"there is no PF_KEY in the capture":  pcapOf(binary.LittleEndian, 0xa1b2c3d4, 147),
		"the capture is cut or damaged":      whole[:len(whole)-1],
		"cut or damaged":                     whole[:20],
		"neither a text, nor a capture, nor": "\xd4\xc3\x00\x01 what is this",
	} {
		r := start{args: []string{"explain"}, stdin: capture}.run(t)
		if r.exit != 1 || !strings.Contains(r.stderr, want) {
			t.Errorf("exit %d, %q, want %q", r.exit, r.stderr, want)
		}
	}
}
