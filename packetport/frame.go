package packetport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/pfkeyd/pfkeyd/packet"
)

// Version is the version of the protocol, byte 0 of every frame.
const Version = 1

// Limits of the protocol, in bytes.
const (
	MaxPacket = 40 + 65535 // an IP datagram: an IPv6 header and the longest payload
	MaxText   = 1024       // of a refusal
	MaxName   = 255        // of a tunnel, a reason, a counter, a kernel
	MaxFrame  = verdictLen + 2*MaxName + 2*MaxPacket
)

const (
	watchLen   = 4
	helloLen   = 4
	injectLen  = 12
	verdictLen = 24
	overrunLen = 12
	refusedLen = 12
)

// FrameType is byte 1 of a frame.
type FrameType uint8

// The types of frames. Those from the engine have the high bit set.
const (
	TypeInject   FrameType = 0x01
	TypeWatch    FrameType = 0x02
	TypeHello    FrameType = 0x81
	TypeVerdict  FrameType = 0x82
	TypeOverrun  FrameType = 0x83
	TypeRefused  FrameType = 0x84
	TypeWatching FrameType = 0x85
)

// String returns the name that the package comment uses, in lower case.
func (t FrameType) String() string {
	switch t {
	case TypeInject:
		return "inject"
	case TypeWatch:
		return "watch"
	case TypeHello:
		return "hello"
	case TypeVerdict:
		return "verdict"
	case TypeOverrun:
		return "overrun"
	case TypeRefused:
		return "refused"
	case TypeWatching:
		return "watching"
	}
	return fmt.Sprintf("unknown(%#x)", uint8(t))
}

// Direction is the way of an injected packet, byte 2 of INJECT.
type Direction uint8

const (
	Inbound  Direction = 1 // protected, as it came off the wire
	Outbound Direction = 2 // plaintext, to be protected as policy says
)

// String returns "inbound" or "outbound".
func (d Direction) String() string {
	switch d {
	case Inbound:
		return "inbound"
	case Outbound:
		return "outbound"
	}
	return fmt.Sprintf("unknown(%#x)", uint8(d))
}

// The flags of VERDICT.
const (
	flagSPI     = 0x01
	flagWatched = 0x02
	flagCut     = 0x04
	flagsKnown  = flagSPI | flagWatched | flagCut
)

// Causes inside a [FrameError].
var (
	ErrShort    = errors.New("the frame ends too early")
	ErrLong     = errors.New("too long")
	ErrTrailing = errors.New("bytes after the last field")
	ErrVersion  = errors.New("unknown version")
	ErrType     = errors.New("unknown frame type")
	ErrValue    = errors.New("value not allowed")
	ErrReserved = errors.New("reserved bytes are not zero")
	ErrText     = errors.New("not UTF-8 text")
	ErrEmpty    = errors.New("empty")
)

// FrameError says what is wrong with a frame and where. It never holds bytes of a packet.
type FrameError struct {
	Type   FrameType // 0 if the frame has none
	Offset int       // in bytes from the start of the frame
	Field  string    // as in the package comment
	Err    error     // one of the causes above
}

