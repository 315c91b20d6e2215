package launch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
)

// A session is a conversation over a SOCK_SEQPACKET Unix socket between a switchboard and a desk. The desk greets; then
// each request of the switchboard has one reply with its serial number. Replies come in any order. Numbers are
// big-endian.
//
//	greeting  "PFKH", version (2 bytes), the engine's address as text; or "PFKH", 0 (2 bytes), why there is no session
//	request   operation (1), 3 bytes of zero, serial (4), then
//	          attach:  end (8), process (4), user (4), group (4), 1 if it waits for begin and 2 if it is hosted,
//	                   added (4); with one descriptor, the end itself
//	          begin:   end; its client is served from here on
//	          send:    end, process (4), the message; or no message and one descriptor, a file that holds it
//	          replay:  end, process (4), the message; before begin
//	          call:    end, what is called (4)
//	          set:     end, option (4), value (4)
//	          get:     end, option (4)
//	          trace:   format (1), 1 if keys are shown (1), 2 bytes of zero; with one descriptor, the file to write
//	          sockets: nothing; with one descriptor, the file to write the list into
//	reply     operation, 3 bytes of zero, serial, errno of this machine (4) or 0, value (4)
//
// The value is that of the option (get), or the key of a message that belongs to the socket (send, see pfkey.StateKey),
// else 0. A switchboard numbers its ends as it likes. Neither side says goodbye: a session ends when one of them closes
// it or dies. The ends stay attached.
const (
	magic       = "PFKH"
	version     = 3
	refusal     = 0 // in the place of a version
	maxGreeting = 512

	opAttach  = 1
	opBegin   = 2
	opTrace   = 3
	opSend    = 4
	opReplay  = 5
	opCall    = 6
	opSet     = 7
	opGet     = 8
	opSockets = 9

	attachHeld   = 1
	attachHosted = 2

	requestHeader = 8
	requestLen    = 32          // of the longest one, but for the message
	inlineLen     = 16 << 10    // the longest message that is in the request itself
	maxMessage    = 65535*8 + 1 // one byte more than the longest one, so that longer ones show
	replyLen      = 16
)

// AttachPath is where the engine whose PF_KEY socket is at path takes ends over.
func AttachPath(path string) string { return path + ".attach" }

// A TraceFormat says how a trace is written.
type TraceFormat uint8

// The formats.
const (
	TraceText   TraceFormat = 1 // annotated text
	TracePcapng TraceFormat = 2 // packets of link type USER0, with a comment each
)

// A TraceRequest asks for every message of the sockets that a session attaches afterwards.
type TraceRequest struct {
	// File is where to write; whoever gets the request owns it, and may switch it to non-blocking mode, for everybody
	// who shares it.
	File     *os.File
	Format   TraceFormat
	ShowKeys bool // otherwise key bytes are zero
}

func appendGreeting(b []byte, address string) []byte {
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint16(b, version)
	return append(b, address...)
}

// appendRefusal is what comes in place of a greeting.
func appendRefusal(b []byte, why string) []byte {
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint16(b, refusal)
	return append(b, why[:min(len(why), maxGreeting-len(b))]...)
}

func parseGreeting(b []byte) (address string, err error) {
	if len(b) < len(magic)+2 || string(b[:len(magic)]) != magic {
		return "", errors.New("who answers is not an engine's hand-over socket")
	}
	switch v := binary.BigEndian.Uint16(b[len(magic):]); v {
	case version:
	case refusal:
		return "", fmt.Errorf("the engine refuses: %s", b[len(magic)+2:])
	default:
		return "", fmt.Errorf("the engine speaks version %d of the hand-over, this program version %d", v, version)
	}
	return string(b[len(magic)+2:]), nil
}

// A request is any of those above. The operation says which fields count.
type request struct {
	op     byte
	serial uint32
	end    uint64
	cred   pfkey.Cred // attach; of send and replay only the process
	held   bool       // attach
	hosted bool       // attach
	what   uint32     // call, set, get
	value  int32      // set
	msg    []byte     // send, replay; a part of the buffer that it was read from
	format TraceFormat
	keys   bool
}

