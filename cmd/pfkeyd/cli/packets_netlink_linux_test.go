package cli

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pfkeyd/pfkeyd/internal/ip"
	"github.com/pfkeyd/pfkeyd/ipsec"
)

// netlinkSuite is a suite of package ipsec, and the words that ip-xfrm(8) has for it.
type netlinkSuite struct {
	ipsec.Suite
	words string
	// first is the sequence number before the first packet, the high half in front; the low one wraps in the middle if
	// it is high enough.
	first uint64
}

func (s *netlinkSuite) name() string {
	name := s.Suite.String()
	if s.first != 0 {
		name += fmt.Sprintf(" after %#x", s.first)
	}
	return name
}

// netlinkSuites are all that the real kernel has: by netlink it has AEADs, the ICV lengths of the RFCs and extended
// sequence numbers.
func netlinkSuites() (list []netlinkSuite) {
	esp := func(c *ipsec.Cipher, name string, key int, m *ipsec.MAC, mac string, icv int) netlinkSuite {
		s := netlinkSuite{Suite: ipsec.Suite{Proto: ipsec.ESP, Cipher: c, Key: ipsec.NewKey(keyBytes(key)),
			Salt: ipsec.NewKey(saltBytes(c.SaltLen)), ICV: icv}}
		secret := fmt.Sprintf("0x%x%x", keyBytes(key), saltBytes(c.SaltLen))
		switch {
		case c.AEAD():
			s.words = fmt.Sprintf("aead %s %s %d", name, secret, 8*icv)
			return s
		case c == ipsec.NULL:
			s.words = "enc ecb(cipher_null) \"\""
		default:
			s.words = fmt.Sprintf("enc %s %s", name, secret)
		}
		if m != nil {
			s.MAC, s.AuthKey = m, ipsec.NewKey(keyBytes(m.KeyLen))
			s.words += fmt.Sprintf(" auth-trunc %s 0x%x %d", mac, keyBytes(m.KeyLen), 8*icv)
		}
		return s
	}
	for _, a := range []struct {
		cipher *ipsec.Cipher
		name   string
		keys   []int
	}{
		{ipsec.AESGCM, "rfc4106(gcm(aes))", []int{16, 24, 32}},
		{ipsec.AESCCM, "rfc4309(ccm(aes))", []int{16, 24, 32}},
		{ipsec.AESGMAC, "rfc4543(gcm(aes))", []int{16, 24, 32}},
		{ipsec.ChaCha, "rfc7539esp(chacha20,poly1305)", []int{32}},
	} {
		for _, key := range a.keys {
			for _, icv := range a.cipher.ICVs {
				list = append(list, esp(a.cipher, a.name, key, nil, "", icv))
			}
		}
	}
	for _, c := range []struct {
		cipher *ipsec.Cipher
		name   string
		key    int
	}{
		{ipsec.NULL, "", 0}, {ipsec.DESCBC, "cbc(des)", 8}, {ipsec.TripleDES, "cbc(des3_ede)", 24},
		{ipsec.CAST128CBC, "cbc(cast5)", 16},
		{ipsec.BlowfishCBC, "cbc(blowfish)", 16}, {ipsec.AESCBC, "cbc(aes)", 16}, {ipsec.AESCBC, "cbc(aes)", 32},
		{ipsec.AESCTR, "rfc3686(ctr(aes))", 16},
		{ipsec.CamelliaCBC, "cbc(camellia)", 24}, {ipsec.SerpentCBC, "cbc(serpent)", 32},
		{ipsec.TwofishCBC, "cbc(twofish)", 32},
	} {
		list = append(list, esp(c.cipher, c.name, c.key, ipsec.HMACSHA256, "hmac(sha256)", 16))
	}
	for _, m := range []struct {
		mac  *ipsec.MAC
		name string
		icvs []int
	}{
		{ipsec.HMACMD5, "hmac(md5)", []int{12, 16}}, {ipsec.HMACSHA1, "hmac(sha1)", []int{12, 20}},
		{ipsec.HMACSHA256, "hmac(sha256)", []int{12, 16, 32}},
		{ipsec.HMACSHA384, "hmac(sha384)", []int{24}}, {ipsec.HMACSHA512, "hmac(sha512)", []int{32, 64}},
		{ipsec.HMACRIPEMD160, "hmac(rmd160)", []int{12, 20}},
		{ipsec.AESXCBC, "xcbc(aes)", []int{12, 16}}, {ipsec.AESCMAC, "cmac(aes)", []int{12, 16}},
	} {
		for _, icv := range m.icvs {
			list = append(list, esp(ipsec.AESCBC, "cbc(aes)", 24, m.mac, m.name, icv))
			if icv > 32 {
				continue // its AH takes no longer ICV
			}
			list = append(list, netlinkSuite{
				Suite: ipsec.Suite{Proto: ipsec.AH, MAC: m.mac, AuthKey: ipsec.NewKey(keyBytes(m.mac.KeyLen)),
					ICV: icv},
				words: fmt.Sprintf("auth-trunc %s 0x%x %d", m.name, keyBytes(m.mac.KeyLen), 8*icv),
			})
		}
	}
	// All of it once more near the end of 32 bits, and with extended sequence numbers, from the beginning and over a
	// wrap, which need an ICV.
	for _, s := range list[:len(list):len(list)] {
		s.first = 1<<32 - 1 - uint64(len(contents))
		list = append(list, s)
		s.ESN = true
		list = append(list, s)
		s.first = 0
		list = append(list, s)
		s.first = 5<<32 - 3
		list = append(list, s)
	}
	return list
}