func (e *FrameError) Error() string {
	what := "frame"
	if e.Type != 0 {
		what = e.Type.String() + " frame"
	}
	return fmt.Sprintf("packetport: %s: %s at byte %d: %v", what, e.Field, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *FrameError) Unwrap() error { return e.Err }

// Frame is one datagram of the protocol: [Inject], [Watch], [Hello], [Verdict], [Overrun], [Refused] or [Watching].
type Frame interface {
	// Append encodes the frame behind b. The error is a *FrameError: a field that the layout has no room for. b is then
	// returned as it was.
	Append(b []byte) ([]byte, error)
	frame() FrameType
}

// Inject hands one IP datagram to the engine.
type Inject struct {
	Direction Direction
	ID        uint64
	Tunnel    string // of an outbound packet; empty for none
	Packet    []byte // from the first byte of the IP header, 1 to MaxPacket bytes
}

// Watch asks for all final verdicts.
type Watch struct{}

// Hello greets a connection that the engine has accepted.
type Hello struct {
	Name string // of the kernel
}

// Verdict is what became of a packet.
type Verdict struct {
	ID      uint64 // the injector's own; with Watched the engine's
	Watched bool   // told because the connection watches, not because it injected the packet
	Kind    packet.Kind
	Reason  string // why it was dropped, a name of the ipsec package's registry; empty otherwise
	Counter string // the emulated kernel's own name for the reason
	HasSPI  bool
	SPI     uint32 // host order
	Packet  []byte // with Watched: the injected packet as it was; nil if the engine made the packet itself
	Inner   []byte // the IP packet handed on or sent out; nil if there is none
	Cut     bool   // Inner was longer than MaxPacket
}

// Final reports whether no other verdict of this packet follows.
func (v *Verdict) Final() bool { return v.Kind.Final() }

func (v *Verdict) size() int {
	return verdictLen + len(v.Reason) + len(v.Counter) + len(v.Packet) + len(v.Inner)
}

// Overrun stands where frames are missing because the connection was not read in time.
type Overrun struct {
	Lost uint64 // number of lost frames
}

// Refused answers a frame that could not be used or, as the first frame, the connection.
type Refused struct {
	ID   uint64 // of the refused INJECT; 0 if it had none
	Text string // at most MaxText bytes
}

// Watching answers a WATCH.
type Watching struct{}

func (Inject) frame() FrameType   { return TypeInject }
func (Watch) frame() FrameType    { return TypeWatch }
func (Hello) frame() FrameType    { return TypeHello }
func (Verdict) frame() FrameType  { return TypeVerdict }
func (Overrun) frame() FrameType  { return TypeOverrun }
func (Refused) frame() FrameType  { return TypeRefused }
func (Watching) frame() FrameType { return TypeWatching }

// Append implements [Frame].
func (f Inject) Append(b []byte) ([]byte, error) {
	switch {
	case f.Direction != Inbound && f.Direction != Outbound:
		return b, &FrameError{TypeInject, 2, "dir", ErrValue}
	case f.Direction == Inbound && f.Tunnel != "":
		return b, &FrameError{TypeInject, 3, "tunnel of an inbound packet", ErrValue}
	case len(f.Tunnel) > MaxName:
		return b, &FrameError{TypeInject, 3, "tunnel", ErrLong}
	case !utf8.ValidString(f.Tunnel):
		return b, &FrameError{TypeInject, injectLen, "tunnel", ErrText}
	case len(f.Packet) == 0:
		return b, &FrameError{TypeInject, injectLen + len(f.Tunnel), "IP datagram", ErrEmpty}
	case len(f.Packet) > MaxPacket:
		return b, &FrameError{TypeInject, injectLen + len(f.Tunnel), "IP datagram", ErrLong}
	}
	b = append(b, Version, byte(TypeInject), byte(f.Direction), byte(len(f.Tunnel)))
	b = binary.BigEndian.AppendUint64(b, f.ID)
	b = append(b, f.Tunnel...)
	return append(b, f.Packet...), nil
}

// Append implements [Frame].
func (Watch) Append(b []byte) ([]byte, error) { return append(b, Version, byte(TypeWatch), 0, 0), nil }

// Append implements [Frame].
func (Watching) Append(b []byte) ([]byte, error) {
	return append(b, Version, byte(TypeWatching), 0, 0), nil
}

// Append implements [Frame].
func (f Hello) Append(b []byte) ([]byte, error) {
	if err := checkName(TypeHello, helloLen, "name", f.Name); err != nil {
		return b, err
	}
	b = append(b, Version, byte(TypeHello), 0, byte(len(f.Name)))
	return append(b, f.Name...), nil
}

// Append implements [Frame].
func (f Verdict) Append(b []byte) ([]byte, error) {
	switch {
	case f.Kind < packet.Delivered || f.Kind > packet.Sent:
		return b, &FrameError{TypeVerdict, 2, "kind", ErrValue}
	case !f.HasSPI && f.SPI != 0:
		return b, &FrameError{TypeVerdict, 12, "SPI without its flag", ErrValue}
	case !f.Watched && len(f.Packet) != 0:
		return b, &FrameError{TypeVerdict, 20, "packet for an injector", ErrValue}
	case len(f.Packet) > MaxPacket:
		return b, &FrameError{TypeVerdict, 20, "packet", ErrLong}
	case len(f.Inner) > MaxPacket:
		return b, &FrameError{TypeVerdict, verdictLen + len(f.Reason) + len(f.Counter) + len(f.Packet), "inner",
			ErrLong}
	}
	if err := checkName(TypeVerdict, verdictLen, "reason", f.Reason); err != nil {
		return b, err
	}
	if err := checkName(TypeVerdict, verdictLen+len(f.Reason), "counter", f.Counter); err != nil {
		return b, err
	}
	var flags byte
	if f.HasSPI {
		flags |= flagSPI
	}
	if f.Watched {
		flags |= flagWatched
	}
	if f.Cut {
		flags |= flagCut
	}
	b = append(b, Version, byte(TypeVerdict), byte(f.Kind), flags)
	b = binary.BigEndian.AppendUint64(b, f.ID)
	b = binary.BigEndian.AppendUint32(b, f.SPI)
	b = append(b, byte(len(f.Reason)), byte(len(f.Counter)), 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.Packet)))
	b = append(b, f.Reason...)
	b = append(b, f.Counter...)
	b = append(b, f.Packet...)
	return append(b, f.Inner...), nil
}

