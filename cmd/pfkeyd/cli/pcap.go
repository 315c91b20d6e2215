package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pfkeyd/pfkeyd/internal/capture"
	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/packetport"
)

// The interfaces of a capture.
const (
	onWire = iota
	onHost
	onDropped
	interfaces
)

var interfaceNames = [interfaces][2]string{
	onWire:    {"wire", "the protected side"},
	onHost:    {"host", "the plain side"},
	onDropped: {"dropped", "what was dropped on its way between the two; the comment says why"},
}

// pcapQueue is how many bytes may wait to be written. What comes on top of them is left out of the capture: packets do
// not wait for a disk.
const pcapQueue = 16 << 20

// packetPcap stands before the engine behind a packet port and writes down what goes in, when it does, and what comes
// out, as pcapng. A packet has one number on its way in and on its way out. The frames are those of a loopback
// interface, because libpcap (1.10) reads no capture with several interfaces of raw IP, whose link type has another
// number in there.
//
// Its own goroutine writes, a packet at a time whenever there is one and many at a time when there are more; nothing
// stays in a buffer.
type packetPcap struct {
	packetport.Target
	now     func() time.Time
	unwatch func()
	file    *os.File
	w       *pcapgo.NgWriter
	done    chan struct{} // closed when everything is written, or nothing can be any more
	failed  func(error)   // hears at once that the capture ends early

	mu     sync.Mutex // guards what follows
	wake   sync.Cond
	queue  []pcapRecord
	size   int // of what is in the queue, bytes
	closed bool
	err    error // of the file; from there on everything is lost
	counts pcapCounters
	lost   [interfaces]uint64 // since the last record of the interface
}

type pcapRecord struct {
	at       time.Time
	where    int
	outbound bool
	id       uint64 // 0: none
	lost     uint64 // records left out before it
	comment  string
	data     []byte
}

// pcapCounters are shown in the status.
type pcapCounters struct {
	Written uint64 `json:"written"` // packets, each time it is seen
	Lost    uint64 `json:"lost"`    // left out, because the file could not be written fast enough, or at all
}

// newPacketPcap makes the file, or writes into a pipe that is there, for whose reader it waits until ctx ends. Who may
// read packets in the clear is for its owner to say. failed may be called on any goroutine, once.
func newPacketPcap(ctx context.Context, name string, target packetport.Target, kernel string, now func() time.Time,
	failed func(error)) (*packetPcap, error) {
	file, err := files.Create(ctx, name, 0o600)
	if err != nil {
		return nil, err
	}
	p := &packetPcap{Target: target, now: now, file: file, done: make(chan struct{}), failed: failed}
	p.wake.L = &p.mu
	// of a pipe that is full already
	done := context.AfterFunc(ctx, func() { _ = file.SetWriteDeadline(time.Unix(1, 0)) })
	err = p.begin(kernel)
	if !done() {
		err = files.ErrInterrupted
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	p.unwatch = target.Ledger().Watch(p.ended)
	go p.write() // ends with close, or an error of the file
	return p, nil
}

// begin writes the head of the file, so that a reader has something to begin with.
func (p *packetPcap) begin(kernel string) (err error) {
	describe := func(i int) pcapgo.NgInterface {
		return pcapgo.NgInterface{Name: interfaceNames[i][0], Description: interfaceNames[i][1],
			LinkType: layers.LinkTypeLoop}
	}
	about := pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Application: capture.Application,
		OS: kernel + " (emulated)"}}
	if p.w, err = pcapgo.NewNgWriterInterface(p.file, describe(0), about); err != nil {
		return err
	}
	for i := 1; i < interfaces; i++ {
		if _, err := p.w.AddInterface(describe(i)); err != nil {
			return err
		}
	}
	return p.w.Flush()
}

// Inbound implements [packetport.Target].
func (p *packetPcap) Inbound(pkt *packet.Packet) {
	p.put(pcapRecord{where: onWire, id: pkt.ID, data: pkt.Data})
	p.Target.Inbound(pkt)
}

