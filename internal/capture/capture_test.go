package capture_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pfkeyd/pfkeyd/internal/capture"
)

var (
	packet4 = slices.Concat([]byte{0x45, 0, 0, 24}, make([]byte, 16), []byte("four"))
	packet6 = slices.Concat([]byte{0x60, 0, 0, 0, 0, 3}, make([]byte, 34), []byte("six"))
)

func classic(t *testing.T, link layers.LinkType, frames ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pcapgo.NewWriter(&b)
	err := w.WriteFileHeader(65536, link)
	for _, f := range frames {
		err = errors.Join(err, w.WritePacket(gopacket.CaptureInfo{CaptureLength: len(f), Length: len(f)}, f))
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestLinkTypes: every link type that is read gives the same packet, and another one is refused by its name.
func TestLinkTypes(t *testing.T) {
	loop4, loop6 := capture.LoopHeader(packet4), capture.LoopHeader(packet6)
	ethernet := func(more ...byte) []byte { return append(make([]byte, 12), more...) }
	sll := make([]byte, 14)
	for _, tt := range []struct {
		name   string
		link   layers.LinkType
		frame  []byte
		want   []byte // nil: no IP
		refuse string
	}{
		{"raw", layers.LinkTypeRaw, packet4, packet4, ""},
		{"raw, what is no IP", layers.LinkTypeRaw, []byte("x"), []byte("x"), ""},
		{"IPv4", layers.LinkTypeIPv4, packet4, packet4, ""},
		{"IPv6", layers.LinkTypeIPv6, packet6, packet6, ""},
		{"Ethernet", layers.LinkTypeEthernet, slices.Concat(ethernet(8, 0), packet4), packet4, ""},
		{"Ethernet, padded", layers.LinkTypeEthernet, slices.Concat(ethernet(8, 0), packet4, make([]byte, 22)), packet4,
			""},
		{"Ethernet, IPv6 with two tags", layers.LinkTypeEthernet,
			slices.Concat(ethernet(0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 0x86, 0xdd), packet6), packet6, ""},
		{"Ethernet, ARP", layers.LinkTypeEthernet, ethernet(8, 6, 0, 1), nil, ""},
		{"Ethernet, cut", layers.LinkTypeEthernet, ethernet(8), nil,
			"13 bytes are too short for a frame of link type 1 (Ethernet)"},
		{"Linux cooked", layers.LinkTypeLinuxSLL, slices.Concat(sll, []byte{8, 0}, packet4), packet4, ""},
		{"Linux cooked, version 2", layers.LinkTypeLinuxSLL2,
			slices.Concat([]byte{0x86, 0xdd}, make([]byte, 18), packet6), packet6, ""},
		{"null, little endian", layers.LinkTypeNull, slices.Concat([]byte{30, 0, 0, 0}, packet6), packet6, ""},
		{"loop", layers.LinkTypeLoop, slices.Concat(loop4[:], packet4), packet4, ""},
		{"loop, IPv6", layers.LinkTypeLoop, slices.Concat(loop6[:], packet6), packet6, ""},
		{"loop, bytes behind the packet", layers.LinkTypeLoop, slices.Concat(loop4[:], packet4, []byte("x")),
			append(packet4[:24:24], 'x'), ""},
		{"loop, another family", layers.LinkTypeLoop, []byte{0, 0, 0, 7, 1, 2, 3}, nil, ""},
		{"wireless", layers.LinkTypeIEEE802_11, packet4, nil, "link type 105 (802.11) is not read, only raw IP (101"},
		{"unknown", 147, packet4, nil, "link type 147 is not read"},
	} {
		r, err := capture.NewReader(bytes.NewReader(classic(t, tt.link, tt.frame)))
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		record, err := r.Next()
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		got, err := record.IP()
		if tt.refuse != "" {
			if !errors.Is(err, capture.ErrBroken) || !strings.Contains(err.Error(), "record 1: "+tt.refuse) {
				t.Errorf("%s: error %v, want %s", tt.name, err, tt.refuse)
			}
			continue
		}
		if err != nil || !bytes.Equal(got, tt.want) || (got == nil) != (tt.want == nil) {
			t.Errorf("%s: %x, %v; want %x", tt.name, got, err, tt.want)
		}
		if _, err := r.Next(); err != io.EOF || r.Last() != 1 {
			t.Errorf("%s: after the last record %v, number %d", tt.name, err, r.Last())
		}
	}
}

// TestInterfaces reads what a pcapng says of its records, compressed.
func TestInterfaces(t *testing.T) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	about := pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: "somebody"}}
	w, err := pcapgo.NewNgWriterInterface(z, pcapgo.NgInterface{Name: "eth0", LinkType: layers.LinkTypeEthernet}, about)
	if err == nil {
		_, err = w.AddInterface(pcapgo.NgInterface{Name: "tun0", LinkType: layers.LinkTypeRaw})
	}
	write := func(iface int, d pcapgo.NgEpbFlag, frame []byte) {
		o := pcapgo.NgPacketOptions{Flags: &pcapgo.NgEpbFlags{Direction: d}}
		info := gopacket.CaptureInfo{CaptureLength: len(frame), Length: len(frame), InterfaceIndex: iface}
		err = errors.Join(err, w.WritePacketWithOptions(info, frame, o))
	}
	write(1, pcapgo.NgEpbFlagDirectionInbound, packet4)
	write(0, pcapgo.NgEpbFlagDirectionOutbound, slices.Concat(make([]byte, 12), []byte{8, 0}, packet4))
	write(1, 0, packet6)
	if err = errors.Join(err, w.Flush(), z.Close()); err != nil {
		t.Fatal(err)
	}
	r, err := capture.NewReader(&b)
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Application(); got != "somebody" {
		t.Errorf("application %q", got)
	}
	type seen struct {
		N         int
		Interface string
		Direction capture.Direction
		Packet    string
	}
	var got []seen
	for {
		record, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		p, err := record.IP()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, seen{record.N, record.Interface, record.Direction, string(p)})
	}
	want := []seen{
		{1, "tun0", capture.In, string(packet4)},
		{2, "eth0", capture.Out, string(packet4)},
		{3, "tun0", capture.Unknown, string(packet6)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestPackets reads all of them, and says which record has none.
func TestPackets(t *testing.T) {
	for _, tt := range []struct {
		name   string
		file   []byte
		want   int
		refuse string
	}{
		{"raw", classic(t, layers.LinkTypeRaw, packet4, packet6), 2, ""},
		{"nothing of IP", classic(t, layers.LinkTypeLoop, append([]byte{0, 0, 0, 2}, packet4...), []byte{0, 0, 0, 7}),
			0, "record 2: no IP packet is in it"},
		{"cut off", classic(t, layers.LinkTypeRaw, packet4)[:50], 0, "record 1: the file ends in the middle of it"},
		{"another link", classic(t, layers.LinkTypePPP, packet4), 0, "record 1: link type 9 (PPP) is not read"},
	} {
		r, err := capture.NewReader(bytes.NewReader(tt.file))
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Packets()
		if len(got) != tt.want || (err == nil) != (tt.refuse == "") ||
			err != nil && !strings.Contains(err.Error(), tt.refuse) {
			t.Errorf("%s: %d packets, %v; want %d, %q", tt.name, len(got), err, tt.want, tt.refuse)
		}
	}
}

// TestNoCapture: what is no capture is told apart.
func TestNoCapture(t *testing.T) {
	for want, b := range map[string][]byte{
		"the file is empty":    nil,
		"neither pcap nor":     []byte("SQLite format"),
		"in the middle of it":  classic(t, layers.LinkTypeRaw)[:10],
		"gzip: invalid header": {0x1f, 0x8b, 9, 9, 9, 9, 9, 9, 9, 9, 9},
	} {
		if _, err := capture.NewReader(bytes.NewReader(b)); !errors.Is(err, capture.ErrBroken) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