// Append implements [Frame].
func (f Overrun) Append(b []byte) ([]byte, error) {
	b = append(b, Version, byte(TypeOverrun), 0, 0)
	return binary.BigEndian.AppendUint64(b, f.Lost), nil
}

// Append implements [Frame].
func (f Refused) Append(b []byte) ([]byte, error) {
	if len(f.Text) > MaxText {
		return b, &FrameError{TypeRefused, refusedLen, "text", ErrLong}
	}
	if !utf8.ValidString(f.Text) {
		return b, &FrameError{TypeRefused, refusedLen, "text", ErrText}
	}
	b = append(b, Version, byte(TypeRefused), 0, 0)
	b = binary.BigEndian.AppendUint64(b, f.ID)
	return append(b, f.Text...), nil
}

func checkName(t FrameType, offset int, field, s string) error {
	if len(s) > MaxName {
		return &FrameError{t, offset, field, ErrLong}
	}
	if !utf8.ValidString(s) {
		return &FrameError{t, offset, field, ErrText}
	}
	return nil
}

// Decode reads one frame. What it returns is one of the types of [Frame], by value; byte slices in it are views into b,
// limited in capacity. The error is a *FrameError. Encoding what was decoded gives the same bytes.
func Decode(b []byte) (Frame, error) {
	if len(b) < 2 {
		return nil, &FrameError{0, len(b), "version and type", ErrShort}
	}
	t := FrameType(b[1])
	if b[0] != Version {
		return nil, &FrameError{t, 0, "version", ErrVersion}
	}
	switch t {
	case TypeInject:
		return decodeInject(b)
	case TypeWatch:
		return orError(Watch{}, fixed(t, b, watchLen))
	case TypeWatching:
		return orError(Watching{}, fixed(t, b, watchLen))
	case TypeHello:
		return decodeHello(b)
	case TypeVerdict:
		return decodeVerdict(b)
	case TypeOverrun:
		if err := fixed(t, b, overrunLen); err != nil {
			return nil, err
		}
		return Overrun{Lost: binary.BigEndian.Uint64(b[4:])}, nil
	case TypeRefused:
		return decodeRefused(b)
	}
	return nil, &FrameError{t, 1, "type", ErrType}
}

