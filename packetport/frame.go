package packetport

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/pfkeyd/pfkeyd/packet"
)

// version is the version of the protocol, byte 0 of every frame.
const version = 1

// Limits of the protocol, in bytes.
const (
	MaxPacket = 40 + 65535 // an IP datagram: an IPv6 header and the longest payload
	maxText   = 1024       // of a refusal
	maxName   = 255        // of a tunnel, a reason, a counter, a kernel
	maxFrame  = verdictLen + 2*maxName + 2*MaxPacket
)

const (
	watchLen   = 4
	helloLen   = 4
	injectLen  = 12
	verdictLen = 24
	overrunLen = 12
	refusedLen = 12
)

// frameType is byte 1 of a frame.
type frameType uint8

// The types of frames. Those from the engine have the high bit set.
const (
	typeInject   frameType = 0x01
	typeWatch    frameType = 0x02
	typeHello    frameType = 0x81
	typeVerdict  frameType = 0x82
	typeOverrun  frameType = 0x83
	typeRefused  frameType = 0x84
	typeWatching frameType = 0x85
)

// String returns the name that the package comment uses, in lower case.
func (t frameType) String() string {
	switch t {
	case typeInject:
		return "inject"
	case typeWatch:
		return "watch"
	case typeHello:
		return "hello"
	case typeVerdict:
		return "verdict"
	case typeOverrun:
		return "overrun"
	case typeRefused:
		return "refused"
	case typeWatching:
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
	errShort    = errors.New("the frame ends too early")
	errLong     = errors.New("too long")
	errTrailing = errors.New("bytes after the last field")
	errVersion  = errors.New("unknown version")
	errType     = errors.New("unknown frame type")
	errValue    = errors.New("value not allowed")
	errReserved = errors.New("reserved bytes are not zero")
	errText     = errors.New("not UTF-8 text")
	errEmpty    = errors.New("empty")
)

// FrameError says what is wrong with a frame and where. It never holds bytes of a packet.
type FrameError struct {
	typ    frameType // 0 if the frame has none
	Offset int       // in bytes from the start of the frame
	Field  string    // as in the package comment
	Err    error     // what is wrong there
}

func (e *FrameError) Error() string {
	what := "frame"
	if e.typ != 0 {
		what = e.typ.String() + " frame"
	}
	return fmt.Sprintf("packetport: %s: %s at byte %d: %v", what, e.Field, e.Offset, e.Err)
}

// Unwrap returns the cause.
func (e *FrameError) Unwrap() error { return e.Err }

// frame is one datagram of the protocol: a [Verdict], or one of the types whose names end in Frame.
type frame interface {
	// appendTo encodes the frame behind b. The error is a *FrameError: a field that the layout has no room for. b is
	// then returned as it was.
	appendTo(b []byte) ([]byte, error)
	frame() frameType
}

// injectFrame hands one IP datagram to the engine.
type injectFrame struct {
	Direction Direction
	ID        uint64
	Tunnel    string // of an outbound packet; empty for none
	Packet    []byte // from the first byte of the IP header, 1 to MaxPacket bytes
}

// watchFrame asks for all final verdicts.
type watchFrame struct{}

// helloFrame greets a connection that the engine has accepted.
type helloFrame struct {
	Name string // of the kernel
}

// Verdict is what became of a packet.
type Verdict struct {
	ID      uint64 // the injector's own; with Watched the engine's
	Watched bool   // told because the connection watches, not because it injected the packet
	Kind    packet.Kind
	Reason  string // why it was dropped, as [packet.Reason] names it; empty otherwise
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

// overrunFrame stands where frames are missing because the connection was not read in time.
type overrunFrame struct {
	Lost uint64 // number of lost frames
}

// refusedFrame answers a frame that could not be used or, as the first frame, the connection.
type refusedFrame struct {
	ID   uint64 // of the refused INJECT; 0 if it had none
	Text string // at most maxText bytes
}

// watchingFrame answers a WATCH.
type watchingFrame struct{}

func (injectFrame) frame() frameType   { return typeInject }
func (watchFrame) frame() frameType    { return typeWatch }
func (helloFrame) frame() frameType    { return typeHello }
func (Verdict) frame() frameType       { return typeVerdict }
func (overrunFrame) frame() frameType  { return typeOverrun }
func (refusedFrame) frame() frameType  { return typeRefused }
func (watchingFrame) frame() frameType { return typeWatching }

func (f injectFrame) appendTo(b []byte) ([]byte, error) {
	switch {
	case f.Direction != Inbound && f.Direction != Outbound:
		return b, &FrameError{typeInject, 2, "dir", errValue}
	case f.Direction == Inbound && f.Tunnel != "":
		return b, &FrameError{typeInject, 3, "tunnel of an inbound packet", errValue}
	case len(f.Tunnel) > maxName:
		return b, &FrameError{typeInject, 3, "tunnel", errLong}
	case !utf8.ValidString(f.Tunnel):
		return b, &FrameError{typeInject, injectLen, "tunnel", errText}
	case len(f.Packet) == 0:
		return b, &FrameError{typeInject, injectLen + len(f.Tunnel), "IP datagram", errEmpty}
	case len(f.Packet) > MaxPacket:
		return b, &FrameError{typeInject, injectLen + len(f.Tunnel), "IP datagram", errLong}
	}
	b = append(b, version, byte(typeInject), byte(f.Direction), byte(len(f.Tunnel)))
	b = binary.BigEndian.AppendUint64(b, f.ID)
	b = append(b, f.Tunnel...)
	return append(b, f.Packet...), nil
}

func (watchFrame) appendTo(b []byte) ([]byte, error) {
	return append(b, version, byte(typeWatch), 0, 0), nil
}

func (watchingFrame) appendTo(b []byte) ([]byte, error) {
	return append(b, version, byte(typeWatching), 0, 0), nil
}

func (f helloFrame) appendTo(b []byte) ([]byte, error) {
	if err := checkName(typeHello, helloLen, "name", f.Name); err != nil {
		return b, err
	}
	b = append(b, version, byte(typeHello), 0, byte(len(f.Name)))
	return append(b, f.Name...), nil
}

func (f Verdict) appendTo(b []byte) ([]byte, error) {
	switch {
	case f.Kind < packet.Delivered || f.Kind > packet.Sent:
		return b, &FrameError{typeVerdict, 2, "kind", errValue}
	case !f.HasSPI && f.SPI != 0:
		return b, &FrameError{typeVerdict, 12, "SPI without its flag", errValue}
	case !f.Watched && len(f.Packet) != 0:
		return b, &FrameError{typeVerdict, 20, "packet for an injector", errValue}
	case len(f.Packet) > MaxPacket:
		return b, &FrameError{typeVerdict, 20, "packet", errLong}
	case len(f.Inner) > MaxPacket:
		return b, &FrameError{typeVerdict, verdictLen + len(f.Reason) + len(f.Counter) + len(f.Packet), "inner",
			errLong}
	}
	if err := checkName(typeVerdict, verdictLen, "reason", f.Reason); err != nil {
		return b, err
	}
	if err := checkName(typeVerdict, verdictLen+len(f.Reason), "counter", f.Counter); err != nil {
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
	b = append(b, version, byte(typeVerdict), byte(f.Kind), flags)
	b = binary.BigEndian.AppendUint64(b, f.ID)
	b = binary.BigEndian.AppendUint32(b, f.SPI)
	b = append(b, byte(len(f.Reason)), byte(len(f.Counter)), 0, 0)
	b = binary.BigEndian.AppendUint32(b, uint32(len(f.Packet)))
	b = append(b, f.Reason...)
	b = append(b, f.Counter...)
	b = append(b, f.Packet...)
	return append(b, f.Inner...), nil
}

func (f overrunFrame) appendTo(b []byte) ([]byte, error) {
	b = append(b, version, byte(typeOverrun), 0, 0)
	return binary.BigEndian.AppendUint64(b, f.Lost), nil
}

func (f refusedFrame) appendTo(b []byte) ([]byte, error) {
	if len(f.Text) > maxText {
		return b, &FrameError{typeRefused, refusedLen, "text", errLong}
	}
	if !utf8.ValidString(f.Text) {
		return b, &FrameError{typeRefused, refusedLen, "text", errText}
	}
	b = append(b, version, byte(typeRefused), 0, 0)
	b = binary.BigEndian.AppendUint64(b, f.ID)
	return append(b, f.Text...), nil
}

func checkName(t frameType, offset int, field, s string) error {
	if len(s) > maxName {
		return &FrameError{t, offset, field, errLong}
	}
	if !utf8.ValidString(s) {
		return &FrameError{t, offset, field, errText}
	}
	return nil
}

// decode reads one frame. What it returns is one of the types of frame, by value; byte slices in it are views into b,
// limited in capacity. The error is a *FrameError. Encoding what was decoded gives the same bytes.
func decode(b []byte) (frame, error) {
	if len(b) < 2 {
		return nil, &FrameError{0, len(b), "version and type", errShort}
	}
	t := frameType(b[1])
	if b[0] != version {
		return nil, &FrameError{t, 0, "version", errVersion}
	}
	switch t {
	case typeInject:
		return decodeInject(b)
	case typeWatch:
		return orError(watchFrame{}, fixed(t, b, watchLen))
	case typeWatching:
		return orError(watchingFrame{}, fixed(t, b, watchLen))
	case typeHello:
		return decodeHello(b)
	case typeVerdict:
		return decodeVerdict(b)
	case typeOverrun:
		if err := fixed(t, b, overrunLen); err != nil {
			return nil, err
		}
		return overrunFrame{Lost: binary.BigEndian.Uint64(b[4:])}, nil
	case typeRefused:
		return decodeRefused(b)
	}
	return nil, &FrameError{t, 1, "type", errType}
}

func orError(f frame, err error) (frame, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// fixed checks a frame of exactly n bytes whose bytes 2 and 3 are reserved.
func fixed(t frameType, b []byte, n int) error {
	switch {
	case len(b) < n:
		return &FrameError{t, len(b), "end", errShort}
	case b[2] != 0 || b[3] != 0:
		return &FrameError{t, 2, "reserved", errReserved}
	case len(b) > n:
		return &FrameError{t, n, "end", errTrailing}
	}
	return nil
}

func decodeInject(b []byte) (frame, error) {
	if len(b) < injectLen {
		return nil, &FrameError{typeInject, len(b), "end", errShort}
	}
	f := injectFrame{Direction: Direction(b[2]), ID: binary.BigEndian.Uint64(b[4:])}
	if f.Direction != Inbound && f.Direction != Outbound {
		return nil, &FrameError{typeInject, 2, "dir", errValue}
	}
	n := int(b[3])
	if f.Direction == Inbound && n != 0 {
		return nil, &FrameError{typeInject, 3, "tunnel of an inbound packet", errValue}
	}
	rest := b[injectLen:]
	if n > len(rest) {
		return nil, &FrameError{typeInject, 3, "tunnel", errShort}
	}
	f.Tunnel, rest = string(rest[:n]), rest[n:]
	if !utf8.ValidString(f.Tunnel) {
		return nil, &FrameError{typeInject, injectLen, "tunnel", errText}
	}
	if len(rest) == 0 {
		return nil, &FrameError{typeInject, len(b), "IP datagram", errEmpty}
	}
	if len(rest) > MaxPacket {
		return nil, &FrameError{typeInject, injectLen + n, "IP datagram", errLong}
	}
	f.Packet = rest[:len(rest):len(rest)]
	return f, nil
}

func decodeHello(b []byte) (frame, error) {
	if len(b) < helloLen {
		return nil, &FrameError{typeHello, len(b), "end", errShort}
	}
	if b[2] != 0 {
		return nil, &FrameError{typeHello, 2, "reserved", errReserved}
	}
	n := int(b[3])
	name := b[helloLen:]
	switch {
	case len(name) < n:
		return nil, &FrameError{typeHello, 3, "name", errShort}
	case len(name) > n:
		return nil, &FrameError{typeHello, helloLen + n, "end", errTrailing}
	case !utf8.Valid(name):
		return nil, &FrameError{typeHello, helloLen, "name", errText}
	}
	return helloFrame{Name: string(name)}, nil
}

func decodeVerdict(b []byte) (frame, error) {
	if len(b) < verdictLen {
		return nil, &FrameError{typeVerdict, len(b), "end", errShort}
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
		return nil, &FrameError{typeVerdict, 2, "kind", errValue}
	case flags&^flagsKnown != 0:
		return nil, &FrameError{typeVerdict, 3, "flags", errValue}
	case !f.HasSPI && f.SPI != 0:
		return nil, &FrameError{typeVerdict, 12, "SPI without its flag", errValue}
	case b[18] != 0 || b[19] != 0:
		return nil, &FrameError{typeVerdict, 18, "reserved", errReserved}
	}
	at, rest := verdictLen, b[verdictLen:]
	for _, s := range []struct {
		to     *string
		field  string
		offset int
	}{{&f.Reason, "reason", 16}, {&f.Counter, "counter", 17}} {
		n := int(b[s.offset])
		if n > len(rest) {
			return nil, &FrameError{typeVerdict, s.offset, s.field, errShort}
		}
		if !utf8.Valid(rest[:n]) {
			return nil, &FrameError{typeVerdict, at, s.field, errText}
		}
		*s.to, rest, at = string(rest[:n]), rest[n:], at+n
	}
	n := binary.BigEndian.Uint32(b[20:])
	switch {
	case n > MaxPacket:
		return nil, &FrameError{typeVerdict, 20, "packet", errLong}
	case int(n) > len(rest):
		return nil, &FrameError{typeVerdict, 20, "packet", errShort}
	case n != 0 && !f.Watched:
		return nil, &FrameError{typeVerdict, 20, "packet for an injector", errValue}
	case len(rest)-int(n) > MaxPacket:
		return nil, &FrameError{typeVerdict, at + int(n), "inner", errLong}
	}
	if n != 0 {
		f.Packet = rest[:n:n]
	}
	if inner := rest[n:]; len(inner) != 0 {
		f.Inner = inner[:len(inner):len(inner)]
	}
	return f, nil
}

func decodeRefused(b []byte) (frame, error) {
	switch {
	case len(b) < refusedLen:
		return nil, &FrameError{typeRefused, len(b), "end", errShort}
	case b[2] != 0 || b[3] != 0:
		return nil, &FrameError{typeRefused, 2, "reserved", errReserved}
	case len(b) > refusedLen+maxText:
		return nil, &FrameError{typeRefused, refusedLen, "text", errLong}
	case !utf8.Valid(b[refusedLen:]):
		return nil, &FrameError{typeRefused, refusedLen, "text", errText}
	}
	return refusedFrame{ID: binary.BigEndian.Uint64(b[4:]), Text: string(b[refusedLen:])}, nil
}
