// Package converse makes random conversations with a Linux.
package converse

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/internal/conform/linux"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Scenarios makes seeded random conversations with a Linux, of at least so many messages in all, to be played on a
// real kernel and on the emulated one: some of a grammar of what programs say, with a fault here and there, some by
// spoiling recordings. They have actions only. The same seed gives the same conversations.
//
// What nobody can foretell is left out: SPIs picked from small ranges, which a kernel may fail to find, and everything
// that happens a second later.
func Scenarios(seed uint64, messages int) (scs []*conform.Scenario) {
	recorded := spoilable()
	for i := 0; messages > 0; i++ {
		g := &talker{Rand: rand.New(rand.NewPCG(seed, uint64(i))), d: wire.Linux().WithOrder(binary.LittleEndian)}
		var sc *conform.Scenario
		switch n := g.IntN(100); {
		case n < 10:
			sc = g.receive()
		case n < 20:
			sc = g.transmit()
		case n < 45 && len(recorded) > 0:
			sc = g.spoil(recorded)
		default:
			sc = g.talk()
		}
		sc.Name = fmt.Sprintf("random/%d-%05d", seed, i)
		for k := range sc.Steps {
			if sc.Steps[k].Message() != nil {
				messages--
			}
		}
		scs = append(scs, sc)
	}
	return scs
}

// spoilable is the recordings built in that neither wait nor need a network.
func spoilable() []*conform.Scenario {
	all, _, _ := conform.Load(context.Background(), linux.Kernel, nil)
	return slices.DeleteFunc(all, func(sc *conform.Scenario) bool { return sc.Timed || sc.Net || len(sc.Steps) > 60 })
}

// talker makes one conversation.
type talker struct {
	*rand.Rand
	d       *wire.Dialect
	net     bool
	loop    bool   // between addresses of the host itself
	arrived uint32 // datagrams sent to it
	sc      conform.Scenario
	socks   []string // those that are open
	opened  int      // how many ever were
	seq     uint32
	about   []netip.Addr // the endpoints that the next messages are about, if not any
}

// chance is true so many times in a hundred.
func (g *talker) chance(percent int) bool { return g.IntN(100) < percent }

func pick[T any](g *talker, list ...T) T { return list[g.IntN(len(list))] }

// step adds an action; socket is "" if it works on none.
func (g *talker) step(op, socket string, args any) {
	g.sc.Steps = append(g.sc.Steps, conform.Step{Action: conform.Action{Op: op, Socket: socket, Args: args}})
}

// sending adds a message.
func (g *talker) sending(socket string, msg []byte, patch ...conform.Patch) {
	g.step("send", socket, &conform.Send{Sending: conform.Sending{Hex: msg, Patch: patch}})
}

// buffer adds the setting of a buffer.
func (g *talker) buffer(op, socket string, option pfkey.Option, size int) {
	g.step(op, socket, &conform.Buffer{Val: size, Option: option})
}

func (g *talker) open() {
	name := string(rune('a' + g.opened)) // never that of one that was closed
	g.opened++
	g.socks = append(g.socks, name)
	g.step("open", name, new(conform.Open))
	if g.chance(12) {
		g.buffer("rcvbuf", name, pfkey.OptionRecvBuffer, pick(g, 1, 2304, 4096, 8192))
	}
	if g.chance(40) {
		g.send(name, g.finish(g.header(wire.MsgRegister, pick(g, 2, 3, 3, 9, 0, 1, 10))))
	}
	if g.chance(12) {
		g.send(name, g.finish(g.header(wire.MsgXPromisc, pick(g, 1, 1, 0, 2))))
	}
}

