package wire

import "slices"

// HeaderLen is the size of the base header in bytes.
const HeaderLen = 16

// MaxLen is the largest length in bytes that the 16-bit length field of a message or an extension can say.
const MaxLen = 0xffff * 8

// Header is the base header of a message, struct sadb_msg (RFC 2367 section 2.3).
type Header struct {
	Version  uint8
	Type     MsgType
	Errno    uint8 // the dialect's number, see [Dialect.Errno]
	SAType   SAType
	Len      uint16 // of the whole message, in 64-bit words
	Reserved uint16 // on illumos the diagnostic, see [Dialect.DiagnosticName]
	Seq      Seq
	PID      uint32
}

// Header reads the base header. It fails with ErrShort below 16 bytes and checks nothing else.
func (d *Dialect) Header(msg []byte) (Header, error) {
	if len(msg) < HeaderLen {
		return Header{}, &DecodeError{Offset: len(msg), Err: ErrShort}
	}
	return Header{
		Version:  msg[0],
		Type:     d.t.msgs.of(msg[1]),
		Errno:    msg[2],
		SAType:   d.t.satypes.of(msg[3]),
		Len:      d.u16(msg[4:]),
		Reserved: d.u16(msg[6:]),
		Seq:      Seq(d.u32(msg[8:])),
		PID:      d.u32(msg[12:]),
	}, nil
}

// PutHeader writes h over the first 16 bytes of msg, which must be there. A message or SA type that the dialect does
// not have is written as 255, which no kernel knows.
func (d *Dialect) PutHeader(msg []byte, h Header) {
	_ = msg[HeaderLen-1]
	msg[0] = h.Version
	msg[1] = d.t.msgs.write(h.Type)
	msg[2] = h.Errno
	msg[3] = d.t.satypes.write(h.SAType)
	d.put16(msg[4:], h.Len)
	d.put16(msg[6:], h.Reserved)
	d.put32(msg[8:], uint32(h.Seq))
	d.put32(msg[12:], h.PID)
}

// AppendHeader appends h to b. The length field is written as it is; [Dialect.Finish] sets it when the message is
// complete.
func (d *Dialect) AppendHeader(b []byte, h Header) []byte {
	b, p := grow(b, HeaderLen)
	d.PutHeader(p, h)
	return b
}

// Finish writes the length of msg into its base header, which must be there, and returns msg. What is longer than
// MaxLen cannot be said: the field is then 0xffff, and every receiver refuses the message.
func (d *Dialect) Finish(msg []byte) []byte {
	d.put16(msg[4:], words(len(msg)))
	return msg
}

func words(bytes int) uint16 { return uint16(min(bytes/8, 0xffff)) }

// grow appends n zero bytes and returns the whole and the new part.
func grow(b []byte, n int) (whole, part []byte) {
	whole = slices.Grow(b, n)[:len(b)+n]
	part = whole[len(b):]
	clear(part)
	return whole, part
}
