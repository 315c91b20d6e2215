package afkey

import (
	"fmt"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/spd"
	"github.com/pfkeyd/pfkeyd/kernel/linux/transform"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// AddPolicies implements [engine.PolicyTaker]. It takes the control lock.
func (k *Manager) AddPolicies(requests []engine.PolicyRequest) (err error) {
	k.e.Do(func() { err = k.addPolicies(requests) })
	return err
}

func (k *Manager) addPolicies(requests []engine.PolicyRequest) error {
	for i, q := range requests {
		if err := refusal(q.Policy); err != nil {
			err.Index = i
			return err
		}
	}
	there, n := k.selectors()
	if n+len(requests) > transform.MaxPolicies {
		return fmt.Errorf("more than %d policies", transform.MaxPolicies)
	}
	reqID := k.reqID
	policies := make([]transform.Policy, len(requests))
	for i, q := range requests {
		p, why := &policies[i], ""
		switch errno := k.asked(q.Policy, p); {
		case errno != wire.OK:
			why = "Linux refuses it: " + errno.String()
		case there[p.Direction][p.Selector] && !q.Update:
			why = "there is a policy for these packets already"
		}
		if why != "" {
			k.reqID = reqID
			return &engine.PolicyError{Index: i, Template: -1, Why: why}
		}
		there[p.Direction][p.Selector] = true
	}
	for i := range policies {
		k.transforms.AddPolicy(&policies[i], requests[i].Update, transform.By{})
	}
	return nil
}

// refusal says what of a policy Linux refuses that can be said in words.
func refusal(p *pfkey.Policy) *engine.PolicyError {
	for i, t := range p.Templates {
		switch {
		case i == transform.MaxTemplates:
			return &engine.PolicyError{Template: i, Why: fmt.Sprintf("more than %d transforms", i)}
		case t.Level == wire.KAMELevelUse && t.Mode == wire.ModeTunnel && p.Direction == wire.KAMEDirOut:
			return &engine.PolicyError{Template: i, Why: "a tunnel for packets that leave cannot be optional"}
		}
	}
	return nil
}

// selectors are those of the policies there are, and how many that are.
func (k *Manager) selectors() (there [transform.Directions]map[spd.Selector]bool, n int) {
	for i := range there {
		there[i] = map[spd.Selector]bool{}
	}
	w := k.transforms.WalkPolicies()
	defer w.Close()
	w.Each(func(p *transform.Policy) bool {
		if p.Direction < transform.Directions { // others are those of sockets
			there[p.Direction][p.Selector] = true
		}
		n++
		return true
	})
	return there, n
}

// asked reads a policy as X_SPDADD would bring it.
func (k *Manager) asked(p *pfkey.Policy, to *transform.Policy) wire.Errno {
	b := k.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.KAMEMsgXSPDAdd})
	r := &request{msg: k.d.Finish(p.AppendExtensions(k.d, b))}
	errno := k.checkBase(r)
	if errno == wire.OK {
		errno = k.parse(r)
	}
	if errno == wire.OK {
		errno = k.policyOf(r, to)
	}
	return errno
}
