package packetport_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/packetport"
)

// frames is every layout of the package comment, byte by byte.
var frames = []struct {
	name  string
	frame packetport.Frame
	bytes []byte
}{
	{"inject inbound", packetport.Inject{Direction: packetport.Inbound, ID: 0x0102030405060708,
		Packet: []byte{0x45, 0xff}}, []byte{
		1, 0x01, 1, 0, // version, type, dir, tunnel length
		1, 2, 3, 4, 5, 6, 7, 8, // id
		0x45, 0xff,
	}},
	{"inject outbound with tunnel", packetport.Inject{Direction: packetport.Outbound, ID: 7, Tunnel: "tun0",
		Packet: []byte{0x60}}, []byte{
		1, 0x01, 2, 4,
		0, 0, 0, 0, 0, 0, 0, 7,
		't', 'u', 'n', '0',
		0x60,
	}},
	{"watch", packetport.Watch{}, []byte{1, 0x02, 0, 0}},
	{"hello", packetport.Hello{Name: "illumos"}, append([]byte{1, 0x81, 0, 7}, "illumos"...)},
	{"hello without name", packetport.Hello{}, []byte{1, 0x81, 0, 0}},
	{"verdict delivered", packetport.Verdict{ID: 3, Kind: packet.Delivered, HasSPI: true, SPI: 0x1000,
		Inner: []byte{9, 8}}, []byte{
		1, 0x82, 1, 0x01, // version, type, kind, flags
		0, 0, 0, 0, 0, 0, 0, 3, // id
		0, 0, 0x10, 0, // SPI
		0, 0, 0, 0, // lengths of reason and counter, reserved
		0, 0, 0, 0, // length of packet
		9, 8, // inner
	}},
	{"verdict dropped, watched", packetport.Verdict{
		ID: 4, Watched: true, Kind: packet.Dropped, Reason: "no-sa", Counter: "c", Packet: []byte{1, 2, 3},
	}, []byte{
		1, 0x82, 5, 0x02,
		0, 0, 0, 0, 0, 0, 0, 4,
		0, 0, 0, 0,
		5, 1, 0, 0,
		0, 0, 0, 3,
		'n', 'o', '-', 's', 'a',
		'c',
		1, 2, 3,
	}},
	{"verdict cut", packetport.Verdict{ID: 5, Kind: packet.Sent, Cut: true, Inner: []byte{1}}, []byte{
		1, 0x82, 6, 0x04,
		0, 0, 0, 0, 0, 0, 0, 5,
		0, 0, 0, 0,
		0, 0, 0, 0,
		0, 0, 0, 0,
		1,
	}},
	{"overrun", packetport.Overrun{Lost: 258}, []byte{1, 0x83, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2}},
	{"refused", packetport.Refused{ID: 1, Text: "no"}, []byte{1, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'n', 'o'}},
	{"watching", packetport.Watching{}, []byte{1, 0x85, 0, 0}},
}

func TestFrames(t *testing.T) {
	for _, tt := range frames {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.frame.Append([]byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(append([]byte("before"), tt.bytes...), got); diff != "" {
				t.Errorf("encoded (-want +got):\n%s", diff)
			}
			back, err := packetport.Decode(tt.bytes)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.frame, back); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
		})
	}
}

