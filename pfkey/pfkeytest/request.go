package pfkeytest

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"

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

// WaitRequest waits until a program has sent a message of one of the types, of any type if none is given, and the kernel has handled it; then everything
// that the message brings about has happened, but for what the program does next. Each message is returned once, the oldest first, also those that were
// sent before the call. At the end of ctx it returns its error.
//
// Whatever sends counts: programs behind [Host.Serve], clients of [Host.Client], sockets of [Host.Open]. A host remembers at least the last 4096 messages.
func (h *Host) WaitRequest(ctx context.Context, types ...wire.MsgType) (Request, error) {
	return h.log.wait(ctx, types)
}

// Requests returns the messages that programs have sent so far, in the order in which the kernel was done with them, whether WaitRequest has returned
// them or not.
func (h *Host) Requests() []Request { return h.log.all() }

// maxRequests is how many messages a host remembers at least.
const maxRequests = 4096

// A requestLog is an engine that remembers what it is sent.
type requestLog struct {
	pfkey.Engine

	mu      sync.Mutex // a leaf
	entries []entry
	more    chan struct{} // closed, and replaced, when there is a new entry
}

type entry struct {
	Request
	returned bool
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
	if len(l.entries) == 2*maxRequests { // rarely, for the rest has to move
		l.entries = slices.Delete(l.entries, 0, maxRequests)
	}
	l.entries = append(l.entries, entry{Request: r})
	close(l.more)
	l.more = make(chan struct{})
}

func (l *requestLog) wait(ctx context.Context, types []wire.MsgType) (Request, error) {
	for {
		l.mu.Lock()
		more := l.more
		for i := range l.entries {
			if e := &l.entries[i]; !e.returned && (len(types) == 0 || slices.Contains(types, e.Type)) {
				e.returned = true
				l.mu.Unlock()
				return e.Request, nil
			}
		}
		l.mu.Unlock()
		select {
		case <-more:
		case <-ctx.Done():
			return Request{}, ctx.Err()
		}
	}
}

func (l *requestLog) all() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	rs := make([]Request, len(l.entries))
	for i, e := range l.entries {
		rs[i] = e.Request
	}
	return rs
}