// Outbound implements [packetport.Target].
func (p *packetPcap) Outbound(pkt *packet.Packet, tunnel string) {
	r := pcapRecord{where: onHost, outbound: true, id: pkt.ID, data: pkt.Data}
	if tunnel != "" {
		r.comment = "tunnel " + tunnel
	}
	p.put(r)
	p.Target.Outbound(pkt, tunnel)
}

// ended hears the final verdict of every packet.
func (p *packetPcap) ended(pkt *packet.Packet, v packet.Verdict) {
	switch v.Kind {
	case packet.Delivered:
		p.put(pcapRecord{where: onHost, id: pkt.ID, data: v.Inner})
	case packet.Transmitted, packet.Sent:
		p.put(pcapRecord{where: onWire, outbound: true, id: pkt.ID, data: v.Inner})
	case packet.Dropped:
		comment := v.Reason.String()
		if v.Counter != "" {
			comment += " (" + v.Counter + ")"
		}
		p.put(pcapRecord{where: onDropped, id: pkt.ID, comment: comment, data: pkt.Data})
	}
}

// put hands a packet to the writer. It never waits, and keeps a copy.
func (p *packetPcap) put(r pcapRecord) {
	r.at = p.now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	if p.err != nil || p.size+len(r.data) > pcapQueue {
		p.counts.Lost++
		p.lost[r.where]++
		return
	}
	r.data = append([]byte(nil), r.data...)
	r.lost, p.lost[r.where] = p.lost[r.where], 0
	p.queue = append(p.queue, r)
	p.size += len(r.data)
	p.wake.Signal()
}

// write is the writer's goroutine.
func (p *packetPcap) write() {
	defer close(p.done)
	var spare []pcapRecord
	for {
		p.mu.Lock()
		for len(p.queue) == 0 && !p.closed {
			p.wake.Wait()
		}
		batch := p.queue
		p.queue, p.size = spare[:0], 0
		p.mu.Unlock()
		if len(batch) == 0 {
			return // closed
		}
		err := p.writeBatch(batch)
		clear(batch) // the packets go
		spare = batch
		p.mu.Lock()
		if err != nil {
			p.err = err
			p.counts.Lost += uint64(len(batch) + len(p.queue)) // some of the batch may be there
			p.queue, p.size = nil, 0
			p.mu.Unlock()
			p.failed(err)
			return
		}
		p.counts.Written += uint64(len(batch))
		p.mu.Unlock()
	}
}

func (p *packetPcap) writeBatch(batch []pcapRecord) error {
	var frame []byte
	for i := range batch {
		r := &batch[i]
		flags := pcapgo.NgEpbFlags{Direction: pcapgo.NgEpbFlagDirectionInbound}
		if r.outbound {
			flags.Direction = pcapgo.NgEpbFlagDirectionOutbound
		}
		o := pcapgo.NgPacketOptions{Flags: &flags}
		if r.id != 0 {
			o.PacketID = &r.id
		}
		if r.lost != 0 {
			o.DropCount = &r.lost
		}
		if r.comment != "" {
			o.Comments = []string{strings.ToValidUTF8(r.comment, "?")}
		}
		head := capture.LoopHeader(r.data)
		frame = append(append(frame[:0], head[:]...), r.data...)
		info := gopacket.CaptureInfo{Timestamp: r.at, CaptureLength: len(frame), Length: len(frame),
			InterfaceIndex: r.where}
		if err := p.w.WritePacketWithOptions(info, frame, o); err != nil {
			return err
		}
	}
	return p.w.Flush()
}

// Counters reads the counters.
func (p *packetPcap) Counters() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// close writes out what waits, for as long as ctx lasts if that is a pipe that nobody reads. Its error says that
// packets are missing.
func (p *packetPcap) close(ctx context.Context) error {
	p.unwatch()
	p.mu.Lock()
	p.closed = true
	p.wake.Signal()
	p.mu.Unlock()
	if deadline, ok := ctx.Deadline(); ok {
		_ = p.file.SetWriteDeadline(deadline) // an ordinary file has none, and needs none
	}
	<-p.done
	err := p.file.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.counts.Lost > 0 {
		err = errors.Join(err, fmt.Errorf("%d packets are missing in it", p.counts.Lost))
	}
	return errors.Join(p.err, err)
}