// TestFrameTruncated cuts every frame everywhere: none may be taken for a whole one, except where the layout ends in
// bytes without a length.
func TestFrameTruncated(t *testing.T) {
	for _, tt := range frames {
		for n := range tt.bytes {
			f, err := packetport.Decode(tt.bytes[:n])
			if err == nil {
				again, err := f.Append(nil)
				if err != nil || !bytes.Equal(again, tt.bytes[:n]) {
					t.Errorf("%s cut to %d bytes: taken as %+v", tt.name, n, f)
				}
				continue
			}
			var fe *packetport.FrameError
			if !errors.As(err, &fe) {
				t.Errorf("%s cut to %d bytes: error %v is no FrameError", tt.name, n, err)
			}
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	verdict := func(change func(b []byte) []byte) []byte {
		b, err := packetport.Verdict{ID: 1, Watched: true, Kind: packet.Dropped, Reason: "no-sa", Counter: "c",
			Packet: []byte{1}}.Append(nil)
		if err != nil {
			t.Fatal(err)
		}
		return change(b)
	}
	set := func(at int, v ...byte) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[at:], v); return b }
	}
	inject := func(dir, tunnel byte, rest ...byte) []byte {
		return append([]byte{1, 1, dir, tunnel, 0, 0, 0, 0, 0, 0, 0, 1}, rest...)
	}
	tests := []struct {
		name  string
		in    []byte
		want  error
		where string
	}{
		{"empty", nil, packetport.ErrShort, "version and type at byte 0"},
		{"one byte", []byte{1}, packetport.ErrShort, "version and type at byte 1"},
		{"version", []byte{2, 1}, packetport.ErrVersion, "version at byte 0"},
		{"type", []byte{1, 0x77}, packetport.ErrType, "unknown(0x77) frame: type at byte 1"},
		{"inject short", inject(1, 0)[:11], packetport.ErrShort, "end at byte 11"},
		{"inject without packet", inject(1, 0), packetport.ErrEmpty, "IP datagram at byte 12"},
		{"inject direction 0", inject(0, 0, 1), packetport.ErrValue, "dir at byte 2"},
		{"inject direction 3", inject(3, 0, 1), packetport.ErrValue, "dir at byte 2"},
		{"inject inbound with tunnel", inject(1, 1, 'a', 1), packetport.ErrValue,
			"tunnel of an inbound packet at byte 3"},
		{"inject tunnel past the end", inject(2, 3, 'a', 'b'), packetport.ErrShort, "tunnel at byte 3"},
		{"inject tunnel not text", inject(2, 1, 0xff, 1), packetport.ErrText, "tunnel at byte 12"},
		{"inject long packet", inject(1, 0, make([]byte, packetport.MaxPacket+1)...), packetport.ErrLong,
			"IP datagram at byte 12"},
		{"watch reserved", []byte{1, 2, 0, 1}, packetport.ErrReserved, "reserved at byte 2"},
		{"watch trailing", []byte{1, 2, 0, 0, 0}, packetport.ErrTrailing, "end at byte 4"},
		{"watch short", []byte{1, 2, 0}, packetport.ErrShort, "end at byte 3"},
		{"hello reserved", []byte{1, 0x81, 1, 0}, packetport.ErrReserved, "reserved at byte 2"},
		{"hello short name", []byte{1, 0x81, 0, 2, 'a'}, packetport.ErrShort, "name at byte 3"},
		{"hello trailing", []byte{1, 0x81, 0, 1, 'a', 'b'}, packetport.ErrTrailing, "end at byte 5"},
		{"hello not text", []byte{1, 0x81, 0, 1, 0xff}, packetport.ErrText, "name at byte 4"},
		{"verdict kind", verdict(set(2, 7)), packetport.ErrValue, "kind at byte 2"},
		{"verdict kind 0", verdict(set(2, 0)), packetport.ErrValue, "kind at byte 2"},
		{"verdict flags", verdict(set(3, 0x82)), packetport.ErrValue, "flags at byte 3"},
		{"verdict spi without flag", verdict(set(15, 1)), packetport.ErrValue, "SPI without its flag at byte 12"},
		{"verdict reserved", verdict(set(19, 1)), packetport.ErrReserved, "reserved at byte 18"},
		{"verdict reason past the end", verdict(set(16, 200)), packetport.ErrShort, "reason at byte 16"},
		{"verdict counter past the end", verdict(set(17, 200)), packetport.ErrShort, "counter at byte 17"},
		{"verdict reason not text", verdict(set(24, 0xff)), packetport.ErrText, "reason at byte 24"},
		{"verdict counter not text", verdict(set(29, 0xff)), packetport.ErrText, "counter at byte 29"},
		{"verdict packet past the end", verdict(set(23, 2)), packetport.ErrShort, "packet at byte 20"},
		{"verdict packet huge", verdict(set(20, 0xff, 0xff, 0xff, 0xff)), packetport.ErrLong, "packet at byte 20"},
		{"verdict packet for an injector", verdict(set(3, 0)), packetport.ErrValue,
			"packet for an injector at byte 20"},
		{"verdict inner huge", verdict(func(b []byte) []byte {
			return append(b, make([]byte, packetport.MaxPacket+1)...)
		}),
			packetport.ErrLong, "inner at byte 31"},
		{"overrun short", []byte{1, 0x83, 0, 0, 0}, packetport.ErrShort, "end at byte 5"},
		{"refused reserved", []byte{1, 0x84, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, packetport.ErrReserved,
			"reserved at byte 2"},
		{"refused not text", []byte{1, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff}, packetport.ErrText,
			"text at byte 12"},
		{"refused long", append([]byte{1, 0x84, 0, 0}, make([]byte, 9+packetport.MaxText)...), packetport.ErrLong,
			"text at byte 12"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := packetport.Decode(tt.in)
			if f != nil || !errors.Is(err, tt.want) {
				t.Fatalf("Decode = %v, %v, want %v", f, err, tt.want)
			}
			if !strings.Contains(err.Error(), tt.where) {
				t.Errorf("error %q does not say %q", err, tt.where)
			}
		})
	}
}

