package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// The only suite of this manager, by names that every dialect knows. The BSDs propose no shorter keys for encryption.
const (
	authName    = "hmac-sha1"
	authLen     = 20
	encryptName = "aes-cbc"
	encryptLen  = 32
)

// A pair is two security associations, one for each direction, that were negotiated together.
type pair struct {
	id      string
	mine    bool     // this manager has begun it, and renews it
	acquire wire.Seq // of the kernel's ACQUIRE, 0 if there was none
	old     *pair    // the one that it renews, nil if there was none
	in, out wire.SPI
	keys    keys
	renewed bool // there is a new one, or it is being negotiated
}

// A note says what a manager has done.
type note struct {
	what string // established, deleted, failed
	pair *pair
	err  error // of what failed
}

// A manager keeps the ESP associations between two addresses, in transport mode, for one kernel: it makes a pair when
// the kernel asks for one, makes the next when a soft limit is reached, and deletes what has reached its hard limit.
// The other manager does the same with its kernel.
type manager struct {
	client      *pfkey.Client
	link        *link
	local, peer netip.Addr
	soft, hard  uint64     // seconds from ADD
	tell        func(note) // from the goroutine of run
	ready       func()     // once it has registered; may be nil

	begun        int
	negotiations map[string]*pair
	pairs        []*pair
}

func newManager(c *pfkey.Client, l *link, local, peer netip.Addr, soft, hard uint64, tell func(note)) *manager {
	return &manager{client: c, link: l, local: local, peer: peer, soft: soft, hard: hard, tell: tell,
		negotiations: map[string]*pair{}}
}

