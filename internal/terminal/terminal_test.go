package terminal_test

import (
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/internal/terminal"
)

func TestWrap(t *testing.T) {
	for _, tt := range []struct {
		text, want string
	}{
		{"", ""},
		{"one two", "one two"},
		{"one two three", "one two\nthree"},
		{"incomprehensible words", "incomprehensible words"},
		{"a b c d e", "a b c d\ne"},
	} {
		if got := strings.Join(terminal.Wrap(tt.text, 7), "\n"); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
}

func TestPaint(t *testing.T) {
	if got := terminal.Painter(true).Paint(terminal.Red, "x"); got != "\x1b[31mx\x1b[0m" {
		t.Errorf("%q", got)
	}
	for _, same := range []string{
		terminal.Painter(false).Paint(terminal.Red, "x"),
		terminal.Painter(true).Paint("", "x"),
	} {
		if same != "x" {
			t.Errorf("%q", same)
		}
	}
}

func TestTable(t *testing.T) {
	const v6 = "2001:db8:1111:2222:3333:4444:5555:6666"
	for _, tt := range []struct {
		name string
		rows [][]string
		want string
	}{
		{"none", nil, ""},
		{"fits", [][]string{{"SA", "SPI"}, {"esp", "0x1"}, {"ah", ""}}, "SA   SPI\nesp  0x1\nah\n"},
		{"too wide", [][]string{
			{"SA", "SOURCE", "DESTINATION", "STATE", "HOLDS"},
			{"esp", v6, v6, "mature", ""},
			{"esp", v6, v6, "larval", "packet 1"},
		}, "" +
			"SA   SOURCE\n    DESTINATION                             STATE   HOLDS\n" +
			"esp  " + v6 + "\n    " + v6 + "  mature\n" +
			"esp  " + v6 + "\n    " + v6 + "  larval  packet 1\n"},
		{"an empty line is left out", [][]string{
			{"SOURCE", "DESTINATION", "HOLDS"},
			{v6, v6 + "/128", ""},
			{v6, v6, strings.Repeat("packet, ", 11) + "packet"},
		}, "" +
			"SOURCE\n    DESTINATION\n    HOLDS\n" +
			v6 + "\n    " + v6 + "/128\n" +
			v6 + "\n    " + v6 + "\n    " + strings.Repeat("packet, ", 8) + "packet,\n    packet, packet, packet\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var table terminal.Table
			for _, row := range tt.rows {
				table.Row(row...)
			}
			var b strings.Builder
			if err := table.Write(&b); err != nil {
				t.Fatal(err)
			}
			if b.String() != tt.want {
				t.Errorf("got\n%swant\n%s", &b, tt.want)
			}
			for line := range strings.Lines(b.String()) {
				if len(line) > terminal.Columns+1 {
					t.Errorf("%d columns: %q", len(line)-1, line)
				}
			}
		})
	}
	painted := terminal.Table{Paint: func(column int, cell string) string { return "<" + cell + ">" }}
	painted.Row("A", "B")
	painted.Row("1", "2")
	var b strings.Builder
	if painted.Write(&b); b.String() != "A  B\n<1  ><2>\n" {
		t.Errorf("%q", &b)
	}
}
