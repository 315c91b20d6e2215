package live

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/control"
	"github.com/pfkeyd/pfkeyd/kernel/event"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

const (
	// listed is how many SAs, ACQUIREs and policies a status lists.
	listed = 1000
	// fresh is how long a status is shown before the engine is asked again, however many ask for it.
	fresh = 200 * time.Millisecond
	// patience is how long an answer of the engine may take.
	patience = 10 * time.Second
	// retry is how long to wait for an engine that has gone.
	retry = 200 * time.Millisecond
)

// Info says what a page is about.
type Info struct {
	Engine  string `json:"engine"` // its address
	Kernel  string `json:"kernel"`
	Title   string `json:"title"`   // what was started, for people
	Version string `json:"version"` // of the program
	Virtual bool   `json:"virtual"` // the clock is one that can be moved
	Keys    bool   `json:"keys"`    // the keys in messages are shown
	// Exported says when an export was made.
	Exported *time.Time `json:"exported,omitempty"`
}

// Options of a [Recorder].
type Options struct {
	Engine         pfkey.Address // it has a dialect
	Title, Version string
	Keys           bool // show keys in messages that come from now on
}

// State is how an engine stands, or stood when it was seen last.
type State struct {
	Up     bool            `json:"up"`
	Status *control.Status `json:"status"` // nil: it was never seen
}

// Recorder follows an engine, and remembers. It is safe for concurrent use.
type Recorder struct {
	o       Options
	client  *control.Client
	history *history

	seen atomic.Uint64 // the engine's number of the last event that is in the history

	mu      sync.Mutex // guards what follows
	up      bool
	changed chan struct{} // closed when up changes

	asking sync.Mutex // one at a time asks for the status; taken before mu
	state  State      // guarded by asking
	asked  time.Time
}

// NewRecorder makes a recorder of an engine. [Recorder.Run] has it begin.
func NewRecorder(o Options) *Recorder {
	return &Recorder{o: o, client: control.NewClient(control.Path(o.Engine.Path)), history: newHistory(),
		changed: make(chan struct{})}
}

// Run follows the engine until ctx ends, and the next one at that address when it has gone. ready, if it is not nil, is
// called once, when no event will be missed from now on, or with the error of reaching the engine, which ends Run then.
func (r *Recorder) Run(ctx context.Context, ready func(error)) {
	defer r.client.Close()
	for {
		err := r.client.Events(ctx, control.EventQuery{From: r.seen.Load() + 1, Keys: r.o.Keys}, func() {
			r.setUp(true)
			if ready != nil {
				ready(nil)
				ready = nil
			}
		}, func(e event.Event) error {
			err := r.history.put(e)
			if e.N > 0 {
				r.seen.Store(e.N)
			}
			return err
		})
		if ready != nil {
			ready(err)
			return
		}
		if ctx.Err() != nil {
			return
		}
		if !r.reachable(ctx) { // the next one has a history of its own
			r.setUp(false)
			r.seen.Store(0)
			select {
			case <-ctx.Done():
				return
			case <-time.After(retry):
			}
		}
	}
}

// ReadPast reads what has happened in the engine until now, in place of [Recorder.Run]. The error is that of reaching
// the engine.
func (r *Recorder) ReadPast(ctx context.Context) error {
	defer r.client.Close()
	err := r.client.Events(ctx, control.EventQuery{From: 1, Past: true}, nil, r.history.put)
	r.Look(ctx)
	return err
}

// catchUp waits until all that has happened until now is in the history of a recorder that runs, but not for long.
func (r *Recorder) catchUp(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	last := uint64(0)
	q := control.EventQuery{From: r.seen.Load() + 1, Past: true}
	err := r.client.Events(ctx, q, nil, func(e event.Event) error {
		last = max(last, e.N)
		return nil
	})
	if err != nil {
		return // the engine has gone, and nothing more will come
	}
	for more := r.history.changed(); r.seen.Load() < last; more = r.history.changed() {
		select {
		case <-more:
		case <-ctx.Done():
			return
		}
	}
}

// reachable says whether the engine is still there, as it is when only the connection has ended.
func (r *Recorder) reachable(ctx context.Context) bool {
	_, err := r.client.Clock(ctx)
	return err == nil
}

func (r *Recorder) setUp(up bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.up != up {
		r.up = up
		close(r.changed)
		r.changed = make(chan struct{})
	}
}

// isUp says whether the engine is there; changed is closed when that is no longer true.
func (r *Recorder) isUp() (up bool, changed <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.up, r.changed
}

// Look reads how the engine stands, at most a few times a second, or remembers how it stood. What it returns is not
// changed.
func (r *Recorder) Look(ctx context.Context) State {
	r.asking.Lock()
	defer r.asking.Unlock()
	if now := time.Now(); r.state.Status == nil || now.Sub(r.asked) >= fresh || now.Before(r.asked) {
		r.look(ctx)
	}
	return r.state
}

// look needs r.asking held.
func (r *Recorder) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	st, err := r.client.Status(ctx, listed)
	if r.state.Up = err == nil; err == nil {
		r.state.Status = &st
	}
	r.asked = time.Now()
}

// advance moves the clock.
func (r *Recorder) advance(ctx context.Context, by time.Duration) (control.Clock, error) {
	defer r.forget()
	return r.client.Advance(ctx, by)
}

// forget has the next look ask the engine.
func (r *Recorder) forget() {
	r.asking.Lock()
	defer r.asking.Unlock()
	r.asked = time.Time{}
}

// info is what the page is about.
func (r *Recorder) info(ctx context.Context) Info {
	i := Info{Engine: r.o.Engine.String(), Kernel: r.o.Engine.Kernel, Title: r.o.Title, Version: r.o.Version,
		Keys: r.o.Keys}
	if st := r.Look(ctx).Status; st != nil {
		i.Virtual = st.Virtual
	}
	return i
}

// refused tells the engine's no from an engine that is not there.
func refused(err error) (code int, text string, ok bool) {
	e, ok := errors.AsType[*control.Error](err)
	if !ok {
		return 0, "", false
	}
	return e.Code, e.Text, true
}
