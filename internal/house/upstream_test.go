package house_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// hexBlock is messages of docs/upstream.md, one a line, for the kernel that it names.
var hexBlock = regexp.MustCompile("(?s)```hex ([a-z]*)\n(.*?)```")

// whole says what is wrong with the lengths in a message, which all dialects have in the same places.
func whole(line string) error {
	d := wire.Linux().WithOrder(binary.LittleEndian)
	msg, err := hex.DecodeString(line)
	if err != nil {
		return err
	}
	if h, err := d.Header(msg); err != nil {
		return err
	} else if n := int(h.Len) * 8; n != len(msg) {
		return fmt.Errorf("%d bytes, and its header says %d", len(msg), n)
	}
	for _, err := range d.Walk(msg) {
		if err != nil {
			return err
		}
	}
	return nil
}

// Every message of docs/upstream.md is whole, so that a maintainer can send it as it stands there; and the emulated
// kernel, which gets those of a block in a row, goes on answering.
func TestUpstreamMessages(t *testing.T) {
	page := read(t, "docs/upstream.md")
	blocks := hexBlock.FindAllStringSubmatch(page, -1)
	if len(blocks) == 0 || len(blocks) != strings.Count(page, "```hex") {
		t.Fatalf("%d blocks name their kernel, of %d", len(blocks), strings.Count(page, "```hex"))
	}
	for _, block := range blocks {
		e, err := kernel.New(block[1], kernel.Options{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1"),
			netip.MustParseAddr("2001:db8::1")}})
		if err != nil {
			t.Error(err)
			continue
		}
		d, root := e.Dialect(), pfkey.Cred{PID: 1234, Privileged: true}
		s, errno := e.Open(root, 3, 2)
		if errno != wire.OK {
			t.Fatal(errno)
		}
		for line := range strings.Lines(block[2]) {
			if line = strings.TrimSpace(line); whole(line) != nil {
				t.Errorf("%s: %s: %v", block[1], line, whole(line))
			}
			msg, _ := hex.DecodeString(line)
			s.Send(msg, root)
		}
		flush := d.Finish(d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgFlush, Seq: 4711,
			PID: uint32(root.PID)}))
		if errno := s.Send(flush, root); errno != wire.OK || !answered(s, d, 4711) {
			t.Errorf("%s: no answer to FLUSH (%v) after\n%s", block[1], errno, block[2])
		}
		e.Close()
	}
}

// answered reads what a socket has, and says whether a message with the sequence number is among it.
func answered(s pfkey.Socket, d *wire.Dialect, seq wire.Seq) (found bool) {
	buf := make([]byte, wire.MaxLen)
	for {
		n, _, errno := s.Recv(buf, 0)
		if errno != wire.OK {
			return found
		}
		h, err := d.Header(buf[:n])
		found = found || err == nil && h.Seq == seq
	}
}