func saltBytes(n int) []byte { return []byte{0x51, 0x52, 0x53, 0x54}[:n] }

// tapped is our end of the cable.
type tapped struct {
	tunDevice
	buf []byte
}

// next waits for the next packet of IPsec; what else the machine sends of its own does not count.
func (d *tapped) next() ([]byte, ipsec.Inbound, error) {
	d.SetReadDeadline(time.Now().Add(wireTime))
	for {
		n, err := d.Read(d.buf)
		if err != nil {
			return nil, ipsec.Inbound{}, fmt.Errorf("the kernel sent nothing: %w; %s", err, troubles())
		}
		if in, err := ipsec.ParseInbound(d.buf[:n]); err == nil {
			return d.buf[:n:n], in, nil
		}
	}
}

// TestPacketsByNetlink is our end itself: what the kernel seals is opened, and sealed again to the same bytes; what is
// sealed here the kernel must open.
func TestPacketsByNetlink(t *testing.T) {
	asked(t)
	tun, err := openTUN("wire1")
	if err != nil {
		t.Fatal(err)
	}
	defer tun.Close()
	device := &tapped{tunDevice: tun, buf: make([]byte, 1<<16)}
	cable(t, "wire1")
	them := newTalker(t)
	var n tally
	suites := netlinkSuites()
	n.suites = len(suites)
	for i := range suites {
		s := &suites[i]
		for j, w := range ways {
			if w.udp && s.Proto == ipsec.AH {
				continue
			}
			if s.first != 0 && (i+j)%3 != 0 {
				continue // sequence numbers are the same in all ways: a third of them will do
			}
			count, err := s.exchange(t, device, them, w)
			n.add(t, s.name(), w, count, err)
		}
	}
	n.print(t, "package ipsec and kernel by netlink")
}

// state is the words that make an SA.
func (s *netlinkSuite) state(w way, src, dst netip.Addr, spi int) string {
	mode, flags := "transport", ""
	if w.tunnel {
		mode = "tunnel"
	}
	if w.inner6 != w.outer6 {
		flags += " flag af-unspec"
	}
	if s.ESN {
		flags += " flag esn"
	}
	words := fmt.Sprintf("xfrm state add src %v dst %v proto %v spi %#x mode %s replay-window 32%s %s", src, dst,
		s.Proto, spi, mode, flags, s.words)
	if s.first != 0 {
		lo, hi := uint32(s.first), uint32(s.first>>32)
		words += fmt.Sprintf(" replay-seq %#x replay-oseq %#x", lo, lo)
		if s.ESN {
			words += fmt.Sprintf(" replay-seq-hi %#x replay-oseq-hi %#x", hi, hi)
		}
	}
	if w.udp {
		words += " encap espinudp 4500 4500 0.0.0.0"
	}
	return words
}

