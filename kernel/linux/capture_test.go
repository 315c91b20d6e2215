package linux_test

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pfkeyd/pfkeyd/internal/engine"
	"github.com/pfkeyd/pfkeyd/internal/kernels"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/kernel/linux"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/pfkey"
	"github.com/pfkeyd/pfkeyd/wire"
)

const captures = "../../testdata/pcaps/esp-linux-6.1"

// capture describes packets that a real kernel protected; its README tells the fields.
type capture struct {
	Pcap        string
	Proto, Mode string
	ESN         bool
	UDPPort     uint16 `json:"udp_port"`
	SAs         []struct {
		Dir, SPI  string
		Src, Dst  netip.Addr
		Enc, Auth *struct {
			Name, Key, Salt string
			ICVBits         int `json:"icv_bits"`
		}
		AEAD      *struct{}
		SeqBefore uint32 `json:"seq_before_first_packet"`
	}
	Packets []struct {
		N          int
		Dir, Inner string
		Source     string `json:"inner_source"`
	}
}

var (
	authNumbers = map[string]wire.AlgID{"hmac(md5)": wire.AuthMD5HMAC, "hmac(sha1)": wire.AuthSHA1HMAC,
		"hmac(sha256)": wire.AuthSHA256HMAC,
		"hmac(sha384)": wire.AuthSHA384HMAC, "hmac(sha512)": wire.AuthSHA512HMAC,
		"hmac(rmd160)": wire.AuthRIPEMD160HMAC,
		"xcbc(aes)":    wire.AuthAESXCBCMAC}
	icvBits = map[string]int{"hmac(sha384)": 192, "hmac(sha512)": 256}

	encryptNumbers = map[string]wire.AlgID{"ecb(cipher_null)": wire.EncNull, "cbc(des)": wire.EncDESCBC,
		"cbc(des3_ede)": wire.Enc3DESCBC,
		"cbc(cast5)":    wire.EncCAST128CBC, "cbc(blowfish)": wire.EncBlowfishCBC,
		"cbc(aes)":          wire.EncAESCBC,
		"rfc3686(ctr(aes))": wire.EncAESCTR, "cbc(camellia)": wire.EncCamelliaCBC,
		"cbc(serpent)": wire.EncSerpentCBC,
		"cbc(twofish)": wire.EncTwofishCBC}
)

// message is the ADD of an SA; false if PF_KEY cannot make it.
func (c *capture) message(d *wire.Dialect, i int) ([]byte, bool) {
	sa := &c.SAs[i]
	spi, err := strconv.ParseUint(sa.SPI, 0, 32)
	if err != nil || c.ESN || sa.AEAD != nil || sa.SeqBefore != 0 {
		return nil, false
	}
	h := wire.Header{Version: 2, Type: wire.MsgAdd, SAType: wire.SATypeESP}
	if c.Proto == "ah" {
		h.SAType = wire.SATypeAH
	}
	v := wire.SA{SPI: wire.SPI(spi), Replay: 32}
	var keys []byte
	add := func(t wire.ExtType, text string) {
		key, _ := hex.DecodeString(text)
		keys = d.AppendKey(keys, t, pfkey.NewKey(key))
	}
	if a := sa.Auth; a != nil {
		want := icvBits[a.Name]
		if want == 0 {
			want = 96
		}
		if v.Auth = authNumbers[a.Name]; v.Auth == 0 || a.ICVBits != want {
			return nil, false
		}
		add(wire.ExtKeyAuth, a.Key)
	}
	if e := sa.Enc; e != nil {
		if v.Encrypt = encryptNumbers[e.Name]; v.Encrypt == 0 {
			return nil, false
		}
		add(wire.ExtKeyEncrypt, e.Key+e.Salt)
	}
	b := d.AppendSA(d.AppendHeader(nil, h), v)
	b = d.AppendAddress(d.AppendAddress(b, wire.ExtAddressSrc, pfkey.Host(sa.Src)), wire.ExtAddressDst,
		pfkey.Host(sa.Dst))
	b = append(b, keys...)
	if c.Mode == "tunnel" {
		b = d.AppendSA2(b, wire.SA2{Mode: wire.ModeTunnel})
		// The selector has the family of what is inside.
		inner, _ := hex.DecodeString(c.Packets[0].Inner)
		any := netip.IPv4Unspecified()
		if inner[0]>>4 == 6 {
			any = netip.IPv6Unspecified()
		}
		b = d.AppendAddress(b, wire.ExtAddressProxy, wire.Address{Addr: any})
	}
	if c.UDPPort != 0 {
		b = d.AppendNATTType(b, wire.NATTType{Type: wire.KAMENATTESP})
		for _, t := range []wire.ExtType{wire.KAMEExtXNATTSPort, wire.KAMEExtXNATTDPort} {
			b = d.AppendNATTPort(b, t, wire.NATTPort{Port: c.UDPPort})
		}
	}
	return d.Finish(b), true
}

