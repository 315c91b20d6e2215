package cli_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/pfkeyd/pfkeyd/cmd/internal/packetline"
	"github.com/pfkeyd/pfkeyd/ipsec"
	"github.com/pfkeyd/pfkeyd/packet"
)

const someKey = "c0ffee00112233445566778899aabbccddeeff0123456789abcdef0123456789abcdeffedcba98765432100123456789abcdeffedcba98765432101122334455667788"

// key returns n bytes in hexadecimal.
func key(n int) string { return someKey[:2*n] }

func dry(t *testing.T, args ...string) [][]byte {
	t.Helper()
	r := run(t, append([]string{"send", "--dry-run", "--src", "192.0.2.2", "--dst", "192.0.2.1"}, args...)...)
	r.check(t, 0, "")
	var packets [][]byte
	for l := range strings.Lines(r.out) {
		packets = append(packets, mustHex(strings.TrimSpace(l)))
	}
	if len(packets) == 0 {
		t.Fatal("no packet")
	}
	return packets
}

// open undoes what send did.
func open(t *testing.T, s ipsec.Suite, p []byte, seqHi uint32) (plain []byte, in ipsec.Inbound, err error) {
	t.Helper()
	tr, err := s.New()
	if err != nil {
		t.Fatal(err)
	}
	in, err = ipsec.ParseInbound(p)
	if err != nil {
		return nil, in, err
	}
	if s.Proto == ipsec.AH {
		return nil, in, tr.VerifyAH(p, in.Off, seqHi)
	}
	plain, err = tr.OpenESP(nil, in.ESP(p), seqHi)
	return plain, in, err
}

// What send writes into a capture is what it would have sent.
func TestSendWrite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sent.pcap")
	args := []string{"--src", "2001:db8::2", "--dst", "2001:db8::1", "--spi", "0x1000", "--auth", "hmac-sha1",
		"--auth-key", key(20), "--count", "3"}
	run(t, append([]string{"send", "--write", file}, args...)...).check(t, 0, "")
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if r.LinkType() != layers.LinkTypeRaw {
		t.Errorf("link type %v", r.LinkType())
	}
	var got [][]byte
	for {
		b, info, err := r.ReadPacketData()
		if err == io.EOF {
			break
		}
		if err != nil || info.Length != len(b) {
			t.Fatal(err, info)
		}
		got = append(got, b)
	}
	if diff := cmp.Diff(dry(t, args...), got); diff != "" { // without a cipher nothing is random
		t.Errorf("(-dry run +capture)\n%s", diff)
	}

	std := run(t, append([]string{"send", "--write", "-"}, args...)...)
	std.check(t, 0, "")
	if !strings.HasPrefix(std.out, "\x4d\x3c\xb2\xa1") && !strings.HasPrefix(std.out, "\xa1\xb2\x3c\x4d") {
		t.Errorf("standard output begins with %x", std.out[:min(4, len(std.out))])
	}
	run(t, append([]string{"send", "--write", t.TempDir()}, args...)...).check(t, 1, "is a directory")
	run(t, append([]string{"send", "--dry-run", "--write", file}, args...)...).check(t, 2, "[dry-run write]")
}

