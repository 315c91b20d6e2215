package live

import (
	"encoding/json"
	"fmt"

	"github.com/pfkeyd/pfkeyd/wire"
)

const (
	// maxFields is how many fields of a message are told.
	maxFields = 4000
	// maxTold is how many fields of all messages together are told in an export.
	maxTold = 400_000
)

// Explained is messages field by field. As the same texts come again and again, fields have their numbers in Strings.
type Explained struct {
	Strings  []string  `json:"strings"`
	Messages []Message `json:"messages"`
	// Of is which of the messages an event has, by its number; only in an export.
	Of map[uint64]int `json:"of,omitempty"`
}

// Message is one message.
type Message struct {
	Meaning string  `json:"meaning"` // in words
	Section string  `json:"section"` // of RFC 2367; "" if it is not in there
	Fields  []Field `json:"fields"`
}

// Field is one field of a message, or the begin of an extension or of a part, or a problem, as its Kind says. The texts
// are numbers in [Explained].Strings.
type Field struct {
	Kind             wire.FieldKind
	Extension, Part  int
	Name, Value      int
	Offset, Len      int // in the message, bytes
	Meaning, Section int
}

// MarshalJSON has a field as a row: kind, extension, part, name, value, offset, length, meaning, section.
func (f Field) MarshalJSON() ([]byte, error) {
	return json.Marshal([]int{int(f.Kind), f.Extension, f.Part, f.Name, f.Value, f.Offset, f.Len, f.Meaning,
		f.Section})
}

// explainer explains messages of one dialect.
type explainer struct {
	dialect *wire.Dialect
	keys    bool
	room    int // for fields
	numbers map[string]int
	Explained
}

func newExplainer(d *wire.Dialect, keys bool, room int) *explainer {
	return &explainer{dialect: d, keys: keys, room: room, numbers: map[string]int{},
		Explained: Explained{Strings: []string{}, Messages: []Message{}}}
}

// add explains a message. What there is no room for is counted.
func (x *explainer) add(msg []byte) {
	m := Message{Fields: []Field{}}
	if h, err := x.dialect.Header(msg); err == nil {
		m.Meaning, m.Section = x.dialect.MsgMeaning(h.Type)
	}
	left, room := 0, min(x.room, maxFields)
	for f := range x.dialect.Fields(msg, wire.FormatOptions{ShowKeys: x.keys}) {
		if len(m.Fields) == room {
			left++
			continue
		}
		m.Fields = append(m.Fields, Field{
			Kind: f.Kind, Extension: x.number(f.Extension), Part: x.number(f.Part), Name: x.number(f.Name),
			Value: x.number(f.Value), Offset: f.Offset, Len: f.Len, Meaning: x.number(f.Meaning),
			Section: x.number(f.Section),
		})
	}
	x.room -= len(m.Fields)
	if left > 0 {
		none := x.number("")
		m.Fields = append(m.Fields, Field{Kind: wire.FieldProblem, Extension: none, Part: none, Name: none,
			Value: x.number(fmt.Sprintf("%d more fields are not shown", left)), Offset: len(msg), Meaning: none,
			Section: none})
	}
	x.Messages = append(x.Messages, m)
}

// number is that of a text.
func (x *explainer) number(text string) int {
	n, ok := x.numbers[text]
	if !ok {
		n = len(x.Strings)
		x.numbers[text] = n
		x.Strings = append(x.Strings, text)
	}
	return n
}
