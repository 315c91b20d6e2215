package ipseckey

import (
	"fmt"
	"slices"

	"github.com/pfkeyd/pfkeyd/wire"
)

// To an engine of Linux or of a BSD, an SA can be told two things that illumos has other words for, or none: its mode,
// which illumos sees from the inner addresses, with the request id that ties it to a policy; and the ports of ESP in
// UDP by source and destination, since an SA has no local side there. Their dialects have the extensions of KAME for
// it.

// kame tells whether the engine's dialect has what KAME says of an SA.
func (s *session) kame() bool { return s.dial.Role(wire.KAMEExtXSA2) != wire.RoleUnknown }

// modes are the modes of an SA that the engine's dialect has. Of a TCP signature there is none to choose.
func (s *session) modes() (all []wire.Mode) {
	for _, m := range []wire.Mode{wire.ModeTransport, wire.ModeTunnel, wire.ModeBEET} {
		if _, ok := s.dial.ModeNumber(m); ok {
			all = append(all, m)
		}
	}
	return all
}

func (s *session) modeNames() (names []string) {
	for _, m := range s.modes() {
		names = append(names, m.String())
	}
	return names
}

// kameAddition is what add and update say in keywords of KAME's.
type kameAddition struct {
	mode         wire.Mode // 0: none was given, which is transport
	reqID        uint32
	sport, dport uint16 // of the encapsulation; 0: the usual one
}

// natPort is where ESP in UDP goes (RFC 3948).
const natPort = 4500

func (a *addition) kameKeyword(k keyword, i int) error {
	if !a.s.kame() {
		a.add(i, "An engine of %s knows no %s.", a.s.dial.Name, k.name)
		a.skip()
		return nil
	}
	l := &a.kame
	switch k.kind {
	case kindMode:
		if a.twiceSkipping(l.mode != 0, i, "mode") {
			return nil
		}
		text, j, ok := a.take()
		if !ok {
			return a.stop(j, "Unexpected end of command line, was expecting a mode.")
		}
		for _, m := range a.s.modes() {
			if m.String() == text {
				l.mode = m
				return nil
			}
		}
		a.add(j, `Unknown mode "%s".`, a.s.show(j))
		a.suggest(a.s.modeNames())
		return nil
	case kindReqID:
		if a.twiceSkipping(l.reqID != 0, i, "request id") {
			return nil
		}
		v, err := a.number(32)
		l.reqID = uint32(v)
		return err
	case kindNATSrcPort:
		return once(&a.parse, &l.sport, i, "NAT-T source port")
	}
	return once(&a.parse, &l.dport, i, "NAT-T destination port")
}

// checkKAME makes the check that needs all keywords.
func (a *addition) checkKAME() {
	if !a.encap && (a.kame.sport != 0 || a.kame.dport != 0) {
		a.add(len(a.s.words), "Must specify 'encap udp' with any NAT-T port.")
	}
}

// append appends mode and request id, if one of them was given.
func (l *kameAddition) append(d *wire.Dialect, m []byte) []byte {
	if l.mode == 0 && l.reqID == 0 {
		return m
	}
	return d.AppendSA2(m, wire.SA2{Mode: l.mode, ReqID: l.reqID})
}

// appendEncap appends what makes an SA one of ESP in UDP.
func (l *kameAddition) appendEncap(d *wire.Dialect, m []byte) []byte {
	port := func(p uint16) wire.NATTPort {
		if p == 0 {
			p = natPort
		}
		return wire.NATTPort{Port: p}
	}
	m = d.AppendNATTType(m, wire.NATTType{Type: wire.KAMENATTESP})
	m = d.AppendNATTPort(m, wire.KAMEExtXNATTSPort, port(l.sport))
	return d.AppendNATTPort(m, wire.KAMEExtXNATTDPort, port(l.dport))
}

// kameExtension saves an extension of KAME's, if the language has words for it.
func (e *entry) kameExtension(raw []byte, t wire.ExtType) (saved bool) {
	d := e.s.dial
	switch t {
	case wire.KAMEExtXSA2:
		v, err := d.ParseSA2(raw)
		if err != nil {
			return false
		}
		text := ""
		if slices.Contains(e.s.modes(), v.Mode) {
			text = "mode " + v.Mode.String() + " "
		}
		if text == "" && v.Mode != wire.ModeAny {
			return false
		}
		if v.ReqID != 0 {
			text += fmt.Sprintf("reqid %d ", v.ReqID)
		}
		if text != "" {
			e.printf("    %s\\\n", text)
		}
		return true // the sequence number is that of the SA that was, as the replay window is
	case wire.KAMEExtXNATTType:
		if v, err := d.ParseNATTType(raw); err != nil || v.Type != wire.KAMENATTESP {
			return false
		}
		e.printf("    encap udp \\\n")
		return true
	case wire.KAMEExtXNATTSPort, wire.KAMEExtXNATTDPort:
		v, err := d.ParseNATTPort(raw)
		if err != nil {
			return false
		}
		name := "nat_sport"
		if t == wire.KAMEExtXNATTDPort {
			name = "nat_dport"
		}
		e.printf("    %s %d \\\n", name, v.Port)
		return true
	}
	return false
}