// run works until ctx ends, which is no error, or until the kernel or the other manager cannot be spoken to any more.
// It closes the link.
//
// Everything is done by one goroutine, step by step; two others only read. Nothing waits for the peer: what it answers
// is another step.
func (m *manager) run(ctx context.Context) error {
	if _, err := m.client.Register(ctx, wire.SATypeESP); err != nil {
		m.link.close()
		return err
	}
	if m.ready != nil {
		m.ready()
	}
	outer := ctx
	ctx, cancel := context.WithCancelCause(outer)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer cancel(nil)
	context.AfterFunc(ctx, m.link.close) // which ends whoever reads or writes

	events := make(chan pfkey.Event)
	reading.Go(func() {
		for e, err := range m.client.Watch(ctx) {
			if err != nil {
				cancel(err)
				return
			}
			select {
			case events <- e:
			case <-ctx.Done():
				return
			}
		}
	})
	// Both managers may write at once, and must not wait for each other: there is room for what a few negotiations have
	// on their way.
	messages := make(chan message, 64)
	reading.Go(func() {
		for {
			msg, err := m.link.receive()
			if err != nil {
				cancel(err)
				return
			}
			select {
			case messages <- msg:
			case <-ctx.Done():
				return
			}
		}
	})
	for {
		var err error
		select {
		case e := <-events:
			err = m.onEvent(ctx, e)
		case msg := <-messages:
			err = m.onMessage(ctx, msg)
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		switch {
		case outer.Err() != nil: // then the other manager may end as well, and whatever went wrong is no wonder
			return nil
		case err != nil:
			return err
		}
	}
}

// onEvent is one step that the kernel asks for.
func (m *manager) onEvent(ctx context.Context, e pfkey.Event) error {
	switch e := e.(type) {
	case *pfkey.Acquire:
		switch {
		case e.Err != nil || e.PID != 0 || e.Type != wire.SATypeESP || e.Src.Addr != m.local || e.Dst.Addr != m.peer:
			return nil // somebody else's
		case !m.accepts(e.Proposal):
			return m.client.FailAcquire(ctx, e.Type, e.Seq, wire.EPROTONOSUPPORT)
		}
		return m.begin(ctx, e.Seq, nil)
	case *pfkey.Expire:
		p := m.find(e.SAID)
		switch {
		case p == nil:
		case e.Limit == pfkey.LimitSoft && p.mine && !p.renewed:
			p.renewed = true
			return m.begin(ctx, 0, p)
		case e.Limit == pfkey.LimitHard:
			return m.delete(ctx, p)
		}
	}
	return nil
}

// accepts says whether a proposal has the one suite. Without any combination the choice is key management's, and so is
// that of authentication if a combination has none, as on the BSDs.
func (m *manager) accepts(p *wire.Proposal) bool {
	if p == nil || len(p.Combs) == 0 {
		return true
	}
	d := m.client.Dialect()
	return slices.ContainsFunc(p.Combs, func(c wire.Comb) bool {
		return (c.Auth == wire.AuthNone || d.AuthName(c.Auth) == authName) && d.EncryptName(c.Encrypt) == encryptName &&
			c.EncryptMinBits <= 8*encryptLen && c.EncryptMaxBits >= 8*encryptLen
	})
}

// find returns the pair that an association belongs to, complete or not, nil if there is none.
func (m *manager) find(id pfkey.SAID) *pair {
	all := slices.AppendSeq(slices.Clone(m.pairs), maps.Values(m.negotiations))
	i := slices.IndexFunc(all, func(p *pair) bool {
		return id.Dst.Addr == m.local && id.SPI == p.in || id.Dst.Addr == m.peer && id.SPI == p.out
	})
	if i < 0 {
		return nil
	}
	return all[i]
}

// begin begins a negotiation, for an ACQUIRE or to renew a pair.
func (m *manager) begin(ctx context.Context, acquire wire.Seq, old *pair) error {
	m.begun++
	p := &pair{id: fmt.Sprintf("%s/%d", m.local, m.begun), mine: true, acquire: acquire, old: old,
		keys: keys{newKeys(), newKeys()}}
	var err error
	if p.in, err = m.reserve(ctx); err != nil {
		return m.fail(ctx, p, err)
	}
	m.negotiations[p.id] = p
	return m.link.send(message{Step: "offer", ID: p.id, SPI: p.in, Keys: p.keys})
}

func newKeys() keyPair {
	k := keyPair{make([]byte, authLen), make([]byte, encryptLen)}
	_, _ = rand.Read(k.Auth) // never fails
	_, _ = rand.Read(k.Encrypt)
	return k
}

// onMessage is one step that the other manager asks for. The order matters: a packet may come as soon as the other side
// has what it needs to send it, so who receives is ready before he lets the other one know.
func (m *manager) onMessage(ctx context.Context, msg message) error {
	p := m.negotiations[msg.ID]
	if (p == nil) != (msg.Step == "offer") {
		return nil // late, or nonsense
	}
	var err error
	switch msg.Step {
	case "offer":
		p = &pair{id: msg.ID, out: msg.SPI, keys: msg.Keys}
		if p.in, err = m.reserve(ctx); err == nil {
			err = m.client.Update(ctx, m.inbound(p), pfkey.NoAcquire)
		}
		if err != nil {
			return errors.Join(m.link.send(message{Step: "refuse", ID: p.id}), m.fail(ctx, p, err))
		}
		m.negotiations[p.id] = p
		return m.link.send(message{Step: "accept", ID: p.id, SPI: p.in})
	case "accept":
		p.out = msg.SPI
		if err = m.client.Update(ctx, m.inbound(p), pfkey.NoAcquire); err == nil {
			err = m.establish(ctx, p)
		}
		if err != nil {
			return errors.Join(m.link.send(message{Step: "refuse", ID: p.id}), m.fail(ctx, p, err))
		}
		return m.link.send(message{Step: "done", ID: p.id})
	case "done":
		if err = m.establish(ctx, p); err != nil {
			return m.fail(ctx, p, err)
		}
	case "refuse":
		return m.fail(ctx, p, errors.New("the peer refuses"))
	}
	return nil
}

// reserve has the kernel choose an SPI for packets from the peer.
func (m *manager) reserve(ctx context.Context) (wire.SPI, error) {
	return m.client.GetSPI(ctx, pfkey.GetSPIParams{Type: wire.SATypeESP, Src: pfkey.Host(m.peer),
		Dst: pfkey.Host(m.local)})
}

// establish adds the outbound association, which sets free what waits for it, and the pair is complete.
func (m *manager) establish(ctx context.Context, p *pair) error {
	if err := m.client.Add(ctx, m.outbound(p), p.acquire); err != nil {
		return err
	}
	delete(m.negotiations, p.id)
	m.pairs = append(m.pairs, p)
	m.tell(note{what: "established", pair: p})
	return m.deleteEnded(ctx)
}

// deleteEnded deletes the pairs that the kernel has ended without a word: NetBSD tells of no hard limit.
func (m *manager) deleteEnded(ctx context.Context) error {
	for _, p := range slices.Clone(m.pairs) {
		if _, err := m.client.Get(ctx, m.inbound(p).SAID); !absent(err) {
			continue
		}
		if err := m.delete(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// absent says whether a kernel has no such association: the errno is ENOENT on NetBSD.
func absent(err error) bool { return errors.Is(err, unix.ESRCH) || errors.Is(err, unix.ENOENT) }

// fail gives a negotiation up, and takes back what it has made.
func (m *manager) fail(ctx context.Context, p *pair, err error) error {
	m.giveUp(p)
	m.tell(note{what: "failed", pair: p, err: err})
	if p.in != 0 {
		_ = m.client.Delete(ctx, m.inbound(p).SAID) // or it times out
	}
	if p.acquire == 0 {
		return nil
	}
	return m.client.FailAcquire(ctx, wire.SATypeESP, p.acquire, wire.ETIMEDOUT)
}

// giveUp forgets a negotiation. What was to be renewed will be at the next EXPIRE, that of the other direction, or else
// when the kernel asks.
func (m *manager) giveUp(p *pair) {
	delete(m.negotiations, p.id)
	if p.old != nil {
		p.old.renewed = false
	}
}

// delete removes both associations of a pair, of which the kernel may have removed one or both.
func (m *manager) delete(ctx context.Context, p *pair) error {
	if m.negotiations[p.id] == p {
		m.giveUp(p)
	}
	m.pairs = slices.DeleteFunc(m.pairs, func(q *pair) bool { return q == p })
	for _, sa := range []pfkey.SA{m.inbound(p), m.outbound(p)} {
		if sa.SPI == 0 {
			continue // the peer has not answered
		}
		if err := m.client.Delete(ctx, sa.SAID); err != nil && !absent(err) {
			return err
		}
	}
	m.tell(note{what: "deleted", pair: p})
	return nil
}

func (m *manager) inbound(p *pair) pfkey.SA {
	k := p.keys.ToResponder
	if p.mine {
		k = p.keys.ToInitiator
	}
	return m.sa(m.peer, m.local, p.in, k)
}

func (m *manager) outbound(p *pair) pfkey.SA {
	k := p.keys.ToInitiator
	if p.mine {
		k = p.keys.ToResponder
	}
	return m.sa(m.local, m.peer, p.out, k)
}

func (m *manager) sa(src, dst netip.Addr, spi wire.SPI, k keyPair) pfkey.SA {
	d := m.client.Dialect()
	auth, _ := d.AuthByName(authName)
	encrypt, _ := d.EncryptByName(encryptName)
	return pfkey.SA{
		SAID:    pfkey.SAID{Type: wire.SATypeESP, SPI: spi, Src: pfkey.Host(src), Dst: pfkey.Host(dst)},
		Replay:  32,
		Auth:    auth,
		AuthKey: pfkey.NewKey(k.Auth),
		Encrypt: encrypt, EncryptKey: pfkey.NewKey(k.Encrypt),
		Hard: &wire.Lifetime{AddTime: m.hard},
		Soft: &wire.Lifetime{AddTime: m.soft},
	}
}
