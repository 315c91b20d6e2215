package ipseckey

import "strings"

// word is one word of a command.
type word struct {
	text string
	at   int // where its first byte stands in the command, or -1 on the command line
	end  int // where the white space behind it stands
}

// spaces are the bytes that isspace(3C) takes in the C locale.
const spaces = " \t\n\v\f\r"

func isSpace(c byte) bool { return strings.IndexByte(spaces, c) >= 0 }

// splitWords cuts a command into words. White space separates them. A double quote toggles quoting, in which white
// space is part of a word, except at its beginning; the quote that opens a word is dropped, one inside a word is kept,
// and a closing one ends the word: what is glued to it is lost. There is no escape character, "" is no word, and
// without a closing quote the last word goes on to the end of the command.
func splitWords(command string) []word {
	var (
		words  []word
		text   []byte
		at     int
		in     bool // between the first byte of a word and the white space behind it
		ended  bool // by a closing quote
		quoted bool
	)
	for i := 0; i < len(command); i++ {
		c := command[i]
		switch {
		case c == '"' && quoted:
			quoted, ended = false, in
			continue
		case c == '"':
			quoted = true
			if !in {
				continue
			}
		case isSpace(c) && !in:
			continue
		case isSpace(c) && !quoted:
			words = append(words, word{string(text), at, i})
			text, in, ended = text[:0], false, false
			continue
		}
		if !in {
			in, at = true, i
		}
		if !ended {
			text = append(text, c)
		}
	}
	if in {
		words = append(words, word{string(text), at, len(command)})
	}
	return words
}
