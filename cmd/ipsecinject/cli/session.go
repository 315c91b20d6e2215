package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/cmd/internal/words"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/packetport"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

const (
	// dialTimeout bounds connecting and the engine's greeting.
	dialTimeout = 10 * time.Second
	// silence is how long an engine may take for the first verdict of a packet, which it gives without waiting.
	silence = 10 * time.Second
	// window is how many packets may be without a first verdict. It keeps the engine's queue for us from filling up.
	window = 32
)

// address finds the engine.
func (e *env) address() (pfkey.Address, error) {
	a, err := command.Engine(e.engine)
	if err == nil && (a.Kernel == pfkey.HostKernel || a.Kernel == pfkey.XFRMKernel) {
		err = command.Usagef("%s is the host's own kernel, which has no packet port", a)
	}
	return a, err
}

// dial connects to the packet port.
func (e *env) dial(ctx context.Context) (*packetport.Client, pfkey.Address, error) {
	a, err := e.address()
	if err != nil {
		return nil, a, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	path := packetport.Path(a.Path)
	c, err := packetport.Dial(ctx, path)
	if err == nil {
		return c, a, nil
	}
	var frame *packetport.FrameError
	if errors.As(err, &frame) || errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded) {
		return nil, a, command.NoEngine(fmt.Errorf("what listens at %s is no packet port: %s", path, words.Reason(err)))
	}
	return nil, a, command.Reached(command.At(a, err))
}

// injection is the flags of the subcommands that inject.
type injection struct {
	outbound bool
	tunnel   string
	wait     time.Duration
	expect   string

	wanted *expectation // what --expect says; nil: anything
}

func (i *injection) addTo(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&i.outbound, "outbound", false, "the packets are plaintext on their way out")
	cmd.Flags().StringVar(&i.tunnel, "tunnel", "", "`NAME` of the tunnel interface the outbound packets belong to")
	cmd.Flags().DurationVar(&i.wait, "wait", time.Second,
		"after the last packet, wait at most this long for those that are queued or held; 0: not at all")
	cmd.Flags().StringVar(&i.expect, "expect", "",
		"exit with 1 unless this `VERDICT` is the last of every packet, such as delivered or dropped/no-sa")
	command.Complete(cmd, "expect", expectations()...)
}

func (i *injection) check() error {
	switch {
	case i.wait < 0:
		return command.Usagef("--wait %v is less than nothing", i.wait)
	case i.tunnel != "" && !i.outbound:
		return command.Usagef("--tunnel is for outbound packets, add --outbound")
	}
	return i.parseExpect()
}

func (i *injection) direction() packetport.Direction {
	if i.outbound {
		return packetport.Outbound
	}
	return packetport.Inbound
}

// session is one connection that injects, prints verdicts as they come, and knows what is still missing.
type session struct {
	e      *env
	how    *injection
	client *packetport.Client

	slots   chan struct{} // one for each packet that may be without a first verdict
	changed chan struct{} // holds a token when something has been received
	done    chan struct{} // closed when receiving has ended, with err set
	err     error
	stop    context.CancelFunc

	mu         sync.Mutex // guards what follows
	waiting    map[uint64]bool
	unanswered int
	tally      map[packet.Kind]int // of final verdicts
	held       map[uint64]packet.Kind
	surprises  surprises
}

// open connects. The caller closes.
func (e *env) open(ctx context.Context, how *injection) (*session, error) {
	c, _, err := e.dial(ctx)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	s := &session{
		e: e, how: how, client: c,
		slots:   make(chan struct{}, window),
		changed: make(chan struct{}, 1),
		done:    make(chan struct{}),
		stop:    stop,
		waiting: map[uint64]bool{},
		tally:   map[packet.Kind]int{},
		held:    map[uint64]packet.Kind{},
	}
	go func() { // ends with stop or the connection; close waits for it
		defer close(s.done)
		s.err = s.receive(ctx)
	}()
	return s, nil
}

func (s *session) close() {
	s.stop()
	<-s.done
	s.client.Close()
}