func (g *talker) talk() *conform.Scenario {
	g.net = g.chance(15)
	g.sc.Net = g.net
	for range 1 + g.IntN(3) {
		g.open()
	}
	for n := 4 + g.IntN(20); n > 0; n-- {
		if g.opened < 5 && g.chance(4) {
			g.open()
		}
		s := pick(g, g.socks...)
		switch {
		case g.net && g.chance(25):
			g.traffic()
		case g.net && g.chance(6):
			g.transformPolicy()
		case g.chance(1):
			g.step("sysctl", "", &linux.Sysctl{Name: "net/core/xfrm_acq_expires", Val: pick(g, 5, 30, 100, 3600)})
		case g.chance(1):
			g.step("sysc", s, &conform.Call{Name: pick(g, "bind", "connect", "listen", "accept", "getsockname",
				"getpeername", "shutdown", "fionread", "sendto-addr")})
		case g.chance(1):
			g.buffer("sndbuf", s, pfkey.OptionSendBuffer, pick(g, 1, 4608, 100000))
		case g.chance(2):
			g.step("recv", s, &conform.Recv{N: new(1 + g.IntN(5)), Buf: pick(g, 0, 0, 8, 16, 100, 4096),
				Flags: pick(g, "", "", "peek", "trunc", "oob", "waitall")})
		case g.chance(2):
			g.burst(s)
		default:
			g.message(s)
		}
	}
	return &g.sc
}

// burst sends a number of messages that nobody reads at once.
func (g *talker) burst(s string) {
	first := len(g.sc.Steps)
	switch g.IntN(3) {
	case 0:
		for range 5 + g.IntN(30) {
			g.send(s, g.add(wire.MsgAdd, 3))
		}
		g.send(s, g.finish(g.header(wire.MsgDump, pick(g, 0, 3))))
	case 1:
		for range 3 + g.IntN(30) {
			g.send(s, g.finish(g.header(pick(g, wire.MsgRegister, wire.MsgFlush), 0)))
		}
	case 2:
		for range 3 + g.IntN(20) {
			g.send(s, g.policy(pick(g, wire.KAMEMsgXSPDAdd, wire.KAMEMsgXSPDUpdate)))
		}
		g.send(s, g.finish(g.header(wire.KAMEMsgXSPDDump, 0)))
	}
	for i := range g.sc.Steps[first:] {
		g.sc.Steps[first+i].NoRx = true
	}
	for range g.IntN(4) {
		g.step("recv", pick(g, g.socks...), &conform.Recv{N: new(1 + g.IntN(12))})
		if g.chance(40) {
			g.send(s, g.finish(g.header(pick(g, wire.MsgDump, wire.KAMEMsgXSPDDump, wire.MsgFlush), 0)))
			g.sc.Steps[len(g.sc.Steps)-1].NoRx = true
		}
	}
}

func (g *talker) send(s string, msg []byte) {
	if g.chance(18) {
		msg = g.mutate(msg)
	}
	if g.foretellable(msg) {
		g.sending(s, msg)
	}
}

// foretellable says whether two kernels that follow the same rules answer a message alike.
func (g *talker) foretellable(msg []byte) bool {
	h, err := g.d.Header(msg)
	if err == nil && h.Type == wire.LinuxMsgXMigrate {
		return !g.movesTwice(msg)
	}
	if err != nil || h.Type != wire.MsgGetSPI {
		return true
	}
	x, ok := g.d.Find(msg, wire.ExtSPIRange)
	if !ok {
		return true
	}
	r, err := g.d.ParseSPIRange(x.Raw)
	const wide = 1 << 20
	return err != nil || r.Min >= r.Max || r.Max-r.Min > wide
}

