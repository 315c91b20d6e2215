// Package capture checks captures of protected packets, whichever kernel is emulated: every packet is opened, compared,
// and sealed again to the same bytes.
package capture

import (
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
	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Capture is packets that a real kernel protected, NAME.pcap, with the keys and what was in them beside it, NAME.json:
// what testdata/pcaps/*/README.md describes.
type Capture struct {
	name, file string
	Sidecar
	Records [][]byte
	more    More
}

// Name implements [conform.Capture].
func (c *Capture) Name() string { return c.name }

// File implements [conform.Capture].
func (c *Capture) File() string { return c.file }

const suffix = ".pcap"

// Sidecar is what NAME.json says.
type Sidecar struct {
	Proto    string
	Mode     string
	ESN      bool
	Via      string `json:"configured_via"`
	UDPEncap bool   `json:"udp_encap"`
	UDPPort  uint16 `json:"udp_port"`
	SAs      []SA
	Packets  []Packet
}

// SA is one direction.
type SA struct {
	Dir             string
	SPI             string
	Src, Dst        netip.Addr
	Enc, Auth, AEAD *Algorithm
	SeqBefore       uint32 `json:"seq_before_first_packet"`

	Number wire.SPI         `json:"-"` // what SPI says
	Made   *ipsec.Transform `json:"-"`
}

// Algorithm is one as the recording kernel names it, with its keys.
type Algorithm struct {
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

// Packet is one packet of the capture.
type Packet struct {
	N     int
	Dir   string
	Seq   uint32
	SeqHi uint32 `json:"seq_hi"`
	Inner conform.Hex
	From  string `json:"inner_source"`
}

// ciphers and macs are the algorithms by the names that captures have for them.
var ciphers = map[string]*ipsec.Cipher{
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

var macs = map[string]*ipsec.MAC{
	"hmac(md5)":    ipsec.HMACMD5,
	"hmac(sha1)":   ipsec.HMACSHA1,
	"hmac(sha256)": ipsec.HMACSHA256,
	"hmac(sha384)": ipsec.HMACSHA384,
	"hmac(sha512)": ipsec.HMACSHA512,
	"hmac(rmd160)": ipsec.HMACRIPEMD160,
	"xcbc(aes)":    ipsec.AESXCBC,
	"cmac(aes)":    ipsec.AESCMAC,
}

// More is what else a kernel can do with a capture on a target. What differs, it tells the judge.
type More func(c *Capture, j *conform.Judge, t conform.Target) error

// Reader makes what reads captures, for [conform.Kernel]. more may be nil.
func Reader(more More) func(fsys fs.FS, file, shown string) (conform.Capture, error) {
	return func(fsys fs.FS, file, shown string) (conform.Capture, error) {
		c, err := read(fsys, file, shown)
		if err != nil {
			return nil, err
		}
		c.more = more
		return c, nil
	}
}

func read(fsys fs.FS, file, shown string) (*Capture, error) {
	c := &Capture{name: "capture/" + strings.TrimSuffix(path.Base(file), suffix), file: shown}
	if !conform.ValidName(c.name) {
		return nil, errors.New("without a usable name")
	}
	text, err := readFile(fsys, strings.TrimSuffix(file, suffix)+".json")
	if err != nil {
		return nil, fmt.Errorf("what is in it is not told: %w", err)
	}
	if err := json.Unmarshal(text, &c.Sidecar); err != nil {
		return nil, fmt.Errorf("its .json: %w", err)
	}
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("its .json: %w", err)
	}
	f, err := conform.OpenFile(fsys, file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, err := packets.NewReader(f)
	if err == nil {
		c.Records, err = r.Packets()
	}
	if err != nil {
		return nil, err
	}
	if len(c.Records) != len(c.Packets) || len(c.Records) == 0 {
		return nil, fmt.Errorf("%d packets, of which its .json describes %d", len(c.Records), len(c.Packets))
	}
	return c, nil
}

// readFile reads a file whole.
func readFile(fsys fs.FS, name string) ([]byte, error) {
	f, err := conform.OpenFile(fsys, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// check completes the sidecar.
func (c *Capture) check() error {
	if c.Proto != "esp" && c.Proto != "ah" {
		return fmt.Errorf("protocol %q", conform.Abridged(c.Proto))
	}
	if c.Mode != "tunnel" && c.Mode != "transport" {
		return fmt.Errorf("mode %q", conform.Abridged(c.Mode))
	}
	for i := range c.SAs {
		s := &c.SAs[i]
		if _, err := fmt.Sscanf(s.SPI, "0x%x", (*uint32)(&s.Number)); err != nil {
			return fmt.Errorf("SPI %q", conform.Abridged(s.SPI))
		}
		if !s.Src.IsValid() || !s.Dst.IsValid() {
			return fmt.Errorf("SA %v without addresses", s.Number)
		}
		var err error
		if s.Made, err = c.transform(s); err != nil {
			return fmt.Errorf("SA %v: %w", s.Number, err)
		}
	}
	for i, p := range c.Packets {
		if p.N != i || c.SA(p.Dir) == nil {
			return fmt.Errorf("packet %d: number %d, direction %q", i, p.N, conform.Abridged(p.Dir))
		}
	}
	return nil
}

// SA is that of a direction, nil if there is none.
func (c *Capture) SA(dir string) *SA {
	for i := range c.SAs {
		if c.SAs[i].Dir == dir {
			return &c.SAs[i]
		}
	}
	return nil
}

func (c *Capture) transform(sa *SA) (*ipsec.Transform, error) {
	s := ipsec.Suite{Proto: ipsec.ESP, ESN: c.ESN}
	if c.Proto == "ah" {
		s.Proto = ipsec.AH
	}
	for _, a := range []*Algorithm{sa.Enc, sa.AEAD} {
		if a == nil {
			continue
		}
		if s.Cipher = ciphers[a.Name]; s.Cipher == nil {
			return nil, fmt.Errorf("unknown cipher %q", conform.Abridged(a.Name))
		}
		s.Key, s.Salt, s.ICV = ipsec.NewKey(a.Key), ipsec.NewKey(a.Salt), a.ICVBits/8
	}
	if a := sa.Auth; a != nil {
		if s.MAC = macs[a.Name]; s.MAC == nil {
			return nil, fmt.Errorf("unknown authentication algorithm %q", conform.Abridged(a.Name))
		}
		s.AuthKey, s.ICV = ipsec.NewKey(a.Key), a.ICVBits/8
	}
	return s.New()
}

// Play implements [conform.Capture]: it opens and seals every packet.
func (c *Capture) Play(t conform.Target, k *conform.Kernel) conform.Result {
	j := conform.NewJudge(k, false)
	windows := map[string]*ipsec.Window{}
	for _, s := range c.SAs {
		w := ipsec.NewWindow(64)
		w.SetTop(uint64(s.SeqBefore))
		windows[s.Dir] = &w
	}
	for i := range c.Packets {
		j.At(i+1, "open")
		c.packet(j, i, windows[c.Packets[i].Dir])
	}
	if c.more != nil {
		if err := c.more(c, j, t); err != nil {
			j.At(len(c.Packets), "kernel")
			j.Add(conform.Difference{Field: "kernel", What: err.Error()})
		}
	}
	r := conform.Result{Scenario: c.name, File: c.file, Status: conform.Passed, Differences: j.Differences()}
	if len(r.Differences) > 0 {
		r.Status = conform.Failed
	}
	return r
}

// packet opens packet i, compares what is in it, and seals that again.
func (c *Capture) packet(j *conform.Judge, i int, window *ipsec.Window) {
	p, pkt := c.Packets[i], c.Records[i]
	sa := c.SA(p.Dir)
	fail := func(what string) { j.Add(conform.Difference{Field: "packet", What: what}) }
	in, err := ipsec.ParseInbound(pkt)
	if err != nil {
		fail(err.Error())
		return
	}
	if in.SPI != uint32(sa.Number) || in.Src != sa.Src || in.Dst != sa.Dst || in.Seq != p.Seq ||
		in.Proto != sa.Made.Suite().Proto {
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
	inner, err := c.Open(sa.Made, pkt, &in, hi)
	if err != nil {
		fail("it cannot be opened: " + err.Error())
		return
	}
	if len(p.Inner) > 0 {
		j.Bytes("inner", 'p', p.Inner, inner, nil)
	}
	j.At(i+1, "seal")
	again, err := c.seal(sa.Made, pkt, &in, seq, inner)
	if err != nil {
		fail("it cannot be sealed again: " + err.Error())
		return
	}
	j.Bytes("packet", 'p', pkt, again, nil)
}

// Open undoes what the kernel did.
func (c *Capture) Open(tr *ipsec.Transform, pkt []byte, in *ipsec.Inbound, seqHi uint32) ([]byte, error) {
	if c.Mode == "tunnel" {
		return tr.OpenTunnel(pkt, in, seqHi)
	}
	return tr.OpenTransport(pkt, in, seqHi)
}

// seal protects inner as pkt was, with the same IV and the things that no rule gives: the identification of the outer
// header, and the bytes behind the ICV of AH.
func (c *Capture) seal(tr *ipsec.Transform, pkt []byte, in *ipsec.Inbound, seq uint64, inner []byte) (out []byte,
	err error) {
	s := ipsec.Sealing{SPI: in.SPI, Seq: seq}
	const spiAndSeq = 8 // of ESP
	if in.Proto == ipsec.AH {
		s.Align = 8
	} else {
		s.IV = in.ESP(pkt)[spiAndSeq : spiAndSeq+tr.IVLen()]
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
