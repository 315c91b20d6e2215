package netlink

import (
	"slices"
	"time"
)

// listing is a list of the kernel's, taken at once. A walk that rests has it taken anew, so that it shows what is there
// then, in the order of the first one and nothing that has come since.
type listing struct {
	t       *Transforms
	request func() []byte
	name    func(body []byte) inList
	rest    []Message
	long    bool
	taken   time.Time
}

// A long list is not taken anew for each rest, of which there are many: what it shows is up to maxAge old. News of what
// is in it is heard all the same.
const (
	longList = 2000
	maxAge   = 100 * time.Millisecond
)

// inList is what tells the entries of a list from each other, as bytes.
type inList [idLen + 16 + 4]byte

// stateInList is the identity of an SA and its source; without an SPI, the number of its ACQUIRE as well.
func stateInList(body []byte) (n inList) {
	const idAt, seqAt = selectorLen, stateLen - 20
	if len(body) < stateLen {
		return n
	}
	copy(n[:], body[idAt:idAt+idLen+16])
	if spi := body[idAt+16:][:4]; spi[0]|spi[1]|spi[2]|spi[3] == 0 {
		copy(n[idLen+16:], body[seqAt:][:4])
	}
	return n
}

// policyInList is the id of a policy.
func policyInList(body []byte) (n inList) {
	const indexAt = policyLen - 12
	if len(body) >= policyLen {
		copy(n[:], body[indexAt:][:4])
	}
	return n
}

// take takes the list.
func (l *listing) take() {
	l.rest = nil
	l.t.ask(l.request(), func(m Message) error {
		m.Body = slices.Clone(m.Body)
		l.rest = append(l.rest, m)
		return nil
	})
	l.long, l.taken = len(l.rest) >= longList, l.t.e.Now()
}

// renew puts what is there now in the place of what is left. What is not there any more stays as it was: the walk knows
// what has gone.
func (l *listing) renew() {
	if l.long && l.t.e.Now().Sub(l.taken).Abs() < maxAge {
		return
	}
	old := l.rest
	l.take()
	now := make(map[inList][]Message, len(l.rest)) // several may have one name, as SAs that differ in their mark
	for _, m := range l.rest {
		n := l.name(m.Body)
		now[n] = append(now[n], m)
	}
	for i, m := range old {
		n := l.name(m.Body)
		if same := now[n]; len(same) > 0 {
			clear(m.Body)
			old[i], now[n] = same[0], same[1:]
		}
	}
	for _, unused := range now {
		for _, m := range unused {
			clear(m.Body) // which may have keys in it
		}
	}
	l.rest = old
}
