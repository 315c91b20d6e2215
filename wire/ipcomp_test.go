package wire_test

import (
	"strings"
	"testing"

	"github.com/pfkeyd/pfkeyd/wire"
)

// In an SA of IPCOMP the field of the encryption algorithm has a compression algorithm.
func TestCompressionIsNoCipher(t *testing.T) {
	for _, d := range wire.Dialects() {
		if _, ok := d.SATypeNumber(wire.SATypeIPComp); !ok {
			continue
		}
		for _, tt := range []struct {
			of          wire.SAType
			line, field string
		}{{wire.SATypeIPComp, " encr=deflate", "2 (deflate)"}, {wire.SATypeESP, " encr=aes-cbc", "12 (aes-cbc)"}} {
			sa := wire.SA{SPI: 0x100, Encrypt: wire.EncAESCBC}
			if tt.of == wire.SATypeIPComp {
				sa.Encrypt = wire.CompDeflate
			}
			h := wire.Header{Version: wire.Version, Type: wire.MsgAdd, SAType: tt.of}
			msg := d.Finish(d.AppendSA(d.AppendHeader(nil, h), sa))
			if line := d.Line(msg); !strings.Contains(line, tt.line) {
				t.Errorf("%s: %s, want%s", d.Name, line, tt.line)
			}
			var told string
			for f := range d.Fields(msg, wire.FormatOptions{}) {
				if f.Name == "encrypt" {
					told = f.Value
				}
			}
			if told != tt.field {
				t.Errorf("%s: the algorithm of %v is told as %s, want %s", d.Name, tt.of, told, tt.field)
			}
		}
	}
}
