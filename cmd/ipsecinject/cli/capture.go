package cli

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
)

// capture reads the records of a capture file one by one: classic pcap or pcapng, also compressed with gzip.
type capture struct {
	n    int // number of the last record
	read func() ([]byte, gopacket.CaptureInfo, error)
	link func(gopacket.CaptureInfo) layers.LinkType
}

// record is one captured frame.
type record struct {
	n    int // from 1
	at   time.Time
	link layers.LinkType
	data []byte
	cut  int // bytes of the frame that were not captured
}

// errCapture is in the chain of every error about the contents of a capture.
var errCapture = errors.New("broken capture")

func openCapture(r io.Reader) (*capture, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	magic, err := b.Peek(4)
	if len(magic) >= 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, zerr := gzip.NewReader(b)
		if zerr != nil {
			return nil, fmt.Errorf("%w: file header: %w", errCapture, zerr)
		}
		b = bufio.NewReaderSize(z, 1<<16)
		magic, err = b.Peek(4)
	}
	switch {
	case len(magic) == 0 && err == io.EOF:
		return nil, fmt.Errorf("%w: the file is empty", errCapture)
	case err != nil:
		return nil, fmt.Errorf("%w: file header: %w", errCapture, unexpected(err))
	}
	c := &capture{}
	if bytes.Equal(magic, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		ng, err := pcapgo.NewNgReader(b, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return nil, fmt.Errorf("%w: section header: %w", errCapture, unexpected(err))
		}
		c.read = ng.ReadPacketData
		c.link = func(ci gopacket.CaptureInfo) layers.LinkType {
			if len(ci.AncillaryData) > 0 {
				if l, ok := ci.AncillaryData[0].(layers.LinkType); ok {
					return l
				}
			}
			return layers.LinkTypeNull
		}
		return c, nil
	}
	switch binary.LittleEndian.Uint32(magic) {
	case 0xa1b2c3d4, 0xd4c3b2a1, 0xa1b23c4d, 0x4d3cb2a1:
	default:
		return nil, fmt.Errorf("%w: neither pcap nor pcapng, the file begins with %x", errCapture, magic)
	}
	p, err := pcapgo.NewReader(b)
	if err != nil {
		return nil, fmt.Errorf("%w: file header: %w", errCapture, unexpected(err))
	}
	c.read = p.ReadPacketData
	c.link = func(gopacket.CaptureInfo) layers.LinkType { return p.LinkType() }
	return c, nil
}

// next returns io.EOF behind the last record, and otherwise errors that name the record.
func (c *capture) next() (record, error) {
	data, ci, err := c.read()
	if err == io.EOF && ci.CaptureLength == 0 {
		return record{}, io.EOF
	}
	c.n++
	if err != nil {
		return record{}, fmt.Errorf("%w: record %d: %w", errCapture, c.n, unexpected(err))
	}
	return record{n: c.n, at: ci.Timestamp, link: c.link(ci), data: data, cut: ci.Length - ci.CaptureLength}, nil
}

// unexpected makes an end of file that came too early say so.
func unexpected(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("the file ends in the middle of it")
	}
	return err
}

// writeCapture makes a classic pcap file of raw IP packets; "-" is standard output.
func (e *env) writeCapture(name string, each func(yield func([]byte) error) error) error {
	out, done := e.stdout, func() error { return nil }
	if name != "-" {
		file, err := os.Create(name)
		if err != nil {
			return command.Failed(err)
		}
		out, done = file, file.Close
	}
	b := bufio.NewWriter(out)
	w := pcapgo.NewWriterNanos(b)
	err := w.WriteFileHeader(headerIP6+1<<16-1, layers.LinkTypeRaw)
	if err == nil {
		err = each(func(p []byte) error {
			return w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Now(), CaptureLength: len(p), Length: len(p)}, p)
		})
	}
	err = errors.Join(err, b.Flush(), done())
	if _, ok := errors.AsType[*command.Failure](err); ok || err == nil {
		return err // of a packet that could not be made
	}
	return command.Failed(err)
}

const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100
	etherQinQ = 0x88a8
)

// ip takes the link layer off. It returns nil if the frame carries something else than IP. The error names the record.
func (r *record) ip() ([]byte, error) {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w: record %d: %s", errCapture, r.n, fmt.Sprintf(format, a...))
	}
	if r.cut > 0 {
		return nil, bad("only %d of its %d bytes were captured", len(r.data), len(r.data)+r.cut)
	}
	need := func(n int) error {
		if len(r.data) < n {
			return bad("%d bytes are too short for a frame of link type %d", len(r.data), r.link)
		}
		return nil
	}
	switch r.link {
	case layers.LinkTypeRaw, layers.LinkTypeIPv4, layers.LinkTypeIPv6:
		return r.data, need(1)
	case layers.LinkTypeEthernet:
		at := 12
		for {
			if err := need(at + 2); err != nil {
				return nil, err
			}
			t := binary.BigEndian.Uint16(r.data[at:])
			if t != etherVLAN && t != etherQinQ {
				return trim(t, r.data[at+2:]), nil
			}
			at += 4
		}
	case layers.LinkTypeLinuxSLL:
		if err := need(16); err != nil {
			return nil, err
		}
		return trim(binary.BigEndian.Uint16(r.data[14:]), r.data[16:]), nil
	case layers.LinkTypeLinuxSLL2:
		if err := need(20); err != nil {
			return nil, err
		}
		return trim(binary.BigEndian.Uint16(r.data), r.data[20:]), nil
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		if err := need(4); err != nil {
			return nil, err
		}
		// The family is in the byte order of the machine that captured; families are small, so either order tells.
		family := binary.LittleEndian.Uint32(r.data)
		if family > 0xffff {
			family = binary.BigEndian.Uint32(r.data)
		}
		switch family {
		case 2: // AF_INET everywhere
			return trim(etherIPv4, r.data[4:]), nil
		case 10, 24, 28, 30: // AF_INET6 of Linux; NetBSD and OpenBSD; FreeBSD; Darwin
			return trim(etherIPv6, r.data[4:]), nil
		}
		return nil, nil
	}
	return nil, bad("link type %d is none of 0, 1, 101, 108, 113, 228, 229, 276", r.link)
}

// trim takes off what a link puts behind a short packet. What is not IP becomes nil. An IP header that makes no sense, or
// claims more than is there, is left for the engine to judge.
func trim(ethertype uint16, b []byte) []byte {
	n := len(b)
	switch ethertype {
	case etherIPv4:
		if n >= 20 {
			n = max(20, int(binary.BigEndian.Uint16(b[2:])))
		}
	case etherIPv6:
		if n >= 40 {
			n = 40 + int(binary.BigEndian.Uint16(b[4:]))
		}
	default:
		return nil
	}
	return b[:min(n, len(b))]
}