func (s *netlinkSuite) exchange(t *testing.T, device *tapped, them *talker, w way) (count int, err error) {
	ours, theirs := w.ends()
	template := fmt.Sprintf("tmpl proto %v mode transport", s.Proto)
	templateBack := template
	if w.tunnel {
		template = fmt.Sprintf("tmpl src %v dst %v proto %v mode tunnel", theirsOuter[w.outer6], oursOuter[w.outer6],
			s.Proto)
		templateBack = fmt.Sprintf("tmpl src %v dst %v proto %v mode tunnel", oursOuter[w.outer6],
			theirsOuter[w.outer6], s.Proto)
	}
	iproute(t, "xfrm state flush", "xfrm policy flush",
		s.state(w, oursOuter[w.outer6], theirsOuter[w.outer6], spiToThem), s.state(w, theirsOuter[w.outer6],
			oursOuter[w.outer6], spiToUs),
		fmt.Sprintf("xfrm policy add src %v dst %v proto udp sport %d dport %d dir out %s", theirs, ours, theirsPort,
			oursPort, template),
		fmt.Sprintf("xfrm policy add src %v dst %v proto udp sport %d dport %d dir in %s", ours, theirs, oursPort,
			theirsPort, templateBack))
	tr, err := s.New()
	if err != nil {
		return 0, err
	}
	window := ipsec.NewWindow(32)
	window.SetTop(s.first)
	seq := s.first
	for i, content := range contents {
		if w.udp && w.outer6 && len(content) < 20 {
			continue // see the other exchange
		}
		seq++
		// The class of traffic, with each of the values of ECN, and whether fragments may be made.
		tos, df := uint8(i)|uint8(i)<<3, i%2 == 0
		if err := them.marks(theirs, tos, df); err != nil {
			return 0, err
		}
		if err := them.says(theirs, ours, content); err != nil {
			return 0, fmt.Errorf("packet %d from the kernel: %w; %s", i, err, troubles())
		}
		pkt, in, err := device.next()
		if err != nil {
			return 0, err
		}
		hi := uint32(0)
		if s.ESN {
			hi = window.High(in.Seq)
		}
		if got := uint64(hi)<<32 | uint64(in.Seq); in.SPI != spiToUs || got != seq || !window.Accept(got) {
			return 0, fmt.Errorf("packet %d from the kernel: SPI %#x, sequence number %#x, want %#x", i, in.SPI, got,
				seq)
		}
		inner, err := opened(tr, pkt, &in, hi, w.tunnel)
		if err != nil {
			return 0, fmt.Errorf("packet %d from the kernel: %w", i, err)
		}
		want := udpPacket(netip.AddrPortFrom(theirs, theirsPort), netip.AddrPortFrom(ours, oursPort), content)
		if got, want := upper(inner), upper(want); !bytes.Equal(got, want) || ip.TOS(inner) != tos {
			return 0, fmt.Errorf("packet %d from the kernel: opened to %x of class %#x, want %x of %#x", i, got,
				ip.TOS(inner), want, tos)
		}
		if again, err := sealedAgain(tr, pkt, &in, seq, inner, w.tunnel); err != nil || !bytes.Equal(again, pkt) {
			return 0, fmt.Errorf("packet %d: sealed again it is\n%x, the kernel made\n%x, error %v", i, again, pkt, err)
		}

		plain := udpPacket(netip.AddrPortFrom(ours, oursPort), netip.AddrPortFrom(theirs, theirsPort), content)
		ip.SetTOS(plain, tos)
		sealed, err := sealedByUs(tr, plain, w, seq)
		if err != nil {
			return 0, fmt.Errorf("packet %d: %w", i, err)
		}
		if _, err := device.Write(sealed); err != nil {
			return 0, err
		}
		if err := them.hears(theirs, ours, content); err != nil {
			return 0, fmt.Errorf("packet %d, %x: %w", i, sealed, err)
		}
		count++
	}
	if s.first>>32 == 0 && s.first > 1<<31 && !s.ESN && count == len(contents) {
		return count, s.overflows(device, them, theirs, ours, seq)
	}
	return count, nil
}

// overflows looks whether the kernel sends one more packet and then none.
func (s *netlinkSuite) overflows(device *tapped, them *talker, from, to netip.Addr, seq uint64) error {
	for seq < 1<<32-1 {
		seq++
		if err := them.says(from, to, nil); err != nil {
			return fmt.Errorf("sequence number %#x: %w", seq, err)
		}
		if _, in, err := device.next(); err != nil || uint64(in.Seq) != seq {
			return fmt.Errorf("sequence number %#x instead of %#x, %v", in.Seq, seq, err)
		}
	}
	if err := them.says(from, to, nil); !errors.Is(err, unix.EOVERFLOW) {
		return fmt.Errorf("after the last sequence number: %v, want EOVERFLOW", err)
	}
	return nil
}

