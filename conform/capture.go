package conform

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"path"
	"strings"

	packets "github.com/pfkeyd/pfkeyd/internal/capture"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// A capture is packets that a real kernel protected, NAME.pcap, with the keys and what was in them beside it,
// NAME.json: what testdata/pcaps/esp-linux-6.1/README.md describes. Every packet is opened, compared, and sealed again
// to the same bytes; where the SAs can be made through PF_KEY, an emulated kernel does the same.
type capture struct {
	name, file string
	sidecar
	records [][]byte
}

const captureSuffix = ".pcap"

type sidecar struct {
	Proto    string
	Mode     string
	ESN      bool
	Via      string `json:"configured_via"`
	UDPEncap bool   `json:"udp_encap"`
	UDPPort  uint16 `json:"udp_port"`
	SAs      []captureSA
	Packets  []capturePacket
}

type captureSA struct {
	Dir             string
	SPI             string
	Src, Dst        netip.Addr
	Enc, Auth, AEAD *captureAlg
	SeqBefore       uint32 `json:"seq_before_first_packet"`

	spi  wire.SPI
	made *ipsec.Transform
}

type captureAlg struct {
	Name      string
	Key, Salt hexKey
	ICVBits   int   `json:"icv_bits"`
	ID        uint8 `json:"pfkey_id"`
}

// hexKey is key bytes that a sidecar has as hexadecimal digits. An error does not repeat them.
type hexKey []byte

func (k *hexKey) UnmarshalText(b []byte) error {
	v, err := hex.DecodeString(string(b))
	if err != nil {
		return errors.New("a key is not hexadecimal")
	}
	*k = v
	return nil
}

type capturePacket struct {
	N     int
	Dir   string
	Seq   uint32
	SeqHi uint32 `json:"seq_hi"`
	Inner Hex
	From  string `json:"inner_source"`
}

// linuxCiphers and linuxMACs are the algorithms by the names that Linux has for them.
var linuxCiphers = map[string]*ipsec.Cipher{
	"ecb(cipher_null)":              ipsec.NULL,
	"cbc(des)":                      ipsec.DESCBC,
	"cbc(des3_ede)":                 ipsec.TripleDES,
	"cbc(cast5)":                    ipsec.CAST128CBC,
	"cbc(blowfish)":                 ipsec.BlowfishCBC,
	"cbc(twofish)":                  ipsec.TwofishCBC,
	"cbc(serpent)":                  ipsec.SerpentCBC,
	"cbc(camellia)":                 ipsec.CamelliaCBC,
	"cbc(aes)":                      ipsec.AESCBC,
	"rfc3686(ctr(aes))":             ipsec.AESCTR,
	"rfc4106(gcm(aes))":             ipsec.AESGCM,
	"rfc4543(gcm(aes))":             ipsec.AESGMAC,
	"rfc4309(ccm(aes))":             ipsec.AESCCM,
	"rfc7539esp(chacha20,poly1305)": ipsec.ChaCha,
}

var linuxMACs = map[string]*ipsec.MAC{
	"hmac(md5)":    ipsec.HMACMD5,
	"hmac(sha1)":   ipsec.HMACSHA1,
	"hmac(sha256)": ipsec.HMACSHA256,
	"hmac(sha384)": ipsec.HMACSHA384,
	"hmac(sha512)": ipsec.HMACSHA512,
	"hmac(rmd160)": ipsec.HMACRIPEMD160,
	"xcbc(aes)":    ipsec.AESXCBC,
	"cmac(aes)":    ipsec.AESCMAC,
}

