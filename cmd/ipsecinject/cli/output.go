package cli

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"strings"

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

// printVerdict writes one line, for people or for programs.
func printVerdict(w io.Writer, v *packetport.Verdict, asJSON bool) error {
	spi := ""
	if v.HasSPI {
		spi = fmt.Sprintf("%#x", v.SPI)
	}
	if asJSON {
		l := line{ID: v.ID, Verdict: v.Kind.String(), Reason: v.Reason, Counter: v.Counter, SPI: spi, Inner: hex.EncodeToString(v.Inner)}
		if v.Watched {
			p := hex.EncodeToString(v.Packet)
			l.Packet = &p
		}
		b, err := json.Marshal(l)
		if err != nil {
			return err
		}
		_, err = w.Write(append(b, '\n'))
		return err
	}
	var more []string
	if v.Reason != "" || v.Counter != "" {
		s := v.Reason
		if v.Counter != "" {
			s = strings.TrimSpace(s + " (" + v.Counter + ")")
		}
		more = append(more, s)
	}
	switch {
	case len(v.Inner) > 0:
		more = append(more, packetport.Line(v.Inner))
	case len(v.Packet) > 0:
		more = append(more, packetport.Line(v.Packet))
	}
	if v.Cut {
		more = append(more, "cut")
	}
	s := fmt.Sprintf("%6d  %-11s  %-10s  %s", v.ID, v.Kind, spi, strings.Join(more, ": "))
	_, err := fmt.Fprintln(w, strings.TrimRight(s, " "))
	return err
}
