// Package capture reads capture files, classic pcap and pcapng, and takes the IP packets out of their frames.
package capture

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Reader reads the records of a capture one by one. It is for one goroutine.
type Reader struct {
	n    int // number of the last record
	in   *budget
	ng   *pcapgo.NgReader
	link layers.LinkType // of a classic pcap
	read func() ([]byte, gopacket.CaptureInfo, pcapgo.NgPacketOptions, error)
}

// Direction is the way of a frame through the interface that captured it.
type Direction uint8

// The directions.
const (
	Unknown Direction = iota // the capture does not tell
	In
	Out
)

// Record is one captured frame.
type Record struct {
	N         int       // from 1
	At        time.Time // when it was captured
	Interface string    // the name of the interface that captured it, empty if the capture does not tell
	Direction Direction

	link layers.LinkType
	data []byte
	cut  int // bytes of the frame that were not captured
}

// A capture of 'pfkeyd serve --pcap' names this application and these interfaces.
const (
	Application = "pfkeyd"
	Wire        = "wire"    // what comes off the wire and what goes onto it
	Host        = "host"    // what the emulated host sends, and what it gets
	Dropped     = "dropped" // once more what was dropped, with the reason
)

// ErrBroken is in the chain of every error about the contents of a capture.
var ErrBroken = errors.New("broken capture")

// maxRecord bounds a record with all that stands before it and is not one, in bytes. A few compressed bytes may stand
// for more than there is memory.
const maxRecord = 64 << 20

// budget reads what one record may have.
type budget struct {
	r    io.Reader
	left int
}

func (b *budget) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, fmt.Errorf("it has more than %d bytes", maxRecord)
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// NewReader reads the beginning of a classic pcap or a pcapng, also compressed with gzip. An error about it has
// [ErrBroken] in its chain.
func NewReader(r io.Reader) (*Reader, error) {
	b := bufio.NewReaderSize(r, 1<<16)
	magic, err := b.Peek(4)
	if len(magic) >= 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		z, zerr := gzip.NewReader(b)
		if zerr != nil {
			return nil, fmt.Errorf("%w: file header: %w", ErrBroken, zerr)
		}
		b = bufio.NewReaderSize(z, 1<<16)
		magic, err = b.Peek(4)
	}
	switch {
	case len(magic) == 0 && err == io.EOF:
		return nil, fmt.Errorf("%w: the file is empty", ErrBroken)
	case err != nil:
		return nil, fmt.Errorf("%w: file header: %w", ErrBroken, unexpected(err))
	}
	in := &budget{b, maxRecord}
	if bytes.Equal(magic, []byte{0x0a, 0x0d, 0x0d, 0x0a}) {
		ng, err := pcapgo.NewNgReader(in, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return nil, fmt.Errorf("%w: section header: %w", ErrBroken, unexpected(err))
		}
		return &Reader{in: in, ng: ng, read: ng.ReadPacketDataWithOptions}, nil
	}
	switch binary.LittleEndian.Uint32(magic) {
	case 0xa1b2c3d4, 0xd4c3b2a1, 0xa1b23c4d, 0x4d3cb2a1:
	default:
		return nil, fmt.Errorf("%w: neither pcap nor pcapng, the file begins with %x", ErrBroken, magic)
	}
	p, err := pcapgo.NewReader(in)
	if err != nil {
		return nil, fmt.Errorf("%w: file header: %w", ErrBroken, unexpected(err))
	}
	read := func() ([]byte, gopacket.CaptureInfo, pcapgo.NgPacketOptions, error) {
		data, ci, err := p.ReadPacketData()
		return data, ci, pcapgo.NgPacketOptions{}, err
	}
	return &Reader{in: in, link: p.LinkType(), read: read}, nil
}

// Application is the name of the program that made the capture, empty if that does not tell.
func (c *Reader) Application() string {
	if c.ng == nil {
		return ""
	}
	return c.ng.SectionInfo().Application
}

// Last is the number of the record that was read last, 0 before the first.
func (c *Reader) Last() int { return c.n }

