package conform_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/testdata/pcaps"
)

const captures = "../../testdata/pcaps/esp-linux-6.1"

// Every packet that a Linux kernel protected is opened, sealed again to the same bytes, and goes through the emulated
// kernel where its SA can be made there.
func TestCapturesPass(t *testing.T) {
	rep, err := conform.Run(context.Background(), conform.Config{Kernel: of("linux"), Paths: []string{captures}})
	if err != nil || rep.Unreadable != nil {
		t.Fatal(err, rep.Unreadable)
	}
	if len(rep.Results) != 100 || rep.Failed > 0 {
		t.Errorf("%d captures, %d failed", len(rep.Results), rep.Failed)
	}
	for _, r := range rep.Results {
		for _, d := range r.Differences {
			t.Errorf("%s: %v", r.Scenario, d)
		}
	}
}

// bentCapture copies a capture with its packets and description changed.
func bentCapture(t *testing.T, name string, packets func([]byte) []byte, describe func(m map[string]any)) string {
	t.Helper()
	read := func(suffix string) []byte {
		b, err := pcaps.Files.ReadFile("esp-linux-6.1/" + name + suffix)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	pcap := bytes.Clone(read(".pcap"))
	if packets != nil {
		pcap = packets(pcap)
	}
	var m map[string]any
	if err := json.Unmarshal(read(".json"), &m); err != nil {
		t.Fatal(err)
	}
	if describe != nil {
		describe(m)
	}
	text, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, name+".json", text)
	return write(t, dir, name+".pcap", pcap)
}

func sa(m map[string]any, i int) map[string]any { return m["sas"].([]any)[i].(map[string]any) }

func described(m map[string]any, i int) map[string]any {
	return m["packets"].([]any)[i].(map[string]any)
}

