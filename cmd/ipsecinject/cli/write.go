package cli

import (
	"bufio"
	"context"
	"errors"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/internal/ip"
)

// writeCapture makes a classic pcap file of raw IP packets; "-" is standard output.
func (e *env) writeCapture(ctx context.Context, name string, each func(yield func([]byte) error) error) error {
	out, done := e.stdout, func() error { return nil }
	if name != "-" {
		file, err := files.Create(ctx, name, 0o666)
		if err != nil {
			return command.Failed(err)
		}
		// A pipe that nobody reads.
		defer context.AfterFunc(ctx, func() { _ = file.SetWriteDeadline(time.Unix(1, 0)) })()
		out, done = file, file.Close
	}
	b := bufio.NewWriter(out)
	w := pcapgo.NewWriterNanos(b)
	err := w.WriteFileHeader(ip.Len6+ip.MaxLen, layers.LinkTypeRaw)
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
