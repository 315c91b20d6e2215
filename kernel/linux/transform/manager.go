package transform

// Manager is a key manager, as the transforms see it (struct xfrm_mgr). It hears of every change, whoever has made it.
// What it is told with by is the result of a request, often its own, and comes before that request returns.
type Manager interface {
	// StateChanged tells of a new SA, of one that has been updated, or of one that is gone, which is DEAD. So is an
	// updated one that had keys before: what is shown then is what was asked for.
	StateChanged(c Change, s *State, by By)
	// StatesFlushed tells that SAs of a protocol, or of AnyProto, are gone. Nobody hears of a flush that found none.
	StatesFlushed(proto uint8, by By)
	// PolicyChanged tells of a new policy, of one that took the place of another, or of one that is gone.
	PolicyChanged(c Change, p *Policy, by By)
	// PoliciesFlushed tells that all policies are gone. Nobody hears of a flush that found none.
	PoliciesFlushed(by By)
	// Expired tells that the soft lifetime of an SA has passed, which then is DYING, or the hard one, and it is DEAD.
	Expired(s *State, hard bool)
	// Acquire asks for an SA, and says whether anybody has heard it.
	Acquire(a *Acquisition) (heard bool)
	// NewMapping tells where the peer of an SA is now. The SA stays as it is.
	NewMapping(m *Mapping)
	// Migrated tells what was moved.
	Migrated(m *Migration)
}
