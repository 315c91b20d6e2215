package linux

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/capture"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// through is a capture whose packets also go through emulated kernels.
type through struct{ *capture.Capture }

// throughKernels is a [capture.More]: it needs SAs that can be made through PF_KEY.
func throughKernels(c *capture.Capture, j *conform.Judge, t conform.Target) error {
	in, ok := t.(conform.InProcess)
	if !ok || in.Kernel.Name != name || c.Via != "pfkey" {
		return nil
	}
	return errors.Join(through{c}.kernels(j, in, "ab"), through{c}.kernels(j, in, "ba"))
}

// kernels makes the SA of a direction with ADD, on an emulated kernel for each of its ends: one is given the
// plain packets, the other the captured ones.
func (c through) kernels(j *conform.Judge, t conform.InProcess, dir string) error {
	sa := c.SA(dir)
	if sa == nil {
		return nil
	}
	var from, to captureEnd
	if err := errors.Join(from.boot(c, t, sa, sa.Src), to.boot(c, t, sa, sa.Dst)); err != nil {
		return err
	}
	defer from.m.Close()
	defer to.m.Close()
	if err := from.policy(c, sa, wire.KAMEDirOut); err != nil {
		return err
	}
	for _, d := range []uint8{wire.KAMEDirIn, wire.LinuxDirForward} {
		if err := to.policy(c, sa, d); err != nil {
			return err
		}
	}
	sent := uint32(0)
	for i, p := range c.Packets {
		if p.Dir != dir {
			continue
		}
		j.At(i+1, "receive")
		v := to.inbound(c.Records[i])
		if v.Kind != packet.Delivered {
			j.Add(conform.Difference{Field: "verdict", Want: packet.Delivered.String(),
				Got: strings.TrimSpace(v.Kind.String() + " " + v.Counter)})
		} else if len(p.Inner) > 0 {
			j.Bytes("inner", 'p', p.Inner, v.Inner, nil)
		}
		if len(p.Inner) == 0 {
			continue
		}
		j.At(i+1, "send")
		v = from.outbound(p.Inner)
		if v.Kind != packet.Transmitted {
			j.Add(conform.Difference{Field: "verdict", Want: packet.Transmitted.String(),
				Got: strings.TrimSpace(v.Kind.String() + " " + v.Counter)})
			continue
		}
		sent++
		c.compareSent(j, sa, i, sent, v.Inner)
	}
	return nil
}

// compareSent looks whether what the emulated kernel sent is what the real one did, apart from the sequence number, the
// IV and the identification of the outer header.
func (c through) compareSent(j *conform.Judge, sa *capture.SA, i int, seq uint32, pkt []byte) {
	in, err := ipsec.ParseInbound(pkt)
	if err != nil || in.SPI != uint32(sa.Number) || in.Seq != seq {
		j.Add(conform.Difference{Field: "packet",
			What: fmt.Sprintf("SPI %#x, sequence number %d: want %v, %d (%v)", in.SPI, in.Seq, sa.Number, seq, err)})
		return
	}
	inner, err := c.Open(sa.Made, pkt, &in, 0)
	if err != nil {
		j.Add(conform.Difference{Field: "packet", What: "it cannot be opened: " + err.Error()})
		return
	}
	j.Bytes("inner", 'p', c.Packets[i].Inner, inner, nil)
	want, got := c.Records[i], bytes.Clone(pkt)
	if len(want) == len(got) && in.Src.Is4() && c.Mode == "tunnel" {
		const id, sum = 4, 10
		copy(got[id:id+2], want[id:])
		copy(got[sum:sum+2], want[sum:])
	}
	head := min(in.Off, len(got), len(want)) // outer headers; the UDP checksum over IPv6 depends on what follows
	if in.SrcPort != 0 || in.DstPort != 0 {
		head -= 2
	}
	j.Bytes("outer header", 'p', want[:head], got[:head], nil)
	j.Text("length", fmt.Sprint(len(want)), fmt.Sprint(len(got)))
}

// captureEnd is an emulated host at one end of an SA.
type captureEnd struct {
	m conform.Machine
	d *wire.Dialect
}

func (e *captureEnd) boot(c through, t conform.InProcess, sa *capture.SA, own netip.Addr) error {
	t.Addrs, t.Broadcast = []netip.Addr{own}, nil
	var err error
	if e.m, err = t.Boot(&conform.Scenario{Name: c.Name(), Net: true}, nil); err != nil {
		return err
	}
	e.d = e.m.Dialect()
	if c.UDPEncap {
		if errno := e.m.(Network).Encap(netip.AddrPortFrom(own, c.UDPPort), int(wire.KAMENATTESP)); errno != wire.OK {
			return fmt.Errorf("UDP port %d: %v", c.UDPPort, errno)
		}
	}
	return e.request(c.add(e.d, sa))
}

