package ipseckey_test

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/wire"
)

// FuzzCommands gives any text to the command as a file and as standard input, with and without the quirks. It must come
// to an end, and a plain run must not show a key.
func FuzzCommands(f *testing.F) {
	for _, cases := range readClasses(f, goldenFolder()) {
		for i, c := range cases {
			if i%16 != 0 {
				continue
			}
			for _, text := range c.Files {
				f.Add(bytesOf(text))
			}
			if c.Stdin != "" {
				f.Add(bytesOf(c.Stdin))
			}
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range []start{
			{args: []string{"-f", "in"}, file: text},
			{args: []string{"-c", "in"}, file: text},
			{stdin: text},
		} {
			compat := s
			compat.args = append([]string{"--compat"}, s.args...)
			compat.run(t)
			s.terminal.Stderr = true
			r := s.run(t)
			for _, key := range keysIn(text) {
				if strings.Contains(r.stdout, key) || strings.Contains(r.stderr, key) {
					t.Errorf("%q shows the key %q: %q %q", s.args, key, r.stdout, r.stderr)
				}
			}
		}
	})
}

// keysIn finds words of hexadecimal digits behind a key keyword, that occur nowhere else.
func keysIn(text string) (keys []string) {
	for _, line := range strings.Split(text, "\n") {
		words := strings.Fields(line)
		for i, w := range words {
			if i == 0 || words[i-1] != "encrkey" && words[i-1] != "authkey" || strings.Contains(line, `"`) {
				continue
			}
			digits, _, _ := strings.Cut(strings.TrimPrefix(w, "0x"), "/")
			if len(digits) >= 8 && strings.Count(text, digits) == 1 &&
				strings.Trim(digits, "0123456789abcdefABCDEF") == "" {
				keys = append(keys, digits)
			}
		}
	}
	return keys
}

// FuzzList lists, saves and prints any message.
func FuzzList(f *testing.F) {
	for _, cases := range readClasses(f, goldenFolder()) {
		for i, c := range cases {
			if i%8 != 0 {
				continue
			}
			for _, s := range c.Exchange {
				for _, r := range s.Replies {
					if b, err := hex.DecodeString(r); err == nil {
						f.Add(b)
					}
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, msg []byte) {
		dump := append([]byte(nil), msg...)
		if len(dump) >= wire.HeaderLen { // so that it is taken for one of the dump
			dump[1], dump[2], dump[8] = byte(wire.MsgDump), 0, 1
			binary.LittleEndian.PutUint32(dump[12:], goldenPID)
		}
		answer := func(h wire.Header, m []byte) [][]byte { return append([][]byte{dump}, agree(h, m)...) }
		for _, args := range [][]string{{"-n", "dump"}, {"-v", "dump"}, {"-p", "dump"},
			{"--json", "--show-keys", "dump"}, {"-s", "out"}} {
			start{args: args, answer: answer}.run(t)
			start{args: append([]string{"--compat"}, args...), answer: answer}.run(t)
		}
		raw := func(wire.Header, []byte) [][]byte { return [][]byte{msg} }
		start{args: []string{"monitor"}, answer: raw}.run(t)
		start{args: []string{"--compat", "-v", "monitor"}, answer: raw}.run(t)
	})
}