// readCapture reads a capture. shown is the name that errors and results show.
func readCapture(fsys fs.FS, file, shown string) (*capture, error) {
	c := &capture{name: "capture/" + strings.TrimSuffix(path.Base(file), captureSuffix), file: shown}
	if !validName(c.name) {
		return nil, errors.New("without a usable name")
	}
	text, err := readFile(fsys, strings.TrimSuffix(file, captureSuffix)+".json")
	if err != nil {
		return nil, fmt.Errorf("what is in it is not told: %w", err)
	}
	if err := json.Unmarshal(text, &c.sidecar); err != nil {
		return nil, fmt.Errorf("its .json: %w", err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("its .json: %w", err)
	}
	f, err := open(fsys, file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := packets.NewReader(f)
	if err == nil {
		c.records, err = r.Packets()
	}
	if err != nil {
		return nil, err
	}
	if len(c.records) != len(c.Packets) || len(c.records) == 0 {
		return nil, fmt.Errorf("%d packets, of which its .json describes %d", len(c.records), len(c.Packets))
	}
	return c, nil
}

// readFile reads a file whole.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := open(fsys, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// check completes the sidecar.
func (c *capture) check() error {
	if c.Proto != "esp" && c.Proto != "ah" {
		return fmt.Errorf("protocol %q", abridged(c.Proto))
	}
	if c.Mode != "tunnel" && c.Mode != "transport" {
		return fmt.Errorf("mode %q", abridged(c.Mode))
	}
	for i := range c.SAs {
		s := &c.SAs[i]
		if _, err := fmt.Sscanf(s.SPI, "0x%x", (*uint32)(&s.spi)); err != nil {
			return fmt.Errorf("SPI %q", abridged(s.SPI))
		}
		if !s.Src.IsValid() || !s.Dst.IsValid() {
			return fmt.Errorf("SA %v without addresses", s.spi)
		}
		var err error
		if s.made, err = c.transform(s); err != nil {
			return fmt.Errorf("SA %v: %w", s.spi, err)
		}
	}
	for i, p := range c.Packets {
		if p.N != i || c.sa(p.Dir) == nil {
			return fmt.Errorf("packet %d: number %d, direction %q", i, p.N, abridged(p.Dir))
		}
	}
	return nil
}

func (c *capture) sa(dir string) *captureSA {
	for i := range c.SAs {
		if c.SAs[i].Dir == dir {
			return &c.SAs[i]
		}
	}
	return nil
}

func (c *capture) transform(sa *captureSA) (*ipsec.Transform, error) {
	s := ipsec.Suite{Proto: ipsec.ESP, ESN: c.ESN}
	if c.Proto == "ah" {
		s.Proto = ipsec.AH
	}
	for _, a := range []*captureAlg{sa.Enc, sa.AEAD} {
		if a == nil {
			continue
		}
		if s.Cipher = linuxCiphers[a.Name]; s.Cipher == nil {
			return nil, fmt.Errorf("unknown cipher %q", abridged(a.Name))
		}
		s.Key, s.Salt, s.ICV = ipsec.NewKey(a.Key), ipsec.NewKey(a.Salt), a.ICVBits/8
	}
	if a := sa.Auth; a != nil {
		if s.MAC = linuxMACs[a.Name]; s.MAC == nil {
			return nil, fmt.Errorf("unknown authentication algorithm %q", abridged(a.Name))
		}
		s.AuthKey, s.ICV = ipsec.NewKey(a.Key), a.ICVBits/8
	}
	return s.New()
}

// played opens and seals every packet, and has the target do so where it can.
func (c *capture) played(t Target, f *family) Result {
	j := &judge{d: f.dialect, f: f}
	windows := map[string]*ipsec.Window{}
	for _, s := range c.SAs {
		w := ipsec.NewWindow(64)
		w.SetTop(uint64(s.SeqBefore))
		windows[s.Dir] = &w
	}
	for i := range c.Packets {
		j.step, j.op = i+1, "open"
		c.packet(j, i, windows[c.Packets[i].Dir])
	}
	if in, ok := t.(InProcess); ok && in.Kernel == "linux" && c.Via == "pfkey" {
		for _, dir := range []string{"ab", "ba"} {
			if err := c.throughKernel(j, in, dir); err != nil {
				j.op = "kernel"
				j.add(Difference{Field: "kernel", What: err.Error()})
			}
		}
	}
	r := Result{Scenario: c.name, File: c.file, Status: Passed, Differences: j.diff}
	if len(j.diff) > 0 {
		r.Status = Failed
	}
	return r
}

// packet opens packet i, compares what is in it, and seals that again.
func (c *capture) packet(j *judge, i int, window *ipsec.Window) {
	p, pkt := c.Packets[i], c.records[i]
	sa := c.sa(p.Dir)
	fail := func(what string) { j.add(Difference{Field: "packet", What: what}) }
	in, err := ipsec.ParseInbound(pkt)
	if err != nil {
		fail(err.Error())
		return
	}
	if in.SPI != uint32(sa.spi) || in.Src != sa.Src || in.Dst != sa.Dst || in.Seq != p.Seq ||
		in.Proto != sa.made.Suite().Proto {
		fail(fmt.Sprintf("it is %v %#x from %v to %v with sequence number %d", in.Proto, in.SPI, in.Src, in.Dst,
			in.Seq))
		return
	}
	var hi uint32
	if c.ESN {
		hi = window.High(in.Seq)
	}
	seq := uint64(hi)<<32 | uint64(in.Seq)
	if hi != p.SeqHi || !window.Accept(seq) {
		fail(fmt.Sprintf("sequence number %#x is taken for %#x, or for an old one", in.Seq, seq))
		return
	}
	inner, err := c.open(sa.made, pkt, &in, hi)
	if err != nil {
		fail("it cannot be opened: " + err.Error())
		return
	}
	if len(p.Inner) > 0 {
		j.bytes("inner", 'p', p.Inner, inner, nil)
	}
	j.op = "seal"
	again, err := c.seal(sa.made, pkt, &in, seq, inner)
	if err != nil {
		fail("it cannot be sealed again: " + err.Error())
		return
	}
	j.bytes("packet", 'p', pkt, again, nil)
}

// open undoes what the kernel did.
func (c *capture) open(tr *ipsec.Transform, pkt []byte, in *ipsec.Inbound, seqHi uint32) ([]byte, error) {
	if c.Mode == "tunnel" {
		return tr.OpenTunnel(pkt, in, seqHi)
	}
	return tr.OpenTransport(pkt, in, seqHi)
}

// seal protects inner as pkt was, with the same IV and the things that no rule gives: the identification of the outer
// header, and the bytes behind the ICV of AH.
func (c *capture) seal(tr *ipsec.Transform, pkt []byte, in *ipsec.Inbound, seq uint64, inner []byte) (out []byte,
	err error) {
	s := ipsec.Sealing{SPI: in.SPI, Seq: seq}
	if in.Proto == ipsec.AH {
		s.Align = 8
	} else {
		s.IV = in.ESP(pkt)[wordOfESP : wordOfESP+tr.IVLen()]
	}
	ports := ipsec.Ports{Src: in.SrcPort, Dst: in.DstPort}
	if c.Mode == "tunnel" {
		o := &ipsec.Outer{Src: in.Src, Dst: in.Dst, TOSRule: ipsec.TOSCopyECN, DF: ipsec.DFCopy, CopyFlow: true}
		if in.Src.Is4() {
			o.ID = binary.BigEndian.Uint16(pkt[4:])
		}
		out, err = tr.SealTunnel(nil, inner, o, ports, s)
	} else {
		out, err = tr.SealTransport(nil, inner, ports, s)
	}
	if err != nil {
		return nil, err
	}
	if in.Proto == ipsec.AH && len(out) == len(pkt) {
		const fixed = 12 // of AH, before the ICV
		from, to := in.Off+fixed+tr.ICVLen(), in.Off+ipsec.ParseAH(pkt, in).Len
		copy(out[from:to], pkt[from:to])
		err = tr.SealAH(out, in.Off, uint32(seq>>32))
	}
	return out, err
}

// throughKernel makes the SA of a direction with ADD, on an emulated kernel for each of its ends: one is given the
// plain packets, the other the captured ones.
func (c *capture) throughKernel(j *judge, t InProcess, dir string) error {
	sa := c.sa(dir)
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
		j.step, j.op = i+1, "receive"
		v := to.inbound(c.records[i])
		if v.Kind != packet.Delivered {
			j.add(Difference{Field: "verdict", Want: packet.Delivered.String(),
				Got: strings.TrimSpace(v.Kind.String() + " " + v.Counter)})
		} else if len(p.Inner) > 0 {
			j.bytes("inner", 'p', p.Inner, v.Inner, nil)
		}
		if len(p.Inner) == 0 {
			continue
		}
		j.op = "send"
		v = from.outbound(p.Inner)
		if v.Kind != packet.Transmitted {
			j.add(Difference{Field: "verdict", Want: packet.Transmitted.String(),
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
func (c *capture) compareSent(j *judge, sa *captureSA, i int, seq uint32, pkt []byte) {
	in, err := ipsec.ParseInbound(pkt)
	if err != nil || in.SPI != uint32(sa.spi) || in.Seq != seq {
		j.add(Difference{Field: "packet", What: fmt.Sprintf("SPI %#x, sequence number %d: want %v, %d (%v)", in.SPI,
			in.Seq, sa.spi, seq, err)})
		return
	}
	inner, err := c.open(sa.made, pkt, &in, 0)
	if err != nil {
		j.add(Difference{Field: "packet", What: "it cannot be opened: " + err.Error()})
		return
	}
	j.bytes("inner", 'p', c.Packets[i].Inner, inner, nil)
	want, got := c.records[i], bytes.Clone(pkt)
	if len(want) == len(got) && in.Src.Is4() && c.Mode == "tunnel" {
		const id, sum = 4, 10
		copy(got[id:id+2], want[id:])
		copy(got[sum:sum+2], want[sum:])
	}
	head := min(in.Off, len(got), len(want)) // outer headers; the UDP checksum over IPv6 depends on what follows
	if in.SrcPort != 0 || in.DstPort != 0 {
		head -= 2
	}
	j.bytes("outer header", 'p', want[:head], got[:head], nil)
	j.text("length", fmt.Sprint(len(want)), fmt.Sprint(len(got)))
}

// captureEnd is an emulated host at one end of an SA.
type captureEnd struct {
	m Machine
	d *wire.Dialect
}

func (e *captureEnd) boot(c *capture, t InProcess, sa *captureSA, own netip.Addr) error {
	t.Addrs, t.Broadcast = []netip.Addr{own}, nil
	var err error
	if e.m, err = t.Boot(&Scenario{Name: c.name, Net: true}, nil); err != nil {
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
	s, errno := e.m.Open(privileged, rawSocket, wire.Version)
	if errno != wire.OK {
		return fmt.Errorf("no socket: %v", errno)
	}
	defer s.Close()
	buf := make([]byte, wire.MaxLen)
	if errno := s.Send(msg, privileged); errno != wire.OK {
		return fmt.Errorf("%s is refused: %v", e.d.MsgName(wire.MsgType(msg[1])), errno)
	}
	n, _, errno := s.Recv(buf, 0)
	h, err := e.d.Header(buf[:n])
	if errno != wire.OK || err != nil {
		return fmt.Errorf("%s is not answered: %v", e.d.MsgName(wire.MsgType(msg[1])), errno)
	}
	if h.Errno != 0 {
		errno, _ := e.d.Errno(h.Errno)
		return fmt.Errorf("%s is answered with %v", e.d.MsgName(h.Type), errno)
	}
	return nil
}

// add is the message that makes an SA.
func (c *capture) add(d *wire.Dialect, sa *captureSA) []byte {
	h := wire.Header{Version: wire.Version, Type: wire.MsgAdd, SAType: wire.SATypeESP, Seq: 1, PID: 1}
	if c.Proto == "ah" {
		h.SAType = wire.SATypeAH
	}
	x := wire.SA{SPI: sa.spi, Replay: 32, State: wire.StateMature}
	if sa.Auth != nil {
		x.Auth = sa.Auth.ID
	}
	if sa.Enc != nil {
		x.Encrypt = sa.Enc.ID
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

func (c *capture) mode() uint8 {
	if c.Mode == "tunnel" {
		return wire.ModeTunnel
	}
	return wire.ModeTransport
}

// policy demands the SA for whatever the capture has inside; the datagrams that carry it need no other.
func (e *captureEnd) policy(c *capture, sa *captureSA, dir uint8) error {
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
	e.m.(PacketPath).Inbound(&packet.Packet{ID: 1, Data: bytes.Clone(pkt), Done: keep(&v)})
	return v
}

func (e *captureEnd) outbound(pkt []byte) (v packet.Verdict) {
	e.m.(PacketPath).Outbound(&packet.Packet{ID: 1, Data: bytes.Clone(pkt), Done: keep(&v)}, "")
	return v
}

func keep(v *packet.Verdict) func(*packet.Packet, packet.Verdict) {
	return func(_ *packet.Packet, got packet.Verdict) {
		got.Inner = bytes.Clone(got.Inner)
		*v = got
	}
}
