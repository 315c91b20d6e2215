package ipseckey

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/internal/terminal"
	"github.com/pfkeyd/pfkeyd/wire"
)

// Explanation is a message as explain --json prints it, one object a line. As in [Record], names are stable.
type Explanation struct {
	Dialect string  `json:"dialect"` // whose numbers it was read with: "illumos", "linux"
	Order   string  `json:"order"`   // byte order: "little" or "big"
	Meaning string  `json:"meaning"` // of the message
	Where   string  `json:"where"`   // that is written: "RFC 2367 section 3.1.3"
	Record  *Record `json:"record"`
	Fields  []Field `json:"fields"`
}

// Field is one field of a message.
type Field struct {
	Extension string `json:"extension"` // it is in: "base header", "SA", "ADDRESS_SRC", ...
	Offset    int    `json:"offset"`    // of its first byte in the message
	Hex       string `json:"hex"`       // its bytes; empty for a key that is not shown
	Name      string `json:"name"`      // "spi", "source port", ...
	Value     string `json:"value"`     // "3 (esp)"; empty if there is nothing to say beyond its bytes
	Meaning   string `json:"meaning,omitempty"`
	Where     string `json:"where"`             // that is written
	Problem   string `json:"problem,omitempty"` // with what stands here
}

// readFields are the fields of a message, each with what is wrong with it.
func readFields(d *wire.Dialect, msg []byte, keys bool) []Field {
	var fields []Field
	for v := range d.Fields(msg, wire.FormatOptions{ShowKeys: keys}) {
		switch n := len(fields); {
		case v.Kind == wire.FieldValue:
			fields = append(fields, Field{Extension: v.Extension, Offset: v.Offset, Hex: hex.EncodeToString(v.Bytes),
				Name: v.Name, Value: v.Value, Meaning: v.Meaning, Where: reference(d, v.Section)})
		case v.Kind == wire.FieldProblem && n > 0 && fields[n-1].Extension == v.Extension:
			fields[n-1].Problem = v.Value
		}
	}
	return fields
}

// explain runs our own command explain [--kernel NAME] [--json] [--show-keys] [FILE | - | HEX...].
func (s *session) explain(words []string) error {
	words, err := s.takeOwnOptions(words)
	if err != nil {
		fmt.Fprintf(s.Stderr, "ipseckey: %v\n", err)
		return s.usage()
	}
	for _, w := range words {
		if len(w) > 1 && w[0] == '-' {
			fmt.Fprintf(s.Stderr, "ipseckey: illegal option -- %s\n", strings.TrimLeft(w, "-"))
			return s.usage()
		}
	}
	text, name, err := s.explained(words)
	if errors.Is(err, files.ErrInterrupted) {
		return &exit{exitInterrupted}
	}
	if err != nil {
		fmt.Fprintf(s.Stderr, "ipseckey: explain: %v\n", err)
		return errAbandon
	}
	msgs, dialect, bad := findMessages(text)
	if len(msgs) == 0 {
		if bad == nil {
			bad = errors.New("no hexadecimal digits, no recording and no PF_KEY message")
		}
		fmt.Fprintf(s.Stderr, "ipseckey: explain: nothing to explain: %s%v\n", name, bad)
		return errAbandon
	}
	for i, msg := range msgs {
		d := s.guessDialect(msg, dialect)
		if s.json {
			s.explainJSON(d, msg)
			continue
		}
		if i > 0 {
			fmt.Fprintln(s.Stdout)
		}
		s.explainOne(d, msg)
	}
	if bad != nil {
		fmt.Fprintf(s.Stderr, "ipseckey: explain: %s%v\n", name, bad)
		return errAbandon
	}
	return nil
}

// maxExplained bounds how many bytes are read to explain.
const maxExplained = 64 << 20

