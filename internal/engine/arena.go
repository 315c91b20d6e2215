package engine

// An Arena gives the messages of a DUMP shared pieces of memory, so that a large database costs few of them. Each piece
// is twice as large as the one before: a message that waits unread keeps all of its piece, and a DUMP of one SA must
// not keep the largest. The zero value is ready.
type Arena struct {
	piece []byte
	size  int // of the last piece
}

// arenaPiece is the largest piece in bytes, unless a message is larger.
const arenaPiece = 16 << 10

// Message returns what build appends to the bytes it is given, with no room behind it. need is how many bytes that will
// be, or about: what is longer takes a piece of its own.
func (a *Arena) Message(need int, build func([]byte) []byte) []byte {
	if cap(a.piece)-len(a.piece) < need {
		a.size = max(min(2*a.size, arenaPiece), need)
		a.piece = make([]byte, 0, a.size)
	}
	start := len(a.piece)
	a.piece = build(a.piece)
	return a.piece[start:len(a.piece):len(a.piece)]
}