// movesTwice says whether two moves of a MIGRATE start at the same IPv4 addresses. The original refuses that or not, as
// it happens: it compares 16 bytes of each address, and has written four of them.
func (g *talker) movesTwice(msg []byte) bool {
	x, ok := g.d.Find(msg, wire.KAMEExtXPolicy)
	if !ok {
		return false
	}
	p, err := g.d.ParsePolicy(x.Raw)
	if err != nil {
		return false
	}
	type start struct {
		proto    uint8
		mode     wire.Mode
		reqID    uint32
		src, dst netip.Addr
	}
	seen := map[start]bool{}
	for i := 0; i < len(p.Requests); i += 2 {
		r := p.Requests[i]
		s := start{uint8(r.Proto), r.Mode, r.ReqID, r.Src.Addr, r.Dst.Addr}
		if seen[s] && s.dst.Is4() {
			return true
		}
		seen[s] = true
	}
	return false
}

func (g *talker) message(s string) {
	switch n := g.IntN(100); {
	case n < 18:
		g.send(s, g.add(wire.MsgAdd, g.satype()))
	case n < 27:
		g.send(s, g.add(wire.MsgUpdate, g.satype()))
	case n < 36:
		g.getspi(s)
	case n < 42:
		g.send(s, g.naming(wire.MsgDelete, g.satype()))
	case n < 48:
		g.send(s, g.naming(wire.MsgGet, g.satype()))
	case n < 54:
		b := g.header(wire.MsgDump, g.satype())
		if g.chance(30) {
			b = g.filter(b)
		}
		g.send(s, g.finish(b))
	case n < 57:
		g.send(s, g.finish(g.header(wire.MsgFlush, g.satype())))
	case n < 60:
		g.send(s, g.finish(g.header(wire.MsgRegister, g.satype())))
	case n < 62:
		g.send(s, g.finish(g.header(wire.MsgXPromisc, g.IntN(3))))
	case n < 64:
		msg := g.finish(g.header(wire.MsgAcquire, g.satype()))
		msg[2] = byte(pick(g, 0, 1, 22))
		g.send(s, msg)
	case n < 66:
		g.send(s, g.naming(pick(g, wire.MsgExpire, wire.KAMEMsgXPChange, wire.KAMEMsgXSPDAcquire,
			wire.KAMEMsgXSPDExpire, wire.KAMEMsgXNATTNewMapping, wire.MsgXPromisc,
			wire.MsgRegister, wire.MsgFlush), g.satype()))
	case n < 78:
		g.send(s, g.policy(pick(g, wire.KAMEMsgXSPDAdd, wire.KAMEMsgXSPDAdd, wire.KAMEMsgXSPDUpdate,
			wire.KAMEMsgXSPDSetIdx)))
	case n < 82:
		g.send(s, g.policy(wire.KAMEMsgXSPDDelete))
	case n < 89:
		b := g.header(pick(g, wire.KAMEMsgXSPDGet, wire.KAMEMsgXSPDDelete2), 0)
		id := uint32(g.IntN(6)*8 + g.IntN(4))
		g.send(s, g.finish(g.d.AppendPolicy(b, wire.Policy{Type: wire.KAMEPolicyIPsec, Direction: uint8(g.IntN(4)),
			ID: id})))
	case n < 93:
		g.send(s, g.finish(g.header(wire.KAMEMsgXSPDDump, 0)))
	case n < 94:
		g.send(s, g.finish(g.header(wire.KAMEMsgXSPDFlush, g.satype())))
	case n < 98:
		g.send(s, g.migrate())
	default:
		if len(g.socks) > 1 && g.chance(30) {
			g.step("close", s, new(conform.Close))
			g.socks = slices.DeleteFunc(g.socks, func(o string) bool { return o == s })
			return
		}
		g.send(s, g.finish(g.header(g.d.MsgType(uint8(g.IntN(27))), g.satype())))
	}
}

func (g *talker) header(t wire.MsgType, satype int) []byte {
	g.seq++
	// Far from the numbers that kernels give their ACQUIREs, which count from 1.
	seq := wire.Seq(0x40000000 + g.seq)
	if g.chance(5) {
		seq = 0
	}
	return g.d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: t, SAType: g.d.SAType(uint8(satype)),
		Seq: seq, PID: uint32(pick(g, 1, 42, 1234))})
}

