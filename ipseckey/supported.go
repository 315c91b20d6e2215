package ipseckey

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Supported are the algorithms that an engine has for one SA type, nil is not known.
type Supported struct{ Auth, Encrypt []wire.AlgID }

// Ask asks an engine for its algorithms over a socket of its own, so that nothing of that is seen on the one that the
// commands go through: it registers there, as key management does (RFC 2367 section 3.1.7), reads the answer and hangs
// up.
func Ask(ctx context.Context, c *pfkey.Client, t wire.SAType) (Supported, error) {
	algs, err := c.Register(ctx, t)
	if err != nil {
		return Supported{}, err
	}
	ids := func(list []wire.Alg) []wire.AlgID {
		all := []wire.AlgID{}
		for _, a := range list {
			all = append(all, a.ID)
		}
		return all
	}
	return Supported{ids(algs.Auth), ids(algs.Encrypt)}, nil
}

// askTimeout bounds the wait for what is only good to know.
const askTimeout = 2 * time.Second

// supported is what is known of the algorithms of the engine, or of the kernel that --kernel names if there is no
// engine.
func (s *session) supported(t wire.SAType) (v Supported, whose string) {
	if v, ok := s.known[t]; ok {
		return v, s.whose
	}
	switch {
	case s.compat:
	case s.conn != nil && s.Supported != nil:
		ctx, cancel := context.WithTimeout(s.ctx, askTimeout)
		defer cancel()
		var err error
		if v, err = s.Supported(ctx, s.engine, t); err != nil {
			v = Supported{} // the engine will say so itself
		}
		s.whose = "The engine"
	case s.conn == nil && s.kernel != "":
		for _, a := range s.algorithms().Auth {
			v.Auth = append(v.Auth, a.ID)
		}
		for _, a := range s.algorithms().Encrypt {
			v.Encrypt = append(v.Encrypt, a.ID)
		}
		s.whose = s.kernel
	}
	if s.known == nil {
		s.known = map[wire.SAType]Supported{}
	}
	s.known[t] = v
	return v, s.whose
}

// checkAlgorithms collects an error for each algorithm that the engine does not have.
func (a *addition) checkAlgorithms() {
	t := a.s.saType(a.satype)
	if t != wire.SATypeAH && t != wire.SATypeESP || a.sa.Auth == 0 && a.sa.Encrypt == 0 {
		return
	}
	v, whose := a.s.supported(t)
	a.lacks(kindAuthAlg, a.sa.Auth, v.Auth, "authentication", a.s.algorithms().Auth, whose)
	if a.sa.Encrypt != wire.EncNull {
		a.lacks(kindEncrAlg, a.sa.Encrypt, v.Encrypt, "encryption", a.s.algorithms().Encrypt, whose)
	}
}

func (a *addition) lacks(k kind, id wire.AlgID, has []wire.AlgID, kind string, rows []Algorithm, whose string) {
	if id == 0 || has == nil || slices.Contains(has, id) {
		return
	}
	at := len(a.s.words)
	for i, w := range a.s.words {
		if word, ok := findKeyword(w.text); ok && word.kind == k && i > 1 {
			at = min(i+1, len(a.s.words))
		}
	}
	names := algorithmNames(rows, has)
	a.add(at, "%s has no %s algorithm %s. It has: %s.", whose, kind, savedName(rows, id), strings.Join(names, ", "))
	a.suggest(names)
}

// algorithmNames are the names of algorithms, or their numbers, without the one that is none.
func algorithmNames(rows []Algorithm, ids []wire.AlgID) (names []string) {
	for _, id := range ids {
		if id != 0 {
			names = append(names, savedName(rows, id))
		}
	}
	if names == nil {
		return []string{"none"}
	}
	return names
}

// takeKernel checks the value of --kernel.
func (s *session) takeKernel(name string) error {
	if _, ok := wire.ByName(name); !ok {
		return fmt.Errorf("no kernel is called %q (known: %s)", name, strings.Join(kernelNames(), ", "))
	}
	s.kernel = name
	return nil
}