// opened is what undoes the sealing in a mode.
func opened(tr *ipsec.Transform, pkt []byte, in *ipsec.Inbound, seqHi uint32, tunnel bool) ([]byte, error) {
	if tunnel {
		return tr.OpenTunnel(pkt, in, seqHi)
	}
	return tr.OpenTransport(pkt, in, seqHi)
}

// sealedAgain protects inner as pkt was, with what no rule gives: the IV, the identification of the outer header, and
// the bytes behind the ICV of AH.
func sealedAgain(tr *ipsec.Transform, pkt []byte, in *ipsec.Inbound, seq uint64, inner []byte, tunnel bool) (out []byte,
	err error) {
	const espHeader, ahHeader = 8, 12
	s := ipsec.Sealing{SPI: in.SPI, Seq: seq}
	if in.Proto == ipsec.AH {
		s.Align = 8
	} else {
		s.IV = in.ESP(pkt)[espHeader : espHeader+tr.IVLen()]
	}
	ports := ipsec.Ports{Src: in.SrcPort, Dst: in.DstPort}
	if tunnel {
		o := &ipsec.Outer{Src: in.Src, Dst: in.Dst, TOSRule: ipsec.TOSCopyECN, DF: ipsec.DFCopy, CopyFlow: true}
		if in.Src.Is4() {
			o.ID = binary.BigEndian.Uint16(pkt[4:])
		}
		out, err = tr.SealTunnel(nil, inner, o, ports, s)
	} else {
		out, err = tr.SealTransport(nil, inner, ports, s)
	}
	if err == nil && in.Proto == ipsec.AH && len(out) == len(pkt) {
		from, to := in.Off+ahHeader+tr.ICVLen(), in.Off+ipsec.ParseAH(pkt, in).Len
		copy(out[from:to], pkt[from:to])
		err = tr.SealAH(out, in.Off, uint32(seq>>32))
	}
	return out, err
}

func sealedByUs(tr *ipsec.Transform, plain []byte, w way, seq uint64) ([]byte, error) {
	s := ipsec.Sealing{SPI: spiToThem, Seq: seq}
	var ports ipsec.Ports
	if w.udp {
		ports = ipsec.Ports{Src: ipsec.NATTPort, Dst: ipsec.NATTPort}
	}
	if tr.Suite().Proto == ipsec.AH {
		s.Align = 8
	} else {
		var err error
		if s.IV, err = tr.AppendIV(nil, seq, bytes.NewReader(keyBytes(16))); err != nil {
			return nil, err
		}
	}
	if w.tunnel {
		o := &ipsec.Outer{Src: oursOuter[w.outer6], Dst: theirsOuter[w.outer6], TOSRule: ipsec.TOSCopyECN,
			DF: ipsec.DFCopy, CopyFlow: true}
		return tr.SealTunnel(nil, plain, o, ports, s)
	}
	return tr.SealTransport(nil, plain, ports, s)
}

// marks sets the class of what is sent from here on, and whether it may be fragmented.
func (l *talker) marks(at netip.Addr, tos uint8, df bool) error {
	level, class, discover := unix.IPPROTO_IP, unix.IP_TOS, unix.IP_MTU_DISCOVER
	if at.Is6() {
		level, class, discover = unix.IPPROTO_IPV6, unix.IPV6_TCLASS, unix.IPV6_MTU_DISCOVER
	}
	how := unix.IP_PMTUDISC_DONT
	if df {
		how = unix.IP_PMTUDISC_DO
	}
	return l.control(at, func(fd int) error {
		return errors.Join(unix.SetsockoptInt(fd, level, class, int(tos)), unix.SetsockoptInt(fd, level, discover, how))
	})
}

func (l *talker) control(at netip.Addr, f func(fd int) error) error {
	raw, err := l.socks[at].SyscallConn()
	if err != nil {
		return err
	}
	var inside error
	return errors.Join(raw.Control(func(fd uintptr) { inside = f(int(fd)) }), inside)
}