// explained finds the text to explain: words of hexadecimal digits, a file, or standard input. name is what stands in
// front of errors about it.
func (s *session) explained(words []string) (text []byte, name string, err error) {
	switch {
	case len(words) == 0 || len(words) == 1 && words[0] == "-":
		text, err = io.ReadAll(files.AtMost(files.Until(s.ctx, s.Stdin), maxExplained))
		return text, "", err
	case len(words) == 1 && s.Files != nil:
		f, _, err := s.Files.Open(s.ctx, words[0])
		if err == nil {
			defer f.Close()
			text, err = io.ReadAll(files.AtMost(f, maxExplained))
			return text, words[0] + ": ", err
		}
		if errors.Is(err, files.ErrInterrupted) {
			return nil, "", err
		}
		if strings.Trim(words[0], "0123456789abcdefABCDEFxX:,") != "" {
			return nil, "", fmt.Errorf("%s: %s", words[0], errorText(err))
		}
	}
	return []byte(strings.Join(words, " ")), "", nil
}

// findMessages finds the messages in a text, and the name of their dialect if it says so. It may be a trace of an
// engine; messages as they are, one behind the other; the JSON of a recording, in which "hex" (of what was sent and
// received), "sent" and "replies" are messages; or hexadecimal digits, in which a message ends where it says, or at an
// empty line. Any of them may be compressed by gzip. The error is about what could not be read.
func findMessages(text []byte) (msgs [][]byte, dialect string, err error) {
	if z, err := gzip.NewReader(bytes.NewReader(text)); err == nil {
		if text, err = io.ReadAll(files.AtMost(z, maxExplained)); err != nil {
			return nil, "", err
		}
	}
	trimmed := bytes.TrimSpace(text)
	switch {
	case len(text) >= wire.HeaderLen && text[0] == wire.Version && !isText(text):
		msgs, err = cutMessages(text)
		return msgs, "", err
	case isPcapng(text):
		return readPcapng(text)
	case isPcap(text):
		msgs, err = readPcap(text)
		return msgs, "", err
	case isPrinted(string(trimmed)):
		return readPrinted(string(trimmed))
	case bytes.HasPrefix(trimmed, []byte("{")):
		for d := json.NewDecoder(bytes.NewReader(trimmed)); ; {
			var v any
			if err := d.Decode(&v); err == io.EOF {
				return msgs, "", nil
			} else if err != nil {
				return msgs, "", fmt.Errorf("no recording: %w", err)
			}
			if msgs, err = recorded(msgs, v); err != nil {
				return msgs, "", err
			}
		}
	}
	for n, part := range strings.Split(strings.ReplaceAll(string(trimmed), "\r", ""), "\n\n") {
		b, err := hexText(part)
		switch {
		case err != nil && n == 0 && !isText(text):
			return nil, "", errors.New("neither a text, nor a capture, nor a PF_KEY message")
		case err != nil:
			return msgs, "", fmt.Errorf("part %d: %w", n+1, err)
		}
		if len(b) == 0 {
			continue
		}
		more, err := cutMessages(b)
		msgs = append(msgs, more...)
		if err != nil {
			return msgs, "", err
		}
	}
	return msgs, "", nil
}

func isText(b []byte) bool {
	for _, c := range b[:min(len(b), 512)] {
		if c >= 0x7f || c < ' ' && !isSpace(c) {
			return false
		}
	}
	return true
}

// offsetColumn is what a dump in hexadecimal has in front of its lines.
var offsetColumn = regexp.MustCompile(`^\s*(0x)?[0-9a-fA-F]{4,8}:?\s\s?`)

// hexText reads hexadecimal digits in any of the usual forms: in one piece, in bytes or words with blanks, colons or
// commas between them, each with or without 0x, and with the offsets and characters beside them that hexdump, xxd and
// od print.
func hexText(text string) ([]byte, error) {
	var digits strings.Builder
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		line, _, _ = strings.Cut(line, "|")
		if m := offsetColumn.FindString(line); m != "" && (strings.Contains(m, ":") || strings.HasSuffix(m, "  ")) {
			line = line[len(m):]
			if strings.Contains(m, ":") {
				line, _, _ = strings.Cut(line, "  ") // characters
			}
		}
		for _, w := range strings.FieldsFunc(line, func(r rune) bool {
			return r == ' ' || r == '\t' || r == ':' ||
				r == ','
		}) {
			w = strings.TrimPrefix(strings.TrimPrefix(w, "0x"), "0X")
			for i := range len(w) {
				if _, ok := digit(w[i]); !ok {
					return nil, fmt.Errorf("line %d: %q is no hexadecimal digit", n+1, w[i])
				}
			}
			digits.WriteString(w)
		}
	}
	if digits.Len()%2 != 0 {
		return nil, fmt.Errorf("an odd number of hexadecimal digits, %d", digits.Len())
	}
	return hex.DecodeString(digits.String())
}