// Every algorithm in the tables can be named and what comes out can be opened again.
func TestSendAlgorithms(t *testing.T) {
	for _, c := range ipsec.Ciphers() {
		t.Run(c.Name, func(t *testing.T) {
			s := ipsec.Suite{Proto: ipsec.ESP, Cipher: c, Key: ipsec.NewKey(mustHex(key(c.MaxKey))),
				Salt: ipsec.NewKey(mustHex(key(c.MaxKey + c.SaltLen)[2*c.MaxKey:]))}
			args := []string{"--spi", "0x1000", "--enc", c.Name, "--enc-key", key(c.MaxKey + c.SaltLen)}
			if !c.AEAD() {
				s.MAC, s.AuthKey = ipsec.HMACSHA1, ipsec.NewKey(mustHex(key(20)))
				args = append(args, "--auth", "hmac-sha1", "--auth-key", key(20))
			}
			p := dry(t, args...)[0]
			plain, in, err := open(t, s, p, 0)
			if err != nil || in.SPI != 0x1000 || in.Seq != 1 {
				t.Fatalf("%+v, %v", in, err)
			}
			back, err := ipsec.DecapTransport(nil, p, &in, ipsec.Payload(plain), 17)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, packetline.Of(back), "192.0.2.2 > 192.0.2.1 udp 40000 > 9, 11 bytes")
			if !bytes.HasSuffix(back, []byte("ipsecinject")) {
				t.Errorf("data %q", back)
			}
		})
	}
	for _, m := range ipsec.MACs() {
		t.Run("ah "+m.Name, func(t *testing.T) {
			s := ipsec.Suite{Proto: ipsec.AH, MAC: m, AuthKey: ipsec.NewKey(mustHex(key(m.KeyLen)))}
			args := []string{"--spi", "1", "--proto", "ah", "--auth", m.Name, "--auth-key", key(m.KeyLen)}
			if _, in, err := open(t, s, dry(t, args...)[0], 0); err != nil {
				t.Errorf("%+v: %v", in, err)
			}
			if _, _, err := open(t, s, dry(t, append(args, "--bad-icv")...)[0], 0); err != ipsec.ErrICV {
				t.Errorf("--bad-icv: %v", err)
			}
		})
	}
}

func TestSendShapes(t *testing.T) {
	base := []string{"--spi", "0x1000"}
	tests := []struct {
		args string
		want []string
	}{
		{"", []string{"192.0.2.2 > 192.0.2.1 esp spi 0x1000 seq 1, 24 bytes"}},
		{"--seq 7 --count 3", []string{
			"192.0.2.2 > 192.0.2.1 esp spi 0x1000 seq 7, 24 bytes",
			"192.0.2.2 > 192.0.2.1 esp spi 0x1000 seq 8, 24 bytes",
			"192.0.2.2 > 192.0.2.1 esp spi 0x1000 seq 9, 24 bytes",
		}},
		{"--repeat 1", []string{"192.0.2.2 > 192.0.2.1 esp spi 0x1000 seq 1, 24 bytes",
			"192.0.2.2 > 192.0.2.1 esp spi 0x1000 seq 1, 24 bytes"}},
		{"--encap", []string{"192.0.2.2 > 192.0.2.1 udp 4500 > 4500 esp spi 0x1000 seq 1, 24 bytes"}},
		{"--encap 1024:4500", []string{"192.0.2.2 > 192.0.2.1 udp 1024 > 4500 esp spi 0x1000 seq 1, 24 bytes"}},
		{"--encap 1:4500 --short 9", []string{"192.0.2.2 > 192.0.2.1 udp 1 > 4500 esp spi 0x1000 seq 1, 1 bytes"}},
		{"--encap=1024:4500", []string{"192.0.2.2 > 192.0.2.1 udp 1024 > 4500 esp spi 0x1000 seq 1, 24 bytes"}},
		{"--short 10", []string{"192.0.2.2 > 192.0.2.1 esp spi 0x1000 seq 1, 2 bytes"}},
		{"--short 3", []string{"192.0.2.2 > 192.0.2.1 esp, 3 bytes"}},
		{"--short 12 --encap", []string{"192.0.2.2 > 192.0.2.1 udp 4500 > 4500 esp spi 0x1000 seq 1, 4 bytes"}},
		{"--src 2001:db8::2 --dst 2001:db8::1", []string{"2001:db8::2 > 2001:db8::1 esp spi 0x1000 seq 1, 24 bytes"}},
		{"--src 2001:db8::2 --dst 2001:db8::1 --encap --short 12",
			[]string{"2001:db8::2 > 2001:db8::1 udp 4500 > 4500 esp spi 0x1000 seq 1, 4 bytes"}},
		{"--mode tunnel", []string{"192.0.2.2 > 192.0.2.1 esp spi 0x1000 seq 1, 44 bytes"}},
		{"--proto ah --auth hmac-md5 --auth-key " + key(16),
			[]string{"192.0.2.2 > 192.0.2.1 ah spi 0x1000 seq 1 udp 40000 > 9, 11 bytes"}},
		{"--proto ah --mode tunnel --inner-src 10.0.0.1 --inner-dst 10.0.0.2 --auth hmac-md5 --auth-key " + key(16),
			[]string{"192.0.2.2 > 192.0.2.1 ah spi 0x1000 seq 1 ipv4 10.0.0.1 > 10.0.0.2 udp 40000 > 9, 11 bytes"}},
		{"--outbound --ports 500:501 --data x", []string{"192.0.2.2 > 192.0.2.1 udp 500 > 501, 1 bytes"}},
		{"--outbound --inner " + hex.EncodeToString(inner), []string{"192.0.2.2 > 192.0.2.1 udp 40000 > 9, 4 bytes"}},
		{"--proto ah --auth hmac-md5 --auth-key " + key(16) + " --inner " + hex.EncodeToString(inner),
			[]string{"192.0.2.2 > 192.0.2.1 ah spi 0x1000 seq 1 udp 40000 > 9, 4 bytes"}},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			var got []string
			for _, p := range dry(t, append(base, strings.Fields(tt.args)...)...) {
				got = append(got, packetline.Of(p))
				checksums(t, p)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("packets (-want +got):\n%s", diff)
			}
		})
	}
}

