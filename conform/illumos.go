package conform

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/spd"
	"github.com/pfkeyd/pfkeyd/wire"
)

// The recordings of illumos: what testdata/golden/illumos/README.md describes beyond sockets, messages and packets.

// illumosKernel is what the operations need of an illumos; the Kernel of kernel/illumos is one.
type illumosKernel interface {
	AddPolicy(tunnels []spd.Tunnel, rules []spd.Rule) error
	Counters() map[string]uint64 // since the start
	AlgorithmsChanged()
	SetCluster(loaded bool)
	RefuseTasks(refuse bool)
}

func init() {
	clock := func(do func(p *player, c Clock, a *Action)) func(*player, *Action, *Outcome) {
		return func(p *player, a *Action, _ *Outcome) { do(p, p.m.(Clock), a) }
	}
	move := func(c Clock, a *Action) { c.MoveClock(c.Now().Add(time.Duration(a.Advance) * time.Second)) }
	own := func(do func(p *player, k illumosKernel, a *Action, out *Outcome)) func(*player, *Action, *Outcome) {
		return func(p *player, a *Action, out *Outcome) {
			k, ok := p.m.(Owner).Own().(illumosKernel)
			if !ok {
				p.complain("the target is no illumos")
				return
			}
			do(p, k, a, out)
		}
	}
	families["illumos"] = &family{
		kernel:    "illumos",
		builtin:   []string{"illumos"},
		dialect:   wire.Illumos().WithOrder(binary.LittleEndian),
		addrs:     addrs("192.0.2.1", "192.0.2.5", "10.0.0.1", "2001:db8::1", "2001:db8::5", "fe80::1"),
		broadcast: addrs("192.0.2.255", "192.0.2.0", "10.255.255.255", "10.0.0.0", "255.255.255.255"),
		points:    map[string]bool{"store": true, "stored": true, "take": true, "taken": true},
		suite:     illumosSuite,
		probe:     illumosProbe,
		ops: map[string]*op{
			"clock": {needs: needClock, do: clock(func(_ *player, c Clock, a *Action) { move(c, a) })},
			"ager":  {needs: needClock, do: clock(func(_ *player, c Clock, _ *Action) { c.Age() })},
			"age":   {needs: needClock, do: clock(func(_ *player, c Clock, a *Action) { move(c, a); c.Age() })},

			"policy": {needs: needOwn, check: func(a *Action) error { _, err := illumosRule(a); return err },
				do: own(func(p *player, k illumosKernel, a *Action, _ *Outcome) {
					r, _ := illumosRule(a) // checked when it was read
					if err := k.AddPolicy(nil, []spd.Rule{r}); err != nil {
						p.complain("policy: %v", err)
					}
				})},
			"tunnel": {needs: needOwn, check: func(a *Action) error { _, err := illumosTunnel(a); return err },
				do: own(func(p *player, k illumosKernel, a *Action, _ *Outcome) {
					t, _ := illumosTunnel(a)
					if err := k.AddPolicy([]spd.Tunnel{t}, nil); err != nil {
						p.complain("tunnel: %v", err)
					}
				})},
			"counters": {needs: needOwn, counters: true,
				do: own(func(p *player, k illumosKernel, _ *Action, out *Outcome) {
					p.readCounters(k.Counters(), out)
				})},
			"algs": {needs: needOwn, do: own(func(_ *player, k illumosKernel, _ *Action, _ *Outcome) {
				k.AlgorithmsChanged()
			})},
			"cluster": {needs: needOwn, do: own(func(_ *player, k illumosKernel, a *Action, _ *Outcome) {
				k.SetCluster(a.Val != 0)
			})},
			"taskq": {needs: needOwn, check: func(a *Action) error {
				if a.Name != "refuse" && a.Name != "accept" {
					return fmt.Errorf("neither refuse nor accept: %q", abridged(a.Name))
				}
				return nil
			}, do: own(func(_ *player, k illumosKernel, a *Action, _ *Outcome) { k.RefuseTasks(a.Name == "refuse") })},
		},
		deviations: illumosDeviations,
		flushes:    []wire.MsgType{wire.MsgFlush},
		pair:       illumosPair,
		updatePair: wire.IllumosMsgXUpdatePair,
	}
}

// illumosPair finds the SA that a message pairs another with.
func illumosPair(d *wire.Dialect, msg []byte) (wire.SPI, bool) {
	x, ok := d.Find(msg, wire.IllumosExtXPair)
	if !ok {
		return 0, false
	}
	pair, err := d.ParsePair(x.Raw)
	return pair.SPI, err == nil
}

// readCounters notes what the counters have gained since they were last read.
func (p *player) readCounters(now map[string]uint64, out *Outcome) {
	for name, n := range now {
		if d := n - p.read[name]; d != 0 {
			if out.Counters == nil {
				out.Counters = map[string]uint64{}
			}
			out.Counters[name] = d
		}
	}
	p.read = now
}

