package afkey

import (
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/sadb"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Transforms are what PF_KEY stands on: states, policies, and whatever sends packets through them. Whoever is behind it
// calls the [Manager] back, see [transform.Manager]. All of it happens under the engine's control lock.
type Transforms interface {
	States
	Policies
	// Settle says that a request has been answered: what has waited for that happens before it returns.
	Settle()
}

// States is the database of SAs. Its errnos go to whoever asked, unchanged.
type States interface {
	// AllocSPI makes a LARVAL SA, or takes one that fits, gives it an SPI, and describes it. Nobody else hears of it.
	// EINVAL for a range that makes no sense, ENOENT if none in it is free; the SA is there all the same.
	AllocSPI(q *transform.SPIRequest, to *transform.State) wire.Errno
	// Add makes an SA, Update puts one into the place of a LARVAL one or changes one that has keys, Delete removes one,
	// and the manager is told before they return. Phase and Usage are not looked at. The keys are taken over, also if
	// the SA is refused: who asks must not look at them any more.
	Add(s *transform.State, by transform.By) wire.Errno
	Update(s *transform.State, by transform.By) wire.Errno
	Delete(name sadb.Key, by transform.By) wire.Errno
	// Get describes an SA: ESRCH if there is none.
	Get(name sadb.Key, to *transform.State) wire.Errno
	// Flush removes the SAs of a protocol, or of [transform.AnyProto].
	Flush(proto uint8, by transform.By)
	// Walk begins to go over the SAs of a protocol, or of [transform.AnyProto], that a filter lets through.
	Walk(proto uint8, f transform.Filter) transform.Walk[transform.State]
	// Ask says whether anybody wants to hear of ACQUIREs, GiveUp that the one with this number will not be answered.
	Ask(yes bool)
	GiveUp(seq uint32)
}

// Policies is the database of policies. Its errnos go to whoever asked, unchanged.
type Policies interface {
	// AddPolicy makes a policy, and the manager is told before it returns; so do those that delete. One with the same
	// selector is in the way, EEXIST, or is replaced. ID, times and references are not looked at; the templates are
	// kept.
	AddPolicy(p *transform.Policy, replace bool, by transform.By) wire.Errno
	// DeletePolicy names a policy by its selector, DeletePolicyID and GetPolicy by its id: ENOENT if there is none,
	// EINVAL for an id that none can have.
	DeletePolicy(d transform.Direction, sel spd.Selector, by transform.By) wire.Errno
	DeletePolicyID(id uint32, by transform.By) wire.Errno
	GetPolicy(id uint32, to *transform.Policy) wire.Errno
	FlushPolicies(by transform.By)
	WalkPolicies() transform.Walk[transform.Policy]
	Migrate(m *transform.Migration) wire.Errno
	// ReqIDUsed tells whether a template has this request id.
	ReqIDUsed(id uint32) bool
}

// maxSockets is a limit that the original leaves to memory; beyond it is ENFILE, as when the system has no file for a
// socket.
const maxSockets = 1024

// Manager is PF_KEY of one network namespace: its sockets, and what they say and hear. To the transforms it is one of
// their key managers, see [transform.Manager]. Methods need the control lock held.
type Manager struct {
	e          *engine.Engine
	d          *wire.Dialect
	transforms Transforms
	buffers    Buffers

	auths, encrypts []algorithm // what is offered, in the order of REGISTER

	request request // the one being handled
	reqID   uint32  // the last one chosen for level "unique"
	unheard bool    // the request being handled is a flush of which nobody may hear

	// What a request asks for or is told, here so that it costs no memory.
	state  transform.State
	policy transform.Policy
	spi    transform.SPIRequest
}

// New makes the PF_KEY of an engine on top of transforms.
func New(e *engine.Engine, d *wire.Dialect, t Transforms, b Buffers) *Manager {
	return &Manager{e: e, d: d, transforms: t, buffers: b, auths: authAlgs, encrypts: encryptAlgs,
		reqID: manualReqIDMax}
}

// Offer leaves of the algorithms only those that the transforms have, of authentication and of encryption. Algorithms
// that do both, which AF_KEY does not offer, come in. It is called before any socket is opened.
func (k *Manager) Offer(auths, encrypts []wire.AlgID) {
	k.auths, k.encrypts = offered(authAlgs, auths), offered(slices.Concat(encryptAlgs, aeads), encrypts)
}

// Open admits a new socket, or refuses it with an errno.
func (k *Manager) Open(s *engine.Socket, c pfkey.Cred, typ, proto int) (engine.Endpoint, pfkey.Errno) {
	switch {
	case !c.Privileged:
		return nil, wire.EPERM
	case typ != sockRaw:
		return nil, wire.ESOCKTNOSUPPORT
	case proto != wire.Version:
		return nil, wire.EPROTONOSUPPORT
	case len(k.e.Sockets()) >= maxSockets:
		return nil, wire.ENFILE
	}
	return k.newClient(s), wire.OK
}

// ask has the transforms ask for SAs as long as somebody is registered.
func (k *Manager) ask() { k.transforms.Ask(k.e.Registered() > 0) }
