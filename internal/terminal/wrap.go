// Package terminal is what the commands do to text for people: lines that fit, and colours.
package terminal

import "strings"

// Wrap breaks text at spaces into lines of at most n bytes, longer words excepted.
func Wrap(text string, n int) []string {
	var lines []string
	for len(text) > n {
		cut := strings.LastIndexByte(text[:n+1], ' ')
		if cut <= 0 {
			break
		}
		lines = append(lines, text[:cut])
		text = text[cut+1:]
	}
	return append(lines, text)
}
