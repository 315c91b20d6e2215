package cli_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pfkeyd/pfkeyd/internal/capture"
	"github.com/pfkeyd/pfkeyd/packet"
)

// served is what 'pfkeyd serve --pcap' writes, with a link type: packet 1 came in and was delivered, 2 came in and was
// dropped, 3 was sent, and 4 went out protected.
func served(t *testing.T, application string, link layers.LinkType) []byte {
	t.Helper()
	var b bytes.Buffer
	about := pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: application}}
	w, err := pcapgo.NewNgWriterInterface(&b, pcapgo.NgInterface{Name: capture.Wire, LinkType: link}, about)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{capture.Host, capture.Dropped} {
		if _, err := w.AddInterface(pcapgo.NgInterface{Name: name, LinkType: link}); err != nil {
			t.Fatal(err)
		}
	}
	const wire, host, dropped = 0, 1, 2
	for _, r := range []struct {
		where  int
		out    bool
		packet []byte
	}{
		{wire, false, espPacket(spiDeliver, 1)}, {host, false, inner},
		{wire, false, espPacket(9, 2)}, {dropped, false, espPacket(9, 2)},
		{host, true, inner}, {wire, true, espPacket(spiDeliver, 3)},
	} {
		frame := r.packet
		if link == layers.LinkTypeLoop {
			head := capture.LoopHeader(r.packet)
			frame = append(head[:], r.packet...)
		}
		o := pcapgo.NgPacketOptions{Flags: &pcapgo.NgEpbFlags{Direction: pcapgo.NgEpbFlagDirectionInbound}}
		if r.out {
			o.Flags.Direction = pcapgo.NgEpbFlagDirectionOutbound
		}
		info := gopacket.CaptureInfo{Timestamp: time.Unix(1, 0), CaptureLength: len(frame), Length: len(frame),
			InterfaceIndex: r.where}
		if err := w.WritePacketWithOptions(info, frame, o); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPcapServed injects captures of an engine: by default what came in, once, whichever link type it is written with.
func TestPcapServed(t *testing.T) {
	e := start(t, nil)
	for _, tt := range []struct {
		name, application string
		link              layers.LinkType
		args              string
		ids               string // of the records that are injected
		extra             string
	}{
		{"ours", capture.Application, layers.LinkTypeLoop, "", "1 3",
			"4 records of another interface or direction left out"},
		{"ours, as it was written before", capture.Application, layers.LinkTypeRaw, "", "1 3",
			"4 records of another interface or direction left out"},
		{"what the host sent", capture.Application, layers.LinkTypeLoop, "--outbound", "5",
			"5 records of another interface or direction left out"},
		{"what went out", capture.Application, layers.LinkTypeLoop, "--direction out", "6",
			"5 records of another interface or direction left out"},
		{"one interface", capture.Application, layers.LinkTypeLoop, "--interface wire", "1 3 6",
			"3 records of another interface or direction left out"},
		{"one interface, one direction", capture.Application, layers.LinkTypeLoop, "--interface host --direction in",
			"2", "5 records of another interface or direction left out"},
		{"all", capture.Application, layers.LinkTypeLoop, "--interface all", "1 2 3 4 5 6", ""},
		{"somebody else's", "dumpcap", layers.LinkTypeLoop, "", "1 2 3 4 5 6", ""},
		{"somebody else's interface", "dumpcap", layers.LinkTypeLoop, "--interface dropped", "4",
			"5 records of another interface or direction left out"},
		{"no such interface", "dumpcap", layers.LinkTypeLoop, "--interface eth9", "",
			"6 records of another interface or direction left out"},
	} {
		name := file(t, served(t, tt.application, tt.link))
		r := run(t, append([]string{"pcap", name, "--engine", e.address}, strings.Fields(tt.args)...)...)
		if r.code != 0 {
			t.Errorf("%s: exit status %d: %s", tt.name, r.code, r.stderr)
		}
		var ids []string
		for line := range strings.Lines(r.out) {
			ids = append(ids, strings.Fields(line)[0])
		}
		if got := strings.Join(ids, " "); got != tt.ids {
			t.Errorf("%s: records %s, want %s", tt.name, got, tt.ids)
		}
		if strings.Contains(r.stderr, "left out") != (tt.extra != "") || !strings.Contains(r.stderr, tt.extra+"\n") {
			t.Errorf("%s: %q, want %q", tt.name, r.stderr, tt.extra)
		}
	}
	r := run(t, "pcap", file(t, served(t, "", layers.LinkTypeRaw)), "--engine", e.address, "--direction", "up")
	r.check(t, 2, `--direction "up" is none of in, out, all`)
}

// TestPcapGrowing injects a capture that the engine writes: what is in it when the command begins, and no more.
func TestPcapGrowing(t *testing.T) {
	content := classic(t, layers.LinkTypeRaw, espPacket(spiDeliver, 1), espPacket(spiDeliver, 2))
	name := file(t, content)
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const fileHeader = 24
	e := start(t, nil)
	written := 0
	e.ledger.Watch(func(p *packet.Packet, _ packet.Verdict) {
		if written++; written > 100 {
			return // or the test would not end
		}
		record := append(bytes.Clone(content[fileHeader:][:16]), p.Data...) // they are equally long
		if _, err := f.Write(record); err != nil {
			t.Error(err)
		}
	})
	r := run(t, "pcap", name, "--engine", e.address, "--timing", "20ms") // the first is written again meanwhile
	r.check(t, 0, "2 packets: 2 delivered\n")
}
