package pfkeytest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A Request is a message that a program has sent to the host's kernel. However it is printed, it does not show keys.
type Request struct {
	wire.Header             // zero if the message is shorter than one
	Cred        pfkey.Cred  // who sent it
	SendErrno   pfkey.Errno // what send(2) returned; what a reply says is apart from it

	msg     []byte
	dialect *wire.Dialect
}

// Message returns the bytes that were sent. They belong to the caller.
func (r Request) Message() []byte { return slices.Clone(r.msg) }

// String is the message on one line, as [wire.Dialect.Line] writes it.
func (r Request) String() string {
	if r.dialect == nil {
		return "none"
	}
	return r.dialect.Line(r.msg)
}

// Format writes the same as String whatever the verb.
func (r Request) Format(f fmt.State, verb rune) { fmt.Fprint(f, r.String()) }

// LogValue keeps the bytes out of structured logs.
func (r Request) LogValue() slog.Value { return slog.StringValue(r.String()) }

// MarshalText keeps the bytes out of JSON and the like.
func (r Request) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// defaultPatience is that of a host without [Patience].
const defaultPatience = 10 * time.Second

// WaitRequest waits until a program has sent a message of one of the types, of any type if none is given, and the
// kernel has handled it; then everything that the message brings about has happened, but for what the program does
// next.
//
// It goes through the messages in the order in which the kernel was done with them, and only forward: it returns the
// first one of the types that came later than the one it has returned last, whether that was before the call or comes
// during it. Messages of other types that lie between are passed over for good; [Host.Requests] has them all. So after
//
//	host.WaitRequest(ctx, wire.MsgAdd)
//	host.WaitRequest(ctx, wire.MsgGetSPI)
//
// there was a GETSPI later than an ADD. Goroutines that wait at the same time share this one position.
//
// If ctx has no deadline of its own, as that of a test, WaitRequest waits for 10 seconds, or as [Patience] says. When
// its time is over, or ctx ends, the error says what it has waited for and what has come instead, and has
// [context.DeadlineExceeded] or the cause of ctx in its chain. A wait in vain passes nothing over.
//
// Whatever sends counts: programs of [Host.Start] and behind [Host.Serve], clients of [Host.Client], sockets of
// [Host.Open]. A host remembers at least the last 4096 messages.
func (h *Host) WaitRequest(ctx context.Context, types ...wire.MsgType) (Request, error) {
	what := "request"
	if len(types) > 0 {
		names := make([]string, len(types))
		for i, t := range types {
			names[i] = h.engine.Dialect().MsgName(t)
		}
		what = strings.Join(names, " or ")
	}
	bounded, long := ctx, ""
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, h.patience)
		defer cancel()
		long = fmt.Sprintf(" in %v", h.patience)
	}
	r, instead, ok := h.log.wait(bounded, types)
	if !ok {
		err := context.Cause(bounded)
		if ctx.Err() != nil {
			err, long = context.Cause(ctx), ""
		}
		return Request{}, fmt.Errorf("pfkeytest: no %s%s: %w%s%s", what, long, err, instead, h.programStates())
	}
	return r, nil
}

// ExpectRequest is WaitRequest with the context of the host's test, and ends the test if there is no such request.
func (h *Host) ExpectRequest(types ...wire.MsgType) Request {
	h.t.Helper()
	r, err := h.WaitRequest(h.t.Context(), types...)
	if err != nil {
		h.t.Fatalf("%v", err)
	}
	return r
}

// Requests returns the messages that programs have sent so far, in the order in which the kernel was done with them,
// whether WaitRequest has returned them or not.
func (h *Host) Requests() []Request { return h.log.all() }

// maxRequests is how many messages a host remembers at least.
const maxRequests = 4096

// A requestLog is an engine that remembers what it is sent.
type requestLog struct {
	pfkey.Engine

	mu       sync.Mutex // a leaf
	requests []Request
	next     int           // where WaitRequest goes on
	last     Request       // what it has returned last
	more     chan struct{} // closed, and replaced, when there is a new one
}

func newRequestLog(e pfkey.Engine) *requestLog {
	return &requestLog{Engine: e, more: make(chan struct{})}
}

// Open implements [pfkey.Engine].
func (l *requestLog) Open(c pfkey.Cred, typ, proto int) (pfkey.Socket, pfkey.Errno) {
	s, errno := l.Engine.Open(c, typ, proto)
	if errno != wire.OK {
		return nil, errno
	}
	return &loggedSocket{s, l}, wire.OK
}

type loggedSocket struct {
	pfkey.Socket
	log *requestLog
}

// Send implements [pfkey.Socket].
func (s *loggedSocket) Send(msg []byte, from pfkey.Cred) pfkey.Errno {
	r := Request{Cred: from, msg: slices.Clone(msg), dialect: s.log.Dialect()}
	r.Header, _ = r.dialect.Header(msg)
	r.SendErrno = s.Socket.Send(msg, from)
	s.log.add(r)
	return r.SendErrno
}

func (l *requestLog) add(r Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.requests) == 2*maxRequests { // rarely, for the rest has to move
		l.requests = slices.Delete(l.requests, 0, maxRequests)
		l.next = max(l.next-maxRequests, 0)
	}
	l.requests = append(l.requests, r)
	close(l.more)
	l.more = make(chan struct{})
}

// wait returns the next request of one of the types. If ctx ends before, it says what came instead.
func (l *requestLog) wait(ctx context.Context, types []wire.MsgType) (r Request, instead string, ok bool) {
	for {
		l.mu.Lock()
		for i := l.next; i < len(l.requests); i++ {
			if r := l.requests[i]; len(types) == 0 || slices.Contains(types, r.Type) {
				l.next, l.last = i+1, r
				l.mu.Unlock()
				return r, "", true
			}
		}
		if ctx.Err() != nil {
			instead = l.insteadLocked() // still under the lock: none of the types has come, and none is shown
			l.mu.Unlock()
			return Request{}, instead, false
		}
		more := l.more
		l.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
		}
	}
}

// maxInstead is how many requests an error shows, the last ones.
const maxInstead = 10

// insteadLocked tells what has come since the last request that was returned. It needs l.mu held.
func (l *requestLog) insteadLocked() string {
	var b strings.Builder
	since := ""
	if l.last.dialect != nil {
		since = fmt.Sprintf(" since %s", l.last)
	}
	came := l.requests[l.next:]
	if len(came) == 0 {
		fmt.Fprintf(&b, "; nothing came%s", since)
		return b.String()
	}
	fmt.Fprintf(&b, "; instead there came%s:", since)
	if n := len(came) - maxInstead; n > 0 {
		fmt.Fprintf(&b, "\n\t%d others", n)
		came = came[n:]
	}
	for _, r := range came {
		fmt.Fprintf(&b, "\n\t%s", r)
		if r.SendErrno != wire.OK {
			fmt.Fprintf(&b, " (send fails: %s)", r.SendErrno)
		}
	}
	return b.String()
}

func (l *requestLog) all() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.requests)
}
