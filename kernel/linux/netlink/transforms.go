package netlink

import (
	"errors"
	"fmt"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Transforms are the states and policies of the host's own kernel, in one network namespace. They implement what
// package afkey stands on. Methods need the control lock held.
type Transforms struct {
	e       *engine.Engine
	d       *wire.Dialect
	c       Codec
	port    *port
	manager transform.Manager

	states   stateMemory
	policies policyMemory
	asking   bool
	own      *request // the one being made, whose result is news
	hearing  bool     // somebody waits for news

	overruns uint64
	out      []byte // for requests
}

// Options are what goes beyond AF_KEY.
type Options struct {
	AEAD       bool // AES-CCM, AES-GCM and GMAC are algorithms of encryption
	SHA256Full bool // the ICV of HMAC-SHA-256 has the 128 bits of RFC 4868 in place of AF_KEY's 96
}

// New opens the transforms of the network namespace that the calling thread is in. The engine's kernel closes them.
// An error that wraps EPERM says that CAP_NET_ADMIN is missing there, and one that is [errors.ErrUnsupported] that
// there is no XFRM. Serve says who is told; without it nothing may be
// done.
func New(e *engine.Engine, d *wire.Dialect, o Options) (*Transforms, error) {
	p, err := open()
	if err != nil {
		return nil, err
	}
	t := &Transforms{e: e, d: d, c: Codec{Order: d.Order, AEAD: o.AEAD}, port: p}
	if o.SHA256Full {
		t.c.SHA256Bits = 128
	}
	t.states.init()
	t.policies.init()
	if err := t.remember(); err != nil {
		p.close()
		return nil, err
	}
	return t, nil
}

// unsupported says that there is no XFRM.
type unsupported struct{ error }

func (e unsupported) Unwrap() error { return e.error }

// Is implements [errors.Is].
func (unsupported) Is(target error) bool { return target == errors.ErrUnsupported }

// Serve says which key manager is told of everything from now on.
func (t *Transforms) Serve(m transform.Manager) { t.manager = m }

// Listen begins to hear what the host does by itself, on a goroutine that takes the control lock and ends with Close.
// It does nothing when it has begun.
func (t *Transforms) Listen() {
	if t.hearing {
		return
	}
	t.hearing = true
	go func() {
		for t.port.wait() == nil {
			t.e.Do(t.Hear)
		}
	}()
}

// Close closes the sockets. What is asked afterwards gets ENETDOWN.
func (t *Transforms) Close() { t.port.close() }

// Counters reads the kernel's counters of packets that it dropped, by its own names, and how often news was lost. What
// is zero is not among them.
func (t *Transforms) Counters() map[string]uint64 {
	all := t.port.counters()
	if t.overruns > 0 {
		all["NetlinkOverruns"] = t.overruns
	}
	return all
}

// request is one whose result is news.
type request struct {
	kind      Type
	by        transform.By
	key       sadb.Key            // of an SA
	withheld  withheld            // what the kernel is not told of it
	direction transform.Direction // of a policy
	selector  spd.Selector        // of a policy
	id        uint32              // of a policy that is named by it
	heard     bool
	// tell tells the result from what was asked for and what is remembered, if its news was lost and has left no trace.
	tell func()
}

// do makes a request whose result is news, and has all of that heard before it returns. Who has asked waits for it.
func (t *Transforms) do(r request, message []byte) wire.Errno {
	overruns := t.overruns
	t.own = &r
	errno := t.ask(message, nil)
	t.Hear()
	t.own = nil
	if errno == wire.OK && !r.heard && t.overruns != overruns {
		r.tell()
	}
	return errno
}

// ask sends a request and reads its answer to the end. Every message of it but the last goes to take, which may keep
// it only until it returns. The request is wiped.
func (t *Transforms) ask(message []byte, take func(Message) error) wire.Errno {
	flags := t.c.Order.Uint16(message[6:])
	err := t.port.send(message)
	clear(message)
	t.out = message[:0]
	if err != nil {
		return t.errno(err)
	}
	for {
		b, err := t.port.answer()
		if err != nil {
			return t.errno(err)
		}
		errno, done, err := t.answered(b, flags, take)
		clear(b)
		if err != nil {
			t.port.abandon()
			return t.errno(err)
		}
		if done {
			return errno
		}
	}
}

// answered handles one datagram of an answer. done says that it is the last, an error that it makes no sense.
func (t *Transforms) answered(b []byte, flags uint16, take func(Message) error) (e wire.Errno, done bool, err error) {
	for m, err := range t.c.Messages(b) {
		if err != nil {
			return 0, true, err
		}
		switch m.Type {
		case typeError, typeDone:
			n, err := t.c.errno(m)
			return t.symbol(n), true, err
		}
		if take != nil {
			if err := take(m); err != nil {
				return 0, true, err
			}
		}
	}
	return wire.OK, flags&(flagAck|flagDump) == 0, nil
}

// symbol is an error number of the kernel. Those that PF_KEY cannot carry are the kernel's own (ENOTSUPP).
func (t *Transforms) symbol(n int) wire.Errno {
	if n < 256 {
		if e, ok := t.d.Errno(uint8(n)); ok {
			return e
		}
	}
	return wire.EOPNOTSUPP
}

// errno is what is told of an error that is none of the kernel's answers.
func (t *Transforms) errno(err error) wire.Errno {
	if err == errClosed {
		return wire.ENETDOWN
	}
	if n := number(err); n != 0 {
		return t.symbol(n)
	}
	t.e.Log().Warn("netlink", "error", err)
	return wire.EIO
}

// Settle implements afkey's Transforms: nothing waits here for a request to be answered.
func (t *Transforms) Settle() {}

// Ask says whether anybody wants to hear of ACQUIREs.
func (t *Transforms) Ask(yes bool) {
	if yes == t.asking {
		return
	}
	if err := t.port.acquires(yes); err != nil {
		t.e.Log().Warn("netlink: ACQUIREs", "want", yes, "error", err)
		return
	}
	t.asking = yes
}

// mostNews is how many datagrams are heard at a time, more than the queue holds: what is the result of a request is
// among them, and others who go on and on do not keep the lock.
const mostNews = 1 << 15

// Hear reads what the host has told all, until there is no more.
func (t *Transforms) Hear() {
	lost := false
	for range mostNews {
		b, err := t.port.next()
		if err == errOverrun {
			lost = true
			continue
		}
		if err != nil && err != errClosed {
			t.e.Log().Error("netlink: no news comes any more", "error", err)
			t.port.close()
		}
		if b == nil {
			break
		}
		for m, err := range t.c.Messages(b) {
			var n News
			if err == nil {
				n, err = t.c.News(m)
			}
			if err != nil { // of another's SA, perhaps; the others have nothing to do with it
				t.e.Log().Debug("netlink: news", "error", err)
				continue
			}
			t.heard(&n)
		}
		clear(b)
	}
	if lost {
		t.overruns++
		t.resynchronise()
	}
}

// heard handles one piece of news.
func (t *Transforms) heard(n *News) {
	switch n.Type {
	case NewState, UpdState, DelState, FlushStates, Expire, Acquire, Mapping:
		t.heardOfStates(n)
	case Migrate:
		if r := t.own; r != nil && r.kind == Migrate {
			r.heard = true
		}
		if !n.Sub {
			t.manager.Migrated(n.Migration)
		}
		if err := t.rememberStates(); err != nil { // of SAs that have moved nothing is told
			t.e.Log().Warn("netlink", "error", err)
		}
	default:
		if !n.Sub {
			t.heardOfPolicies(n)
		}
	}
}

// remember fills the memory of what there is.
func (t *Transforms) remember() error {
	if err := t.rememberStates(); err != nil {
		return err
	}
	return t.rememberPolicies()
}

func (t *Transforms) dump(message []byte, take func(*News)) error {
	var bad error
	errno := t.ask(message, func(m Message) error {
		n, err := t.c.News(m)
		if err == nil {
			take(&n)
		} else if bad == nil {
			bad = err
		}
		return nil
	})
	if errno != wire.OK {
		return fmt.Errorf("netlink: dump: %v", errno)
	}
	if bad != nil {
		t.e.Log().Debug("netlink: dump", "error", bad)
	}
	return nil
}
