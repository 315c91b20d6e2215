package compare

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"os"
	"slices"
	"strings"
	"testing"

	"encoding/binary"

	"github.com/pfkeyd/pfkeyd/wire"
)

// recorded calls f for one recorded message of each shape.
func recorded(t *testing.T, d *wire.Dialect, f func(where string, msg []byte)) {
	t.Helper()
	file, err := os.Open("../../../wire/testdata/" + d.Name + ".messages")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines, n := bufio.NewScanner(file), 0
	for lines.Buffer(nil, 1<<20); lines.Scan(); {
		columns := strings.Fields(lines.Text())
		if columns[0] == "#" || len(columns) < 4 {
			continue
		}
		msg, err := hex.DecodeString(columns[3])
		if err != nil {
			t.Fatal(err)
		}
		f(strings.Join(columns[:3], " "), msg)
		n++
	}
	if lines.Err() != nil || n < 100 {
		t.Fatalf("%d messages, %v", n, lines.Err())
	}
}

// dialects are those of kernels on which something can be played.
func dialects() (all []*wire.Dialect) {
	for _, d := range []*wire.Dialect{wire.FreeBSD(), wire.Illumos(), wire.Linux(), wire.NetBSD(), wire.OpenBSD()} {
		all = append(all, d.WithOrder(binary.LittleEndian))
	}
	return all
}

// In its own dialect a message is what it was, faults and all. In the other byte order it is as long, and says the
// same.
func TestIntoItself(t *testing.T) {
	for _, d := range dialects() {
		big := d.WithOrder(binary.BigEndian)
		recorded(t, d, func(where string, msg []byte) {
			if got, err := translate(d, d, msg); err != nil || !bytes.Equal(got.msg, msg) {
				t.Errorf("%s %s: %v\n got %x\nwant %x", d.Name, where, err, got.msg, msg)
			}
			got, err := translate(d, big, msg)
			carried := strings.Contains(strings.Join(got.lost, " "), "byte for byte")
			if err != nil || len(got.msg) != len(msg) || d.Validate(msg) == nil && !carried &&
				!strings.HasPrefix(where, "mut/") && big.Line(got.msg) != d.Line(msg) {
				t.Errorf("%s %s: %v %v\n got %s\nwant %s", d.Name, where, err, got.lost, big.Line(got.msg), d.Line(msg))
			}
		})
	}
}

// A message that nothing is lost of says the same in the other dialect, and comes back as it was; a well-formed one
// stays well formed.
func TestThereAndBack(t *testing.T) {
	whole := map[string]int{}
	for _, d := range dialects() {
		for _, to := range dialects() {
			recorded(t, d, func(where string, msg []byte) {
				got, err := translate(d, to, msg)
				if err != nil || d.Validate(msg) != nil || strings.HasPrefix(where, "mut/") {
					return
				}
				if err := to.Validate(got.msg); err != nil && !strings.HasPrefix(where, "parse/") {
					t.Errorf("%s %s: in the words of %s: %v", d.Name, where, to.Name, err)
				}
				if got.lost != nil {
					return
				}
				back, err := translate(to, d, got.msg)
				if err != nil || back.lost != nil {
					t.Errorf("%s %s: back from %s: %v %v", d.Name, where, to.Name, back.lost, err)
					return
				}
				whole[d.Name+" "+to.Name]++
				if got, want := d.Line(back.msg), d.Line(msg); got != want && !differs(want) {
					t.Errorf("%s %s: back from %s\n%s, was\n%s", d.Name, where, to.Name, got, want)
				}
			})
		}
	}
	for _, pair := range []string{"netbsd freebsd", "freebsd netbsd", "linux netbsd", "illumos linux",
		"netbsd illumos"} {
		if whole[pair] < 40 {
			t.Errorf("%s: %d messages", pair, whole[pair])
		}
	}
}

