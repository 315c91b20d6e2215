package pfkeytest

import (
	"errors"
	"fmt"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/internal/netns"
	"github.com/pfkeyd/pfkeyd/kernel"
	"github.com/pfkeyd/pfkeyd/launch"
	"github.com/pfkeyd/pfkeyd/pfkey"
)

// An absentError says why there can be no host with this machine's own kernel.
type absentError struct{ err error }

func (e *absentError) Error() string {
	return "pfkeytest: kernel " + pfkey.XFRMKernel + ": " + e.err.Error()
}

func (e *absentError) Unwrap() error { return e.err }

// checkOwn refuses options that make no sense where the kernel is this machine's own.
func (c *config) checkOwn() error {
	no := func(option, why string) error {
		return fmt.Errorf("pfkeytest: %s: %s of kernel %s is this machine's", option, why, c.kernel)
	}
	switch {
	case !c.engine.Start.IsZero():
		return no("Start", "the time")
	case c.engine.Step != nil:
		return no("Step", "the way of packets")
	case c.engine.Fault != "":
		return no("Fault", "the code")
	}
	return nil
}

// bootOwn makes an engine of this machine's own kernel in a network namespace that nobody else uses.
func bootOwn(c *config) (*kernel.Engine, *netns.Namespace, error) {
	if err := c.checkOwn(); err != nil {
		return nil, nil, err
	}
	ns, err := netns.New()
	if err != nil {
		return nil, nil, &absentError{fmt.Errorf("%w; try it as root, or in unshare --user --map-root-user", err)}
	}
	face, err := bootIn(ns, c)
	if err != nil {
		ns.Close()
		return nil, nil, err
	}
	return face, ns, nil
}

// bootIn makes an engine in a namespace.
func bootIn(ns *netns.Namespace, c *config) (face *kernel.Engine, err error) {
	for _, a := range c.engine.Addrs {
		if err := ns.AddAddr(a); err != nil && (c.addrs || a.Is4()) { // without IPv6 the default has none
			return nil, fmt.Errorf("pfkeytest: %w", err)
		}
	}
	c.engine.Clock = time.Now
	err = ns.Do(func() (err error) {
		face, err = kernel.New(c.kernel, kernel.Options(c.engine))
		return err
	})
	if errors.Is(err, errors.ErrUnsupported) { // XFRM is not there
		err = &absentError{err}
	}
	return face, err
}

// mayNot fails the test for something that only an emulated kernel has, and says whether it has.
func (h *Host) mayNot(what, why string) bool {
	if h.ns == nil {
		return false
	}
	h.t.Helper()
	h.t.Fatalf("pfkeytest: %s: %s of kernel %s is this machine's", what, why, h.engine.Name())
	return true
}

// ownProgram says how programs are started on the host's kernel, if that is this machine's own.
func (h *Host) ownProgram(o *launch.Options) error {
	switch {
	case h.ns == nil:
		return nil
	case o.UDPEncap:
		return fmt.Errorf("UDPEncap: kernel %s takes ESP out of UDP itself, and must hear of it", h.engine.Name())
	}
	o.Own = &launch.OwnKernel{SocketPolicy: kernels.SocketPolicy}
	o.Enter = h.ns.Enter
	return nil
}