func (g *talker) finish(msg []byte) []byte { return g.d.Finish(msg) }

func (g *talker) satype() int {
	if g.chance(92) {
		return pick(g, 3, 3, 3, 2, 2, 9)
	}
	return pick(g, 0, 1, 4, 5, 10, 255)
}

func parsed(list ...string) (as []netip.Addr) {
	for _, s := range list {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

var talk4 = parsed("192.0.2.1", "192.0.2.2", "198.51.100.7", "10.1.2.3", "0.0.0.0")
var talk6 = parsed("2001:db8::1", "2001:db8::2", "fd00::5", "::")

// endpoints picks a source and a destination, of one family nearly always.
func (g *talker) endpoints() (src, dst netip.Addr) {
	if g.about != nil {
		return g.about[0], g.about[1]
	}
	switch {
	case g.loop:
		// IPv6 has policies there, under which a host's own answers are protected as well; the emulated one sends none
		return pick(g, talkLoop4[0], talkLoop4[0], talkLoop4[2]), pick(g, talkLoop4[1], talkLoop4[1], talkLoop4[2])
	case g.net:
		return talk4[0], pick(g, talk4[1], talk4[1], talk4[2])
	}
	list := talk4
	if g.chance(30) {
		list = talk6
	}
	src, dst = list[0], list[1]
	if g.chance(25) {
		src, dst = pick(g, list...), pick(g, list...)
	}
	if g.chance(2) {
		dst = pick(g, talk6...)
	}
	return src, dst
}

func (g *talker) addresses(b []byte, src, dst netip.Addr) []byte {
	for _, x := range []struct {
		t wire.ExtType
		a netip.Addr
	}{{wire.ExtAddressSrc, src}, {wire.ExtAddressDst, dst}} {
		a := wire.Address{Addr: x.a, PrefixLen: uint8(x.a.BitLen())}
		if g.chance(15) {
			a.Proto, a.Port = uint8(pick(g, 6, 17, 255)), uint16(pick(g, 0, 500))
		}
		if g.about == nil && g.chance(5) {
			a.PrefixLen = uint8(g.IntN(130))
		}
		b = g.d.AppendAddress(b, x.t, a)
	}
	return b
}

func (g *talker) anySPI() wire.SPI {
	return pick[wire.SPI](g, 0x1000, 0x1000, 0x1001, 0x1002, 0x1003, 0x1004, 0x1000, 0x1001, 0, 1, 0xff, 0x10001,
		0xffffffff)
}

var talkAuth = map[uint8]int{251: 0, 2: 128, 3: 160, 5: 256, 6: 384, 7: 512, 8: 160, 9: 128}
var talkEncrypt = map[uint8]int{11: 0, 2: 64, 3: 192, 6: 128, 7: 128, 12: 128, 22: 256, 252: 128, 253: 192, 13: 160}

func (g *talker) algorithm(symbol func(uint8) wire.AlgID, known map[uint8]int) (id wire.AlgID, bits int) {
	if g.chance(5) {
		return symbol(uint8(g.IntN(256))), 8 * g.IntN(70)
	}
	ids := make([]uint8, 0, len(known))
	for id := range known {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	n := pick(g, ids...)
	if bits = known[n]; g.chance(6) {
		bits = pick(g, 0, 1, 40, 56, 64, 120, 128, 192, 256, 448, bits+1, bits+8)
	}
	return symbol(n), bits
}

func (g *talker) key(b []byte, t wire.ExtType, bits int) []byte {
	data := make([]byte, (bits+7)/8)
	for i := range data {
		data[i] = byte(g.Uint32())
	}
	return g.d.AppendKey(b, t, wire.Key{Bits: uint16(bits), Data: data})
}

func (g *talker) lifetime(b []byte, t wire.ExtType) []byte {
	l := wire.Lifetime{AddTime: pick[uint64](g, 0, 100, 3600), UseTime: pick[uint64](g, 0, 0, 100),
		Bytes:       pick[uint64](g, 0, 0, 1000000, ^uint64(0)),
		Allocations: pick[uint32](g, 0, 0, 1000, ^uint32(0))}
	return g.d.AppendLifetime(b, t, l)
}

func (g *talker) sa2(b []byte) []byte {
	v := wire.SA2{Mode: g.d.Mode(uint8(pick(g, 0, 1, 1, 2, 2, 3))),
		ReqID: pick[uint32](g, 0, 0, 7, 7, 9, 0x3fff, 0x12345)}
	if g.chance(4) {
		v.Mode = g.d.Mode(uint8(g.IntN(256)))
	}
	return g.d.AppendSA2(b, v)
}

// add is an ADD or UPDATE.
func (g *talker) add(t wire.MsgType, satype int) []byte {
	b := g.header(t, satype)
	src, dst := g.endpoints()
	sa := wire.SA{SPI: g.anySPI(), Replay: uint8(pick(g, 0, 4, 32, 33, 255)), State: wire.State(g.IntN(4)),
		Flags: pick[uint32](g, 0, 0, 1, 0xe0000000, 0xffffffff)}
	authBits, encryptBits := -1, -1
	switch satype {
	case 2:
		sa.Auth, authBits = g.algorithm(g.d.Auth, talkAuth)
	case 9:
		sa.Encrypt = g.d.Encrypt(uint8(pick(g, 2, 2, 2, 2, 0, 1, 3, 5)))
	default:
		sa.Encrypt, encryptBits = g.algorithm(g.d.Encrypt, talkEncrypt)
		if g.chance(70) {
			sa.Auth, authBits = g.algorithm(g.d.Auth, talkAuth)
		}
	}
	// With the patch of a picked SPI, the message has to begin with this extension.
	b = g.d.AppendSA(b, sa)
	var exts [][]byte
	ext := func(percent int, f func(b []byte) []byte) {
		if g.chance(percent) {
			exts = append(exts, f(nil))
		}
	}
	ext(98, func(b []byte) []byte { return g.addresses(b, src, dst) })
	if authBits >= 0 {
		ext(97, func(b []byte) []byte { return g.key(b, wire.ExtKeyAuth, authBits) })
	}
	if encryptBits >= 0 {
		ext(97, func(b []byte) []byte { return g.key(b, wire.ExtKeyEncrypt, encryptBits) })
	}
	ext(50, g.sa2)
	if g.chance(30) {
		ext(95, func(b []byte) []byte { return g.lifetime(b, wire.ExtLifetimeHard) })
		ext(95, func(b []byte) []byte { return g.lifetime(b, wire.ExtLifetimeSoft) })
	}
	ext(8, func(b []byte) []byte {
		a := pick(g, src, dst, talk4[3], talk6[2])
		return g.d.AppendAddress(b, wire.ExtAddressProxy,
			wire.Address{Addr: a, PrefixLen: uint8(pick(g, 0, 8, 24, 32, a.BitLen())),
				Proto: uint8(pick(g, 0, 17, 255))})
	})
	if g.chance(10) {
		ext(90, func(b []byte) []byte {
			return g.d.AppendNATTType(b, wire.NATTType{Type: uint8(pick(g, 0, 1, 2, 2, 2, 3))})
		})
		ext(80, func(b []byte) []byte {
			return g.d.AppendNATTPort(b, wire.KAMEExtXNATTSPort, wire.NATTPort{Port: uint16(pick(g, 0, 4500, 500))})
		})
		ext(80, func(b []byte) []byte {
			return g.d.AppendNATTPort(b, wire.KAMEExtXNATTDPort, wire.NATTPort{Port: uint16(pick(g, 0, 4500, 10000))})
		})
		ext(20, func(b []byte) []byte {
			return g.d.AppendAddress(b, wire.KAMEExtXNATTOA, wire.Address{Addr: src, PrefixLen: uint8(src.BitLen())})
		})
	}
	ext(3, func(b []byte) []byte {
		return g.d.AppendSecCtx(b, wire.SecCtx{Alg: 1, DOI: 1, Context: make([]byte, g.IntN(20))})
	})
	ext(3, func(b []byte) []byte {
		return g.d.AppendIdentity(b, wire.ExtIdentitySrc, wire.Identity{Type: 3, Name: "a@b"})
	})
	if g.chance(20) {
		g.Shuffle(len(exts), func(i, k int) { exts[i], exts[k] = exts[k], exts[i] })
	}
	return g.finish(append(b, slices.Concat(exts...)...))
}

func (g *talker) getspi(s string) {
	b := g.header(wire.MsgGetSPI, g.satype())
	src, dst := g.endpoints()
	if g.chance(90) {
		g.about = []netip.Addr{src, dst}
		defer func() { g.about = nil }()
	}
	b = g.addresses(b, src, dst)
	picked := g.about != nil
	switch g.IntN(4) {
	case 0:
	case 1:
		b = g.d.AppendSPIRange(b, wire.SPIRange{Min: 0x1000000, Max: 0x7fffffff})
	default:
		spi := g.anySPI()
		b = g.d.AppendSPIRange(b, wire.SPIRange{Min: spi, Max: spi})
		picked = false
	}
	if !picked && g.chance(40) {
		b = g.sa2(b)
	}
	msg := g.finish(b)
	h, _ := g.d.Header(msg)
	if !picked || len(g.socks) != 1 || !slices.Contains([]wire.SAType{wire.SATypeAH, wire.SATypeESP}, h.SAType) ||
		src.Is4() != dst.Is4() {
		g.send(s, msg)
		return
	}
	// What follows uses the SPI that comes back, in the last message that the only socket hears; it is there as long as
	// nothing is refused.
	g.sending(s, msg)
	satype := int(h.SAType)
	for more := true; more; {
		var next []byte
		switch g.IntN(4) {
		case 0:
			next = g.naming(wire.MsgGet, satype)
		case 1:
			next, more = g.naming(wire.MsgDelete, satype), false
		default:
			next, more = g.add(wire.MsgUpdate, satype), false
		}
		const spi = wire.HeaderLen + 4 // its offset in what is sent and in what came
		if x, ok := g.d.Find(next, wire.ExtAddressDst); !ok || x.Offset < spi {
			return
		}
		g.sending(s, next, conform.Patch{At: spi, Socket: s, Msg: -1, From: spi, Len: 4})
	}
}

// naming is a message that names an SA.
func (g *talker) naming(t wire.MsgType, satype int) []byte {
	b := g.header(t, satype)
	src, dst := g.endpoints()
	b = g.d.AppendSA(b, wire.SA{SPI: g.anySPI(), State: wire.State(g.IntN(4))})
	if g.about != nil || g.chance(97) {
		b = g.addresses(b, src, dst)
	}
	return g.finish(b)
}

func (g *talker) filter(b []byte) []byte {
	f := wire.Filter{Family: pick(g, g.d.AFInet, g.d.AFInet6, 0, 99),
		SrcPrefix: uint8(pick(g, 0, 0, 8, 24, 32, 128, 129)), DstPrefix: uint8(pick(g, 0, 0, 24, 32, 128))}
	src, dst := g.endpoints()
	copy(f.Src[:], src.AsSlice())
	copy(f.Dst[:], dst.AsSlice())
	return g.d.AppendFilter(b, f)
}

func (g *talker) request() wire.IPsecRequest {
	r := wire.IPsecRequest{Proto: uint16(pick(g, 50, 50, 50, 51, 108)), Mode: g.d.Mode(uint8(pick(g, 1, 1, 2, 3))),
		Level: uint8(pick(g, 2, 2, 3, 3, 1, 0)), ReqID: pick[uint32](g, 0, 7, 9, 0x3fff, 0x4000)}
	if g.chance(4) {
		r.Proto, r.Mode, r.Level = uint16(pick(g, 0, 6, 43, 60, 306)), g.d.Mode(uint8(g.IntN(6))), uint8(g.IntN(6))
	}
	if r.Mode == wire.ModeTunnel || g.chance(5) {
		src, dst := g.endpoints()
		r.Src, r.Dst = wire.Sockaddr{Addr: src}, wire.Sockaddr{Addr: dst}
	}
	return r
}

// policy is a message about a policy, named by its selector.
func (g *talker) policy(t wire.MsgType) []byte {
	b := g.header(t, pick(g, 0, 0, 0, 3))
	src, dst := g.endpoints()
	proto := uint8(pick(g, 0, 255, 255, 17, 6))
	for _, x := range []struct {
		t wire.ExtType
		a netip.Addr
	}{{wire.ExtAddressSrc, src}, {wire.ExtAddressDst, dst}} {
		a := wire.Address{Addr: x.a, Proto: proto, PrefixLen: uint8(x.a.BitLen())}
		if g.chance(20) {
			a.PrefixLen = uint8(pick(g, 24, 32, 16, x.a.BitLen()))
		}
		if g.chance(10) {
			a.Port = uint16(pick(g, 9, 500))
		}
		b = g.d.AppendAddress(b, x.t, a)
	}
	p := wire.Policy{Type: pick(g, wire.KAMEPolicyIPsec, wire.KAMEPolicyIPsec, wire.KAMEPolicyIPsec,
		wire.KAMEPolicyDiscard, wire.KAMEPolicyNone),
		Direction: uint8(pick(g, 2, 2, 2, 1, 3)), Priority: pick[uint32](g, 0, 0, 100, 1<<31), ID: uint32(g.IntN(30))}
	if g.chance(3) {
		p.Type, p.Direction = uint16(g.IntN(6)), uint8(g.IntN(6))
	}
	for range pick(g, 0, 1, 1, 1, 1, 2, 3) {
		p.Requests = append(p.Requests, g.request())
	}
	if g.chance(2) {
		for range 7 {
			p.Requests = append(p.Requests, g.request())
		}
	}
	if g.chance(98) {
		b = g.d.AppendPolicy(b, p)
	}
	if g.chance(10) {
		b = g.lifetime(b, pick(g, wire.ExtLifetimeHard, wire.ExtLifetimeSoft))
	}
	return g.finish(b)
}

func (g *talker) migrate() []byte {
	b := g.header(wire.LinuxMsgXMigrate, g.satype())
	src, dst := g.endpoints()
	b = g.addresses(b, src, dst)
	p := wire.Policy{Type: wire.KAMEPolicyIPsec, Direction: uint8(pick(g, 1, 2, 2, 3, 0))}
	for range pick(g, 1, 1, 1, 2) {
		old := g.request()
		// the higher ones are the kernel's to give, and it counts them for the whole machine
		old.ReqID = min(old.ReqID, 0x3fff)
		old.Src, old.Dst = wire.Sockaddr{Addr: src}, wire.Sockaddr{Addr: dst}
		to := old
		to.Dst.Addr = talk4[2]
		if dst.Is6() {
			to.Dst.Addr = talk6[2]
		}
		if g.chance(5) {
			to = g.request()
		}
		p.Requests = append(p.Requests, old, to)
	}
	if g.chance(5) {
		p.Requests = p.Requests[:len(p.Requests)-1]
	}
	b = g.d.AppendPolicy(b, p)
	if g.chance(20) {
		b = g.d.AppendKMAddress(b, wire.KMAddress{Local: wire.Sockaddr{Addr: src}, Remote: wire.Sockaddr{Addr: dst}})
	}
	return g.finish(b)
}

func (g *talker) traffic() {
	_, dst := g.endpoints()
	g.step("traffic", "", &linux.Traffic{Proto: pick[uint8](g, 17, 17, 17, 6, 1), Dst: dst, SPort: 40000,
		DPort: pick[uint16](g, 9, 9, 500), Len: pick(g, 0, 5, 100)})
}

// mutate spoils a message in a way that programs could, or that nobody would think of.
func (g *talker) mutate(msg []byte) []byte {
	b := slices.Clone(msg)
	for n := 1 + g.IntN(2); n > 0; n-- {
		if len(b) == 0 {
			return b
		}
		at := g.IntN(len(b))
		switch g.IntN(10) {
		case 0:
			b[at] ^= 1 << g.IntN(8)
		case 1:
			b[at] = byte(g.Uint32())
		case 2:
			b[at] = pick[byte](g, 0, 1, 2, 0xff)
		case 3: // in the header
			b[g.IntN(min(len(b), 8))] = byte(g.IntN(28))
		case 4: // another length or type of an extension
			if x, ok := g.extension(b); ok {
				b[x.Offset+pick(g, 0, 2)] = byte(g.IntN(30))
			}
		case 5: // an extension twice
			if x, ok := g.extension(b); ok {
				b = g.fit(append(b, x.Raw...))
			}
		case 6: // or not at all
			if x, ok := g.extension(b); ok {
				b = g.fit(slices.Delete(b, x.Offset, x.Offset+len(x.Raw)))
			}
		case 7:
			b = b[:at]
			if g.chance(50) {
				b = g.fit(b)
			}
		case 8:
			b = append(b, make([]byte, 1+g.IntN(24))...)
			if g.chance(50) {
				b = g.fit(b)
			}
		case 9: // a byte in the fixed part of an extension
			if x, ok := g.extension(b); ok {
				b[x.Offset+g.IntN(min(len(x.Raw), 16))] = byte(g.Uint32())
			}
		}
	}
	return b
}

func (g *talker) extension(b []byte) (wire.Ext, bool) {
	var all []wire.Ext
	for x, err := range g.d.Walk(b) {
		if err != nil {
			break
		}
		all = append(all, x)
	}
	if len(all) == 0 {
		return wire.Ext{}, false
	}
	return pick(g, all...), true
}

// fit makes the header say how long a message is.
func (g *talker) fit(b []byte) []byte {
	if len(b) >= wire.HeaderLen {
		binary.LittleEndian.PutUint16(b[4:], uint16(len(b)/8))
	}
	return b
}

// spoil takes recordings apart and puts them together in another way.
func (g *talker) spoil(recorded []*conform.Scenario) *conform.Scenario {
	open := map[string]bool{}
	for range 1 + g.IntN(2) {
		for _, st := range pick(g, recorded...).Steps {
			a := st.Action
			switch o, _ := a.Args.(*conform.Open); {
			case o != nil:
				if open[a.Socket] || *o != (conform.Open{}) {
					continue
				}
				open[a.Socket] = true
			case a.Socket == "" || !open[a.Socket] || a.Message() != nil && len(a.Message().Patch) > 0:
				continue
			case a.Op == "close":
				delete(open, a.Socket)
			}
			if s, ok := a.Args.(*conform.Send); ok {
				if g.chance(5) {
					continue
				}
				if g.chance(30) && s.Len == 0 {
					spoilt := *s
					spoilt.Hex = g.mutate(s.Hex)
					s, a.Args = &spoilt, &spoilt
				}
				if !g.foretellable(s.Hex) {
					continue
				}
			}
			g.sc.Steps = append(g.sc.Steps, conform.Step{Action: a})
			if a.Message() != nil && g.chance(5) {
				g.sc.Steps = append(g.sc.Steps, conform.Step{Action: a})
			}
		}
	}
	if len(g.sc.Steps) == 0 {
		g.open()
	}
	return &g.sc
}
