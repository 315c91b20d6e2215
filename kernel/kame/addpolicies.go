package kame

import (
	"errors"
	"fmt"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// AddPolicies implements [engine.PolicyTaker]. It takes the control lock.
func (k *Kernel) AddPolicies(requests []engine.PolicyRequest) (err error) {
	k.e.Do(func() { err = k.addPolicies(requests) })
	return err
}

func (k *Kernel) addPolicies(requests []engine.PolicyRequest) error {
	t := &k.spd
	if len(t.byID)+len(requests) > maxPolicies {
		return fmt.Errorf("more than %d policies", maxPolicies)
	}
	reqID := t.reqID
	policies, bearers := make([]*Policy, len(requests)), make([]*Request, len(requests))
	there := map[selector]bool{}
	for i, q := range requests {
		r, p, why := k.asked(q.Policy)
		if p != nil {
			if s := p.selector(); (there[s] || len(t.bySel[s]) > 0) && !q.Update {
				why = &engine.PolicyError{Template: -1, Why: "there is a policy for these packets already"}
			} else {
				there[s] = true
			}
		}
		if why != nil {
			t.reqID = reqID
			why.Index = i
			return why
		}
		policies[i], bearers[i] = p, r
	}
	if k.page.Policies.IDTries(k) < 1 {
		t.reqID = reqID
		return errors.New("the kernel does not try to find an id for a policy")
	}
	for i, p := range policies {
		if old := t.find(p.selector(), false); old != nil && requests[i].Update {
			k.removePolicy(old)
		}
		k.insertPolicy(p)
		k.announce(bearers[i], p)
	}
	return nil
}

// asked reads a policy as an X_SPDADD would bring it, which it returns, too.
func (k *Kernel) asked(p *pfkey.Policy) (*Request, *Policy, *engine.PolicyError) {
	refused := func(errno wire.Errno) (*Request, *Policy, *engine.PolicyError) {
		return nil, nil, &engine.PolicyError{Template: -1, Why: fmt.Sprintf("%s refuses it: %v", k.d.Name, errno)}
	}
	if most := k.page.Policies.MaxRequests; most != 0 && len(p.Templates) > most {
		return nil, nil, &engine.PolicyError{Template: most, Why: fmt.Sprintf("more than %d transforms", most)}
	}
	msg := k.d.Finish(p.AppendExtensions(k.d, k.d.AppendHeader(nil,
		wire.Header{Version: wire.Version, Type: wire.KAMEMsgXSPDAdd})))
	r := &Request{Msg: msg}
	r.Header, _ = k.d.Header(msg)
	if _, errno := k.check(r); errno != wire.OK || r.sent != wire.OK {
		return refused(max(errno, r.sent))
	}
	read, errno := k.policyIn(r, false)
	if errno == wire.OK {
		errno = k.readRequests(r, read)
	}
	if errno != wire.OK {
		return refused(errno)
	}
	return r, read, nil
}