func TestAppendErrors(t *testing.T) {
	long := strings.Repeat("a", packetport.MaxName+1)
	tests := []struct {
		name string
		f    packetport.Frame
		want error
	}{
		{"direction", packetport.Inject{Packet: []byte{1}}, packetport.ErrValue},
		{"inbound tunnel", packetport.Inject{Direction: packetport.Inbound, Tunnel: "t", Packet: []byte{1}},
			packetport.ErrValue},
		{"long tunnel", packetport.Inject{Direction: packetport.Outbound, Tunnel: long, Packet: []byte{1}},
			packetport.ErrLong},
		{"tunnel not text", packetport.Inject{Direction: packetport.Outbound, Tunnel: "\xff", Packet: []byte{1}},
			packetport.ErrText},
		{"no packet", packetport.Inject{Direction: packetport.Inbound}, packetport.ErrEmpty},
		{"long packet", packetport.Inject{Direction: packetport.Inbound, Packet: make([]byte, packetport.MaxPacket+1)},
			packetport.ErrLong},
		{"long name", packetport.Hello{Name: long}, packetport.ErrLong},
		{"kind", packetport.Verdict{}, packetport.ErrValue},
		{"spi", packetport.Verdict{Kind: packet.Dropped, SPI: 1}, packetport.ErrValue},
		{"packet for an injector", packetport.Verdict{Kind: packet.Dropped, Packet: []byte{1}}, packetport.ErrValue},
		{"watched packet", packetport.Verdict{Kind: packet.Dropped, Watched: true,
			Packet: make([]byte, packetport.MaxPacket+1)}, packetport.ErrLong},
		{"inner", packetport.Verdict{Kind: packet.Dropped, Inner: make([]byte, packetport.MaxPacket+1)},
			packetport.ErrLong},
		{"reason", packetport.Verdict{Kind: packet.Dropped, Reason: long}, packetport.ErrLong},
		{"counter", packetport.Verdict{Kind: packet.Dropped, Counter: "\xff"}, packetport.ErrText},
		{"text", packetport.Refused{Text: strings.Repeat("a", packetport.MaxText+1)}, packetport.ErrLong},
		{"text not text", packetport.Refused{Text: "\xff"}, packetport.ErrText},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := tt.f.Append([]byte("before"))
			if !errors.Is(err, tt.want) || string(b) != "before" {
				t.Fatalf("Append = %q, %v, want %q, %v", b, err, "before", tt.want)
			}
		})
	}
}

// TestDecodeViews appends to what was decoded: the neighbour in the frame must not change.
func TestDecodeViews(t *testing.T) {
	b, err := packetport.Verdict{Watched: true, Kind: packet.Delivered, Packet: []byte{1}, Inner: []byte{2}}.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := packetport.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	v := f.(packetport.Verdict)
	_ = append(v.Packet, 0xff)
	if v.Inner[0] != 2 {
		t.Error("appending to Packet changed Inner")
	}
}

// The numbers of kinds on the wire are those of the ipsec package; they must never move.
func TestKindNumbers(t *testing.T) {
	want := map[packet.Kind]string{1: "delivered", 2: "transmitted", 3: "queued", 4: "held", 5: "dropped", 6: "sent"}
	for k, name := range want {
		if k.String() != name {
			t.Errorf("kind %d is %q, the protocol says %q", k, k, name)
		}
	}
}

func TestNames(t *testing.T) {
	got := fmt.Sprint(packetport.TypeInject, packetport.TypeWatch, packetport.TypeHello, packetport.TypeVerdict,
		packetport.TypeOverrun,
		packetport.TypeRefused, packetport.TypeWatching, packetport.FrameType(9), packetport.Inbound,
		packetport.Outbound, packetport.Direction(9))
	want := "inject watch hello verdict overrun refused watching unknown(0x9) inbound outbound unknown(0x9)"
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func FuzzDecode(f *testing.F) {
	for _, tt := range frames {
		f.Add(tt.bytes)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fr, err := packetport.Decode(b)
		if err != nil {
			var fe *packetport.FrameError
			if !errors.As(err, &fe) || fe.Offset < 0 || fe.Offset > len(b) || fr != nil {
				t.Fatalf("Decode = %v, %v", fr, err)
			}
			return
		}
		again, err := fr.Append(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("encoded again: %x, %v, want %x", again, err, b)
		}
		if v, ok := fr.(packetport.Verdict); ok {
			packetport.Line(v.Inner)
		}
	})
}