// checksums adds up the IPv4 header and, where it has one, the UDP datagram: both must give ones.
func checksums(t *testing.T, p []byte) {
	t.Helper()
	sum := func(parts ...[]byte) (s uint32) {
		for _, b := range parts {
			for i, v := range b {
				if i%2 == 0 {
					s += uint32(v) << 8
				} else {
					s += uint32(v)
				}
			}
		}
		for s>>16 != 0 {
			s = s&0xffff + s>>16
		}
		return s
	}
	proto, udp, addrs := p[6], p[min(40, len(p)):], p[8:min(40, len(p))]
	if p[0]>>4 == 4 {
		if s := sum(p[:20]); s != 0xffff {
			t.Errorf("IP header sums up to %#x", s)
		}
		if int(p[2])<<8|int(p[3]) != len(p) {
			t.Errorf("total length %d of %d bytes", int(p[2])<<8|int(p[3]), len(p))
		}
		proto, udp, addrs = p[9], p[20:], p[12:20]
	} else if int(p[4])<<8|int(p[5]) != len(p)-40 {
		t.Errorf("payload length %d of %d bytes", int(p[4])<<8|int(p[5]), len(p)-40)
	}
	if proto != 17 {
		return
	}
	if n := int(udp[4])<<8 | int(udp[5]); n != len(udp) {
		t.Errorf("UDP length %d of %d bytes", n, len(udp))
	}
	if udp[6] == 0 && udp[7] == 0 && p[0]>>4 == 4 {
		return // none
	}
	if s := sum(addrs, []byte{0, 17, byte(len(udp) >> 8), byte(len(udp))}, udp); s != 0xffff {
		t.Errorf("UDP datagram sums up to %#x", s)
	}
}

