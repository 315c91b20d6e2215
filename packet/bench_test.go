package packet_test

import (
	"testing"

	"github.com/pfkeyd/pfkeyd/packet"
)

func BenchmarkInjectEnd(b *testing.B) {
	var l packet.Ledger
	b.ReportAllocs()
	for b.Loop() {
		p := &packet.Packet{}
		l.Inject(p)
		p.End(packet.Verdict{Kind: packet.Delivered})
	}
}
