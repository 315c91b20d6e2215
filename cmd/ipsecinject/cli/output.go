package cli

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/pfkeyd/pfkeyd/cmd/internal/packetline"
	"github.com/pfkeyd/pfkeyd/internal/terminal"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/packetport"
)

// line is a verdict as --json prints it. Programs rely on the names; see the help of the command.
type line struct {
	ID      uint64  `json:"id"`
	Verdict string  `json:"verdict"`
	Reason  string  `json:"reason"`
	Counter string  `json:"counter"`
	SPI     string  `json:"spi"`
	Inner   string  `json:"inner"`
	Packet  *string `json:"packet,omitempty"` // from watch only
}

// printVerdict writes one line, for people or for programs. On a terminal that has no room for it, it goes on below.
func (e *env) printVerdict(v *packetport.Verdict) error {
	spi := ""
	if v.HasSPI {
		spi = fmt.Sprintf("%#x", v.SPI)
	}
	if e.json {
		l := line{ID: v.ID, Verdict: v.Kind.String(), Reason: v.Reason, Counter: v.Counter, SPI: spi,
			Inner: hex.EncodeToString(v.Inner)}
		if v.Watched {
			p := hex.EncodeToString(v.Packet)
			l.Packet = &p
		}
		b, err := json.Marshal(l)
		if err != nil {
			return err
		}
		_, err = e.stdout.Write(append(b, '\n'))
		return err
	}
	var more []string
	if v.Reason != "" || v.Counter != "" {
		s := v.Reason
		if v.Counter != "" {
			s = strings.TrimSpace(s + " (" + v.Counter + ")")
		}
		if v.Reason == packet.AcquireUnheard.String() {
			s += ": no registered program"
		}
		more = append(more, s)
	}
	switch {
	case len(v.Inner) > 0:
		more = append(more, packetline.Of(v.Inner))
	case len(v.Packet) > 0:
		more = append(more, packetline.Of(v.Packet))
	}
	if v.Cut {
		more = append(more, "cut")
	}
	text := strings.Join(more, ": ")
	start := fmt.Sprintf("%6d  %-11s  %-10s  ", v.ID, v.Kind, spi)
	parts := []string{text}
	if isTerminal(e.stdout) {
		parts = terminal.Wrap(text, terminal.Columns-len(start))
	}
	kind := e.colour.Wanted(e.stdout).Paint(terminal.VerdictColour(v.Kind.String()), v.Kind.String())
	var b strings.Builder
	for i, part := range parts {
		if i == 0 {
			part = strings.Replace(start, v.Kind.String(), kind, 1) + part
		} else {
			part = strings.Repeat(" ", len(start)) + part
		}
		b.WriteString(strings.TrimRight(part, " ") + "\n")
	}
	_, err := io.WriteString(e.stdout, b.String())
	return err
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
