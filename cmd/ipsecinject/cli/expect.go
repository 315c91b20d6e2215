package cli

import (
	"fmt"
	"strings"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/packet"
)

// expectation is what --expect says of every packet.
type expectation struct {
	kind   packet.Kind
	reason string // empty: any
}

// parseExpect reads --expect: a verdict, or a verdict and the reason behind a slash.
func (i *injection) parseExpect() error {
	if i.expect == "" {
		return nil
	}
	verdict, reason, hasReason := strings.Cut(i.expect, "/")
	kind, ok := packet.KindByName(verdict)
	if !ok || kind == packet.Sent { // what the engine makes itself is no packet of ours
		return command.Usagef("--expect %q: the verdict is none of %s", i.expect, strings.Join(verdictNames(), ", "))
	}
	if hasReason {
		if kind != packet.Dropped {
			return command.Usagef("--expect %q: only a dropped packet has a reason", i.expect)
		}
		if _, ok := packet.ReasonByName(reason); !ok || reason == "" {
			return command.Usagef("--expect %q: no packet is dropped for that reason, but for %s", i.expect,
				strings.Join(reasonNames(), ", "))
		}
	}
	i.wanted = &expectation{kind, reason}
	return nil
}

func verdictNames() (names []string) {
	for k := packet.Delivered; k < packet.Sent; k++ {
		names = append(names, k.String())
	}
	return names
}

func reasonNames() (names []string) {
	for _, r := range packet.Reasons() {
		names = append(names, r.String())
	}
	return names
}

// expectations are the values of --expect for the shell.
func expectations() []string {
	names := verdictNames()
	for _, r := range reasonNames() {
		names = append(names, packet.Dropped.String()+"/"+r)
	}
	return names
}

// surprises are the packets that came to another end than was expected.
type surprises struct {
	n     int
	first string // what became of the first of them
}

func (s *surprises) compare(want *expectation, id uint64, kind packet.Kind, reason string) {
	if want == nil || kind == want.kind && (want.reason == "" || want.reason == reason) {
		return
	}
	s.n++
	if s.n == 1 {
		s.first = fmt.Sprintf("packet %d: %s", id, kind)
		if reason != "" {
			s.first += "/" + reason
		}
	}
}

func (s *surprises) err(expected string) error {
	switch s.n {
	case 0:
		return nil
	case 1:
		return command.Failed(fmt.Errorf("%s, expected %s", s.first, expected))
	}
	return command.Failed(fmt.Errorf("%s, expected %s; and %d more packets", s.first, expected, s.n-1))
}
