package ipsec

import (
	"bytes"
	"compress/flate"
	"io"
	"math/bits"
)

// Deflate compresses b as kernels do for IPComp with zlib (RFC 2394, RFC 1951), for the length of what they send shows
// it: matches are looked for as zlib does at level 6 in a window of 4096 bytes, and written in one block with fixed
// codes. Where package flate does better, with codes of the packet's own, its result is taken.
func Deflate(b []byte) []byte {
	var w bitWriter
	w.put(1, 1) // the final block
	w.put(1, 2) // fixed codes
	m := matcher{b: b}
	m.run(&w)
	w.symbol(256) // the end
	fixed := w.flush()
	var out bytes.Buffer
	z, _ := flate.NewWriter(&out, flate.DefaultCompression) // an error is only for a level that there is not
	z.Write(b)
	z.Close()
	if out.Len() < len(fixed) {
		return out.Bytes()
	}
	return fixed
}

// Numbers of zlib, for level 6.
const (
	minMatch, maxMatch = 3, 258
	tooFar             = 4096 // a match of minMatch is not worth that
	maxDistance        = 4096 - (maxMatch + minMatch + 1)
	goodLength         = 8 // of a match with which few more are tried
	lazyLength         = 16
	niceLength         = 128
	maxChain           = 128
	hashBits           = 15
)

// matcher finds what to repeat (deflate_slow).
type matcher struct {
	b    []byte
	head [1 << hashBits]int32 // the last place with a hash; as in zlib, 0 is none
	prev []int32              // the place before it
}

// insert notes the string at a place, and returns the place of the last one like it; 0 for none.
func (m *matcher) insert(i int) int {
	h := (int(m.b[i])<<10 ^ int(m.b[i+1])<<5 ^ int(m.b[i+2])) & (1<<hashBits - 1)
	last := m.head[h]
	m.prev[i], m.head[h] = last, int32(i)
	return int(last)
}

// longest finds the longest repetition at a place that is longer than length (longest_match).
func (m *matcher) longest(at, candidate, length, start int) (int, int) {
	left := len(m.b) - at
	chain, nice, limit := maxChain, min(niceLength, left), max(0, at-maxDistance)
	if length >= goodLength {
		chain /= 4
	}
	for most := min(maxMatch, left); ; {
		n := 0
		for n < most && m.b[candidate+n] == m.b[at+n] {
			n++
		}
		if n > length {
			length, start = n, candidate
			if n >= nice {
				break
			}
		}
		candidate = int(m.prev[candidate])
		if chain--; candidate <= limit || chain == 0 {
			break
		}
	}
	return min(length, left), start
}

// run writes literals and matches. A match is only written if there is none longer that begins a byte later.
func (m *matcher) run(w *bitWriter) {
	m.prev = make([]int32, len(m.b))
	length, start, pending := minMatch-1, 0, false
	for at := 0; at < len(m.b); {
		last := 0
		if len(m.b)-at >= minMatch {
			last = m.insert(at)
		}
		lengthBefore, startBefore := length, start
		length = minMatch - 1
		if last != 0 && lengthBefore < lazyLength && at-last <= maxDistance {
			length, start = m.longest(at, last, lengthBefore, start)
			if length == minMatch && at-start > tooFar {
				length = minMatch - 1
			}
		}
		switch {
		case lengthBefore >= minMatch && length <= lengthBefore:
			w.match(lengthBefore, at-1-startBefore)
			for range lengthBefore - 2 {
				if at++; at <= len(m.b)-minMatch {
					m.insert(at)
				}
			}
			at++
			length, pending = minMatch-1, false
		default:
			if pending {
				w.symbol(int(m.b[at-1]))
			}
			at++
			pending = true
		}
	}
	if pending {
		w.symbol(int(m.b[len(m.b)-1]))
	}
}

// bitWriter writes bits, the lowest first, and fixed codes (RFC 1951 section 3.2.6).
type bitWriter struct {
	out  []byte
	bits uint64
	n    int
}

func (w *bitWriter) put(v, n int) {
	w.bits |= uint64(v) << w.n
	for w.n += n; w.n >= 8; w.n -= 8 {
		w.out = append(w.out, byte(w.bits))
		w.bits >>= 8
	}
}

func (w *bitWriter) flush() []byte {
	w.put(0, (8-w.n)%8)
	return w.out
}

// code writes a Huffman code, which goes the other way round.
func (w *bitWriter) code(v, n int) { w.put(int(bits.Reverse16(uint16(v))>>(16-n)), n) }

// symbol writes a literal, the end or a length.
func (w *bitWriter) symbol(s int) {
	switch {
	case s < 144:
		w.code(0x30+s, 8)
	case s < 256:
		w.code(0x190+s-144, 9)
	case s < 280:
		w.code(s-256, 7)
	default:
		w.code(0xc0+s-280, 8)
	}
}

// match writes that something is repeated from some distance.
func (w *bitWriter) match(length, distance int) {
	if n := length - minMatch; length == maxMatch {
		w.symbol(285)
	} else if n < 8 {
		w.symbol(257 + n)
	} else {
		extra := bits.Len(uint(n)) - 3
		w.symbol(257 + 4*extra + n>>extra)
		w.put(n&(1<<extra-1), extra)
	}
	if d := distance - 1; d < 4 {
		w.code(d, 5)
	} else {
		extra := bits.Len(uint(d)) - 2
		w.code(2*extra+d>>extra, 5)
		w.put(d&(1<<extra-1), extra)
	}
}

// Inflate undoes [Deflate], whatever b is; false if that cannot be done, or gives more than most bytes.
func Inflate(b []byte, most int) ([]byte, bool) {
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), int64(most)+1))
	return out, err == nil && len(out) <= most
}
