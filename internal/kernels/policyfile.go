package kernels

import (
	"errors"
	"fmt"
	"io"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/policyfile"
	"github.com/pfkeyd/pfkeyd/kernel/illumos"
	"github.com/pfkeyd/pfkeyd/kernel/openbsd"
)

// LoadPolicy gives the kernel of e the security policies in r, in the form that its own system has for them
// ([PolicyForm]), in addition to those it has: all of them or, with an error, none. Errors are those of r, or name the
// place in the file, which is called name. Packets may flow meanwhile.
func LoadPolicy(e *engine.Engine, r io.Reader, name string) error {
	k, err := find(e.Name())
	if err != nil {
		return err
	}
	return k.policies.load(e, r, name)
}

// PolicyForm says in which form [LoadPolicy] wants the policies of a kernel, such as "rules of ipsecconf".
func PolicyForm(name string) string {
	k, err := find(name)
	if err != nil {
		return ""
	}
	return k.policies.form
}

// policyFile is what a system's files of policies are like.
type policyFile struct {
	form string
	load func(e *engine.Engine, r io.Reader, name string) error
}

var (
	ipsecconf = policyFile{"rules of ipsecconf", loadIpsecconf}
	setkey    = policyFile{setkeyForm, loadSetkey(false)}
	// setkeyForward is setkey where packets that are forwarded have policies of their own.
	setkeyForward = policyFile{setkeyForm, loadSetkey(true)}
	ipsecFlows    = policyFile{"flow lines of ipsec.conf", loadFlows}
)

func loadIpsecconf(e *engine.Engine, r io.Reader, name string) error {
	auth, encrypt := illumos.Algorithms()
	f, err := policyfile.Ipsecconf(r, name, e.Dialect(), auth, encrypt)
	if err != nil {
		return err
	}
	err = e.Kernel().(*illumos.Kernel).AddPolicy(f.Tunnels, f.List)
	if refused, ok := errors.AsType[*illumos.TunnelError](err); ok {
		return f.TunnelRefused(refused.Name, refused.There)
	}
	return err
}

func loadFlows(e *engine.Engine, r io.Reader, name string) error {
	f, err := policyfile.IpsecFlows(r, name, e.Dialect())
	if err != nil {
		return err
	}
	err = e.Kernel().(*openbsd.Kernel).AddFlows(f.List)
	if refused, ok := errors.AsType[*engine.PolicyError](err); ok {
		return f.Refused(refused.Index, refused.Why)
	}
	return err
}

const setkeyForm = "spdadd and spdupdate of setkey"

func loadSetkey(forward bool) func(e *engine.Engine, r io.Reader, name string) error {
	return func(e *engine.Engine, r io.Reader, name string) error {
		f, err := policyfile.Setkey(r, name, forward)
		if err != nil {
			return err
		}
		return addStatements(e, f)
	}
}

// addStatements gives the kernel of e what a file says.
func addStatements(e *engine.Engine, f *policyfile.Statements) error {
	requests := make([]engine.PolicyRequest, len(f.List))
	for i := range f.List {
		requests[i] = engine.PolicyRequest{Policy: &f.List[i].Policy, Update: f.List[i].Update}
	}
	err := e.Kernel().(engine.PolicyTaker).AddPolicies(requests)
	if refused, ok := errors.AsType[*engine.PolicyError](err); ok {
		return f.Refused(refused.Index, refused.Template, refused.Why)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", f.File, err)
	}
	return nil
}
