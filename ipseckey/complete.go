package ipseckey

import (
	"errors"
	"slices"
	"strings"

	"github.com/pfkeyd/pfkeyd/wire"
)

// LineEditor reads lines from a terminal. It is used by one goroutine.
type LineEditor interface {
	// ReadLine shows the prompt and returns the line that was typed, without a newline. The error is io.EOF at the end
	// of the input, and ErrAbandoned when the user gave the line up.
	ReadLine(prompt string, complete Completer) (string, error)
	// Remember puts a command into the history: line for the rest of the run, and safe, in which no key is, for longer;
	// "" is not kept.
	Remember(line, safe string)
}

// ErrAbandoned is what a [LineEditor] returns for a line that its user gave up.
var ErrAbandoned = errors.New("line abandoned")

// Completer finds what may stand at a place of a line: candidates for the bytes from there to at. nil completes
// nothing.
type Completer func(line string, at int) (from int, candidates []string)

// complete finds what may stand at byte at of the line, behind the lines that it continues.
func (s *session) complete(before, line string, at int) (from int, candidates []string) {
	if at > len(line) {
		return at, nil
	}
	from = at
	for from > 0 && !isSpace(line[from-1]) {
		from--
	}
	if isComment(before+line) || strings.Count(line[:from], `"`)%2 != 0 {
		return from, nil
	}
	var words []string
	for _, w := range splitWords(before + line[:from]) {
		words = append(words, w.text)
	}
	for _, c := range s.candidates(words, line[from:at]) {
		if strings.HasPrefix(c, line[from:at]) && !slices.Contains(candidates, c) {
			candidates = append(candidates, c)
		}
	}
	return from, candidates
}

// candidates are the words that may stand behind these. Synonyms are only offered to who has begun to type one.
func (s *session) candidates(words []string, typed string) []string {
	if len(words) == 0 {
		return commandNames()
	}
	c, ok := s.findCommand(words[0])
	if !ok {
		return nil
	}
	n := len(words)
	switch c.verb {
	case verbHelp:
		if n == 1 {
			return append(commandNames(), "attr")
		}
	case verbFlush, verbDump, verbSave:
		if n == 1 {
			return []string{"all", "ah", "esp"}
		}
	case verbCompletion:
		if n == 1 {
			return shells
		}
	case verbAdd, verbFind:
		if n == 1 {
			return []string{"ah", "esp"}
		}
		return s.argument(c, words, 2, typed)
	case verbGetSPI:
		if n == 1 {
			return append([]string{"ah", "esp"}, s.argument(c, words, 1, typed)...)
		}
		first := 1
		if _, ok := saType(words[1]); ok {
			first = 2
		}
		return s.argument(c, words, first, typed)
	}
	return nil
}

func commandNames() (names []string) {
	for _, c := range slices.Concat(commands, ownCommands) {
		if c.name != "?" {
			names = append(names, c.name)
		}
	}
	return names
}

// argument is what may stand behind the keywords and values from word first on.
func (s *session) argument(c command, words []string, first int, typed string) []string {
	seen := map[kind]bool{}
	lifetimes := map[uint8]bool{}
	labels := map[uint8]bool{}
	for i := first; i < len(words); {
		k, ok := findKeyword(words[i])
		if !ok {
			k, ok = findOwnKeyword(words[i])
		}
		if !ok {
			k, ok = findKAMEKeyword(words[i])
		}
		i++
		if !ok {
			continue
		}
		seen[k.kind] = true
		switch k.kind {
		case kindLifetime:
			lifetimes[k.arg] = true
		case kindLabel, kindDirection:
			labels[k.arg] = true
		}
		need := valuesOf(k)
		if left := len(words) - i; left < need {
			return s.values(k, words, need-left)
		}
		i += need
	}
	all := slices.Concat(keywords, ownKeywords, kameKeywords)
	var names []string
	done := map[keyword]bool{}
	for _, k := range all {
		if !s.fits(c, words, k) {
			continue
		}
		switch k.kind {
		case kindLifetime:
			if lifetimes[k.arg] {
				continue
			}
		case kindLabel, kindDirection:
			if labels[k.arg] {
				continue
			}
		default:
			if seen[k.kind] {
				continue
			}
		}
		same := k
		same.name = ""
		if done[same] && typed == "" {
			continue
		}
		done[same] = true
		names = append(names, preferred(k, typed))
	}
	return names
}