// Next returns io.EOF behind the last record, and otherwise errors that name the record and have [ErrBroken] in their
// chain. The record is the caller's.
func (c *Reader) Next() (Record, error) {
	c.in.left = maxRecord
	data, ci, o, err := c.read()
	if err == io.EOF && ci.CaptureLength == 0 {
		return Record{}, io.EOF
	}
	c.n++
	if err != nil {
		return Record{}, fmt.Errorf("%w: record %d: %w", ErrBroken, c.n, unexpected(err))
	}
	r := Record{N: c.n, At: ci.Timestamp, link: c.link, data: data, cut: ci.Length - ci.CaptureLength}
	if c.ng != nil {
		if i, err := c.ng.Interface(ci.InterfaceIndex); err == nil {
			r.Interface, r.link = i.Name, i.LinkType
		}
	}
	if o.Flags != nil {
		switch o.Flags.Direction {
		case pcapgo.NgEpbFlagDirectionInbound:
			r.Direction = In
		case pcapgo.NgEpbFlagDirectionOutbound:
			r.Direction = Out
		}
	}
	return r, nil
}

// Packets reads all records that are left, and returns their IP packets. One without is an error that names it.
func (c *Reader) Packets() (packets [][]byte, err error) {
	for {
		r, err := c.Next()
		if err == io.EOF {
			return packets, nil
		}
		if err != nil {
			return nil, err
		}
		p, err := r.IP()
		if err != nil {
			return nil, err
		}
		if p == nil {
			return nil, fmt.Errorf("%w: record %d: no IP packet is in it", ErrBroken, r.N)
		}
		packets = append(packets, p)
	}
}

// unexpected makes an end of file that came too early say so.
func unexpected(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("the file ends in the middle of it")
	}
	return err
}

// The types of Ethernet.
const (
	etherIPv4 = 0x0800
	etherIPv6 = 0x86dd
	etherVLAN = 0x8100
	etherQinQ = 0x88a8
)

// LoopHeader is what stands before a packet of any IP version in a frame of [layers.LinkTypeLoop]: the family, as
// OpenBSD numbers it.
func LoopHeader(packet []byte) [4]byte {
	if len(packet) > 0 && packet[0]>>4 == 6 {
		return [4]byte{3: 24}
	}
	return [4]byte{3: 2}
}

// IP takes the link layer off. It returns nil if the frame carries something else than IP, and otherwise a view of the
// record. The error names the record, and has [ErrBroken] in its chain: the frame was not captured whole, or is too
// short for its link layer, or that is one which is not known here.
func (r *Record) IP() ([]byte, error) {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w: record %d: %s", ErrBroken, r.N, fmt.Sprintf(format, a...))
	}
	if r.cut > 0 {
		return nil, bad("only %d of its %d bytes were captured", len(r.data), len(r.data)+r.cut)
	}
	need := func(n int) error {
		if len(r.data) < n {
			return bad("%d bytes are too short for a frame of link type %s", len(r.data), linkName(r.link))
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
		case 2, 10, 24, 28, 30: // AF_INET everywhere; AF_INET6 of Linux; NetBSD and OpenBSD; FreeBSD; Darwin
			return r.data[4:], nil // such a link adds nothing behind a packet
		}
		return nil, nil
	}
	return nil, bad("link type %s is not read, only %s", linkName(r.link), LinkTypes)
}

// LinkTypes names the link types whose frames are read, by name and number.
const LinkTypes = "raw IP (101, 228, 229), Ethernet (1), null and loopback (0, 108), Linux cooked (113, 276)"

// linkName is the number of a link type, and its name if it has one.
func linkName(l layers.LinkType) string {
	if l < layers.LinkTypeMax && layers.LinkTypeMetadata[l].Name != "" &&
		!strings.HasPrefix(layers.LinkTypeMetadata[l].Name, "Unknown") {
		return fmt.Sprintf("%d (%s)", uint16(l), layers.LinkTypeMetadata[l].Name)
	}
	return fmt.Sprint(uint16(l))
}

// trim takes off what Ethernet puts behind a short packet. What is not IP becomes nil. An IP header that makes no
// sense, or claims more than is there, is left for the engine to judge.
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
