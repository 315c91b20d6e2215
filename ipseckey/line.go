package ipseckey

import (
	"bufio"
	"errors"
	"io"
	"strings"
)

// lineSize is the size of the original's line buffer in bytes, and of the one it joins continued lines in.
const lineSize = 4096

var (
	errLineTooLong   = errors.New("line too long")
	errJoinedTooLong = errors.New("continued command too long")
	errLineDropped   = errors.New("line dropped")
	errLineAbandoned = errors.New("line abandoned")
)

// lineReader reads commands: lines, joined where a backslash stands before the newline.
type lineReader struct {
	r      *bufio.Reader
	pipe   bool // standard input, read by a line editor
	quirks quirk
	number int // of the last physical line read, from 1

	// edit reads lines in place of r: a line without its newline, behind those that it continues. nil: r.
	edit func(before string) (string, error)
}

func newLineReader(r io.Reader, pipe bool, q quirk) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 2*lineSize), pipe: pipe, quirks: q}
}

// physical reads one line with its newline. A last line without one comes with io.EOF. Of a line that is too long
// nothing is kept.
func (l *lineReader) physical(before string) (string, error) {
	if l.edit != nil {
		return l.edited(before)
	}
	var b strings.Builder
	n := 0
	for {
		part, err := l.r.ReadSlice('\n')
		n += len(part)
		if b.Len() <= lineSize {
			b.Write(part)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if n > 0 {
			l.number++
		}
		switch {
		case err != nil && n == 0:
			return "", io.EOF // a read error ends the input like its end
		case n >= lineSize-1 && l.pipe && n < lineSize && l.quirks&quirkLongLine != 0:
			return "", errLineDropped
		case n >= lineSize-1:
			return "", errLineTooLong
		}
		line := b.String()
		if i := strings.IndexByte(line, 0); i >= 0 {
			line = line[:i] // the rest is behind the end of a C string
		}
		if err != nil {
			return line, io.EOF
		}
		return line, nil
	}
}

// edited is physical for a line that was edited.
func (l *lineReader) edited(before string) (string, error) {
	line, err := l.edit(before)
	if line != "" || err == nil {
		l.number++
	}
	switch {
	case errors.Is(err, ErrAbandoned):
		return "", errLineAbandoned
	case err != nil:
		return line, io.EOF
	case len(line)+1 >= lineSize-1:
		return "", errLineTooLong
	}
	if i := strings.IndexByte(line, 0); i >= 0 {
		line = line[:i]
	}
	return line + "\n", nil
}

// read returns the next command, with its newlines, and whether the line it begins with is a comment. At the end of the
// input it returns io.EOF, without a command; the errors for what is too long are errLineTooLong, after which reading
// may go on, errLineDropped and errJoinedTooLong.
func (l *lineReader) read() (command string, err error) {
	var joined strings.Builder
	for {
		line, err := l.physical(joined.String())
		switch {
		case err == io.EOF && line != "" && l.pipe && l.quirks&quirkLastLine != 0:
			return "", io.EOF // the editor gives up what was not ended
		case err == io.EOF && line == "" && joined.Len() > 0 && l.quirks&quirkLastLine == 0:
			return joined.String(), nil
		case err == io.EOF && line == "":
			return "", io.EOF // what waited for a continuation is dropped
		case err != nil && err != io.EOF:
			return "", err
		}
		if err == io.EOF && l.quirks&quirkLastLine == 0 {
			line += "\n"
		}
		if joined.Len() > 0 && isComment(line) && l.quirks&quirkGluedComment == 0 {
			continue
		}
		if joined.Len()+len(line) >= lineSize {
			return "", errJoinedTooLong
		}
		// Like the original this looks at the last byte but one, whatever the last one is.
		if n := len(line); n >= 2 && line[n-2] == '\\' {
			joined.WriteString(line[:n-2])
			joined.WriteByte(' ')
			joined.WriteByte(line[n-1])
			continue
		}
		joined.WriteString(line)
		return joined.String(), nil
	}
}

// isComment tells whether the first byte that is not white space is a '#'.
func isComment(line string) bool {
	line = strings.TrimLeft(line, spaces)
	return strings.HasPrefix(line, "#")
}
