package bsd

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// addFlow adds a policy to OpenBSD, which calls it a flow, and says how.
func addFlow(p *conform.Player, policy *pfkey.Policy) (how string, err error) {
	d := p.Machine.Dialect()
	msg, err := flowOf(d, policy)
	if err != nil {
		return "", err
	}
	s, errno := p.Machine.Open(conform.Privileged, conform.RawSocket, wire.Version)
	if errno == wire.OK {
		errno = s.Send(msg, conform.Privileged)
		s.Close()
	}
	if errno != wire.OK {
		return "", fmt.Errorf("a flow is refused: %v", errno)
	}
	return "a flow is added by " + d.MsgName(wire.OpenBSDMsgXAddFlow), nil
}

// flowOf is the message that adds the flow of a policy.
func flowOf(d *wire.Dialect, p *pfkey.Policy) ([]byte, error) {
	kind := wire.FlowProtocol{Direction: p.Direction}
	h := wire.Header{Version: wire.Version, Type: wire.OpenBSDMsgXAddFlow, SAType: wire.SATypeESP, Seq: 1,
		PID: uint32(conform.Privileged.PID)}
	b := d.AppendHeader(nil, h)
	switch {
	case p.Direction != wire.KAMEDirIn && p.Direction != wire.KAMEDirOut:
		return nil, errors.New("a flow is for packets that come in or go out")
	case p.Type == wire.KAMEPolicyDiscard:
		kind.Value = wire.OpenBSDFlowDeny
	case p.Type == wire.KAMEPolicyNone || p.Type == wire.KAMEPolicyBypass:
		kind.Value = wire.OpenBSDFlowBypass
	case p.Type != wire.KAMEPolicyIPsec || len(p.Templates) != 1:
		return nil, errors.New("a flow has one protection")
	default:
		t := &p.Templates[0]
		if kind.Value = wire.OpenBSDFlowRequire; t.Level == wire.KAMELevelUse {
			kind.Value = wire.OpenBSDFlowUse
		}
		types := map[uint16]wire.SAType{50: wire.SATypeESP, 51: wire.SATypeAH, 108: wire.SATypeIPComp}
		if h.SAType = types[t.Proto]; h.SAType == wire.SATypeUnspec {
			return nil, fmt.Errorf("a flow has no protection by protocol %d", t.Proto)
		}
		d.PutHeader(b, h)
		local, peer := t.Src.Addr, t.Dst.Addr
		if p.Direction == wire.KAMEDirIn {
			local, peer = peer, local
		}
		if local.IsValid() {
			b = d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Addr: local})
		}
		if !peer.IsValid() { // that of each packet
			peer = netip.IPv4Unspecified()
			if p.Dst.Addr.Is6() {
				peer = netip.IPv6Unspecified()
			}
		}
		b = d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: peer})
	}
	mask := func(a wire.Address) wire.Address {
		m := wire.Address{Addr: a.Addr}
		ones := a.Addr.AsSlice()
		for i := range ones {
			ones[i] = 0xff
		}
		full, _ := netip.AddrFromSlice(ones)
		if prefix, err := full.Prefix(int(a.PrefixLen)); err == nil {
			m.Addr = prefix.Addr()
		}
		if a.Port != 0 {
			m.Port = 0xffff
		}
		return m
	}
	b = d.AppendAddress(b, wire.OpenBSDExtXSrcMask, mask(p.Src))
	b = d.AppendAddress(b, wire.OpenBSDExtXDstMask, mask(p.Dst))
	const any = 255
	if p.Src.Proto != any && p.Src.Proto != 0 {
		b = d.AppendFlowProtocol(b, wire.OpenBSDExtXProtocol, wire.FlowProtocol{Value: p.Src.Proto})
	}
	b = d.AppendFlowProtocol(b, wire.OpenBSDExtXFlowType, kind)
	b = d.AppendAddress(b, wire.OpenBSDExtXSrcFlow, wire.Address{Addr: p.Src.Addr, Port: p.Src.Port})
	return d.Finish(d.AppendAddress(b, wire.OpenBSDExtXDstFlow, wire.Address{Addr: p.Dst.Addr, Port: p.Dst.Port})), nil
}
