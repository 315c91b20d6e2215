package netlink

import (
	"encoding/binary"
	"fmt"
	"iter"

	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
)

// Codec turns messages of NETLINK_XFRM into values and back. Its numbers are in the byte order of the kernel, as a
// 64-bit one lays them out. Errors say that a message is none the kernel sends. What a Codec returns shares no memory
// with the message.
type Codec struct {
	Order      binary.ByteOrder
	AEAD       bool   // SAs are described with their AEADs, which AF_KEY leaves out
	SHA256Bits uint32 // of the ICV of HMAC-SHA-256 in new SAs; 0: the kernel's default, which is AF_KEY's
}

// Type is what a message is about (XFRM_MSG_*, and what netlink itself says).
type Type uint16

// The types of messages.
const (
	typeError Type = 2
	typeDone  Type = 3

	NewState      Type = 0x10 + iota - 2 // XFRM_MSG_NEWSA
	DelState                             // XFRM_MSG_DELSA
	GetState                             // XFRM_MSG_GETSA
	NewPolicy                            // XFRM_MSG_NEWPOLICY
	DelPolicy                            // XFRM_MSG_DELPOLICY
	GetPolicy                            // XFRM_MSG_GETPOLICY
	AllocSPI                             // XFRM_MSG_ALLOCSPI
	Acquire                              // XFRM_MSG_ACQUIRE
	Expire                               // XFRM_MSG_EXPIRE
	UpdPolicy                            // XFRM_MSG_UPDPOLICY
	UpdState                             // XFRM_MSG_UPDSA
	PolicyExpire                         // XFRM_MSG_POLEXPIRE
	FlushStates                          // XFRM_MSG_FLUSHSA
	FlushPolicies                        // XFRM_MSG_FLUSHPOLICY

	Migrate Type = 0x21 // XFRM_MSG_MIGRATE
	Mapping Type = 0x26 // XFRM_MSG_MAPPING
)

// Flags of a request (NLM_F_*).
const (
	flagRequest = 0x1
	flagAck     = 0x4
	flagDump    = 0x300
)

const headerLen = 16

// align is how netlink lays out messages and attributes.
func align(n int) int { return (n + 3) &^ 3 }

// Message is one message. Its body is what it was read from.
type Message struct {
	Type Type
	By   transform.By // the numbers of its header
	Body []byte
}

// Messages goes over the messages of a datagram. An error is the last.
func (c Codec) Messages(b []byte) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for len(b) > 0 {
			if len(b) < headerLen {
				yield(Message{}, errShort)
				return
			}
			n := uint64(c.Order.Uint32(b))
			if n < headerLen || n > uint64(len(b)) {
				yield(Message{}, fmt.Errorf("netlink: message of %d bytes in %d", n, len(b)))
				return
			}
			m := Message{Type: Type(c.Order.Uint16(b[4:])),
				By: transform.By{Seq: c.Order.Uint32(b[8:]), PID: c.Order.Uint32(b[12:])}, Body: b[headerLen:n:n]}
			if !yield(m, nil) {
				return
			}
			b = b[min(align(int(n)), len(b)):]
		}
	}
}

// errno reads an acknowledgement, or the end of a dump: 0, or the kernel's number of an error.
func (c Codec) errno(m Message) (int, error) {
	if len(m.Body) < 4 {
		return 0, errShort
	}
	n := int(int32(c.Order.Uint32(m.Body)))
	if n > 0 {
		return 0, fmt.Errorf("netlink: error %d", n)
	}
	return -n, nil
}

// A writer appends one message.
type writer struct {
	c     Codec
	b     []byte
	start int
}

// begin appends the header of a request. b may have capacity to spare, which need not be zero.
func (c Codec) begin(b []byte, t Type, flags uint16, by transform.By) *writer {
	w := &writer{c: c, b: b, start: len(b)}
	h := w.grow(headerLen)
	c.Order.PutUint16(h[4:], uint16(t))
	c.Order.PutUint16(h[6:], flagRequest|flags)
	c.Order.PutUint32(h[8:], by.Seq)
	c.Order.PutUint32(h[12:], by.PID)
	return w
}

// grow appends zeros.
func (w *writer) grow(n int) []byte {
	at := len(w.b)
	w.b = append(w.b, make([]byte, n)...)
	return w.b[at:]
}

// put appends a structure of n bytes.
func (w *writer) put(n int, f func(*coder)) {
	f(&coder{order: w.c.Order, b: w.grow(n), writing: true})
}

// attr appends an attribute whose payload has n bytes, and the padding behind it.
func (w *writer) attr(t attrType, n int, f func(*coder)) {
	const head = 4
	h := w.grow(head)
	w.c.Order.PutUint16(h, uint16(head+n))
	w.c.Order.PutUint16(h[2:], uint16(t))
	w.put(n, f)
	w.grow(align(n) - n)
}

// end completes the message.
func (w *writer) end() []byte {
	w.c.Order.PutUint32(w.b[w.start:], uint32(len(w.b)-w.start))
	return w.b
}

// attrType is the type of an attribute (XFRMA_*).
type attrType uint16

const (
	attrAuth          attrType = 1
	attrCrypt         attrType = 2
	attrComp          attrType = 3
	attrEncap         attrType = 4
	attrTemplates     attrType = 5
	attrState         attrType = 6
	attrPolicy        attrType = 7
	attrPolicyType    attrType = 16
	attrMigrate       attrType = 17
	attrAEAD          attrType = 18
	attrKMAddress     attrType = 19
	attrAuthTruncated attrType = 20
	attrReplayESN     attrType = 23
	attrProto         attrType = 25
	attrAddressFilter attrType = 26
)

// attributes goes over the attributes of b. Which come twice, unknown or in another order is nothing to it. An error is
// the last.
func (c Codec) attributes(b []byte) iter.Seq2[attrType, attrValue] {
	return func(yield func(attrType, attrValue) bool) {
		const head, typeMask = 4, 0x3fff
		for len(b) > 0 {
			if len(b) < head {
				yield(0, attrValue{err: errShort})
				return
			}
			n := int(c.Order.Uint16(b))
			if n < head || n > len(b) {
				yield(0, attrValue{err: fmt.Errorf("netlink: attribute of %d bytes in %d", n, len(b))})
				return
			}
			if !yield(attrType(c.Order.Uint16(b[2:])&typeMask), attrValue{b: b[head:n:n]}) {
				return
			}
			b = b[min(align(n), len(b)):]
		}
	}
}

// attrValue is the payload of an attribute, or what is wrong with it.
type attrValue struct {
	b   []byte
	err error
}

// reader reads b as structures.
func (c Codec) reader(b []byte) *coder { return &coder{order: c.Order, b: b} }