// cutMessages cuts bytes into messages by their lengths, in the byte order that fits the first one. What does not fit
// is one message with an error in it.
func cutMessages(b []byte) (msgs [][]byte, err error) {
	for len(b) > 0 {
		n := len(b)
		if n >= wire.HeaderLen {
			little, big := int(binary.LittleEndian.Uint16(b[4:]))*8, int(binary.BigEndian.Uint16(b[4:]))*8
			for _, want := range []int{little, big} {
				if want == n {
					return append(msgs, b), nil
				}
			}
			for _, want := range []int{little, big} {
				if want >= wire.HeaderLen && want <= n-wire.HeaderLen && b[want] == wire.Version {
					n = want
					break
				}
			}
		}
		msgs = append(msgs, b[:n:n])
		b = b[n:]
	}
	return msgs, nil
}

// recorded collects the messages of a recording: members called hex beside an op of send or inside of rx, sent and
// replies.
func recorded(msgs [][]byte, v any) ([][]byte, error) {
	add := func(v any) error {
		text, ok := v.(string)
		if !ok || text == "" || text[0] == '@' {
			return nil
		}
		b, err := hex.DecodeString(text)
		if err == nil && len(b) > 0 {
			msgs = append(msgs, b)
		}
		return err
	}
	var err error
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			if msgs, err = recorded(msgs, x); err != nil {
				return msgs, err
			}
		}
	case map[string]any:
		if op, ok := v["op"]; !ok || op == "send" {
			err = add(v["hex"])
		}
		if err == nil {
			err = add(v["sent"])
		}
		if list, ok := v["replies"].([]any); ok && err == nil {
			for _, x := range list {
				if err := add(x); err != nil {
					return msgs, err
				}
			}
		}
		for _, name := range []string{"steps", "rx", "exchange"} {
			if err == nil {
				msgs, err = recorded(msgs, v[name])
			}
		}
	}
	return msgs, err
}

// guessDialect finds the dialect and byte order that a message is well formed in: of the kernel that --kernel names, or
// that the capture does; else of any, illumos first.
func (s *session) guessDialect(msg []byte, name string) *wire.Dialect {
	var candidates []*wire.Dialect
	first := wire.Illumos()
	if s.kernel != "" {
		name = s.kernel
	}
	known, ok := wire.ByName(name)
	switch {
	case ok:
		first = known
	case s.Dialect != nil:
		first = s.Dialect
	}
	all := []*wire.Dialect{first}
	if !ok {
		for _, d := range wire.Dialects() {
			if d.Name != first.Name {
				all = append(all, d)
			}
		}
	}
	for _, d := range all {
		candidates = append(candidates, d, d.WithOrder(binary.LittleEndian), d.WithOrder(binary.BigEndian))
	}
	for _, d := range candidates {
		if d.Validate(msg) == nil {
			return d
		}
	}
	for _, d := range candidates { // at least the header
		if h, err := d.Header(msg); err == nil && int(h.Len)*8 == len(msg) {
			return d
		}
	}
	return first
}

func orderName(d *wire.Dialect) string {
	if d.Order.Uint16([]byte{1, 0}) == 1 {
		return "little"
	}
	return "big"
}

func (s *session) explainJSON(d *wire.Dialect, msg []byte) {
	h, _ := d.Header(msg)
	text, section := d.MsgMeaning(h.Type)
	e := Explanation{
		Dialect: d.Name, Order: orderName(d), Meaning: text, Where: reference(d, section),
		Record: NewRecord(d, msg, s.showKeys && !s.paranoid), Fields: readFields(d, msg, s.showKeys && !s.paranoid),
	}
	s.emitJSON(e)
}

