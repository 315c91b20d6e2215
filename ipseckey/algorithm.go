package ipseckey

import (
	"fmt"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// Algorithm is one row of the system's algorithm table, /etc/inet/ipsecalgs on illumos.
type Algorithm struct {
	ID      wire.AlgID
	Names   []string // the first is the one that is printed
	Counter bool     // a counter mode: manual keys are a bad idea

	MinBits, MaxBits int // sizes of the key without its salt
	Step             int // between sizes; 0 if there is one size only
	SaltBits         int // that stand behind the key
}

// sizes says what a key of the algorithm must look like.
func (a Algorithm) sizes() string {
	text := fmt.Sprintf("%s takes a key of %d bits", a.Names[0], a.MinBits)
	if a.Step != 0 {
		text = fmt.Sprintf("%s takes a key of %d to %d bits in steps of %d", a.Names[0], a.MinBits, a.MaxBits, a.Step)
	}
	if a.SaltBits != 0 {
		text += fmt.Sprintf(", and %d salt bits behind it", a.SaltBits)
	}
	return text
}

// Algorithms is an algorithm table. It must not be changed while it is used.
type Algorithms struct{ Auth, Encrypt []Algorithm }

// StockAlgorithms is the table that illumos is delivered with. It belongs to the caller.
func StockAlgorithms() *Algorithms {
	return &Algorithms{
		Auth: []Algorithm{
			{0, []string{"none", "any"}, false, 0, 0, 0, 0},
			{2, []string{"hmac-md5", "md5"}, false, 128, 128, 0, 0},
			{3, []string{"hmac-sha1", "sha", "sha1", "sha-1", "hmac-sha", "hmac-sha-1"}, false, 160, 160, 0, 0},
			{5, []string{"hmac-sha256", "sha256", "sha-256", "hmac-sha-256"}, false, 256, 256, 0, 0},
			{6, []string{"hmac-sha384", "sha384", "sha-384", "hmac-sha-384"}, false, 384, 384, 0, 0},
			{7, []string{"hmac-sha512", "sha512", "sha-512", "hmac-sha-512"}, false, 512, 512, 0, 0},
		},
		Encrypt: []Algorithm{
			{0, []string{"any"}, false, 0, 0, 0, 0},
			{2, []string{"des-cbc", "des"}, false, 64, 64, 0, 0},
			{3, []string{"3des-cbc", "3des"}, false, 192, 192, 0, 0},
			{7, []string{"blowfish-cbc", "blowfish"}, false, 128, 128, 0, 0},
			{11, []string{"null"}, false, 0, 0, 0, 0},
			{12, []string{"aes-cbc", "aes"}, false, 128, 256, 64, 0},
			{14, []string{"aes-ccm8"}, true, 128, 256, 64, 24},
			{15, []string{"aes-ccm12"}, true, 128, 256, 64, 24},
			{16, []string{"aes-ccm", "aes-ccm16"}, true, 128, 256, 64, 24},
			{18, []string{"aes-gcm8"}, true, 128, 256, 64, 32},
			{19, []string{"aes-gcm12"}, true, 128, 256, 64, 32},
			{20, []string{"aes-gcm", "aes-gcm16"}, true, 128, 256, 64, 32},
		},
	}
}

// byName finds a row by any of its names, in any case.
func byName(rows []Algorithm, name string) (Algorithm, bool) {
	for _, a := range rows {
		for _, n := range a.Names {
			if strings.EqualFold(n, name) {
				return a, true
			}
		}
	}
	return Algorithm{}, false
}

// listedName is how an algorithm is printed in a listing: 0 is none, in every table.
func listedName(rows []Algorithm, id wire.AlgID) string {
	if id == 0 {
		return "<none>"
	}
	for _, a := range rows {
		if a.ID == id {
			return a.Names[0]
		}
	}
	return fmt.Sprintf("<unknown %d>", uint8(id))
}

// savedName is how an algorithm is written in a save file: its name, or a number.
func savedName(rows []Algorithm, id wire.AlgID) string {
	for _, a := range rows {
		if a.ID == id {
			return a.Names[0]
		}
	}
	return fmt.Sprintf("%d", uint8(id))
}
