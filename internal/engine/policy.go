package engine

import "github.com/pfkeyd/pfkeyd/pfkey"

// PolicyTaker is a kernel with security policies as PF_KEY's X_SPDADD carries them, which takes some that come by other
// ways than a socket.
type PolicyTaker interface {
	// AddPolicies adds policies to those there are, all of them or, with an error, none. What concerns one of them is a
	// [*PolicyError]. The control lock must not be held, because it may take it; packets may flow meanwhile.
	AddPolicies(requests []PolicyRequest) error
}

// A PolicyRequest is what an X_SPDADD asks for, or an X_SPDUPDATE.
type PolicyRequest struct {
	Policy *pfkey.Policy // not changed, nor kept
	Update bool          // it may replace one for the same packets
}

// A PolicyError says why a kernel refuses a policy.
type PolicyError struct {
	Index    int // of the request
	Template int // index of the template that is at fault; -1: the policy as a whole
	Why      string
}

func (e *PolicyError) Error() string { return e.Why }