// TestPacketsWithOptions sends IP options and extension headers through AH and ESP, both ways. The kernel takes the
// first extension header for the ports when it looks for the policy of what has come in, and so do we: ports are what
// it then finds, for this must be what the policy has.
func TestPacketsWithOptions(t *testing.T) {
	asked(t)
	ctx := t.Context()
	r := newRig(t, "linux")
	r.theirs = dialed(t, "af_key:")
	var n tally
	for _, o := range []struct {
		name   string
		option int    // of the socket
		value  string // in hexadecimal
		ports  *[2]uint16
	}{
		{"nothing", 0, "", nil},
		{"no operation", unix.IP_OPTIONS, "01010101", nil},
		{"router alert", unix.IP_OPTIONS, "94040000", nil},
		{"record route", unix.IP_OPTIONS, "010707040000000000000000", nil},
		{"time stamps", unix.IP_OPTIONS, "44080500 00000000", nil},
		{"stream, security", unix.IP_OPTIONS, "88040001 820b0000000000000000000100", nil},
		{"hop by hop", unix.IPV6_HOPOPTS, "0000 0502 0000 0100", &[2]uint16{0x1100, 0x0502}},
		{"hop by hop, changing on the way", unix.IPV6_HOPOPTS, "0000 3e04 01020304", &[2]uint16{0x1100, 0x3e04}},
		{"destination options", unix.IPV6_DSTOPTS, "0000 1e04 01020304", &[2]uint16{0x1100, 0x1e04}},
		{"destination options, changing on the way", unix.IPV6_DSTOPTS, "0000 3e04 01020304",
			&[2]uint16{0x1100, 0x3e04}},
	} {
		value, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(o.value), []byte(" "), nil)))
		if err != nil {
			t.Fatal(err)
		}
		six := o.option == unix.IPV6_HOPOPTS || o.option == unix.IPV6_DSTOPTS
		for _, w := range []way{{inner6: six, outer6: six}, {tunnel: true, inner6: six, outer6: six}} {
			for _, s := range []pfkeySuite{
				{name: "ah", auth: 3, authKey: keyBytes(20)},
				{name: "esp", auth: 3, authKey: keyBytes(20), encrypt: 12, encrKey: keyBytes(16)},
			} {
				proto := uint8(ipsec.ESP)
				if s.ah() {
					proto = uint8(ipsec.AH)
				}
				r.portsIn = o.ports
				if err := errors.Join(r.setPolicies(ctx, w, proto), r.makeSAs(ctx, &s, w)); err != nil {
					t.Fatal(err)
				}
				ours, theirs := w.ends()
				set := func(v []byte) error {
					if o.option == 0 {
						return nil
					}
					level := unix.IPPROTO_IP
					if six {
						level = unix.IPPROTO_IPV6
					}
					return r.them.control(theirs, func(fd int) error {
						return os.NewSyscallError("setsockopt", unix.SetsockoptString(fd, level, o.option, string(v)))
					})
				}
				err := set(value)
				var inner []byte
				if err == nil {
					inner, err = r.toUs(ctx, theirs, ours, contents[2])
				}
				err = errors.Join(err, set(nil))
				if err == nil && !bytes.HasSuffix(inner, contents[2]) {
					err = fmt.Errorf("opened to %x", inner)
				}
				if err == nil {
					// The same packet back, with the addresses and ports the other way round, which leaves the
					// checksums as they are.
					err = r.toThem(ctx, turnedRound(inner), ours, theirs, contents[2])
				}
				n.add(t, s.name+" with "+o.name, w, 1, err)
			}
		}
		n.suites++
	}
	n.print(t, "IP options and extension headers")
}

// turnedRound is a packet back to where it came from.
func turnedRound(pkt []byte) []byte {
	pkt = bytes.Clone(pkt)
	src, dst, udp := pkt[12:16], pkt[16:20], int(pkt[0]&15)*4
	if pkt[0]>>4 == 6 {
		src, dst, udp = pkt[8:24], pkt[24:40], len(pkt)-8-len(contents[2])
	}
	swap := func(a, b []byte) {
		for i := range a {
			a[i], b[i] = b[i], a[i]
		}
	}
	swap(src, dst)
	swap(pkt[udp:udp+2], pkt[udp+2:udp+4])
	return pkt
}