// differs says whether a line has what is another thing in each kernel: flags, what only it says of a policy, what it
// hides.
func differs(line string) bool {
	return slices.ContainsFunc([]string{"flags=", "scope:", "flags:", "hidden", "errno=unknown", "diagnostic=",
		"reserved=", "doi:", "srcid=",
		"dstid="}, func(s string) bool { return strings.Contains(line, s) })
}

// What a dialect has no words for is told: as left out where the rest still asks for the same, else as the reason why
// there is no such message.
func TestLost(t *testing.T) {
	illumos, linux, netbsd := wire.Illumos(), wire.Linux(), wire.NetBSD()
	request := func(d *wire.Dialect, typ wire.MsgType, sat wire.SAType, exts ...[]byte) []byte {
		msg := d.AppendHeader(nil, wire.Header{Version: 2, Type: typ, SAType: sat, Seq: 1})
		return d.Finish(append(msg, slices.Concat(exts...)...))
	}
	sa := func(d *wire.Dialect, auth, encrypt wire.AlgID) []byte {
		return d.AppendSA(nil, wire.SA{SPI: 0x1000, Auth: auth, Encrypt: encrypt})
	}
	for _, tt := range []struct {
		name     string
		from, to *wire.Dialect
		msg      []byte
		lost     string
		err      string
	}{
		{"a message", linux, illumos, request(linux, wire.KAMEMsgXSPDDump, 0), "", "illumos has no X_SPDDUMP"},
		{"an SA type", netbsd, illumos, request(netbsd, wire.MsgFlush, wire.SATypeIPComp), "",
			"illumos has no SA type ipcomp"},
		{"a cipher", netbsd, illumos, request(netbsd, wire.MsgAdd, 3, sa(netbsd, 3, wire.EncAESCTR)), "",
			"illumos has no aes-ctr"},
		{"an authentication", netbsd, linux, request(netbsd, wire.MsgAdd, 3, sa(netbsd, wire.AuthKeyedMD5, 12)), "",
			"linux has no keyed-md5"},
		{"a mode", netbsd, linux, request(netbsd, wire.MsgAdd, 3,
			netbsd.AppendSA2(nil, wire.SA2{Mode: wire.ModeTCPMD5})), "", "linux has no mode tcp-md5"},
		{"an SA type that is nobody's", illumos, linux, request(illumos, wire.MsgFlush, illumos.SAType(9)), "",
			"SA type 9 has no meaning, and is ipcomp of linux"},
		{"a message that is nobody's", illumos, linux, request(illumos, illumos.MsgType(18), 0), "",
			"message 18 has no meaning, and is X_SPDDUMP of linux"},
		{"combinations", netbsd, illumos, request(netbsd, wire.MsgAcquire, 3, netbsd.AppendProposal(nil,
			wire.Proposal{Combs: []wire.Comb{{Encrypt: wire.EncAESCTR}, {Encrypt: wire.EncAESCBC}}})),
			"illumos has no algorithms for 1 of 2 combinations", ""},
		{"an extension", netbsd, illumos, request(netbsd, wire.MsgAdd, 3, sa(netbsd, 3, 12),
			netbsd.AppendSA2(nil, wire.SA2{})), "illumos has no X_SA2: left out", ""},
		{"a number that is somebody's there", netbsd, linux, request(netbsd, wire.MsgAdd, 3,
			[]byte{1, 0, 26, 0, 0, 0, 0, 0}), "extension 26, which means something to linux, is left out", ""},
		{"what is no value", linux, netbsd, request(linux, wire.MsgAdd, 3, make([]byte, 0),
			append(linux.AppendExtHeader(nil, wire.ExtAddressSrc, 8), 1, 2, 3, 4)),
			"ADDRESS_SRC is carried byte for byte", ""},
		{"nothing: a mode of both", netbsd, linux, request(netbsd, wire.MsgAdd, 3,
			netbsd.AppendSA2(nil, wire.SA2{Mode: wire.ModeTunnel})), "", ""},
	} {
		got, err := translate(tt.from, tt.to, tt.msg)
		if text := errorText(err); text != tt.err || strings.Join(got.lost, "; ") != tt.lost {
			t.Errorf("%s: lost %q, error %q; want %q, %q", tt.name, got.lost, text, tt.lost, tt.err)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// A salt that is counted apart on one side is the end of the key on the other.
func TestSalt(t *testing.T) {
	key := []byte("0123456789abcdefSALT")
	illumos, freebsd := wire.Illumos(), wire.FreeBSD()
	add := func(d *wire.Dialect, k wire.Key) []byte {
		msg := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeESP})
		msg = d.AppendSA(msg, wire.SA{SPI: 1, Encrypt: wire.EncAESGCM16})
		return d.Finish(d.AppendKey(msg, wire.ExtKeyEncrypt, k))
	}
	apart := add(illumos, wire.Key{Bits: 128, Reserved: 32, Data: key})
	joined := add(freebsd, wire.Key{Bits: 160, Data: key})
	if got, err := translate(illumos, freebsd, apart); err != nil || !bytes.Equal(got.msg, joined) {
		t.Errorf("%v\n got %x\nwant %x", err, got.msg, joined)
	}
	if got, err := translate(freebsd, illumos, joined); err != nil || !bytes.Equal(got.msg, apart) {
		t.Errorf("%v\n got %x\nwant %x", err, got.msg, apart)
	}
}

// Errors have the number of the other system; a frame that is broken stays broken in the same way.
func TestFaultsStay(t *testing.T) {
	linux, netbsd := wire.Linux().WithOrder(binary.LittleEndian), wire.NetBSD().WithOrder(binary.LittleEndian)
	for _, tt := range []struct{ name, msg, want string }{
		{"an errno", "02066902020000000100000001000000", "02063702020000000100000001000000"},
		{"a wrong length", "0207000305000000" + "0100000001000000", "0207000305000000" + "0100000001000000"},
		{"a version", "01070003020000000100000001000000", "01070003020000000100000001000000"},
		{"too short", "020700", "020700"},
		{"an extension of length 0", "0207000303000000010000000100000000000100ffffffff",
			"0207000303000000010000000100000000000100ffffffff"},
		{"an extension that runs past the end", "0207000303000000010000000100000009000500aabbccdd",
			"0207000303000000010000000100000009000500aabbccdd"},
		{"bytes that are no extension", "020700030300000001000000010000000900", "020700030300000001000000010000000900"},
	} {
		msg, err := hex.DecodeString(tt.msg)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := translate(linux, netbsd, msg); err != nil || hex.EncodeToString(got.msg) != tt.want {
			t.Errorf("%s: %x, %v; want %s", tt.name, got.msg, err, tt.want)
		}
	}
}

// A place in a message is found again where other extensions are around it.
func TestPlaces(t *testing.T) {
	d, to := wire.FreeBSD(), wire.Linux()
	begin := func(d *wire.Dialect) []byte {
		return d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgGetSPI})
	}
	a := d.Finish(d.AppendSA(begin(d), wire.SA{SPI: 0x1234}))
	b := to.AppendLifetime(begin(to), wire.ExtLifetimeHard, wire.Lifetime{})
	b = to.Finish(to.AppendSA(b, wire.SA{SPI: 0x1234}))
	for off, want := range map[int]int{12: 12, wire.HeaderLen + 4: wire.HeaderLen + 32 + 4} {
		p, ok := find(d, a, off)
		if got, there := p.offset(to, b); !ok || !there || got != want {
			t.Errorf("offset %d is %d there, %v, %v; want %d", off, got, ok, there, want)
		}
	}
	if _, ok := find(d, a, len(a)); ok {
		t.Error("there is a place behind the end")
	}
	if _, ok := (place{wire.ExtSPIRange, 4}).offset(to, b); ok {
		t.Error("an extension that is not there has a place")
	}
}