func orError(f Frame, err error) (Frame, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// fixed checks a frame of exactly n bytes whose bytes 2 and 3 are reserved.
func fixed(t FrameType, b []byte, n int) error {
	switch {
	case len(b) < n:
		return &FrameError{t, len(b), "end", ErrShort}
	case b[2] != 0 || b[3] != 0:
		return &FrameError{t, 2, "reserved", ErrReserved}
	case len(b) > n:
		return &FrameError{t, n, "end", ErrTrailing}
	}
	return nil
}

func decodeInject(b []byte) (Frame, error) {
	if len(b) < injectLen {
		return nil, &FrameError{TypeInject, len(b), "end", ErrShort}
	}
	f := Inject{Direction: Direction(b[2]), ID: binary.BigEndian.Uint64(b[4:])}
	if f.Direction != Inbound && f.Direction != Outbound {
		return nil, &FrameError{TypeInject, 2, "dir", ErrValue}
	}
	n := int(b[3])
	if f.Direction == Inbound && n != 0 {
		return nil, &FrameError{TypeInject, 3, "tunnel of an inbound packet", ErrValue}
	}
	rest := b[injectLen:]
	if n > len(rest) {
		return nil, &FrameError{TypeInject, 3, "tunnel", ErrShort}
	}
	f.Tunnel, rest = string(rest[:n]), rest[n:]
	if !utf8.ValidString(f.Tunnel) {
		return nil, &FrameError{TypeInject, injectLen, "tunnel", ErrText}
	}
	if len(rest) == 0 {
		return nil, &FrameError{TypeInject, len(b), "IP datagram", ErrEmpty}
	}
	if len(rest) > MaxPacket {
		return nil, &FrameError{TypeInject, injectLen + n, "IP datagram", ErrLong}
	}
	f.Packet = rest[:len(rest):len(rest)]
	return f, nil
}

func decodeHello(b []byte) (Frame, error) {
	if len(b) < helloLen {
		return nil, &FrameError{TypeHello, len(b), "end", ErrShort}
	}
	if b[2] != 0 {
		return nil, &FrameError{TypeHello, 2, "reserved", ErrReserved}
	}
	n := int(b[3])
	name := b[helloLen:]
	switch {
	case len(name) < n:
		return nil, &FrameError{TypeHello, 3, "name", ErrShort}
	case len(name) > n:
		return nil, &FrameError{TypeHello, helloLen + n, "end", ErrTrailing}
	case !utf8.Valid(name):
		return nil, &FrameError{TypeHello, helloLen, "name", ErrText}
	}
	return Hello{Name: string(name)}, nil
}

func decodeVerdict(b []byte) (Frame, error) {
	if len(b) < verdictLen {
		return nil, &FrameError{TypeVerdict, len(b), "end", ErrShort}
	}
	flags := b[3]
	f := Verdict{
		Kind:    packet.Kind(b[2]),
		HasSPI:  flags&flagSPI != 0,
		Watched: flags&flagWatched != 0,
		Cut:     flags&flagCut != 0,
		ID:      binary.BigEndian.Uint64(b[4:]),
		SPI:     binary.BigEndian.Uint32(b[12:]),
	}
	switch {
	case f.Kind < packet.Delivered || f.Kind > packet.Sent:
		return nil, &FrameError{TypeVerdict, 2, "kind", ErrValue}
	case flags&^flagsKnown != 0:
		return nil, &FrameError{TypeVerdict, 3, "flags", ErrValue}
	case !f.HasSPI && f.SPI != 0:
		return nil, &FrameError{TypeVerdict, 12, "SPI without its flag", ErrValue}
	case b[18] != 0 || b[19] != 0:
		return nil, &FrameError{TypeVerdict, 18, "reserved", ErrReserved}
	}
	at, rest := verdictLen, b[verdictLen:]
	for _, s := range []struct {
		to     *string
		field  string
		offset int
	}{{&f.Reason, "reason", 16}, {&f.Counter, "counter", 17}} {
		n := int(b[s.offset])
		if n > len(rest) {
			return nil, &FrameError{TypeVerdict, s.offset, s.field, ErrShort}
		}
		if !utf8.Valid(rest[:n]) {
			return nil, &FrameError{TypeVerdict, at, s.field, ErrText}
		}
		*s.to, rest, at = string(rest[:n]), rest[n:], at+n
	}
	n := binary.BigEndian.Uint32(b[20:])
	switch {
	case n > MaxPacket:
		return nil, &FrameError{TypeVerdict, 20, "packet", ErrLong}
	case int(n) > len(rest):
		return nil, &FrameError{TypeVerdict, 20, "packet", ErrShort}
	case n != 0 && !f.Watched:
		return nil, &FrameError{TypeVerdict, 20, "packet for an injector", ErrValue}
	case len(rest)-int(n) > MaxPacket:
		return nil, &FrameError{TypeVerdict, at + int(n), "inner", ErrLong}
	}
	if n != 0 {
		f.Packet = rest[:n:n]
	}
	if inner := rest[n:]; len(inner) != 0 {
		f.Inner = inner[:len(inner):len(inner)]
	}
	return f, nil
}

func decodeRefused(b []byte) (Frame, error) {
	switch {
	case len(b) < refusedLen:
		return nil, &FrameError{TypeRefused, len(b), "end", ErrShort}
	case b[2] != 0 || b[3] != 0:
		return nil, &FrameError{TypeRefused, 2, "reserved", ErrReserved}
	case len(b) > refusedLen+MaxText:
		return nil, &FrameError{TypeRefused, refusedLen, "text", ErrLong}
	case !utf8.Valid(b[refusedLen:]):
		return nil, &FrameError{TypeRefused, refusedLen, "text", ErrText}
	}
	return Refused{ID: binary.BigEndian.Uint64(b[4:]), Text: string(b[refusedLen:])}, nil
}