// The length of what follows the header, by operation. Messages come on top.
var bodies = map[byte]int{
	opAttach: 24, opBegin: 8, opSend: 12, opReplay: 12, opCall: 12, opSet: 16, opGet: 12, opTrace: 4, opSockets: 0,
}

func (r *request) append(b []byte) []byte {
	b = append(b, r.op, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, r.serial)
	switch r.op {
	case opTrace:
		b = append(b, byte(r.format), 0, 0, 0)
		if r.keys {
			b[len(b)-3] = 1
		}
		return b
	case opSockets:
		return b
	}
	b = binary.BigEndian.AppendUint64(b, r.end)
	switch r.op {
	case opAttach:
		b = binary.BigEndian.AppendUint32(b, uint32(r.cred.PID))
		b = binary.BigEndian.AppendUint32(b, r.cred.UID)
		b = binary.BigEndian.AppendUint32(b, r.cred.GID)
		b = append(b, 0, 0, 0, 0)
		if r.held {
			b[len(b)-1] |= attachHeld
		}
		if r.hosted {
			b[len(b)-1] |= attachHosted
		}
	case opSend, opReplay:
		b = binary.BigEndian.AppendUint32(b, uint32(r.cred.PID))
		b = append(b, r.msg...)
	case opCall, opGet:
		b = binary.BigEndian.AppendUint32(b, r.what)
	case opSet:
		b = binary.BigEndian.AppendUint32(b, r.what)
		b = binary.BigEndian.AppendUint32(b, uint32(r.value))
	}
	return b
}

// parseRequest reads a request; an error means that the other side speaks something else.
func parseRequest(b []byte) (r request, err error) {
	if len(b) < requestHeader {
		return r, fmt.Errorf("a request of %d bytes", len(b))
	}
	r.op, r.serial = b[0], binary.BigEndian.Uint32(b[4:])
	body := b[requestHeader:]
	want, ok := bodies[r.op]
	message := r.op == opSend || r.op == opReplay
	switch {
	case !ok:
		return r, fmt.Errorf("unknown operation %d", r.op)
	case len(body) < want, len(body) > want && !message, len(body) > want+inlineLen:
		return r, fmt.Errorf("operation %d with %d bytes, want %d", r.op, len(body), want)
	}
	switch r.op {
	case opTrace:
		r.format, r.keys = TraceFormat(body[0]), body[1] != 0
		return r, nil
	case opSockets:
		return r, nil
	}
	r.end, body = binary.BigEndian.Uint64(body), body[8:]
	number := func(i int) uint32 { return binary.BigEndian.Uint32(body[4*i:]) }
	switch r.op {
	case opAttach:
		r.cred = pfkey.Cred{PID: int32(number(0)), UID: number(1), GID: number(2), Privileged: true}
		r.held, r.hosted = number(3)&attachHeld != 0, number(3)&attachHosted != 0
	case opSend, opReplay:
		r.cred.PID, r.msg = int32(number(0)), body[4:]
	case opCall, opGet:
		r.what = number(0)
	case opSet:
		r.what, r.value = number(0), int32(number(1))
	}
	return r, nil
}

// A reply is what comes of a request.
type reply struct {
	op     byte
	serial uint32
	errno  unix.Errno
	value  uint32
}

func (r reply) append(b []byte) []byte {
	b = append(b, r.op, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, r.serial)
	b = binary.BigEndian.AppendUint32(b, uint32(r.errno))
	return binary.BigEndian.AppendUint32(b, r.value)
}

func parseReply(b []byte) (reply, error) {
	if len(b) != replyLen {
		return reply{}, fmt.Errorf("a reply of %d bytes", len(b))
	}
	number := func(i int) uint32 { return binary.BigEndian.Uint32(b[4*i:]) }
	return reply{op: b[0], serial: number(1), errno: unix.Errno(number(2)), value: number(3)}, nil
}

// err is the errno of a reply as an error, nil if nothing is wrong.
func (r reply) err() error {
	if r.errno == 0 {
		return nil
	}
	return r.errno
}
