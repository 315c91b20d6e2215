package ipseckey

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// A trace of an engine is pcapng, with a link type for private use, or the annotated print of each message. Both say
// whose dialect it is.

// Pcapng as in draft-ietf-opsawg-pcapng.
const (
	pcapngSection   = 0x0a0d0d0a
	pcapngInterface = 1
	pcapngPacket    = 6
	pcapngMagic     = 0x1a2b3c4d
	linkUser0       = 147

	optDescription = 3 // of an interface
)

var errCapture = errors.New("the capture is cut or damaged")

// isPcapng tells whether a file begins as pcapng does, in whichever byte order.
func isPcapng(b []byte) bool { return len(b) >= 12 && binary.BigEndian.Uint32(b) == pcapngSection }

// dialectIn is the dialect that a description of a trace names; "" if it names none.
func dialectIn(text string) string {
	_, rest, _ := strings.Cut(text, "dialect ")
	word := strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz0123456789-")
	return strings.TrimSuffix(rest, word)
}

// readPcapng reads the packets of the link type of PF_KEY, and the name of their dialect.
func readPcapng(b []byte) (msgs [][]byte, dialect string, err error) {
	var order binary.ByteOrder = binary.LittleEndian
	var ours []bool // interfaces
	for len(b) > 0 {
		if len(b) < 12 {
			return msgs, dialect, errCapture
		}
		if order.Uint32(b) == pcapngSection {
			if order = binary.LittleEndian; order.Uint32(b[8:]) != pcapngMagic {
				order = binary.BigEndian
			}
			ours = nil
		}
		typ, n := order.Uint32(b), int64(order.Uint32(b[4:]))
		if n < 12 || n%4 != 0 || n > int64(len(b)) {
			return msgs, dialect, errCapture
		}
		body := b[8 : n-4]
		b = b[n:]
		switch {
		case typ == pcapngInterface && len(body) >= 8:
			mine := order.Uint16(body) == linkUser0
			ours = append(ours, mine)
			for o := body[8:]; mine && len(o) >= 4; {
				code, size := order.Uint16(o), int(order.Uint16(o[2:]))
				padded := (size + 3) &^ 3
				if code == 0 || padded > len(o)-4 {
					break
				}
				if name := dialectIn(string(o[4 : 4+size])); code == optDescription && name != "" {
					dialect = name
				}
				o = o[4+padded:]
			}
		case typ == pcapngPacket && len(body) >= 20:
			at, size := order.Uint32(body), int64(order.Uint32(body[12:]))
			if size > int64(len(body)-20) {
				return msgs, dialect, errCapture
			}
			if int64(at) < int64(len(ours)) && ours[at] && size > 0 {
				msgs = append(msgs, body[20:20+size])
			}
		}
	}
	if len(msgs) == 0 {
		err = errors.New("there is no PF_KEY in the capture")
	}
	return msgs, dialect, err
}

// A classic pcap has no room for a description: whose dialect it is has to be found out.
const (
	pcapMicroseconds = 0xa1b2c3d4
	pcapNanoseconds  = 0xa1b23c4d
	pcapHeader       = 24
	pcapRecord       = 16
)

// pcapOrder is the byte order of a classic pcap; nil if a file is none.
func pcapOrder(b []byte) binary.ByteOrder {
	if len(b) < 4 {
		return nil
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		if magic := order.Uint32(b); magic == pcapMicroseconds || magic == pcapNanoseconds {
			return order
		}
	}
	return nil
}

func isPcap(b []byte) bool { return pcapOrder(b) != nil }

// readPcap reads the packets of a classic pcap, which must be of the link type of PF_KEY.
func readPcap(b []byte) (msgs [][]byte, err error) {
	order := pcapOrder(b)
	if len(b) < pcapHeader {
		return nil, errCapture
	}
	if link := order.Uint32(b[20:]) & 0xffff; link != linkUser0 { // above are flags
		return nil, fmt.Errorf("a capture of link type %d; one of PF_KEY has %d", link, linkUser0)
	}
	for b = b[pcapHeader:]; len(b) > 0; {
		if len(b) < pcapRecord || int64(order.Uint32(b[8:])) > int64(len(b)-pcapRecord) {
			return msgs, errCapture
		}
		n := pcapRecord + int(order.Uint32(b[8:]))
		if n > pcapRecord {
			msgs = append(msgs, b[pcapRecord:n])
		}
		b = b[n:]
	}
	if len(msgs) == 0 {
		err = errors.New("there is no PF_KEY in the capture")
	}
	return msgs, err
}

// baseHeader begins the print of a message.
const baseHeader = "base header"

// isPrinted tells whether a text has annotated prints of messages in it.
func isPrinted(text string) bool {
	return strings.HasPrefix(text, baseHeader+", ") || strings.Contains(text, "\n"+baseHeader+", ")
}

// readPrinted reads messages back from their annotated prints. Keys that were hidden are zeros.
func readPrinted(text string) (msgs [][]byte, dialect string, err error) {
	var msg []byte
	done := func() {
		if len(msg) > 0 {
			msgs = append(msgs, msg)
		}
		msg = nil
	}
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "#") {
			if dialect == "" {
				dialect = dialectIn(line)
			}
			continue
		}
		if strings.HasPrefix(line, baseHeader+", ") {
			done()
		}
		at, b, hidden, ok := wire.ParseFormatLine(line)
		switch {
		case !ok:
		case at != len(msg):
			return msgs, dialect, fmt.Errorf("line %d: a piece of the message is missing", n)
		case hidden > wire.MaxLen:
			return msgs, dialect, fmt.Errorf("line %d: a key of %d bytes", n, hidden)
		default:
			msg = append(append(msg, b...), make([]byte, hidden)...)
		}
	}
	done()
	return msgs, dialect, nil
}
