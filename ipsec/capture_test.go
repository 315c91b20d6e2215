package ipsec_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

const captures = "../testdata/pcaps/esp-linux-6.1"

// sidecar is the description beside a capture; its README tells the fields.
type sidecar struct {
	Pcap  string
	Proto string
	Mode  string
	ESN   bool
	SAs   []struct {
		Dir             string
		SPI             string
		Src, Dst        netip.Addr
		Enc, Auth, AEAD *algorithm
		SeqBefore       uint32 `json:"seq_before_first_packet"`
	}
	Packets []struct {
		N     int
		Dir   string
		Seq   uint32
		SeqHi uint32 `json:"seq_hi"`
		Inner string
	}
}

type algorithm struct {
	Name, Key, Salt string
	ICVBits         int `json:"icv_bits"`
}

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
}

type direction struct {
	spi      uint32
	src, dst netip.Addr
	tr       *ipsec.Transform
	window   ipsec.Window
}

func (c *sidecar) directions(t *testing.T) map[string]*direction {
	dirs := map[string]*direction{}
	for _, sa := range c.SAs {
		spi, err := strconv.ParseUint(sa.SPI, 0, 32)
		if err != nil {
			t.Fatal(err)
		}
		s := ipsec.Suite{Proto: ipsec.ESP, ESN: c.ESN}
		if c.Proto == "ah" {
			s.Proto = ipsec.AH
		}
		known := true
		if e := sa.Enc; e != nil {
			s.Cipher, known = linuxCiphers[e.Name]
			s.Key, s.Salt = ipsec.NewKey(unhex(e.Key)), ipsec.NewKey(unhex(e.Salt))
		}
		if a := sa.AEAD; a != nil && known {
			s.Cipher, known = linuxCiphers[a.Name]
			s.Key, s.Salt, s.ICV = ipsec.NewKey(unhex(a.Key)), ipsec.NewKey(unhex(a.Salt)), a.ICVBits/8
		}
		if a := sa.Auth; a != nil && known {
			s.MAC, known = linuxMACs[a.Name]
			s.AuthKey, s.ICV = ipsec.NewKey(unhex(a.Key)), a.ICVBits/8
		}
		if !known {
			t.Fatal("algorithm not supported")
		}
		d := &direction{spi: uint32(spi), src: sa.Src, dst: sa.Dst, tr: newTransform(t, s), window: ipsec.NewWindow(64)}
		d.window.SetTop(uint64(sa.SeqBefore))
		dirs[sa.Dir] = d
	}
	return dirs
}

// TestCaptures opens every packet that a Linux kernel protected, finds what it had protected, and seals that again to the
// same bytes.
func TestCaptures(t *testing.T) {
	names, err := filepath.Glob(captures + "/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".json"), func(t *testing.T) { testCapture(t, name) })
	}
}

func testCapture(t *testing.T, name string) {
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var c sidecar
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(filepath.Join(filepath.Dir(name), c.Pcap))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, err := pcapgo.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	dirs := c.directions(t)
	for _, p := range c.Packets {
		pkt, _, err := r.ReadPacketData()
		if err != nil {
			t.Fatalf("packet %d: %v", p.N, err)
		}
		d, inner := dirs[p.Dir], unhex(p.Inner)
		in, err := ipsec.ParseInbound(pkt)
		if err != nil {
			t.Fatalf("packet %d: %v", p.N, err)
		}
		if in.SPI != d.spi || in.Seq != p.Seq || in.Src != d.src || in.Dst != d.dst || in.Proto != d.tr.Suite().Proto {
			t.Fatalf("packet %d: parsed as %+v", p.N, in)
		}
		var hi uint32
		if c.ESN {
			hi = d.window.High(in.Seq)
		}
		if hi != p.SeqHi {
			t.Fatalf("packet %d: sequence number %#x is inferred to have the high half %#x, not %#x", p.N, in.Seq, hi, p.SeqHi)
		}
		seq := uint64(hi)<<32 | uint64(in.Seq)
		if !d.window.Accept(seq) {
			t.Fatalf("packet %d: not accepted by the window", p.N)
		}
		got, err := open(d.tr, pkt, &in, hi, c.Mode)
		if err != nil {
			t.Fatalf("packet %d: %v", p.N, err)
		}
		if diff := cmp.Diff(inner, got); diff != "" {
			t.Fatalf("packet %d: inner packet (-want +got):\n%s", p.N, diff)
		}
		if diff := cmp.Diff(pkt, seal(t, d.tr, pkt, &in, seq, inner, c.Mode)); diff != "" {
			t.Fatalf("packet %d: sealed (-want +got):\n%s", p.N, diff)
		}
		if d.tr.Authenticated() {
			bad := bytes.Clone(pkt)
			bad[in.Off+p.N*7%(in.End-in.Off)] ^= 1 << (p.N % 8)
			if _, err := open(d.tr, bad, &in, hi, c.Mode); err == nil || d.tr.Suite().Proto == ipsec.ESP && err != ipsec.ErrICV {
				t.Fatalf("packet %d with a flipped bit: %v, want ErrICV", p.N, err)
			}
		}
	}
	if _, _, err := r.ReadPacketData(); !errors.Is(err, io.EOF) {
		t.Fatalf("more packets than described (%v)", err)
	}
}

