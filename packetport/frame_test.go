package packetport

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pfkeyd/pfkeyd/packet"
)

// frames is every layout of the package comment, byte by byte.
var frames = []struct {
	name  string
	frame frame
	bytes []byte
}{
	{"inject inbound", injectFrame{Direction: Inbound, ID: 0x0102030405060708,
		Packet: []byte{0x45, 0xff}}, []byte{
		1, 0x01, 1, 0, // version, type, dir, tunnel length
		1, 2, 3, 4, 5, 6, 7, 8, // id
		0x45, 0xff,
	}},
	{"inject outbound with tunnel", injectFrame{Direction: Outbound, ID: 7, Tunnel: "tun0",
		Packet: []byte{0x60}}, []byte{
		1, 0x01, 2, 4,
		0, 0, 0, 0, 0, 0, 0, 7,
		't', 'u', 'n', '0',
		0x60,
	}},
	{"watch", watchFrame{}, []byte{1, 0x02, 0, 0}},
	{"hello", helloFrame{Name: "illumos"}, append([]byte{1, 0x81, 0, 7}, "illumos"...)},
	{"hello without name", helloFrame{}, []byte{1, 0x81, 0, 0}},
	{"verdict delivered", Verdict{ID: 3, Kind: packet.Delivered, HasSPI: true, SPI: 0x1000,
		Inner: []byte{9, 8}}, []byte{
		1, 0x82, 1, 0x01, // version, type, kind, flags
		0, 0, 0, 0, 0, 0, 0, 3, // id
		0, 0, 0x10, 0, // SPI
		0, 0, 0, 0, // lengths of reason and counter, reserved
		0, 0, 0, 0, // length of packet
		9, 8, // inner
	}},
	{"verdict dropped, watched", Verdict{
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
	{"verdict cut", Verdict{ID: 5, Kind: packet.Sent, Cut: true, Inner: []byte{1}}, []byte{
		1, 0x82, 6, 0x04,
		0, 0, 0, 0, 0, 0, 0, 5,
		0, 0, 0, 0,
		0, 0, 0, 0,
		0, 0, 0, 0,
		1,
	}},
	{"overrun", overrunFrame{Lost: 258}, []byte{1, 0x83, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2}},
	{"refused", refusedFrame{ID: 1, Text: "no"}, []byte{1, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 'n', 'o'}},
	{"watching", watchingFrame{}, []byte{1, 0x85, 0, 0}},
}

func TestFrames(t *testing.T) {
	for _, tt := range frames {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.frame.appendTo([]byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(append([]byte("before"), tt.bytes...), got); diff != "" {
				t.Errorf("encoded (-want +got):\n%s", diff)
			}
			back, err := decode(tt.bytes)
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
			f, err := decode(tt.bytes[:n])
			if err == nil {
				again, err := f.appendTo(nil)
				if err != nil || !bytes.Equal(again, tt.bytes[:n]) {
					t.Errorf("%s cut to %d bytes: taken as %+v", tt.name, n, f)
				}
				continue
			}
			var fe *FrameError
			if !errors.As(err, &fe) {
				t.Errorf("%s cut to %d bytes: error %v is no FrameError", tt.name, n, err)
			}
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	verdict := func(change func(b []byte) []byte) []byte {
		b, err := Verdict{ID: 1, Watched: true, Kind: packet.Dropped, Reason: "no-sa", Counter: "c",
			Packet: []byte{1}}.appendTo(nil)
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
		{"empty", nil, errShort, "version and type at byte 0"},
		{"one byte", []byte{1}, errShort, "version and type at byte 1"},
		{"version", []byte{2, 1}, errVersion, "version at byte 0"},
		{"type", []byte{1, 0x77}, errType, "unknown(0x77) frame: type at byte 1"},
		{"inject short", inject(1, 0)[:11], errShort, "end at byte 11"},
		{"inject without packet", inject(1, 0), errEmpty, "IP datagram at byte 12"},
		{"inject direction 0", inject(0, 0, 1), errValue, "dir at byte 2"},
		{"inject direction 3", inject(3, 0, 1), errValue, "dir at byte 2"},
		{"inject inbound with tunnel", inject(1, 1, 'a', 1), errValue,
			"tunnel of an inbound packet at byte 3"},
		{"inject tunnel past the end", inject(2, 3, 'a', 'b'), errShort, "tunnel at byte 3"},
		{"inject tunnel not text", inject(2, 1, 0xff, 1), errText, "tunnel at byte 12"},
		{"inject long packet", inject(1, 0, make([]byte, MaxPacket+1)...), errLong,
			"IP datagram at byte 12"},
		{"watch reserved", []byte{1, 2, 0, 1}, errReserved, "reserved at byte 2"},
		{"watch trailing", []byte{1, 2, 0, 0, 0}, errTrailing, "end at byte 4"},
		{"watch short", []byte{1, 2, 0}, errShort, "end at byte 3"},
		{"hello reserved", []byte{1, 0x81, 1, 0}, errReserved, "reserved at byte 2"},
		{"hello short name", []byte{1, 0x81, 0, 2, 'a'}, errShort, "name at byte 3"},
		{"hello trailing", []byte{1, 0x81, 0, 1, 'a', 'b'}, errTrailing, "end at byte 5"},
		{"hello not text", []byte{1, 0x81, 0, 1, 0xff}, errText, "name at byte 4"},
		{"verdict kind", verdict(set(2, 7)), errValue, "kind at byte 2"},
		{"verdict kind 0", verdict(set(2, 0)), errValue, "kind at byte 2"},
		{"verdict flags", verdict(set(3, 0x82)), errValue, "flags at byte 3"},
		{"verdict spi without flag", verdict(set(15, 1)), errValue, "SPI without its flag at byte 12"},
		{"verdict reserved", verdict(set(19, 1)), errReserved, "reserved at byte 18"},
		{"verdict reason past the end", verdict(set(16, 200)), errShort, "reason at byte 16"},
		{"verdict counter past the end", verdict(set(17, 200)), errShort, "counter at byte 17"},
		{"verdict reason not text", verdict(set(24, 0xff)), errText, "reason at byte 24"},
		{"verdict counter not text", verdict(set(29, 0xff)), errText, "counter at byte 29"},
		{"verdict packet past the end", verdict(set(23, 2)), errShort, "packet at byte 20"},
		{"verdict packet huge", verdict(set(20, 0xff, 0xff, 0xff, 0xff)), errLong, "packet at byte 20"},
		{"verdict packet for an injector", verdict(set(3, 0)), errValue,
			"packet for an injector at byte 20"},
		{"verdict inner huge", verdict(func(b []byte) []byte {
			return append(b, make([]byte, MaxPacket+1)...)
		}),
			errLong, "inner at byte 31"},
		{"overrun short", []byte{1, 0x83, 0, 0, 0}, errShort, "end at byte 5"},
		{"refused reserved", []byte{1, 0x84, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}, errReserved,
			"reserved at byte 2"},
		{"refused not text", []byte{1, 0x84, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff}, errText,
			"text at byte 12"},
		{"refused long", append([]byte{1, 0x84, 0, 0}, make([]byte, 9+maxText)...), errLong,
			"text at byte 12"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, err := decode(tt.in)
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
	long := strings.Repeat("a", maxName+1)
	tests := []struct {
		name string
		f    frame
		want error
	}{
		{"direction", injectFrame{Packet: []byte{1}}, errValue},
		{"inbound tunnel", injectFrame{Direction: Inbound, Tunnel: "t", Packet: []byte{1}},
			errValue},
		{"long tunnel", injectFrame{Direction: Outbound, Tunnel: long, Packet: []byte{1}},
			errLong},
		{"tunnel not text", injectFrame{Direction: Outbound, Tunnel: "\xff", Packet: []byte{1}},
			errText},
		{"no packet", injectFrame{Direction: Inbound}, errEmpty},
		{"long packet", injectFrame{Direction: Inbound, Packet: make([]byte, MaxPacket+1)},
			errLong},
		{"long name", helloFrame{Name: long}, errLong},
		{"kind", Verdict{}, errValue},
		{"spi", Verdict{Kind: packet.Dropped, SPI: 1}, errValue},
		{"packet for an injector", Verdict{Kind: packet.Dropped, Packet: []byte{1}}, errValue},
		{"watched packet", Verdict{Kind: packet.Dropped, Watched: true,
			Packet: make([]byte, MaxPacket+1)}, errLong},
		{"inner", Verdict{Kind: packet.Dropped, Inner: make([]byte, MaxPacket+1)},
			errLong},
		{"reason", Verdict{Kind: packet.Dropped, Reason: long}, errLong},
		{"counter", Verdict{Kind: packet.Dropped, Counter: "\xff"}, errText},
		{"text", refusedFrame{Text: strings.Repeat("a", maxText+1)}, errLong},
		{"text not text", refusedFrame{Text: "\xff"}, errText},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := tt.f.appendTo([]byte("before"))
			if !errors.Is(err, tt.want) || string(b) != "before" {
				t.Fatalf("Append = %q, %v, want %q, %v", b, err, "before", tt.want)
			}
		})
	}
}

// TestDecodeViews appends to what was decoded: the neighbour in the frame must not change.
func TestDecodeViews(t *testing.T) {
	b, err := Verdict{Watched: true, Kind: packet.Delivered, Packet: []byte{1}, Inner: []byte{2}}.appendTo(nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := decode(b)
	if err != nil {
		t.Fatal(err)
	}
	v := f.(Verdict)
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
	got := fmt.Sprint(typeInject, typeWatch, typeHello, typeVerdict,
		typeOverrun,
		typeRefused, typeWatching, frameType(9), Inbound,
		Outbound, Direction(9))
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
		fr, err := decode(b)
		if err != nil {
			var fe *FrameError
			if !errors.As(err, &fe) || fe.Offset < 0 || fe.Offset > len(b) || fr != nil {
				t.Fatalf("Decode = %v, %v", fr, err)
			}
			return
		}
		again, err := fr.appendTo(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("encoded again: %x, %v, want %x", again, err, b)
		}
	})
}