// explainOne prints a message: in front what it is, then each extension with what it is for, and each field with its
// place, its bytes, its value and its meaning.
func (s *session) explainOne(d *wire.Dialect, msg []byte) {
	keys := s.showKeys && !s.paranoid
	h, _ := d.Header(msg)
	text, section := d.MsgMeaning(h.Type)
	if len(msg) < wire.HeaderLen {
		fmt.Fprintf(s.Stdout, "%s, %d bytes\n", s.paint(terminal.Red, "not a whole message"), len(msg))
	} else {
		fmt.Fprintf(s.Stdout, "%s, %d bytes, dialect %s, %s endian\n",
			s.paint(terminal.Bold, d.MsgName(h.Type)), len(msg), d.Name, orderName(d))
	}
	if text != "" && len(msg) >= wire.HeaderLen {
		s.sentence("", "", fmt.Sprintf("%s (%s)", text, reference(d, section)))
	}
	if h.Errno != 0 {
		for _, line := range refusalLines(d, h) {
			s.sentence(terminal.Red, line, "")
		}
	}
	for v := range d.Fields(msg, wire.FormatOptions{ShowKeys: keys}) {
		first, more, _ := strings.Cut(string(v.AppendText(nil)), "\n")
		switch v.Kind {
		case wire.FieldExtension:
			section = v.Section
			about := ""
			if v.Meaning != "" {
				about = fmt.Sprintf(": %s (%s)", v.Meaning, reference(d, v.Section))
			}
			fmt.Fprintln(s.Stdout)
			s.sentence(terminal.Bold, first, about)
		case wire.FieldPart:
			fmt.Fprintln(s.Stdout, first)
		case wire.FieldProblem:
			fmt.Fprintln(s.Stdout, s.paint(terminal.Red, first))
		default:
			text := v.Meaning
			if v.Section != section {
				text = strings.TrimSpace(text + " (" + reference(d, v.Section) + ")")
			}
			s.explainField(first, text)
			fmt.Fprint(s.Stdout, more)
		}
	}
}

// sentence prints a text whose head has a colour. On a terminal it goes on in further lines where it must.
func (s *session) sentence(colour, head, rest string) {
	const further = "    "
	lines := []string{head + rest}
	if s.Terminal.Stdout {
		lines = terminal.Wrap(head+rest, terminal.Columns-len(further))
	}
	for i, line := range lines {
		if i > 0 {
			line = further + line
		}
		if text, ok := strings.CutPrefix(line, head); ok && i == 0 {
			line = s.paint(colour, head) + text
		}
		fmt.Fprintln(s.Stdout, line)
	}
}

// Where the meaning of a field stands: behind it, or on a terminal that has no room for that in lines of its own.
const (
	meaningColumn = 62
	meaningIndent = 37
)

func (s *session) explainField(line, text string) {
	switch {
	case text == "":
		fmt.Fprintln(s.Stdout, line)
	case !s.Terminal.Stdout || max(len(line), meaningColumn)+2+len(text) <= terminal.Columns:
		fmt.Fprintf(s.Stdout, "%-*s  %s\n", meaningColumn, line, s.paint(terminal.Dim, text))
	default:
		fmt.Fprintln(s.Stdout, line)
		for _, part := range terminal.Wrap(text, terminal.Columns-meaningIndent) {
			fmt.Fprintf(s.Stdout, "%*s%s\n", meaningIndent, "", s.paint(terminal.Dim, part))
		}
	}
}

// runExplain is explain as a command of the loop or of the command line.
func (s *session) runExplain(_ context.Context, words []word) error {
	args := make([]string, 0, len(words))
	for _, w := range words[1:] {
		args = append(args, w.text)
	}
	if s.mode == modeFile {
		return s.refuse("Explain")
	}
	if s.mode == modeLoop && len(args) == 0 {
		fmt.Fprint(s.Stderr, "ipseckey: explain: say what: a file, or hexadecimal digits\n")
		return errAbandon
	}
	return s.explain(args)
}