// open does what a kernel does with an inbound packet, less the window.
func open(tr *ipsec.Transform, pkt []byte, in *ipsec.Inbound, hi uint32, mode string) ([]byte, error) {
	pkt = pkt[:in.End]
	var payload []byte
	var next uint8
	if in.Proto == ipsec.AH {
		if err := tr.VerifyAH(pkt, in.Off, hi); err != nil {
			return nil, err
		}
		ah := ipsec.ParseAH(pkt, in)
		payload, next = pkt[in.Off+ah.Len:], ah.Next
	} else {
		plain, err := tr.OpenESP(nil, in.ESP(pkt), hi)
		if err != nil {
			return nil, err
		}
		if !ipsec.CheckPadding(plain) || !ipsec.CheckLastPad(plain) {
			return nil, errors.New("bad padding")
		}
		_, next, _ = ipsec.Trailer(plain)
		payload = ipsec.Payload(plain)
	}
	if mode == "tunnel" {
		return ipsec.DecapTunnel(payload, next)
	}
	return ipsec.DecapTransport(nil, pkt, in, payload, next)
}

// seal protects inner as pkt was, with the same IV and the things that no rule gives: the identification of the outer header, and
// the bytes behind the ICV of AH.
func seal(t *testing.T, tr *ipsec.Transform, pkt []byte, in *ipsec.Inbound, seq uint64, inner []byte, mode string) []byte {
	t.Helper()
	s := ipsec.Sealing{SPI: in.SPI, Seq: seq}
	if in.Proto == ipsec.AH {
		s.Align = 8
	} else {
		s.IV = in.ESP(pkt)[8 : 8+tr.IVLen()]
	}
	ports := ipsec.Ports{Src: in.SrcPort, Dst: in.DstPort}
	var out []byte
	var err error
	if mode == "tunnel" {
		o := &ipsec.Outer{Src: in.Src, Dst: in.Dst, TOSRule: ipsec.TOSCopyECN, DF: ipsec.DFCopy, CopyFlow: true}
		if in.Src.Is4() {
			o.ID = binary.BigEndian.Uint16(pkt[4:])
		}
		out, err = tr.SealTunnel([]byte("before"), inner, o, ports, s)
	} else {
		out, err = tr.SealTransport([]byte("before"), inner, ports, s)
	}
	if err != nil {
		t.Fatal(err)
	}
	out, ok := bytes.CutPrefix(out, []byte("before"))
	if !ok {
		t.Fatal("what stood in dst was changed")
	}
	if in.Proto == ipsec.AH && len(out) == len(pkt) {
		from, to := in.Off+12+tr.ICVLen(), in.Off+ipsec.ParseAH(pkt, in).Len
		copy(out[from:to], pkt[from:to])
		if err := tr.SealAH(out, in.Off, uint32(seq>>32)); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
