package netlink

import (
	"maps"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// stateMemory is what is remembered of SAs.
type stateMemory struct {
	keyed   map[sadb.Key]*keyed
	larvals map[uint32]larval // those that an ACQUIRE has asked for, by its number
	walks   map[*stateWalk]struct{}
}

func (m *stateMemory) init() {
	m.keyed, m.larvals, m.walks = map[sadb.Key]*keyed{}, map[uint32]larval{}, map[*stateWalk]struct{}{}
}

// larval is what is remembered of an SA that an ACQUIRE has asked for.
type larval struct {
	proto   uint8
	givenUp bool // by those who were asked
}

// keyed is what is remembered of an SA that has keys.
type keyed struct {
	state    transform.State // as it was told last, without keys
	dying    bool            // its soft lifetime has passed
	withheld withheld
	told     engine.Told
	dumped   bool // found by a dump after news was lost: news of it may still come
}

// withheld is what PF_KEY takes of an SA and the kernel does not: encryption of AH, authentication of IPCOMP.
type withheld struct {
	id   wire.AlgID
	bits uint16
	key  []byte
}

// maxCPI is the highest SPI of IPCOMP that netlink takes.
const maxCPI = 0xffff

// withhold takes out of s what the kernel would refuse.
func withhold(s *transform.State) (w withheld) {
	switch {
	case s.Proto == ip.ProtoAH && s.Encrypt != 0:
		w = withheld{s.Encrypt, s.EncryptBits, append([]byte(nil), s.EncryptKey()...)}
		s.Keys = s.AuthKey()
		s.Encrypt, s.EncryptBits = 0, 0
	case s.Proto == ip.ProtoComp && s.Auth != 0:
		w = withheld{s.Auth, s.AuthBits, append([]byte(nil), s.AuthKey()...)}
		s.Auth, s.AuthBits, s.Keys = 0, 0, nil
	}
	return w
}

// show puts what was withheld back into a description.
func (w *withheld) show(s *transform.State) {
	switch {
	case w.id == 0:
	case s.Proto == ip.ProtoAH:
		s.Encrypt, s.EncryptBits = w.id, w.bits
		s.Keys = append(s.Keys[:len(s.Keys):len(s.Keys)], w.key...)
	default:
		s.Auth, s.AuthBits, s.Keys = w.id, w.bits, append([]byte(nil), w.key...)
	}
}

// learn remembers an SA with keys.
func (m *stateMemory) learn(s *transform.State, w withheld) *keyed {
	k := &keyed{state: *s, withheld: w}
	k.state.Keys = nil
	m.keyed[s.Key()] = k
	return k
}

// forget says that an SA is gone.
func (m *stateMemory) forget(s *transform.State) {
	if k := m.keyed[s.Key()]; k != nil {
		clear(k.withheld.key)
		delete(m.keyed, s.Key())
	}
	for w := range m.walks {
		w.gone[nameOfState(s)] = true
	}
}

// tellState tells those who follow the events what state an SA with keys is in. LARVAL ones are not remembered, and so
// not told of.
func (t *Transforms) tellState(k *keyed, phase sadb.State) {
	t.e.TellState(&k.told, phase, func() engine.SAName {
		s := &k.state
		return engine.SAName{Proto: s.Proto, SPI: s.SPI, Src: s.Src, Dst: s.Dst}
	})
}

// tellGone tells them that it is gone.
func (t *Transforms) tellGone(name sadb.Key) {
	if k := t.states.keyed[name]; k != nil {
		t.tellState(k, sadb.Dead)
	}
}

// answered says that an ACQUIRE has got its SA.
func (m *stateMemory) answered(s *transform.State) {
	if s.MsgSeq != 0 {
		delete(m.larvals, s.MsgSeq)
	}
}

// complete adds to what the kernel says of an SA what is remembered.
func (t *Transforms) complete(s *transform.State) {
	if s.Phase == sadb.Larval {
		if t.states.larvals[s.MsgSeq].givenUp {
			s.Phase = sadb.Dead
		}
		return
	}
	k := t.states.keyed[s.Key()]
	if k == nil {
		return
	}
	k.withheld.show(s)
	if k.dying {
		s.Phase = sadb.Dying
	}
}

// heardOfStates handles news of SAs.
func (t *Transforms) heardOfStates(n *News) {
	s := n.State
	switch n.Type {
	case NewState:
		t.added(s, n.By)
	case UpdState:
		t.updated(s, n.By)
	case DelState:
		if k := t.states.keyed[s.Key()]; k != nil {
			k.withheld.show(s)
		}
		t.manager.StateChanged(transform.Deleted, s, n.By)
		t.tellGone(s.Key())
		t.states.forget(s)
		t.states.answered(s)
		t.result(DelState, s.Key())
	case Expire:
		if k := t.states.keyed[s.Key()]; k != nil { // the message has neither algorithms nor ports
			s.Auth, s.Encrypt, s.Compress, s.Encap = k.state.Auth, k.state.Encrypt, k.state.Compress, k.state.Encap
			if w := k.withheld; w.id != 0 && s.Proto == ip.ProtoAH {
				s.Encrypt = w.id
			} else if w.id != 0 {
				s.Auth = w.id
			}
			k.dying = true
			t.tellState(k, s.Phase)
		}
		t.manager.Expired(s, n.Hard)
		if n.Hard {
			t.states.forget(s)
			t.states.answered(s)
		}
	case FlushStates:
		t.flushed(n.Proto)
		t.manager.StatesFlushed(n.Proto, n.By)
		t.resultOf(FlushStates)
	case Acquire:
		a := n.Acquisition
		if t.policies.own(a.PolicyID) { // PF_KEY's policies propose nothing
			a.Auth, a.Encrypt = 0, 0
		}
		t.states.larvals[a.Seq] = larval{proto: a.Proto}
		t.manager.Acquire(a)
	case Mapping:
		if k := t.states.keyed[n.Name]; k != nil {
			n.Mapping.Seq = k.state.MsgSeq
		}
		t.manager.NewMapping(n.Mapping)
	}
}

// added handles the news of an SA. One that a dump has found first has been told.
func (t *Transforms) added(s *transform.State, by transform.By) {
	if k := t.states.keyed[s.Key()]; k != nil && k.dumped && k.state.Usage.AddTime == s.Usage.AddTime {
		k.dumped = false
		return
	}
	var w withheld
	if r := t.result(NewState, s.Key()); r != nil {
		w = r.withheld
	}
	w.show(s)
	t.states.answered(s)
	t.manager.StateChanged(transform.Added, s, by)
	t.tellState(t.states.learn(s, w), sadb.Mature)
}

// updated handles the news of an update. What is shown of one that had keys is what was asked for; of the SA it changes
// limits and ports.
func (t *Transforms) updated(s *transform.State, by transform.By) {
	var w withheld
	if r := t.result(UpdState, s.Key()); r != nil {
		w = r.withheld
	}
	w.show(s)
	t.states.answered(s)
	if k := t.states.keyed[s.Key()]; k != nil {
		s.Phase = sadb.Dead
		t.manager.StateChanged(transform.Updated, s, by)
		k.state.Limits, k.state.Encap, k.dying = s.Limits, s.Encap, false
		t.tellState(k, sadb.Mature)
		for w := range t.states.walks {
			w.changed[nameOfState(s)] = true
		}
		return
	}
	t.manager.StateChanged(transform.Updated, s, by)
	t.states.forget(s) // the LARVAL one whose place it took
	t.tellState(t.states.learn(s, w), sadb.Mature)
}

// flushed says that the SAs of a protocol are gone.
func (t *Transforms) flushed(proto uint8) {
	for key, k := range t.states.keyed {
		if matches(proto, key.Proto) {
			t.tellState(k, sadb.Dead)
			clear(k.withheld.key)
			delete(t.states.keyed, key)
		}
	}
	maps.DeleteFunc(t.states.larvals, func(_ uint32, l larval) bool { return matches(proto, l.proto) })
	for w := range t.states.walks {
		w.flushed = append(w.flushed, proto)
	}
}

// matches tells whether a protocol is meant by one that may stand for any of IPsec's, or be 0 for any at all.
func matches(proto, of uint8) bool {
	return proto == 0 || proto == of || proto == transform.AnyProto && saProto(of)
}

// saProto tells whether SAs of a protocol are found by their SPI.
func saProto(proto uint8) bool {
	return proto == ip.ProtoAH || proto == ip.ProtoESP || proto == ip.ProtoComp
}

// result finds the request that an SA's news is the result of, if it is ours.
func (t *Transforms) result(kind Type, key sadb.Key) *request {
	if r := t.own; r != nil && r.kind == kind && r.key == key {
		r.heard = true
		return r
	}
	return nil
}

// resultOf notes that the request being made has been heard of, if it is of that kind.
func (t *Transforms) resultOf(kind Type) {
	if r := t.own; r != nil && r.kind == kind {
		r.heard = true
	}
}

// AllocSPI implements afkey's States. AF_KEY makes an SA for a range that makes no sense, too; netlink does so only for
// one in which there is nothing.
func (t *Transforms) AllocSPI(q *transform.SPIRequest, to *transform.State) wire.Errno {
	t.Hear()
	errno := t.one(t.c.AppendAllocSPI(t.out[:0], q), to)
	if errno == wire.EINVAL && saProto(q.Proto) {
		nothing := *q
		nothing.Min, nothing.Max = 0, 0
		var unused transform.State
		t.one(t.c.AppendAllocSPI(t.out[:0], &nothing), &unused)
	}
	return errno
}

// one asks for a description of one SA.
func (t *Transforms) one(message []byte, to *transform.State) wire.Errno {
	return t.ask(message, func(m Message) error {
		n, err := t.c.News(m)
		if err != nil {
			return err
		}
		if n.State == nil {
			return errShort
		}
		t.complete(n.State)
		*to = *n.State
		return nil
	})
}

// Add implements afkey's States.
func (t *Transforms) Add(s *transform.State, by transform.By) wire.Errno { return t.put(s, false, by) }

// Update implements afkey's States.
func (t *Transforms) Update(s *transform.State, by transform.By) wire.Errno {
	return t.put(s, true, by)
}

func (t *Transforms) put(s *transform.State, update bool, by transform.By) wire.Errno {
	defer clear(s.Keys)
	if !saProto(s.Proto) {
		return wire.EPROTONOSUPPORT // for which netlink has another errno
	}
	if !s.Mode.Encapsulates() && s.Sel != nil && s.Sel.V6 != s.V6() {
		return wire.EPROTONOSUPPORT // netlink looks first whether the protocol has its algorithm
	}
	t.Hear()
	r := request{kind: NewState, by: by, key: s.Key()}
	change, phase := transform.Added, sadb.Mature
	if update {
		if r.kind, change = UpdState, transform.Updated; t.states.keyed[r.key] != nil {
			phase = sadb.Dead
		}
		if s.Proto == ip.ProtoComp && s.SPI > maxCPI {
			s.SPI = 0 // under neither name there is one, but under this one netlink looks
		}
	}
	r.withheld = withhold(s)
	r.tell = func() {
		r.withheld.show(s)
		s.Phase, s.Usage = phase, transform.Usage{AddTime: t.e.Now().Unix()}
		if k := t.states.keyed[r.key]; k != nil {
			k.dying = false
		}
		t.manager.StateChanged(change, s, by)
	}
	errno := t.do(r, t.c.AppendState(t.out[:0], s, update, by))
	if errno != wire.OK {
		clear(r.withheld.key)
	}
	return errno
}

// Delete implements afkey's States.
func (t *Transforms) Delete(name sadb.Key, by transform.By) wire.Errno {
	if !saProto(name.Proto) {
		return wire.ESRCH
	}
	t.Hear()
	gone := transform.State{Config: transform.Config{Proto: name.Proto, SPI: name.SPI, Dst: name.Dst,
		Src: transform.Unspecified(name.Dst.Is6())}, Limits: transform.NoLimits}
	if k := t.states.keyed[name]; k != nil {
		gone = k.state
		gone.AuthBits, gone.EncryptBits = 0, 0
	}
	gone.Phase = sadb.Dead
	return t.do(request{kind: DelState, by: by, key: name,
		tell: func() { t.manager.StateChanged(transform.Deleted, &gone, by) }},
		t.c.AppendDelState(t.out[:0], name, by))
}

// Get implements afkey's States.
func (t *Transforms) Get(name sadb.Key, to *transform.State) wire.Errno {
	if !saProto(name.Proto) {
		return wire.ESRCH
	}
	t.Hear()
	return t.describe(name, to)
}

// describe asks how an SA is.
func (t *Transforms) describe(name sadb.Key, to *transform.State) wire.Errno {
	return t.one(t.c.AppendGetState(t.out[:0], name), to)
}

// Flush implements afkey's States.
func (t *Transforms) Flush(proto uint8, by transform.By) {
	t.Hear()
	t.do(request{kind: FlushStates, by: by, tell: func() { t.manager.StatesFlushed(proto, by) }},
		t.c.AppendFlushStates(t.out[:0], proto, by))
}

// GiveUp implements afkey's States. No message of netlink says so: the SA is shown as DEAD, and the kernel goes on
// waiting for it.
func (t *Transforms) GiveUp(seq uint32) {
	t.Hear()
	if l, asked := t.states.larvals[seq]; asked {
		l.givenUp = true
		t.states.larvals[seq] = l
	}
}

// rememberStates fills the memory of SAs, keeping what only it knows.
func (t *Transforms) rememberStates() error {
	old := t.states.keyed
	t.states.keyed = make(map[sadb.Key]*keyed, len(old))
	larvals := map[uint32]larval{}
	err := t.dump(t.c.AppendDumpStates(t.out[:0], transform.AnyProto, transform.Filter{}), func(n *News) {
		s := n.State
		if s == nil {
			return
		}
		if s.Phase == sadb.Larval {
			if s.MsgSeq != 0 {
				larvals[s.MsgSeq] = larval{s.Proto, t.states.larvals[s.MsgSeq].givenUp}
			}
			return
		}
		clear(s.Keys)
		if k := old[s.Key()]; k != nil {
			k.state = *s
			k.state.Keys = nil
			t.states.keyed[s.Key()] = k
			return
		}
		t.tellState(t.states.learn(s, withheld{}), sadb.Mature)
	})
	for key, k := range old {
		if err == nil && t.states.keyed[key] == nil { // it has moved
			t.tellState(k, sadb.Dead)
		}
	}
	t.states.larvals = larvals
	return err
}
