package wireshark

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

// KeysName is the name of the file in which Wireshark keeps its table of SAs, in the folder of a profile.
const KeysName = "esp_sa"

// SA is an SA of ESP, as packets show it, with how they are protected.
type SA struct {
	Src, Dst netip.Addr
	SPI      uint32
	Suite    *ipsec.Suite
}

// Keys is a table of SAs as Wireshark reads it. Its keys are bare. left says of each SA that Wireshark cannot decrypt
// why, without keys; the others are in the table.
func Keys(sas []SA) (table []byte, left []error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: the keys of an engine's SAs. 'pfkeyd wireshark keys --show-keys' writes it anew.\n", Mark)
	for _, sa := range sas {
		row, err := sa.row()
		if err != nil {
			left = append(left, fmt.Errorf("SPI %#x from %s to %s: %w", sa.SPI, sa.Src, sa.Dst, err))
			continue
		}
		b.WriteString(row + "\n")
	}
	return []byte(b.String()), left
}

// row is an SA in the columns that every version has; what newer ones have beside has defaults.
func (sa *SA) row() (string, error) {
	s := sa.Suite
	cipher := s.Cipher
	if cipher == nil {
		cipher = ipsec.NULL
	}
	encrypt, ok := ciphers[cipher]
	if cipher == ipsec.AESGCM {
		icv := s.ICV
		if icv == 0 {
			icv = slices.Max(cipher.ICVs)
		}
		encrypt, ok = fmt.Sprintf("AES-GCM with %d octet ICV [RFC4106]", icv), true
	}
	if !ok {
		return "", fmt.Errorf("unknown to Wireshark: %s", cipher.Name)
	}
	auth, err := integrity(s)
	if err != nil {
		return "", err
	}
	family := "IPv4"
	if sa.Dst.Is6() {
		family = "IPv6"
	}
	src := "*"
	if sa.Src.IsValid() && !sa.Src.IsUnspecified() {
		src = sa.Src.String()
	}
	return fmt.Sprintf(`"%s","%s","%s","0x%08x","%s","%s","%s","%s"`, family, src, sa.Dst, sa.SPI, encrypt,
		digits(append(s.Key.Bytes(), s.Salt.Bytes()...)), auth, digits(s.AuthKey.Bytes())), nil
}

// ciphers are their names in Wireshark.
var ciphers = map[*ipsec.Cipher]string{
	ipsec.NULL: "NULL", ipsec.DESCBC: "DES-CBC [RFC2405]", ipsec.TripleDES: "TripleDES-CBC [RFC2451]",
	ipsec.BlowfishCBC: "BLOWFISH-CBC [RFC2451]", ipsec.CAST128CBC: "CAST5-CBC [RFC2144]",
	ipsec.TwofishCBC: "TWOFISH-CBC", ipsec.AESCBC: "AES-CBC [RFC3602]", ipsec.AESCTR: "AES-CTR [RFC3686]",
}

type sizedMAC struct {
	mac *ipsec.MAC
	icv int // bytes
}

var macs = map[sizedMAC]string{
	{ipsec.HMACMD5, 12}: "HMAC-MD5-96 [RFC2403]", {ipsec.HMACSHA1, 12}: "HMAC-SHA-1-96 [RFC2404]",
	{ipsec.HMACSHA256, 12}:    "HMAC-SHA-256-96 [draft-ietf-ipsec-ciph-sha-256-00]",
	{ipsec.HMACSHA256, 16}:    "HMAC-SHA-256-128 [RFC4868]",
	{ipsec.HMACSHA384, 24}:    "HMAC-SHA-384-192 [RFC4868]",
	{ipsec.HMACSHA512, 32}:    "HMAC-SHA-512-256 [RFC4868]",
	{ipsec.HMACRIPEMD160, 12}: "MAC-RIPEMD-160-96 [RFC2857]",
}

// integrity names the MAC. Of one that Wireshark does not have it must know the size at least.
func integrity(s *ipsec.Suite) (string, error) {
	if s.MAC == nil || s.MAC == ipsec.NullMAC {
		return "NULL", nil
	}
	icv := s.ICV
	if icv == 0 {
		icv = s.MAC.ICV
	}
	if name, ok := macs[sizedMAC{s.MAC, icv}]; ok {
		return name, nil
	}
	if slices.Contains([]int{12, 16, 24, 32}, icv) {
		return fmt.Sprintf("ANY %d bit authentication [no checking]", icv*8), nil
	}
	return "", fmt.Errorf("unknown to Wireshark: %s with an ICV of %d bits", s.MAC.Name, icv*8)
}

// digits is a key as Wireshark reads it.
func digits(key []byte) string {
	if len(key) == 0 {
		return ""
	}
	return fmt.Sprintf("0x%x", key)
}