// TestCaptures plays what a real kernel put on the wire: the receiver gets out what had been protected, and the sender
// makes packets of it with the same headers.
func TestCaptures(t *testing.T) {
	names, err := filepath.Glob(captures + "/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("no captures: %v", err)
	}
	played := 0
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var c capture
		if err := json.Unmarshal(text, &c); err != nil {
			t.Fatal(err)
		}
		if _, ok := c.message(wire.Linux(), 0); !ok {
			continue
		}
		played++
		t.Run(strings.TrimSuffix(filepath.Base(name), ".json"), func(t *testing.T) { c.play(t) })
	}
	if played < 50 {
		t.Errorf("only %d of %d captures could be played", played, len(names))
	}
}

func (c *capture) play(t *testing.T) {
	file, err := os.Open(filepath.Join(captures, c.Pcap))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r, err := pcapgo.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string]*host{} // the sender, by direction
	for i := range c.SAs {
		e, err := kernels.New("linux", engine.Options{Addrs: []netip.Addr{c.SAs[i].Src}})
		if err != nil {
			t.Fatal(err)
		}
		h := &host{t: t, e: e, k: e.Kernel().(*linux.Kernel)}
		h.s = h.open()
		hosts[c.SAs[i].Dir] = h
	}
	other := map[string]string{"ab": "ba", "ba": "ab"}
	for i := range c.SAs {
		sender := hosts[c.SAs[i].Dir]
		for _, h := range hosts {
			m, ok := c.message(h.d(), i)
			if !ok {
				t.Fatal("one SA can be made by PF_KEY, the other cannot")
			}
			h.must(m)
			h.must(c.policy(h, i, h == sender))
		}
	}
	for _, p := range c.Packets {
		pkt, _, err := r.ReadPacketData()
		if err != nil {
			t.Fatal(err)
		}
		inner, _ := hex.DecodeString(p.Inner)
		if got := hosts[other[p.Dir]].inbound(pkt); got.Kind != packet.Delivered {
			t.Errorf("packet %d: %v %q", p.N, got.Kind, got.Counter)
		} else if diff := cmp.Diff(inner, got.Inner); inner != nil && diff != "" {
			t.Errorf("packet %d: inner (-want +got):\n%s", p.N, diff)
		}
		if inner == nil {
			continue
		}
		got := hosts[p.Dir].outbound(inner)
		if got.Kind != packet.Transmitted || len(got.Inner) != len(pkt) {
			t.Errorf("packet %d: %v %q, %d bytes, want %d", p.N, got.Kind, got.Counter, len(got.Inner), len(pkt))
			continue
		}
		if diff := cmp.Diff(clearHeaders(pkt), clearHeaders(got.Inner)); diff != "" {
			t.Errorf("packet %d: on the wire (-want +got):\n%s", p.N, diff)
		}
	}
}

// clearHeaders is the headers of a protected packet up to the sequence number, without what no rule gives: the
// identification of an IPv4 header, and the checksums that it enters.
func clearHeaders(pkt []byte) []byte {
	in, err := ipsec.ParseInbound(pkt)
	if err != nil {
		return pkt
	}
	end := in.Off + 8
	if in.Proto == ipsec.AH {
		end = in.Off + 12
	}
	b := append([]byte(nil), pkt[:end]...)
	if b[0]>>4 == 4 {
		clear(b[4:6])
		clear(b[10:12])
	}
	if in.UDPOff != 0 {
		binary.BigEndian.PutUint16(b[in.UDPOff+6:], 0)
	}
	return b
}

// policy lets everything through an SA, in its direction.
func (c *capture) policy(h *host, i int, out bool) []byte {
	d, sa := h.d(), &c.SAs[i]
	q := wire.IPsecRequest{Proto: protoESP, Mode: wire.ModeTransport, Level: wire.KAMELevelRequire}
	if c.Proto == "ah" {
		q.Proto = protoAH
	}
	inner, _ := hex.DecodeString(c.Packets[0].Inner)
	any := netip.IPv4Unspecified()
	if inner[0]>>4 == 6 {
		any = netip.IPv6Unspecified()
	}
	v := wire.Policy{Type: wire.KAMEPolicyIPsec, Direction: wire.LinuxDirForward}
	if c.Mode == "tunnel" {
		q.Mode = wire.ModeTunnel
		q.Src, q.Dst = wire.Sockaddr{Addr: sa.Src}, wire.Sockaddr{Addr: sa.Dst}
	} else {
		v.Direction = wire.KAMEDirIn
	}
	if out {
		v.Direction = wire.KAMEDirOut
	}
	v.Requests = []wire.IPsecRequest{q}
	b := d.AppendPolicy(d.AppendHeader(nil, wire.Header{Version: 2, Type: wire.KAMEMsgXSPDUpdate}), v)
	for _, t := range []wire.ExtType{wire.ExtAddressSrc, wire.ExtAddressDst} {
		b = d.AppendAddress(b, t, wire.Address{Proto: 255, Addr: any})
	}
	return d.Finish(b)
}
