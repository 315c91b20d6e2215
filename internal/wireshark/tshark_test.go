package wireshark_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"encoding/xml"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pfkeyd/pfkeyd/internal/wireshark"
	"github.com/pfkeyd/pfkeyd/testdata/golden"
	"github.com/pfkeyd/pfkeyd/wire"
)

// captured is a message in a capture.
type captured struct {
	dialect *wire.Dialect
	msg     []byte
}

// tshark wants Debian's tshark, and takes its time: .ci/wireshark runs these tests.
func tshark(t *testing.T) (home string) {
	t.Helper()
	if os.Getenv("PFKEYD_TSHARK") == "" {
		t.Skip("wants PFKEYD_TSHARK=1 and tshark")
	}
	home = t.TempDir()
	plugins := filepath.Join(home, ".local/lib/wireshark/plugins")
	if err := os.MkdirAll(plugins, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(plugins, wireshark.DissectorName), wireshark.Dissector(), 0o666); err != nil {
		t.Fatal(err)
	}
	return home
}

// recorded are the messages of the recordings of every kernel, and everything else that is in them as bytes.
func recorded(t *testing.T) (all []captured) {
	t.Helper()
	seen := map[string]bool{}
	bytesOf := regexp.MustCompile(`"(?:hex|sent)":"([0-9a-f]+)"`)
	err := fs.WalkDir(golden.Files, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".jsonl.gz") {
			return err
		}
		name, _, _ := strings.Cut(strings.Split(path, "/")[0], "-")
		d, ok := wire.ByName(name)
		if !ok {
			return fmt.Errorf("%s: there is no dialect %s", path, name)
		}
		d = d.WithOrder(binary.LittleEndian)
		f, err := golden.Files.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(z)
		if err != nil {
			return err
		}
		for _, m := range bytesOf.FindAllSubmatch(text, -1) {
			b, err := hex.DecodeString(string(m[1]))
			if err != nil {
				continue // of an odd length, which is no message
			}
			if key := d.Name + string(b); !seen[key] && len(b) < 1<<17 {
				seen[key] = true
				all = append(all, captured{d, b})
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// write makes a capture with an interface for each dialect. cut is how much of each message is in it; 0: all.
func write(t *testing.T, path string, all []captured, cut int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var w *pcapgo.NgWriter
	ids := map[string]int{}
	for i, d := range wire.Dialects() {
		face := pcapgo.NgInterface{Name: "PF_KEY", Description: "PF_KEY version 2 (RFC 2367), dialect " + d.Name,
			LinkType: layers.LinkType(147), TimestampResolution: 9}
		if i == 0 {
			w, err = pcapgo.NewNgWriterInterface(f, face, pcapgo.DefaultNgWriterOptions)
		} else {
			ids[d.Name], err = w.AddInterface(face)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range all {
		n := len(c.msg)
		if cut > 0 {
			n = min(n, cut)
		}
		info := gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: n, Length: len(c.msg),
			InterfaceIndex: ids[c.dialect.Name]}
		if err := w.WritePacket(info, c.msg[:n]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
}

// item is a field of PDML.
type item struct {
	Name   string `xml:"name,attr"`
	Label  string `xml:"showname,attr"`
	Show   string `xml:"show,attr"`
	Pos    int    `xml:"pos,attr"`
	Size   int    `xml:"size,attr"`
	Fields []item `xml:"field"`
	Protos []item `xml:"proto"`
}

// shown is what tshark shows of each message of a capture, one thing a line.
func shown(t *testing.T, home, path string, each func(i int, lines []string)) (n int) {
	t.Helper()
	cmd := exec.Command("tshark", "-r", path, "-T", "pdml", "-J", "pfkey _ws.lua.error _ws.malformed")
	cmd.Env = append(os.Environ(), "HOME="+home)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d := xml.NewDecoder(bufio.NewReaderSize(out, 1<<20))
	for {
		tok, err := d.Token()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "packet" {
			var p item
			if err := d.DecodeElement(&p, &e); err != nil {
				t.Fatal(err)
			}
			var lines []string
			for _, proto := range p.Protos {
				switch {
				case proto.Name == "pfkey":
					lines = append(lines, labels(proto.Fields)...)
				case strings.HasPrefix(proto.Name, "_ws."):
					lines = append(lines, proto.Name+": "+proto.Label)
				}
			}
			each(n, lines)
			n++
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, complaints.String())
	}
	for line := range strings.Lines(complaints.String()) {
		if !strings.HasPrefix(line, "Running as user") {
			t.Errorf("tshark: %s", line)
		}
	}
	return n
}

func labels(fields []item) (lines []string) {
	for _, f := range fields {
		switch {
		case f.Name == "pfkey.message":
		case f.Name == "_ws.expert":
			if i := slices.IndexFunc(f.Fields, func(g item) bool { return g.Name == "pfkey.malformed" }); i >= 0 {
				lines = append(lines, "! "+f.Fields[i].Label)
			}
		case f.Name == "pfkey.part":
			lines = append(lines, "-- "+f.Label)
			lines = append(lines, labels(f.Fields)...)
		default:
			lines = append(lines, label(f.Pos, f.Size, f.Label))
			lines = append(lines, labels(f.Fields)...)
		}
	}
	return lines
}

// label cuts what Wireshark cuts, and forgets where it says so.
func label(off, n int, text string) string {
	text = strings.TrimPrefix(strings.TrimSpace(text), "[truncated]")
	return fmt.Sprintf("%d+%d %s", off, n, text[:min(len(text), 200)])
}

// told is what wire tells of a message, as labels.
func told(d *wire.Dialect, msg []byte) (lines []string) {
	twice, seen := map[int]bool{}, map[wire.ExtType]bool{}
	for x, err := range d.Walk(msg) {
		if err != nil {
			break
		}
		twice[x.Offset] = seen[x.Type] && d.Role(x.Type) != wire.RoleUnknown
		seen[x.Type] = true
	}
	at := 0
	end := func() {
		if twice[at] {
			lines = append(lines, "! comes twice")
		}
	}
	for v := range d.Fields(msg, wire.FormatOptions{ShowKeys: true}) {
		switch v.Kind {
		case wire.FieldExtension:
			end()
			at = v.Offset
			lines = append(lines, label(v.Offset, v.Len, fmt.Sprintf("%s, %d bytes", v.Name, v.Len)))
		case wire.FieldPart:
			lines = append(lines, "-- "+v.Name)
		case wire.FieldProblem:
			lines = append(lines, "! "+v.Value)
		default:
			lines = append(lines, label(v.Offset, v.Len, v.Text()))
		}
	}
	end()
	return lines
}

// ordered is the dialect in the byte order in which the length is right, as the dissector chooses it.
func ordered(d *wire.Dialect, msg []byte) *wire.Dialect {
	if len(msg) >= 6 && int(binary.LittleEndian.Uint16(msg[4:]))*8 != len(msg) &&
		int(binary.BigEndian.Uint16(msg[4:]))*8 == len(msg) {
		return d.WithOrder(binary.BigEndian)
	}
	return d.WithOrder(binary.LittleEndian)
}

// agree has tshark show all messages, and compares with what wire tells.
func agree(t *testing.T, home string, all []captured) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "all.pcapng")
	write(t, path, all, 0)
	bad := 0
	n := shown(t, home, path, func(i int, got []string) {
		c := all[i]
		d := ordered(c.dialect, c.msg)
		want := told(d, c.msg)
		wrong := slices.ContainsFunc(want, func(s string) bool { return strings.HasPrefix(s, "! ") })
		if refused := d.Validate(c.msg) != nil; refused != wrong {
			t.Errorf("%s %x: refused %v, but told as wrong %v", d.Name, c.msg, refused, wrong)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			if bad++; bad <= 5 {
				t.Errorf("%s %x (-wire +tshark):\n%s", d.Name, c.msg[:min(len(c.msg), 300)], diff)
			}
		}
	})
	if n != len(all) || bad > 5 {
		t.Errorf("%d of %d messages shown, %d otherwise than wire tells them", n, len(all), bad)
	}
}

// tshark shows each message of the recordings of every kernel as wire tells it.
func TestRecordingsInTshark(t *testing.T) {
	home := tshark(t)
	all := recorded(t)
	counts := map[string]int{}
	for _, c := range all {
		counts[c.dialect.Name]++
	}
	t.Logf("messages: %v", counts)
	for _, d := range wire.Dialects() {
		if counts[d.Name] < 500 {
			t.Errorf("%s: only %d messages", d.Name, counts[d.Name])
		}
	}
	agree(t, home, all)
}

// The same goes for messages that nobody would send: cut ones, lengths that lie, bytes changed at random, other byte
// orders, long names, control characters.
func TestBadMessagesInTshark(t *testing.T) {
	home := tshark(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	var all []captured
	good := recorded(t)
	for range 6000 {
		c := good[rnd.IntN(len(good))]
		msg := slices.Clone(c.msg)
		for range 1 + rnd.IntN(4) {
			if len(msg) < wire.HeaderLen {
				break
			}
			at := rnd.IntN(len(msg))
			switch rnd.IntN(5) {
			case 0: // a small number
				msg[at] = byte(rnd.IntN(48))
			case 1:
				msg[at] = byte(rnd.Uint32())
			case 2: // a length, or the number of a message
				msg[at&^7] = byte(rnd.IntN(45))
			case 3:
				msg = msg[:at]
			case 4: // a length that is right for what is left
				msg = msg[:at&^7]
				if len(msg) >= 8 {
					binary.LittleEndian.PutUint16(msg[4:], uint16(len(msg)/8))
				}
			}
		}
		if len(msg) > 0 {
			all = append(all, captured{c.dialect, msg})
		}
	}
	names := []string{"", "plain", "two words", "\x01\x02\x7f\x1b[31m", "\"quoted\\\"", "\xff\xfe\xc3\x28", "é€😀",
		"\t\r\n\v\f\a\b",
		"\xed\xa0\x80\xf4\x90\x80\x80\xe0\x80\x80\xc0\x80\xf0\x9f\x98", strings.Repeat("x", 65000),
		strings.Repeat("\x00\x07<b>", 13000)}
	for _, d := range wire.Dialects() {
		for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
			d := d.WithOrder(order)
			for _, name := range names {
				b := d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeESP})
				b = d.AppendIdentity(b, wire.ExtIdentitySrc, wire.Identity{Type: 2, Name: name})
				all = append(all, captured{d, d.Finish(b)})
			}
		}
	}
	agree(t, home, all)
}

// A capture may have the beginning of messages only. That is no fault of theirs.
func TestCutCapturesInTshark(t *testing.T) {
	home := tshark(t)
	var all []captured
	counts := map[string]int{}
	for _, c := range recorded(t) {
		if name := c.dialect.Name; c.dialect.Validate(c.msg) == nil && len(c.msg) > 72 && counts[name] < 600 {
			counts[name]++
			all = append(all, c)
		}
	}
	for _, d := range wire.Dialects() {
		if counts[d.Name] < 600 {
			t.Errorf("%s: only %d messages", d.Name, counts[d.Name])
		}
	}
	for _, cut := range []int{1, 15, 18, 57} {
		path := filepath.Join(t.TempDir(), strconv.Itoa(cut))
		write(t, path, all, cut)
		shown(t, home, path, func(i int, got []string) {
			c := all[i]
			want := told(c.dialect, c.msg)
			for _, line := range got {
				if strings.HasPrefix(line, "! ") || strings.HasPrefix(line, "_ws.") {
					t.Fatalf("%s %x, %d bytes of it: %s", c.dialect.Name, c.msg, cut, line)
				}
			}
			if whole := 9; cut >= wire.HeaderLen && !cmp.Equal(want[:whole], got[:whole]) {
				t.Fatalf("%s %x, %d bytes of it (-wire +tshark):\n%s", c.dialect.Name, c.msg, cut,
					cmp.Diff(want[:whole], got[:whole]))
			}
		})
	}
}