func TestSendSpoiled(t *testing.T) {
	suites := []struct {
		args string
		s    ipsec.Suite
	}{
		{"--enc null --auth hmac-sha256 --auth-key " + key(32), ipsec.Suite{Cipher: ipsec.NULL, MAC: ipsec.HMACSHA256,
			AuthKey: ipsec.NewKey(mustHex(key(32)))}},
		{"--enc aes-cbc --enc-key " + key(16) + " --auth hmac-sha1 --auth-key " + key(20),
			ipsec.Suite{Cipher: ipsec.AESCBC, Key: ipsec.NewKey(mustHex(key(16))), MAC: ipsec.HMACSHA1,
				AuthKey: ipsec.NewKey(mustHex(key(20)))}},
		{"--enc des-cbc --enc-key " + key(8) + " --auth hmac-md5 --auth-key " + key(16),
			ipsec.Suite{Cipher: ipsec.DESCBC, Key: ipsec.NewKey(mustHex(key(8))), MAC: ipsec.HMACMD5,
				AuthKey: ipsec.NewKey(mustHex(key(16)))}},
		{"--enc 3des-cbc --enc-key " + key(24) + " --auth hmac-sha512 --auth-key " + key(58),
			ipsec.Suite{Cipher: ipsec.TripleDES, Key: ipsec.NewKey(mustHex(key(24))), MAC: ipsec.HMACSHA512,
				AuthKey: ipsec.NewKey(mustHex(key(58)))}},
		{"--enc aes-gcm --enc-key " + key(36),
			ipsec.Suite{Cipher: ipsec.AESGCM, Key: ipsec.NewKey(mustHex(key(32))),
				Salt: ipsec.NewKey(mustHex(key(36)[64:]))}},
	}
	for _, su := range suites {
		su.s.Proto = ipsec.ESP
		for _, esn := range []bool{false, true} {
			su.s.ESN = esn
			args := append([]string{"--spi", "1", "--data", "12345"}, strings.Fields(su.args)...)
			hi := uint32(0)
			if esn {
				args, hi = append(args, "--esn", "--seq", "0x100000005"), 1
			}
			t.Run(fmt.Sprint(su.s), func(t *testing.T) {
				plain, _, err := open(t, su.s, dry(t, args...)[0], hi)
				if err != nil || !ipsec.CheckPadding(plain) {
					t.Fatalf("whole: %v", err)
				}
				plain, _, err = open(t, su.s, dry(t, append(args, "--bad-padding")...)[0], hi)
				if _, _, ok := ipsec.Trailer(plain); err != nil || !ok || ipsec.CheckPadding(plain) ||
					ipsec.CheckLastPad(plain) {
					t.Errorf("--bad-padding: %x, %v", plain, err)
				}
				plain, _, err = open(t, su.s, dry(t, append(args, "--bad-pad-length")...)[0], hi)
				if _, _, ok := ipsec.Trailer(plain); err != nil || ok {
					t.Errorf("--bad-pad-length: %x, %v", plain, err)
				}
				if _, _, err = open(t, su.s, dry(t, append(args, "--bad-icv")...)[0], hi); err != ipsec.ErrICV {
					t.Errorf("--bad-icv: %v", err)
				}
			})
		}
	}
}

func TestSendVerdicts(t *testing.T) {
	e := start(t, nil)
	r := run(t, "send", "--engine", e.address, "--src", "192.0.2.2", "--dst", "192.0.2.1", "--spi", "0x2000", "--count",
		"2", "--repeat", "1",
		"--wait", "0", "--json")
	r.check(t, 0, "4 still waiting (1 2 3 4)")
	if n := strings.Count(r.out, `"verdict":"queued"`); n != 4 {
		t.Errorf("%d queued:\n%s", n, r.out)
	}
	if !bytes.Equal(e.packets[0], e.packets[1]) || bytes.Equal(e.packets[0], e.packets[2]) {
		t.Error("--repeat does not repeat")
	}
	r = run(t, "send", "--engine", e.address, "--src", "192.0.2.1", "--dst", "192.0.2.2", "--outbound", "--tunnel",
		"tun1")
	r.check(t, 0, "1 packet: 1 transmitted")
	if diff := cmp.Diff([]string{"tun1"}, e.tunnels); diff != "" {
		t.Error(diff)
	}
	e.release(packet.Verdict{Kind: packet.Dropped, Reason: packet.Shutdown})
}

// More packets than the engine's queue for us could hold verdicts of: none is lost.
func TestSendMany(t *testing.T) {
	e := start(t, nil)
	r := run(t, "send", "--engine", e.address, "--src", "192.0.2.2", "--dst", "192.0.2.1", "--spi", "0x1000", "--count",
		"3000")
	r.check(t, 0, "3000 packets: 3000 delivered")
}

