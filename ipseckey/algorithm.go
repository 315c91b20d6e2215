package ipseckey

import (
	"fmt"
	"strings"
)

// Algorithm is one row of the system's algorithm table, /etc/inet/ipsecalgs on illumos.
type Algorithm struct {
	ID      uint8
	Names   []string // the first is the one that is printed
	Counter bool     // a counter mode: manual keys are a bad idea
}

// Algorithms is an algorithm table. It must not be changed while it is used.
type Algorithms struct{ Auth, Encrypt []Algorithm }

// StockAlgorithms is the table that illumos is delivered with. It belongs to the caller.
func StockAlgorithms() *Algorithms {
	return &Algorithms{
		Auth: []Algorithm{
			{0, []string{"none", "any"}, false},
			{2, []string{"hmac-md5", "md5"}, false},
			{3, []string{"hmac-sha1", "sha", "sha1", "sha-1", "hmac-sha", "hmac-sha-1"}, false},
			{5, []string{"hmac-sha256", "sha256", "sha-256", "hmac-sha-256"}, false},
			{6, []string{"hmac-sha384", "sha384", "sha-384", "hmac-sha-384"}, false},
			{7, []string{"hmac-sha512", "sha512", "sha-512", "hmac-sha-512"}, false},
		},
		Encrypt: []Algorithm{
			{0, []string{"any"}, false},
			{2, []string{"des-cbc", "des"}, false},
			{3, []string{"3des-cbc", "3des"}, false},
			{7, []string{"blowfish-cbc", "blowfish"}, false},
			{11, []string{"null"}, false},
			{12, []string{"aes-cbc", "aes"}, false},
			{14, []string{"aes-ccm8"}, true},
			{15, []string{"aes-ccm12"}, true},
			{16, []string{"aes-ccm", "aes-ccm16"}, true},
			{18, []string{"aes-gcm8"}, true},
			{19, []string{"aes-gcm12"}, true},
			{20, []string{"aes-gcm", "aes-gcm16"}, true},
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
func listedName(rows []Algorithm, id uint8) string {
	if id == 0 {
		return "<none>"
	}
	for _, a := range rows {
		if a.ID == id {
			return a.Names[0]
		}
	}
	return fmt.Sprintf("<unknown %d>", id)
}

// savedName is how an algorithm is written in a save file: its name, or a number.
func savedName(rows []Algorithm, id uint8) string {
	for _, a := range rows {
		if a.ID == id {
			return a.Names[0]
		}
	}
	return fmt.Sprintf("%d", id)
}
