package ipsec_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/ipsec"
)

// unhex takes hex with blanks and line ends.
func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

func newTransform(t testing.TB, s ipsec.Suite) *ipsec.Transform {
	t.Helper()
	tr, err := s.New()
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// sequence is n bytes that count up from first.
func sequence(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

func key(n int) ipsec.Key { return ipsec.NewKey(sequence(0x10, n)) }

// suites is one suite of every kind.
func suites() []ipsec.Suite {
	var all []ipsec.Suite
	for _, c := range ipsec.Ciphers() {
		s := ipsec.Suite{Proto: ipsec.ESP, Cipher: c, Key: key(c.MaxKey), Salt: key(c.SaltLen)}
		if c.AEAD() {
			for _, s.ICV = range c.ICVs {
				all = append(all, s)
			}
			continue
		}
		all = append(all, s)
		for _, m := range ipsec.MACs() {
			if m.IVLen == 0 { // others are for AH only
				s.MAC, s.AuthKey = m, key(m.KeyLen)
				all = append(all, s)
			}
		}
	}
	for _, m := range ipsec.MACs() {
		all = append(all, ipsec.Suite{Proto: ipsec.AH, MAC: m, AuthKey: key(m.KeyLen)})
	}
	for _, s := range all[:len(all):len(all)] {
		s.ESN = true
		all = append(all, s)
	}
	return all
}
