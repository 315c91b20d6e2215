package launch

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
)

// A session is a conversation over a SOCK_SEQPACKET Unix socket between a switchboard and a desk. The desk greets; then each
// request of the switchboard has one reply, in order. Numbers are big-endian.
//
//	greeting  "PFKH", version (2 bytes), the engine's address as text; or "PFKH", 0 (2 bytes), why there is no session
//	request   operation (1), 3 bytes of zero, serial (4), then
//	          attach: process (4), user (4), group (4); with one descriptor, the end to attach
//	          gate:   nothing
//	          trace:  format (1), 1 if keys are shown (1), 2 bytes of zero; with one descriptor, the file to write
//	reply     operation, 3 bytes of zero, serial, errno of this machine (4) or 0
//
// Neither side says goodbye: a session ends when one of them closes it or dies. The ends stay attached.
const (
	magic       = "PFKH"
	version     = 1
	refusal     = 0 // in the place of a version
	maxGreeting = 512

	opAttach = 1
	opGate   = 2
	opTrace  = 3

	requestHeader = 8
	requestLen    = 20 // of the longest one
	replyLen      = 12
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

// A request is any of the three.
type request struct {
	op     byte
	serial uint32
	cred   pfkey.Cred  // attach
	format TraceFormat // trace
	keys   bool        // trace
}

func (r *request) append(b []byte) []byte {
	b = append(b, r.op, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, r.serial)
	switch r.op {
	case opAttach:
		b = binary.BigEndian.AppendUint32(b, uint32(r.cred.PID))
		b = binary.BigEndian.AppendUint32(b, r.cred.UID)
		b = binary.BigEndian.AppendUint32(b, r.cred.GID)
	case opTrace:
		b = append(b, byte(r.format), 0, 0, 0)
		if r.keys {
			b[len(b)-3] = 1
		}
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
	want, ok := map[byte]int{opAttach: 12, opGate: 0, opTrace: 4}[r.op]
	switch {
	case !ok:
		return r, fmt.Errorf("unknown operation %d", r.op)
	case len(body) != want:
		return r, fmt.Errorf("operation %d with %d bytes, want %d", r.op, len(body), want)
	}
	switch r.op {
	case opAttach:
		r.cred = pfkey.Cred{
			PID:        int32(binary.BigEndian.Uint32(body)),
			UID:        binary.BigEndian.Uint32(body[4:]),
			GID:        binary.BigEndian.Uint32(body[8:]),
			Privileged: true,
		}
	case opTrace:
		r.format, r.keys = TraceFormat(body[0]), body[1] != 0
	}
	return r, nil
}

func appendReply(b []byte, r request, errno unix.Errno) []byte {
	b = append(b, r.op, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, r.serial)
	return binary.BigEndian.AppendUint32(b, uint32(errno))
}

// checkReply returns the errno of a reply to r.
func checkReply(b []byte, r request) (unix.Errno, error) {
	if len(b) != replyLen || b[0] != r.op || binary.BigEndian.Uint32(b[4:]) != r.serial {
		return 0, errors.New("the engine's reply is to something else")
	}
	return unix.Errno(binary.BigEndian.Uint32(b[8:])), nil
}