func TestSendUsage(t *testing.T) {
	badKeys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(badKeys, []byte("c0ffee00nothex"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := "--src 192.0.2.2 --dst 192.0.2.1 --spi 1 "
	tests := []struct{ args, stderr string }{
		{"", "--src and --dst are needed"},
		{"--src 192.0.2.2 --dst 192.0.2.1", "--spi is needed"},
		{"--src 192.0.2.2 --dst 2001:db8::1 --spi 1", "not of one family"},
		{"--src x --dst 192.0.2.1", `--src "x" is no IP address`},
		{base + "--proto udp", `--proto "udp"`},
		{base + "--mode beet", `--mode "beet"`},
		{base + "--enc rot13", `--enc "rot13" is none of null,`},
		{base + "--auth crc32", `--auth "crc32" is none of`},
		{base + "--enc aes-cbc", "0 bits, but aes-cbc takes a key of 128 to 256 in steps of 64 bits"},
		{base + "--enc aes-cbc --enc-key " + key(15), "120 bits, but aes-cbc"},
		{base + "--enc aes-gcm --enc-key " + key(16),
			"128 bits, but aes-gcm takes a key of 128 to 256 in steps of 64 bits and a salt of 32 bits behind it"},
		{base + "--enc des-cbc --enc-key " + key(9), "72 bits, but des-cbc takes a key of 64 bits"},
		{base + "--enc aes-cbc --enc-key c0ffee00xyz", "--enc-key: not an even number of hexadecimal digits"},
		{base + "--enc aes-cbc --enc-key @" + badKeys, "--enc-key: not an even number of hexadecimal digits"},
		{base + "--enc aes-cbc --enc-key @/nonexistent", "no such file"},
		{base + "--auth hmac-sha1", "--auth-key is needed"},
		{base + "--auth-key " + key(20), "--auth-key without --auth"},
		{base + "--auth hmac-sha1 --icv 97 --auth-key " + key(20), "--icv 97"},
		{base + "--auth hmac-sha1 --icv 512 --auth-key " + key(20), "ICV"},
		{base + "--auth aes-xcbc --auth-key " + key(20), "no key length of this MAC"},
		{base + "--bad-icv", "--bad-icv: there is no ICV"},
		{base + "--proto ah", "AH needs a MAC"},
		{base + "--proto ah --enc aes-cbc --enc-key " + key(16), "AH does not encrypt"},
		{base + "--proto ah --encap", "AH does not go in UDP"},
		{base + "--proto ah --bad-padding", "AH has no padding"},
		{base + "--ports 1", `--ports "1"`},
		{base + "--encap=x:y", `--encap "x:y"`},
		{base + "--encap 70000:1", `--encap "70000:1"`},
		{base + "--encap x:y", "takes no arguments, there is 1"}, // it may be a key that lost its option
		{base + "--encap=1:2 3:4", "takes no arguments, there is 1"},
		{base + "--encap 1:2 3:4", "takes no arguments, there are 2"},
		{"--hex 45 --spi 1", "--hex is a finished packet, which takes no --spi"},
		{"--hex 45 --data x", "--hex is a finished packet, which takes no --data"},
		{"--hex 4", "--hex: not an even number of hexadecimal digits"},
		{"--hex 0x", "--hex: no bytes"},
		{"--hex @/nowhere", "--hex: open /nowhere"},
		{base + "--expect lost", `the verdict is none of delivered, transmitted, queued, held, dropped`},
		{base + "--expect sent", `--expect "sent": the verdict is none of`},
		{base + "--expect delivered/no-sa", "only a dropped packet has a reason"},
		{base + "--expect dropped/nosa", "no packet is dropped for that reason, but for larval-replaced"},
		{base + "--expect dropped/", "no packet is dropped for that reason"},
		{base + "--expect dropped --dry-run", "--expect is for packets that are sent"},
		{base + "--seq 0x100000000", "add --esn"},
		{base + "--seq 0xffffffff --count 2", "add --esn"},
		{base + "--seq 0xffffffff --count 18446744073709551615", "add --esn"},
		{base + "--inner-src 10.0.0.1", "for --mode tunnel"},
		{base + "--inner zz", "--inner: not an even number"},
		{base + "--inner @/dev/null", "--inner: no bytes"},
		{base + "--inner 00", "packet 1: "},
		{base + "--repeat -1", "--repeat -1"},
		{base + "--bad-padding --enc camellia-cbc --enc-key " + key(16), "camellia-cbc cannot be spoiled"},
		{base + "--bad-padding --auth aes-xcbc --auth-key " + key(16), "aes-xcbc cannot be spoiled"},
		{base + key(16), "takes no arguments, there is 1"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			r := run(t, append([]string{"send", "--dry-run"}, strings.Fields(tt.args)...)...)
			r.check(t, 2, tt.stderr)
			if s := r.out + r.stderr; strings.Contains(s, "c0ffee") {
				t.Errorf("the key is shown: %s", s)
			}
		})
	}
}

// TestSendHex sends finished packets as they are.
func TestSendHex(t *testing.T) {
	e := start(t, nil)
	p, q := espPacket(spiDeliver, 1), espPacket(9, 2)
	name := file(t, []byte("0x"+hex.EncodeToString(q)+"\n"))
	r := run(t, "send", "--engine", e.address, "--hex", hex.EncodeToString(p), "--hex", "@"+name, "--repeat", "1")
	r.check(t, 0, "4 packets: 2 delivered, 2 dropped\n")
	if diff := cmp.Diff([][]byte{p, p, q, q}, e.packets); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	r = run(t, "send", "--engine", e.address, "--hex", hex.EncodeToString(inner), "--outbound", "--tunnel", "ip.tun0")
	r.check(t, 0, "1 packet: 1 transmitted\n")
	if got := e.packets[4]; !bytes.Equal(got, inner) || !slices.Equal(e.tunnels, []string{"ip.tun0"}) {
		t.Errorf("%x through %v", got, e.tunnels)
	}
	equal(t, run(t, "send", "--dry-run", "--hex", "00ff").out, "00ff\n")
}

// TestExpect: the exit status is that of a shell test.
func TestExpect(t *testing.T) {
	e := start(t, nil)
	deliver, drop, queue := hex.EncodeToString(espPacket(spiDeliver, 1)), hex.EncodeToString(espPacket(9, 1)),
		hex.EncodeToString(espPacket(spiQueue, 1))
	release := hex.EncodeToString(espPacket(spiRelease, 1))
	for _, tt := range []struct {
		args string
		code int
		told string
	}{
		{"--hex " + deliver + " --expect delivered", 0, ""},
		{"--hex " + deliver + " --expect dropped", 1, "ipsecinject: packet 1: delivered, expected dropped\n"},
		{"--hex " + drop + " --expect dropped", 0, ""},
		{"--hex " + drop + " --expect dropped/no-sa", 0, ""},
		{"--hex " + drop + " --expect dropped/bad-icv", 1,
			"ipsecinject: packet 1: dropped/no-sa, expected dropped/bad-icv\n"},
		{"--hex " + drop + " --expect delivered", 1, "ipsecinject: packet 1: dropped/no-sa, expected delivered\n"},
		{"--hex " + deliver + " --hex " + drop + " --repeat 2 --expect delivered", 1,
			"packet 4: dropped/no-sa, expected delivered; and 2 more packets\n"},
		{"--hex " + queue + " --wait 0 --expect queued", 0, ""},
		{"--hex " + queue + " --wait 0 --expect delivered", 1, "packet 1: queued, expected delivered\n"},
		{"--hex " + queue + " --hex " + release + " --expect delivered", 0, ""},
		{"--hex " + queue + " --hex " + release + " --expect queued", 1,
			"packet 1: delivered, expected queued; and 1 more packets\n"},
	} {
		r := run(t, append([]string{"send", "--engine", e.address}, strings.Fields(tt.args)...)...)
		if r.code != tt.code || !strings.HasSuffix(r.stderr, tt.told) {
			t.Errorf("%s: exit status %d, want %d with %q; standard error:\n%s", tt.args, r.code, tt.code, tt.told,
				r.stderr)
		}
	}
	name := file(t, classic(t, layers.LinkTypeRaw, espPacket(spiDeliver, 1), espPacket(9, 2)))
	run(t, "pcap", name, "--engine", e.address, "--packets", "1", "--expect", "delivered").check(t, 0, "")
	run(t, "pcap", name, "--engine", e.address, "--expect", "delivered").check(t, 1,
		"packet 2: dropped/no-sa, expected delivered")
}
