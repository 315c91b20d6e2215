package pfkeytest

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/pfkeyd/pfkeyd/packet"
)

// A Packet is one that a test has injected, with what became of it so far. It is safe for concurrent use.
type Packet struct {
	host   *Host
	packet packet.Packet
	ended  chan struct{}

	mu       sync.Mutex
	verdicts []packet.Verdict
	arrival  *Packet // at the other end of a cable
}

func (h *Host) packet(data []byte) *Packet {
	p := &Packet{host: h, ended: make(chan struct{})}
	p.packet = packet.Packet{
		ID:   h.ids.Add(1),
		Data: slices.Clone(data),
		Done: func(_ *packet.Packet, v packet.Verdict) {
			p.mu.Lock()
			p.verdicts = append(p.verdicts, v)
			p.mu.Unlock()
			if v.Kind.Final() {
				close(p.ended)
			}
		},
	}
	if c := h.cable.Load(); c != nil {
		c.know(p)
	}
	return p
}

// Verdicts returns the verdicts so far, in their order: Queued or Held any number of times, then a final one. The slice
// belongs to the caller.
func (p *Packet) Verdicts() []packet.Verdict {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.verdicts)
}

// Expect fails the test unless the verdicts so far are of these kinds, in this order and no others. It returns p.
func (p *Packet) Expect(kinds ...packet.Kind) *Packet {
	p.host.t.Helper()
	got := p.Verdicts()
	if !slices.EqualFunc(got, kinds, func(v packet.Verdict, k packet.Kind) bool { return v.Kind == k }) {
		names := make([]string, len(kinds))
		for i, k := range kinds {
			names[i] = k.String()
		}
		p.host.t.Errorf("packet %d: verdicts %s, want %s", p.packet.ID, p, list(names))
	}
	return p
}

// ExpectDropped fails the test unless the packet has ended, dropped for this reason. It returns p.
func (p *Packet) ExpectDropped(reason packet.Reason) *Packet {
	p.host.t.Helper()
	if v, ok := p.Final(); !ok || v.Kind != packet.Dropped || v.Reason != reason {
		p.host.t.Errorf("packet %d: verdicts %s, want dropped (%s)", p.packet.ID, p, reason)
	}
	return p
}

// Final returns the final verdict; false if the packet still waits. Its Inner is the packet that was delivered or goes
// out.
func (p *Packet) Final() (packet.Verdict, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.verdicts); n > 0 && p.verdicts[n-1].Kind.Final() {
		return p.verdicts[n-1], true
	}
	return packet.Verdict{}, false
}

// Wait waits for the final verdict, which another goroutine or another program must bring about, or for the end of ctx,
// whose error it returns then.
func (p *Packet) Wait(ctx context.Context) (packet.Verdict, error) {
	select {
	case <-p.ended:
	case <-ctx.Done():
	}
	if v, ok := p.Final(); ok { // also if ctx has ended as well
		return v, nil
	}
	return packet.Verdict{}, ctx.Err()
}

// String lists the verdicts so far, such as "queued, dropped (larval-gone, sadb_inlarval_timeout)".
func (p *Packet) String() string {
	var names []string
	for _, v := range p.Verdicts() {
		name := v.Kind.String()
		if v.Kind == packet.Dropped {
			name += " (" + v.Reason.String()
			if v.Counter != "" {
				name += ", " + v.Counter
			}
			name += ")"
		}
		names = append(names, name)
	}
	return list(names)
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