// preferred is the spelling of a keyword that people are used to, for who has not begun to type another.
func preferred(k keyword, typed string) string {
	if typed != "" {
		return k.name
	}
	names := map[kind]string{kindSrc: "src", kindDst: "dst", kindInnerSrc: "isrc", kindInnerDst: "idst",
		kindInnerSrcPort: "isport", kindInnerDstPort: "idport"}
	if name, ok := names[k.kind]; ok {
		if k.v6 {
			name += "6"
		}
		return name
	}
	return k.name
}

// fits tells whether a keyword is for the command, and the engine knows what it says.
func (s *session) fits(c command, words []string, k keyword) bool {
	own := k.kind == kindSPIMin || k.kind == kindSPIMax
	switch c.verb {
	case verbGetSPI:
		return own || k.kind == kindSrc || k.kind == kindDst
	case verbFind:
		return slices.Contains(findKeywordNames, k.name) && (s.illumos() || k.kind != kindDirection)
	}
	switch k.kind {
	case kindRejected:
		return false
	case kindPairSPI:
		return c.typ != wire.IllumosMsgXUpdatePair && s.illumos()
	case kindEncrAlg, kindEncrKey, kindReservedBits:
		return !strings.EqualFold(words[1], "ah")
	case kindMode, kindReqID, kindNATSrcPort, kindNATDstPort:
		return s.kame()
	case kindEncap:
		return s.illumos() || s.kame()
	case kindNATLoc, kindNATRem, kindNATLocPort, kindNATRemPort, kindDirection, kindReplayValue, kindLabel,
		kindInnerSrc, kindInnerDst, kindInnerSrcPort, kindInnerDstPort, kindInnerProto:
		return s.illumos()
	case kindLifetime:
		return s.illumos() || k.arg&^fieldMask != limitIdle
	}
	return !own
}

// valuesOf is how many words follow a keyword.
func valuesOf(k keyword) int {
	switch k.kind {
	case kindDirection, kindRejected:
		return 0
	case kindSrcID, kindDstID:
		return 2
	}
	return 1
}

// values are what may stand behind a keyword, missing words before its last.
func (s *session) values(k keyword, words []string, missing int) []string {
	switch k.kind {
	case kindState:
		return stateNames[1:]
	case kindAuthAlg, kindEncrAlg:
		return s.algorithmChoice(k.kind, words)
	case kindEncap:
		return []string{"udp"}
	case kindMode:
		return s.modeNames()
	case kindSrcID, kindDstID:
		if missing == 2 {
			return identityTypeNames()
		}
	case kindLabel:
		return []string{"ADMIN_LOW", "ADMIN_HIGH"}
	}
	return nil
}

// algorithmChoice are the algorithms that may be named, those of the engine if it says which.
func (s *session) algorithmChoice(k kind, words []string) []string {
	t, _ := saType(words[1])
	has, _ := s.supported(s.saType(t))
	rows, ids := s.algorithms().Auth, has.Auth
	if k == kindEncrAlg {
		rows, ids = s.algorithms().Encrypt, has.Encrypt
		if ids != nil && !slices.Contains(ids, wire.EncNull) {
			ids = append(slices.Clone(ids), wire.EncNull)
		}
	}
	var names []string
	for _, a := range rows {
		if a.ID != 0 && (ids == nil || slices.Contains(ids, a.ID)) {
			names = append(names, a.Names...)
		}
	}
	return names
}