func (s *session) receive(ctx context.Context) error {
	for {
		v, err := s.client.Recv(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return interrupted()
			}
			if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
				err = errors.New("the engine has gone away")
			}
			return command.Failed(err)
		}
		if err := s.e.printVerdict(&v); err != nil {
			return command.Failed(fmt.Errorf("writing verdicts: %w", err))
		}
		s.mu.Lock()
		answered, ok := s.waiting[v.ID]
		if ok && !answered {
			s.unanswered--
			<-s.slots
		}
		if v.Final() {
			s.tally[v.Kind]++
			delete(s.waiting, v.ID)
			delete(s.held, v.ID)
			s.surprises.compare(s.how.wanted, v.ID, v.Kind, v.Reason)
		} else if ok {
			s.waiting[v.ID] = true
			s.held[v.ID] = v.Kind
		}
		s.mu.Unlock()
		select {
		case s.changed <- struct{}{}:
		default:
		}
	}
}

// inject sends one packet under an id that no packet without final verdict has.
func (s *session) inject(ctx context.Context, id uint64, pkt []byte) error {
	t := time.NewTimer(silence)
	defer t.Stop()
	select {
	case s.slots <- struct{}{}:
	case <-s.done:
		return s.err
	case <-ctx.Done():
		return interrupted()
	case <-t.C:
		return s.silent()
	}
	s.mu.Lock()
	s.waiting[id] = false
	s.unanswered++
	s.mu.Unlock()
	err := s.client.InjectAs(ctx, id, pkt, s.how.direction(), s.how.tunnel)
	var frame *packetport.FrameError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return interrupted()
	case errors.As(err, &frame):
		return command.Usagef("packet %d: %w", id, err)
	}
	select {
	case <-s.done:
		return s.err // says it better
	default:
		return command.Failed(fmt.Errorf("packet %d: %w", id, err))
	}
}

func interrupted() error { return command.Failed(errors.New("interrupted")) }

func (s *session) silent() error {
	return command.Failed(fmt.Errorf("the engine has not answered for %v", silence))
}

// finish waits for the verdicts that are missing: the first of every packet, and for at most --wait the final ones.
func (s *session) finish(ctx context.Context) error {
	wait := time.NewTimer(s.how.wait)
	defer wait.Stop()
	quiet := time.NewTimer(silence)
	defer quiet.Stop()
	over := s.how.wait == 0
	for {
		s.mu.Lock()
		waiting, unanswered := len(s.waiting), s.unanswered
		s.mu.Unlock()
		if waiting == 0 || over && unanswered == 0 {
			return nil
		}
		select {
		case <-s.changed:
			quiet.Reset(silence)
		case <-wait.C:
			over = true
		case <-quiet.C:
			if unanswered > 0 {
				return s.silent()
			}
			quiet.Reset(silence)
		case <-s.done:
			return s.err
		case <-ctx.Done():
			return interrupted()
		}
	}
}

// verdict is an error if packets have come to another end than --expect says. Those that wait have come no further for
// now.
func (s *session) verdict() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(s.held)) {
		s.surprises.compare(s.how.wanted, id, s.held[id], "")
	}
	return s.surprises.err(s.how.expect)
}

// summary tells people, on stderr, what the lines add up to; programs only what is missing.
func (s *session) summary(extra string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var parts []string
	total := len(s.waiting)
	for k := packet.Delivered; k <= packet.Sent; k++ {
		if n := s.tally[k]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, k))
			total += n
		}
	}
	if n := len(s.waiting); n > 0 {
		ids := make([]uint64, 0, n)
		for id := range s.waiting {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		text := strings.Trim(fmt.Sprint(ids[:min(n, 10)]), "[]")
		if n > 10 {
			text += " ..."
		}
		parts = append(parts, fmt.Sprintf("%d still waiting (%s)", n, text))
	}
	if extra != "" {
		parts = append(parts, extra)
	}
	if s.e.json && len(s.waiting) == 0 && extra == "" {
		return
	}
	text := command.Count(total, "packet")
	if len(parts) > 0 {
		text += ": " + strings.Join(parts, ", ")
	}
	fmt.Fprintln(s.e.stderr, text)
}