// illumosRule reads the parameters of a policy rule.
func illumosRule(a *Action) (r spd.Rule, err error) {
	switch a.Dir {
	case "", "out":
		r.Dir = spd.Out
	case "in":
		r.Dir = spd.In
	case "both":
		r.Dir = spd.Both
	default:
		return r, fmt.Errorf("unknown direction %q", abridged(a.Dir))
	}
	for s, to := range map[string]*netip.Prefix{"src": &r.Src, "dst": &r.Dst} {
		text := a.Src
		if s == "dst" {
			text = a.Dst
		}
		if *to, err = prefix(text); err != nil {
			return r, fmt.Errorf("%s: %w", s, err)
		}
	}
	if a.Proto < 0 || a.Proto > 255 {
		return r, fmt.Errorf("no protocol number: %d", a.Proto)
	}
	r.Tunnel, r.V6, r.Proto, r.SrcPort, r.DstPort = a.Tunnel, a.V6, uint8(a.Proto), a.SPort, a.DPort
	if len(a.Acts) == 0 {
		return r, errors.New("a rule without acts")
	}
	for _, x := range a.Acts {
		act := spd.Action{AH: x.AH, ESP: x.ESP, ESPAuth: x.ESPAuth, Unique: x.Unique, SelfEncap: x.Self,
			KMProtocol: x.KMP, KMCookie: x.KMC,
			Replay: x.Replay, EncryptMinBits: x.EMin, EncryptMaxBits: x.EMax}
		switch x.Type {
		case 0:
			act.Type = spd.Apply
		case 1:
			act.Type = spd.Bypass
		case 2:
			act.Type = spd.Discard
		default:
			return r, fmt.Errorf("unknown type of action %d", x.Type)
		}
		for _, alg := range []int{x.AH, x.ESP, x.ESPAuth} {
			if alg < -1 || alg > 255 {
				return r, fmt.Errorf("no algorithm number: %d", alg)
			}
		}
		r.Actions = append(r.Actions, act)
	}
	return r, nil
}

// prefix reads ADDRESS or ADDRESS/LENGTH; nothing stands for any, the zero value.
func prefix(s string) (netip.Prefix, error) {
	switch {
	case s == "":
		return netip.Prefix{}, nil
	case strings.Contains(s, "/"):
		return netip.ParsePrefix(s)
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Prefix{}, err
	}
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func illumosTunnel(a *Action) (t spd.Tunnel, err error) {
	t = spd.Tunnel{Name: a.Name, Negotiated: a.Val == 1}
	if a.Name == "" {
		return t, errors.New("a tunnel without a name")
	}
	if t.Src, err = netip.ParseAddr(a.Src); err != nil {
		return t, err
	}
	t.Dst, err = netip.ParseAddr(a.Dst)
	return t, err
}

// illumosMACs and illumosCiphers are the algorithms that the recorded packets are protected with.
var illumosMACs = map[uint8]*ipsec.MAC{
	wire.AuthMD5HMAC:    ipsec.HMACMD5,
	wire.AuthSHA1HMAC:   ipsec.HMACSHA1,
	wire.AuthSHA256HMAC: ipsec.HMACSHA256,
	wire.AuthSHA384HMAC: ipsec.HMACSHA384,
	wire.AuthSHA512HMAC: ipsec.HMACSHA512,
}

var illumosCiphers = map[uint8]struct {
	cipher *ipsec.Cipher
	icv    int
}{
	wire.EncNone:        {ipsec.NULL, 0},
	wire.EncDESCBC:      {ipsec.DESCBC, 0},
	wire.Enc3DESCBC:     {ipsec.TripleDES, 0},
	wire.EncBlowfishCBC: {ipsec.BlowfishCBC, 0},
	wire.EncNull:        {ipsec.NULL, 0},
	wire.EncAESCBC:      {ipsec.AESCBC, 0},
	wire.EncAESCCM8:     {ipsec.AESCCM, 8},
	wire.EncAESCCM12:    {ipsec.AESCCM, 12},
	wire.EncAESCCM16:    {ipsec.AESCCM, 16},
	wire.EncAESGCM8:     {ipsec.AESGCM, 8},
	wire.EncAESGCM12:    {ipsec.AESGCM, 12},
	wire.EncAESGCM16:    {ipsec.AESGCM, 16},
}

// illumosSuite builds the suite of an SA as PF_KEY states it here: the key of a cipher is followed by its salt and, if
// the reserved field of the extension says so, by bits of the first IV.
func illumosSuite(p protection) (*ipsec.Suite, error) {
	s := &ipsec.Suite{Proto: p.proto}
	if p.auth != wire.AuthNone {
		if s.MAC = illumosMACs[p.auth]; s.MAC == nil {
			return nil, fmt.Errorf("unknown authentication algorithm %d", p.auth)
		}
		s.AuthKey = ipsec.NewKey(p.authKey.Data)
	}
	if p.proto == ipsec.AH {
		return s, nil
	}
	c, ok := illumosCiphers[p.encrypt]
	if !ok {
		return nil, fmt.Errorf("unknown encryption algorithm %d", p.encrypt)
	}
	if s.Cipher = c.cipher; c.cipher == ipsec.NULL {
		return s, nil
	}
	n := (int(p.encryptKey.Bits)-int(p.encryptKey.Reserved))/8 - c.cipher.SaltLen
	if n < 0 || n+c.cipher.SaltLen > len(p.encryptKey.Data) {
		return nil, errors.New("encryption key shorter than its salt")
	}
	s.Key = ipsec.NewKey(slices.Clone(p.encryptKey.Data[:n]))
	s.Salt = ipsec.NewKey(p.encryptKey.Data[n : n+c.cipher.SaltLen])
	s.ICV = c.icv
	return s, nil
}

// illumosProbe is a FLUSH: it is echoed whatever state the kernel is in.
func illumosProbe() []byte {
	d := wire.Illumos()
	return d.Finish(d.AppendHeader(nil, wire.Header{Version: wire.Version, Type: wire.MsgFlush, Seq: 1, PID: 1234}))
}