// request sends a message that must be answered without an errno.
func (e *captureEnd) request(msg []byte) error {
	s, errno := e.m.Open(conform.Privileged, conform.RawSocket, wire.Version)
	if errno != wire.OK {
		return fmt.Errorf("no socket: %v", errno)
	}
	defer s.Close()
	buf := make([]byte, wire.MaxLen)
	if errno := s.Send(msg, conform.Privileged); errno != wire.OK {
		return fmt.Errorf("%s is refused: %v", e.d.MsgName(e.d.MsgType(msg[1])), errno)
	}
	n, _, errno := s.Recv(buf, 0)
	h, err := e.d.Header(buf[:n])
	if errno != wire.OK || err != nil {
		return fmt.Errorf("%s is not answered: %v", e.d.MsgName(e.d.MsgType(msg[1])), errno)
	}
	if h.Errno != 0 {
		errno, _ := e.d.Errno(h.Errno)
		return fmt.Errorf("%s is answered with %v", e.d.MsgName(h.Type), errno)
	}
	return nil
}

// add is the message that makes an SA.
func (c through) add(d *wire.Dialect, sa *capture.SA) []byte {
	h := wire.Header{Version: wire.Version, Type: wire.MsgAdd, SAType: wire.SATypeESP, Seq: 1, PID: 1}
	if c.Proto == "ah" {
		h.SAType = wire.SATypeAH
	}
	x := wire.SA{SPI: sa.Number, Replay: 32, State: wire.StateMature}
	if sa.Auth != nil {
		x.Auth = d.Auth(sa.Auth.ID)
	}
	if sa.Enc != nil {
		x.Encrypt = d.Encrypt(sa.Enc.ID)
	}
	b := d.AppendSA(d.AppendHeader(nil, h), x)
	b = d.AppendAddress(b, wire.ExtAddressSrc, wire.Address{Addr: sa.Src, PrefixLen: uint8(sa.Src.BitLen())})
	b = d.AppendAddress(b, wire.ExtAddressDst, wire.Address{Addr: sa.Dst, PrefixLen: uint8(sa.Dst.BitLen())})
	if sa.Auth != nil {
		b = d.AppendKey(b, wire.ExtKeyAuth, wire.Key{Bits: uint16(8 * len(sa.Auth.Key)), Data: sa.Auth.Key})
	}
	if sa.Enc != nil {
		key := bytes.Join([][]byte{sa.Enc.Key, sa.Enc.Salt}, nil) // in PF_KEY the nonce follows the key
		b = d.AppendKey(b, wire.ExtKeyEncrypt, wire.Key{Bits: uint16(8 * len(key)), Data: key})
	}
	b = d.AppendSA2(b, wire.SA2{Mode: c.mode()})
	if c.UDPEncap {
		b = d.AppendNATTType(b, wire.NATTType{Type: wire.KAMENATTESP})
		b = d.AppendNATTPort(b, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: c.UDPPort})
		b = d.AppendNATTPort(b, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: c.UDPPort})
	}
	return d.Finish(b)
}

func (c through) mode() wire.Mode {
	if c.Mode == "tunnel" {
		return wire.ModeTunnel
	}
	return wire.ModeTransport
}

// policy demands the SA for whatever the capture has inside; the datagrams that carry it need no other.
func (e *captureEnd) policy(c through, sa *capture.SA, dir uint8) error {
	any := netip.IPv4Unspecified()
	if len(c.Packets[0].Inner) > 0 && c.Packets[0].Inner[0]>>4 == 6 {
		any = netip.IPv6Unspecified()
	}
	r := wire.IPsecRequest{Proto: uint16(ipsec.ESP), Mode: c.mode(), Level: wire.KAMELevelRequire}
	if c.Proto == "ah" {
		r.Proto = uint16(ipsec.AH)
	}
	if c.Mode == "tunnel" {
		r.Src, r.Dst = wire.Sockaddr{Addr: sa.Src}, wire.Sockaddr{Addr: sa.Dst}
	}
	if c.UDPEncap && any.Is4() == sa.Dst.Is4() {
		outer := wire.Address{Addr: any, Proto: 17, Port: c.UDPPort}
		if err := e.addPolicy(outer, outer, wire.Policy{Type: wire.KAMEPolicyNone, Direction: dir}); err != nil {
			return err
		}
	}
	inner := wire.Address{Addr: any}
	return e.addPolicy(inner, inner, wire.Policy{Type: wire.KAMEPolicyIPsec, Direction: dir, Priority: 1,
		Requests: []wire.IPsecRequest{r}})
}

func (e *captureEnd) addPolicy(src, dst wire.Address, p wire.Policy) error {
	b := e.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.KAMEMsgXSPDAdd, Seq: 2, PID: 1})
	b = e.d.AppendAddress(b, wire.ExtAddressSrc, src)
	b = e.d.AppendAddress(b, wire.ExtAddressDst, dst)
	return e.request(e.d.Finish(e.d.AppendPolicy(b, p)))
}

func (e *captureEnd) inbound(pkt []byte) (v packet.Verdict) {
	e.m.(conform.PacketPath).Inbound(&packet.Packet{ID: 1, Data: bytes.Clone(pkt), Done: keep(&v)})
	return v
}

func (e *captureEnd) outbound(pkt []byte) (v packet.Verdict) {
	e.m.(conform.PacketPath).Outbound(&packet.Packet{ID: 1, Data: bytes.Clone(pkt), Done: keep(&v)}, "")
	return v
}

func keep(v *packet.Verdict) func(*packet.Packet, packet.Verdict) {
	return func(_ *packet.Packet, got packet.Verdict) {
		got.Inner = bytes.Clone(got.Inner)
		*v = got
	}
}