// What is wrong with a capture is found, in the suite or on the way through the kernel.
func TestCaptureDifferencesAreFound(t *testing.T) {
	const (
		header = 24 // of the file
		record = 16 // of each packet
	)
	flip := func(at int) func([]byte) []byte {
		return func(b []byte) []byte { b[header+record+at] ^= 1; return b }
	}
	viaPFKEY := func(m map[string]any) {
		m["configured_via"] = "pfkey"
		for i := range 2 {
			sa(m, i)["enc"].(map[string]any)["pfkey_id"] = 12
			sa(m, i)["auth"].(map[string]any)["pfkey_id"] = 5
		}
	}
	for _, tt := range []struct {
		name, capture string
		packets       func([]byte) []byte
		describe      func(map[string]any)
		want          string
	}{
		{"unchanged", "esp-aes128cbc-sha1-tun4", nil, nil, ""},
		{"a flipped bit", "esp-aes128cbc-sha1-tun4", flip(60), nil, "step 1 (open): packet: it cannot be opened"},
		{"another sequence number", "esp-aes128cbc-sha1-tun4", flip(27), nil, "step 1 (open): packet: it is esp"},
		{"another key", "esp-aes128cbc-sha1-tun4", nil, func(m map[string]any) {
			sa(m, 1)["auth"].(map[string]any)["key"] = strings.Repeat("00", 20)
		}, "step 2 (open): packet: it cannot be opened"},
		{"another packet inside", "esp-aes128cbc-sha1-tun4", nil, func(m map[string]any) {
			p := described(m, 4)
			p["inner"] = p["inner"].(string)[:8] + "ffff" + p["inner"].(string)[12:]
		}, "step 5 (open): inner: byte 4 is 10 instead of ff"},
		{"a time to live that no kernel gives", "esp-null-md5-tun4", flip(8), nil, "step 1 (seal): packet: byte 8"},
		{"an ICV that PF_KEY has not", "esp-aes128cbc-sha256-128-tun4", nil, viaPFKEY,
			"step 1 (receive): verdict: want delivered, got dropped"},
		{"an algorithm that PF_KEY has not", "esp-aes128cbc-sha1-tun4", nil, func(m map[string]any) {
			sa(m, 0)["enc"].(map[string]any)["pfkey_id"] = 99
		}, "kernel: ADD is answered with ENOSYS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := bentCapture(t, tt.capture, tt.packets, tt.describe)
			rep, err := conform.Run(context.Background(), conform.Config{Kernel: of("linux"), Paths: []string{p}})
			if err != nil || len(rep.Results) != 1 {
				t.Fatal(err, rep.Unreadable)
			}
			got := ""
			if r := rep.Results[0]; r.Status == conform.Failed {
				got = r.Differences[0].String()
			}
			if (got == "") != (tt.want == "") || !strings.HasPrefix(got, tt.want) && !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// A capture that cannot be read is refused, and no key is in what is said of it.
func TestCaptureUnreadable(t *testing.T) {
	const name = "esp-aes128cbc-sha1-tun4"
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:n] } }
	for _, tt := range []struct {
		name     string
		packets  func([]byte) []byte
		describe func(map[string]any)
		want     string
	}{
		{"no pcap", cut(3), nil, "broken capture: file header"},
		{"cut off", cut(100), nil, "record 1"},
		{"no packets", cut(24), nil, "0 packets"},
		{"no description", nil, func(m map[string]any) { clear(m) }, `protocol ""`},
		{"another mode", nil, func(m map[string]any) { m["mode"] = "beet" }, `mode "beet"`},
		{"unknown cipher", nil, func(m map[string]any) { sa(m, 0)["enc"].(map[string]any)["name"] = "rot13" },
			`unknown cipher "rot13"`},
		{"unknown MAC", nil, func(m map[string]any) { sa(m, 0)["auth"].(map[string]any)["name"] = "crc" },
			`algorithm "crc"`},
		{"a key that is none", nil, func(m map[string]any) {
			sa(m, 0)["enc"].(map[string]any)["key"] = "5ecre7" +
				"zz"
		}, "not hexadecimal"},
		{"a short key", nil, func(m map[string]any) { sa(m, 0)["enc"].(map[string]any)["key"] = "5ec4e7" }, "SA"},
		{"no SPI", nil, func(m map[string]any) { sa(m, 0)["spi"] = "x" }, `SPI "x"`},
		{"no address", nil, func(m map[string]any) { delete(sa(m, 0), "dst") }, "without addresses"},
		{"another direction", nil, func(m map[string]any) { described(m, 3)["dir"] = "ac" }, `direction "ac"`},
		{"a packet less", nil, func(m map[string]any) { m["packets"] = m["packets"].([]any)[1:] }, "number 1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := bentCapture(t, name, tt.packets, tt.describe)
			refused := unreadable(t, "linux", p)
			if !strings.Contains(refused, tt.want) || !strings.Contains(refused, p) {
				t.Errorf("%q; want %q", refused, tt.want)
			}
			if strings.Contains(refused, "5ec") {
				t.Errorf("a key is told: %s", refused)
			}
		})
	}
	alone := filepath.Join(t.TempDir(), "alone.pcap")
	if err := os.WriteFile(alone, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if refused := unreadable(t, "linux", alone); !strings.Contains(refused, "what is in it is not told") {
		t.Error(refused)
	}
}

// TestCaptureLinkTypes: the link layer under the packets does not matter, and one that is not known is named.
func TestCaptureLinkTypes(t *testing.T) {
	const header, record, linkAt = 24, 16, 20
	framed := func(link byte, head []byte) func([]byte) []byte {
		return func(b []byte) []byte {
			out := bytes.Clone(b[:header])
			out[linkAt] = link
			for b = b[header:]; len(b) > 0; {
				n := binary.LittleEndian.Uint32(b[8:])
				out = append(out, b[:8]...)
				for range 2 { // captured, and on the wire
					out = binary.LittleEndian.AppendUint32(out, n+uint32(len(head)))
				}
				out = append(append(out, head...), b[record:record+n]...)
				b = b[record+n:]
			}
			return out
		}
	}
	for _, tt := range []struct {
		name    string
		packets func([]byte) []byte
		refuse  string
	}{
		{"Ethernet", framed(1, append(make([]byte, 12), 8, 0)), ""},
		{"Linux cooked", framed(113, append(make([]byte, 14), 8, 0)), ""},
		{"loop", framed(108, []byte{0, 0, 0, 2}), ""},
		{"wireless", framed(105, nil), "record 1: link type 105 (802.11) is not read"},
		{"ARP", framed(1, append(make([]byte, 12), 8, 6)), "record 1: no IP packet is in it"},
	} {
		p := bentCapture(t, "esp-aes128cbc-sha1-tun4", tt.packets, nil)
		refused := unreadable(t, "linux", p)
		if (tt.refuse == "") != (refused == "") || !strings.Contains(refused, tt.refuse) {
			t.Errorf("%s: %q; want %q", tt.name, refused, tt.refuse)
		}
	}
}
